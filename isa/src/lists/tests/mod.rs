//! Bytes of lists, and lists that do not hold together; the clock by hand, and against a machine
//! that is stepped cycle by cycle.

mod clock;
mod machines;
mod stepped;

use proptest::prelude::*;

use super::*;
use crate::instr::table::{SddmmList, SpmmList};
use crate::instr::{Entries, LineSet, Op, Sram, SramBytes};
use crate::machine::Machine;

/// Two groups of lines of a context each, and so few bytes that a hand can write them.
fn tiny() -> Machine {
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.datapath.as_mut().unwrap().accumulators = 16;
    machine
}

fn row(query: u16, entries: u16, head: u8, context: u8) -> ListRow {
    ListRow { query, entries, head, context }
}

fn key(key: u16, contexts: &[u8]) -> Token {
    Token::Row { key, uses: contexts.iter().copied().collect() }
}

fn segment(tokens: &[Token]) -> Segment {
    Segment { cycles: [0; 2], tokens: tokens.to_vec() }
}

/// Query 7 of head 1 attends keys 4 and 6, query 3 of head 1 keys 4 and 0; then query 7 of head 0
/// attends key 1, and query 7 of head 2 none.
fn list() -> List {
    List {
        rows: vec![row(7, 2, 1, 0), row(3, 2, 1, 1), row(7, 1, 0, 1), row(7, 0, 2, 0)],
        segments: vec![
            segment(&[Token::Held(1), Token::Held(1)]),
            segment(&[key(4, &[0, 1]), Token::Held(2), key(6, &[0]), key(0, &[1])]),
            segment(&[key(1, &[1])]),
        ],
    }
}

fn scores() -> SddmmList {
    SddmmList {
        lines: LineSet { first: 0, count: 2 },
        q: Sram(1024),
        k: Sram(2048),
        m: 8,
        n: 7,
        d: 8,
        heads: 3,
        q_stride: 64,
        k_stride: 64,
        queries: 4,
        token_bytes: SramBytes(100),
        entries: Entries(5),
        ..SddmmList::ZERO
    }
}

fn products() -> SpmmList {
    SpmmList {
        lines: LineSet { first: 0, count: 2 },
        v: Sram(2048),
        m: 8,
        n: 7,
        d: 8,
        heads: 3,
        v_stride: 64,
        dst_stride: 64,
        queries: 4,
        token_bytes: SramBytes(100),
        entries: Entries(5),
        ..SpmmList::ZERO
    }
}

#[test]
fn layouts() {
    let groups = LineGroups { groups: 3, lines_each: 8, contexts: 3, entry_cycles: 1 };
    assert_eq!((groups.seats(), groups.set_bytes()), (9, 2));
    assert_eq!(row_token_bytes(true, &groups), 5);
    assert_eq!(row(0x0102, 0x0304, 5, 6).to_bytes(), [2, 1, 4, 3, 5, 6]);
    let tokens = vec![Token::Held(2), key(0x0708, &[0, 8])];
    let list = List {
        rows: vec![row(1, 1, 0, 0); 2],
        segments: vec![Segment { cycles: [0x0102, 3], tokens }],
    };
    let bytes = [2, 0, 2, 1, 3, 0, 2, 0, 8, 7, 1, 1];
    assert_eq!(list.tokens_to_bytes(true, &groups).unwrap(), bytes);
    assert_eq!(list.tokens_to_bytes(false, &groups), None, "the key is wide");
    let rows = list.rows_to_bytes();
    assert_eq!(List::from_bytes(&rows, &bytes, true, &groups), Ok(list));
    for end in [1, 5, 6, 7, 10, 11] {
        let cut = List::from_bytes(&rows, &bytes[..end], true, &groups);
        assert_eq!(cut, Err(ListError::Truncated { segment: 0 }), "{end} bytes");
    }
    let seats = ListError::Seats { segment: 0, token: 0 };
    assert_eq!(List::from_bytes(&rows[..6], &bytes, true, &groups), Err(seats));
}

#[test]
fn groups() {
    let vitcod = Machine::preset("vitcod").unwrap();
    let of = |d, lines, machine: &Machine| {
        let LineGroups { groups, lines_each, contexts, entry_cycles } =
            LineGroups::new(d, lines, machine);
        (groups, lines_each, contexts, entry_cycles)
    };
    // 64 features are 8 parts of 8 MACs. Of 20 lines 4 are idle; 4 lines take two passes.
    assert_eq!(of(64, 64, &vitcod), (8, 8, 2, 1));
    assert_eq!(of(64, 20, &vitcod), (2, 8, 2, 1));
    assert_eq!(of(64, 4, &vitcod), (1, 4, 2, 2));
    assert_eq!(of(0, 1, &vitcod), (1, 1, 2, 1));
    let with = |accumulators, port_bytes| {
        let mut machine = vitcod.clone();
        machine.datapath.as_mut().unwrap().accumulators = accumulators;
        machine.lines.port_bytes = port_bytes;
        machine
    };
    // Each of 8 MACs takes 3 cycles of a port of 3 bytes.
    assert_eq!(of(64, 64, &with(64, 3)), (8, 8, 4, 3));
    assert_eq!(of(64, 64, &with(15, 8)), (8, 8, 1, 1));
    assert_eq!(of(8, 256, &with(4096, 8)), (32, 1, 8, 1), "256 contexts");
    assert_eq!(of(8, 256, &Machine::preset("vitcod-ideal").unwrap()), (128, 1, 2, 1));
}

#[test]
fn a_list_by_hand() {
    let run = Run::new(&scores().into(), &list(), &tiny()).unwrap();
    assert_eq!(run.keys, [4, 6, 4, 0, 1]);
    let mut op = Op::from(scores());
    let mut stated = list();
    assert_eq!(
        run.check(&op, &stated),
        Err(ListError::Segment {
            segment: 1,
            phase: Phase::Scores,
            found: run.segments[1],
            stated: 0
        })
    );
    state_cycles(&mut op, &mut stated, &tiny()).unwrap();
    assert_eq!(run.check(&op, &stated), Ok(()));
    let Op::SddmmList(SddmmList { cycles, .. }) = &mut op else { unreachable!() };
    cycles.0 += 1;
    let stated_cycles = cycles.0;
    assert_eq!(
        run.check(&op, &stated),
        Err(ListError::Cycles { found: stated_cycles - 1, stated: stated_cycles })
    );
}

#[test]
fn lists_that_do_not_hold_together() {
    let error = |change: &dyn Fn(&mut List)| {
        let mut list = list();
        change(&mut list);
        let found = Run::new(&scores().into(), &list, &tiny()).unwrap_err();
        let product = Run::keys(&products().into(), &list, &tiny()).unwrap_err();
        assert_eq!(found, product);
        assert!(["rows", "tokens"].contains(&found.operand()));
        found
    };
    let position = 1;
    let (segment, token) = (1, 0);
    let of_row = |change: fn(&mut ListRow)| error(&|list| change(&mut list.rows[position]));
    assert_eq!(of_row(|row| row.query = 8), ListError::Query { position, query: 8, limit: 8 });
    assert_eq!(of_row(|row| row.head = 3), ListError::Head { position, head: 3, limit: 3 });
    assert_eq!(of_row(|row| row.query = 7), ListError::Repeated { position, query: 7, head: 1 });
    assert_eq!(
        of_row(|row| row.context = 2),
        ListError::Context { position, context: 2, limit: 2 }
    );
    assert_eq!(
        of_row(|row| row.context = 0),
        ListError::Taken { segment: 0, token: 1, context: 0 }
    );
    assert_eq!(of_row(|row| row.entries = 1), ListError::Total { found: 4, stated: 5 });
    // The first query has one entry more and the second one less, or the other way round.
    let moved = |from: usize, to: usize| {
        error(&move |list| {
            list.rows[from].entries -= 1;
            list.rows[to].entries += 1;
        })
    };
    assert_eq!(moved(1, 0), ListError::Uses { position: 1, found: 2, stated: 1 });
    assert_eq!(moved(0, 3), ListError::Uses { position: 0, found: 2, stated: 1 });
    assert_eq!(moved(2, 3), ListError::Uses { position: 2, found: 1, stated: 0 });
    let few_keys = SddmmList { n: 1, entries: Entries(5), ..scores() };
    assert_eq!(
        Run::new(&few_keys.into(), &list(), &tiny()),
        Err(ListError::Entries { position: 0, found: 2, most: 1 })
    );

    let of_token = |token: Token| error(&|list| list.segments[segment].tokens[0] = token);
    assert_eq!(of_token(key(7, &[0])), ListError::Key { segment, token, key: 7, limit: 7 });
    assert_eq!(of_token(key(6, &[])), ListError::Unused { segment, token });
    assert_eq!(of_token(key(6, &[0, 2])), ListError::Vacant { segment, token, context: 2 });
    assert_eq!(of_token(key(6, &[255])), ListError::Vacant { segment, token, context: 255 });
    // The entry is missing at the end.
    assert_eq!(of_token(key(4, &[0])), ListError::Uses { position: 1, found: 1, stated: 2 });
    assert_eq!(
        error(&|list| list.segments[0].tokens = vec![Token::Held(2)]),
        ListError::Apart { segment: 0, token: 0 }
    );
    assert_eq!(
        error(&|list| list.segments[2].tokens[0] = Token::Held(1)),
        ListError::Seats { segment: 2, token: 0 }
    );
    assert_eq!(
        error(&|list| list.segments[1].tokens[1] = Token::Held(3)),
        ListError::Seats { segment: 1, token: 1 }
    );
    let standing = |found| ListError::Standing { found, stated: 4 };
    let without = error(&|list| {
        list.segments[1].tokens.remove(1);
        list.segments.pop();
        list.segments.push(Segment::default());
    });
    assert_eq!(without, standing(2));
    assert_eq!(error(&|list| list.segments.clear()), standing(0));
    // A row for a batch that has left.
    assert_eq!(
        error(&|list| list.segments[2].tokens.push(key(1, &[0, 1]))),
        ListError::Uses { position: 3, found: 1, stated: 0 }
    );
    let last = error(&|list| {
        list.segments[2].tokens.push(key(1, &[1]));
    });
    assert_eq!(last, ListError::Uses { position: 2, found: 2, stated: 1 });
}

#[test]
fn a_row_has_no_more_minifloats_than_fit() {
    let long = List {
        rows: vec![row(0, 4096, 0, 0)],
        segments: vec![segment(&[Token::Held(1)]), segment(&vec![key(0, &[0]); 4096])],
    };
    let op = SpmmList { n: 5000, queries: 1, entries: Entries(4096), ..products() };
    assert!(Run::new(&op.into(), &long, &tiny()).is_ok());
    let op = SpmmList { minifloat: true, ..op };
    assert_eq!(
        Run::new(&op.into(), &long, &tiny()),
        Err(ListError::Entries { position: 0, found: 4096, most: 4095 })
    );
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        (1u8..).prop_map(Token::Held),
        (0u16..300, prop::collection::vec(any::<u8>(), 0..6))
            .prop_map(|(number, contexts)| key(number, &contexts)),
    ]
}

proptest! {
    #[test]
    fn sets_have_what_was_put_in(contexts in prop::collection::vec(any::<u8>(), 0..40), each in 1u32..9) {
        let set: ContextSet = contexts.iter().copied().collect();
        let mut sorted = contexts.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(set.iter().collect::<Vec<u8>>(), sorted.clone());
        prop_assert_eq!((set.len(), set.is_empty()), (sorted.len() as u32, sorted.is_empty()));
        prop_assert!((0..=255).all(|context| set.contains(context) == contexts.contains(&context)));
        let mut by_group = std::collections::BTreeMap::<usize, u64>::new();
        sorted.iter().for_each(|context| *by_group.entry(usize::from(*context) / each as usize).or_default() += 1);
        prop_assert_eq!(set.by_group(each).collect::<Vec<_>>(), by_group.into_iter().collect::<Vec<_>>());
        let mut bytes = [0; 32];
        set.to_bytes(&mut bytes);
        prop_assert_eq!(ContextSet::from_bytes(&bytes), set);
    }

    #[test]
    fn lists_survive_their_bytes(
        rows in prop::collection::vec(any::<(u16, u16, u8, u8)>(), 0..20),
        segments in prop::collection::vec((any::<[u16; 2]>(), prop::collection::vec(token(), 0..10)), 0..5),
        wide: bool,
    ) {
        let groups = LineGroups { groups: 64, lines_each: 1, contexts: 4, entry_cycles: 1 };
        let list = List {
            rows: rows.into_iter().map(|(query, entries, head, context)| ListRow { query, entries, head, context }).collect(),
            segments: segments.into_iter().map(|(cycles, tokens)| Segment { cycles, tokens }).collect(),
        };
        if let Some(bytes) = list.tokens_to_bytes(wide, &groups) {
            let held = |token: &Token| if let Token::Held(queries) = token { usize::from(*queries) } else { 0 };
            let seated: usize = list.segments.iter().flat_map(|segment| &segment.tokens).map(held).sum();
            match List::from_bytes(&list.rows_to_bytes(), &bytes, wide, &groups) {
                Ok(found) => prop_assert_eq!(found, list),
                Err(error) => {
                    let too_many = matches!(error, ListError::Seats { .. });
                    prop_assert!(too_many && seated > list.rows.len());
                }
            }
        }
    }

    #[test]
    fn noise_is_a_list_or_an_error(
        rows in prop::collection::vec(any::<u8>(), 0..40), tokens in prop::collection::vec(0u8..8, 0..80),
        wide: bool, lines in 1u16..64, d in 0u16..100, entries in 0u32..40,
    ) {
        let machine = tiny();
        let op = SpmmList { lines: LineSet { first: 0, count: lines }, d, entries: Entries(entries), ..products() };
        let groups = LineGroups::new(d, lines, &machine);
        if let Ok(list) = List::from_bytes(&rows, &tokens, wide, &groups) {
            let _ = Run::new(&op.into(), &list, &machine);
        }
    }
}
