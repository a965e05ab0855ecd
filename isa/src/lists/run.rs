//! A list in an instruction: whether it holds together, the keys of its entries, its cycles.

use super::{Array, Clock, ContextSet, Kind, LineGroups, List, ListError, ListRow, Phase, Token};
use crate::cost::lists::{list_limits, softmax_limits};
use crate::instr::Op;
use crate::instr::table::{SddmmList, SoftmaxList, SpmmList};
use crate::machine::Machine;
use crate::numerics::ProbabilityFormat;

/// The most heads of a list: a byte numbers them.
pub const MAX_HEADS: u16 = 1 << u8::BITS;

/// What an instruction states of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What it computes.
    pub phase: Phase,
    /// Queries of a head.
    pub m: u16,
    /// Keys of a head.
    pub n: u16,
    /// Features of a head.
    pub d: u16,
    /// Heads.
    pub heads: u16,
    /// Queries of the list.
    pub queries: u16,
    /// Bytes of its tokens.
    pub token_bytes: u32,
    /// Entries of the list.
    pub entries: u32,
    /// Cycles that the instruction states.
    pub cycles: u32,
    /// Whether a key takes two bytes instead of one.
    pub wide: bool,
    /// The most entries of a query.
    pub most_entries: u32,
    /// Number of lines.
    pub lines: u16,
    /// Address and stride of the rows of keys or values.
    pub streamed: (u32, u16),
    /// Address and stride of the rows of queries that are read; absent in products.
    pub held: Option<(u32, u16)>,
}

impl From<&SddmmList> for Shape {
    fn from(op: &SddmmList) -> Shape {
        Shape {
            phase: Phase::Scores,
            m: op.m,
            n: op.n,
            d: op.d,
            heads: op.heads,
            queries: op.queries,
            token_bytes: op.token_bytes.0,
            entries: op.entries.0,
            cycles: op.cycles.0,
            wide: op.wide,
            most_entries: op.n.into(),
            lines: op.lines.count,
            streamed: (op.k.0, op.k_stride),
            held: Some((op.q.0, op.q_stride)),
        }
    }
}

impl From<&SpmmList> for Shape {
    fn from(op: &SpmmList) -> Shape {
        Shape {
            phase: Phase::Products,
            m: op.m,
            n: op.n,
            d: op.d,
            heads: op.heads,
            queries: op.queries,
            token_bytes: op.token_bytes.0,
            entries: op.entries.0,
            cycles: op.cycles.0,
            wide: op.wide,
            most_entries: ProbabilityFormat::of(op.minifloat).max_keys().min(op.n.into()),
            lines: op.lines.count,
            streamed: (op.v.0, op.v_stride),
            held: None,
        }
    }
}

impl Shape {
    /// The shape of an instruction with tokens.
    pub fn of(op: &Op) -> Option<Shape> {
        match op {
            Op::SddmmList(op) => Some(op.into()),
            Op::SpmmList(op) => Some(op.into()),
            _ => None,
        }
    }

    /// How its lines are grouped.
    pub fn groups(&self, machine: &Machine) -> LineGroups {
        LineGroups::new(self.d, self.lines, machine)
    }
}

impl List {
    /// Decodes the list of an instruction, checks it, and returns it with the key of each entry.
    /// Cycles are those of operands at their addresses; they are checked if `placed`.
    ///
    /// # Errors
    /// The list does not hold together, or cycles are others than stated.
    pub fn checked(
        op: &Op,
        [rows, tokens]: [&[u8]; 2],
        placed: bool,
        machine: &Machine,
    ) -> Result<(List, Vec<u16>), ListError> {
        let Some(shape) = Shape::of(op) else { return Ok(Default::default()) };
        let list = List::from_bytes(rows, tokens, shape.wide, &shape.groups(machine))?;
        let keys = if placed {
            let run = Run::new(op, &list, machine)?;
            run.check(op, &list)?;
            run.keys
        } else {
            Run::keys(op, &list, machine)?
        };
        Ok((list, keys))
    }
}

/// A list in an instruction that can be executed, apart from the cycles that it states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The key of each entry, in the order of [`List::rows`].
    pub keys: Vec<u16>,
    /// The cycles of the instruction.
    pub cycles: u32,
    /// For each segment, the cycles that it must state for the phase of the instruction.
    pub segments: Vec<u16>,
}

impl Run {
    /// Checks and times the list of `sddmm_list` or `spmm_list`, whose operands are at their
    /// addresses.
    ///
    /// # Errors
    /// The list does not hold together.
    pub fn new(op: &Op, list: &List, machine: &Machine) -> Result<Run, ListError> {
        let Some(shape) = Shape::of(op) else {
            return Ok(Run { keys: Vec::new(), cycles: 1, segments: Vec::new() });
        };
        let mut timing = Timing::new(&shape, machine);
        let keys = walk(list, &shape, machine, |event| timing.event(event))?;
        let cycles = timing.clock.end().max(list_limits(op, &list.rows, machine)).max(1);
        Ok(Run { keys, cycles: saturated(cycles), segments: timing.segments })
    }

    /// The keys of the entries of a list that holds together, without its cycles.
    ///
    /// # Errors
    /// The list does not hold together.
    pub fn keys(op: &Op, list: &List, machine: &Machine) -> Result<Vec<u16>, ListError> {
        Shape::of(op).map_or(Ok(Vec::new()), |shape| walk(list, &shape, machine, |_| ()))
    }

    /// Checks the cycles that an instruction and its list state.
    ///
    /// # Errors
    /// The first other number.
    pub fn check(&self, op: &Op, list: &List) -> Result<(), ListError> {
        let Some(Shape { phase, cycles, .. }) = Shape::of(op) else { return Ok(()) };
        for (segment, (found, of)) in self.segments.iter().zip(&list.segments).enumerate() {
            let (found, stated) = (*found, of.stated(phase));
            if found != stated {
                return Err(ListError::Segment { segment, phase, found, stated });
            }
        }
        same_cycles(self.cycles, cycles)
    }
}

fn same_cycles(found: u32, stated: u32) -> Result<(), ListError> {
    if found == stated { Ok(()) } else { Err(ListError::Cycles { found, stated }) }
}

/// The cycles of `softmax_list` on queries, whose operands are at their addresses.
pub fn softmax_cycles(op: &SoftmaxList, rows: &[ListRow], machine: &Machine) -> u32 {
    saturated(softmax_limits(op, rows, machine).max(1))
}

/// Checks the cycles that `softmax_list` states.
///
/// # Errors
/// The right number.
pub fn check_softmax_cycles(
    op: &SoftmaxList,
    rows: &[ListRow],
    machine: &Machine,
) -> Result<(), ListError> {
    same_cycles(softmax_cycles(op, rows, machine), op.cycles.0)
}

fn saturated(cycles: u64) -> u32 {
    u32::try_from(cycles).unwrap_or(u32::MAX)
}

/// Checks the rows of `softmax_list`.
///
/// # Errors
/// A query is not one of a head, there is no such head, or the entries do not add up.
pub fn check_rows(rows: &[ListRow], (m, heads): (u16, u16), entries: u32) -> Result<(), ListError> {
    for (position, ListRow { query, head, .. }) in rows.iter().copied().enumerate() {
        if query >= m {
            return Err(ListError::Query { position, query, limit: m });
        }
        if u16::from(head) >= heads {
            return Err(ListError::Head { position, head, limit: heads });
        }
    }
    let found = rows.iter().map(|row| u64::from(row.entries)).sum();
    if found == u64::from(entries) {
        Ok(())
    } else {
        Err(ListError::Total { found, stated: entries })
    }
}

/// Checks the rows of a list with tokens.
fn check_list_rows(rows: &[ListRow], shape: &Shape, limit: u32) -> Result<(), ListError> {
    check_rows(rows, (shape.m, shape.heads), shape.entries)?;
    let mut named = vec![false; usize::from(shape.m) * usize::from(shape.heads.min(MAX_HEADS))];
    for (position, row) in rows.iter().enumerate() {
        let ListRow { query, head, entries, context } = *row;
        if std::mem::replace(&mut named[row.number(shape.m)], true) {
            return Err(ListError::Repeated { position, query, head });
        }
        if u32::from(context) >= limit {
            return Err(ListError::Context { position, context, limit });
        }
        if u32::from(entries) > shape.most_entries {
            let (found, most) = (entries, shape.most_entries);
            return Err(ListError::Entries { position, found, most });
        }
    }
    Ok(())
}

/// What happens in a list.
enum Event<'a> {
    /// A token, with the row of the operand that it reads and the heads of its contexts.
    Token { kind: Kind, row: u16, heads: &'a [u8], uses: &'a ContextSet },
    /// The end of a segment.
    End,
}

/// Walks through a list, checks it and returns the key of each entry.
fn walk(
    list: &List,
    shape: &Shape,
    machine: &Machine,
    mut visit: impl FnMut(Event<'_>),
) -> Result<Vec<u16>, ListError> {
    let seats = shape.groups(machine).seats();
    check_list_rows(&list.rows, shape, seats)?;
    let mut keys = vec![0; shape.entries as usize];
    // Of each query the place of its next entry, and the place after its last one.
    let mut end = 0;
    let mut entries: Vec<(usize, usize)> = Vec::with_capacity(list.rows.len());
    for row in &list.rows {
        let start = end;
        end += usize::from(row.entries);
        entries.push((start, end));
    }
    // The positions of the queries in contexts, of the batch whose rows pass and of the next one.
    let mut seated: Vec<Option<usize>> = vec![None; seats as usize];
    let mut next = seated.clone();
    let mut standing = 0;
    let mut heads: Vec<u8> = Vec::new();
    let last = list.segments.len().saturating_sub(1);
    for (segment, of) in list.segments.iter().enumerate() {
        for (token, element) in of.tokens.iter().enumerate() {
            heads.clear();
            let (kind, row, uses) = match *element {
                Token::Held(queries) => {
                    let Some(taking) = list.rows.get(standing..standing + usize::from(queries))
                    else {
                        return Err(ListError::Seats { segment, token });
                    };
                    if segment == last {
                        return Err(ListError::Seats { segment, token });
                    }
                    let mut uses = ContextSet::EMPTY;
                    for row in taking {
                        if row.query != taking[0].query {
                            return Err(ListError::Apart { segment, token });
                        }
                        let context = row.context;
                        let seat = &mut next[usize::from(context)];
                        if seat.replace(standing).is_some() {
                            return Err(ListError::Taken { segment, token, context });
                        }
                        standing += 1;
                        uses.insert(context);
                        add_head(&mut heads, row.head);
                    }
                    (Kind::Held, taking.first().map_or(0, |row| row.query), uses)
                }
                Token::Row { key, uses } => {
                    if key >= shape.n {
                        return Err(ListError::Key { segment, token, key, limit: shape.n });
                    }
                    if uses.is_empty() {
                        return Err(ListError::Unused { segment, token });
                    }
                    for context in uses.iter() {
                        let query = seated.get(usize::from(context)).copied().flatten();
                        let vacant = ListError::Vacant { segment, token, context };
                        let position = query.ok_or(vacant)?;
                        let (place, end) = &mut entries[position];
                        if place == end {
                            let stated = list.rows[position].entries;
                            let found = u32::from(stated) + 1;
                            return Err(ListError::Uses { position, found, stated });
                        }
                        keys[*place] = key;
                        *place += 1;
                        add_head(&mut heads, list.rows[position].head);
                    }
                    (Kind::Row, key, uses)
                }
            };
            visit(Event::Token { kind, row, heads: &heads, uses: &uses });
        }
        visit(Event::End);
        std::mem::swap(&mut seated, &mut next);
        next.fill(None);
    }
    if standing < list.rows.len() {
        return Err(ListError::Standing { found: standing, stated: list.rows.len() });
    }
    match entries.iter().position(|(place, end)| place < end) {
        None => Ok(keys),
        Some(position) => {
            let stated = list.rows[position].entries;
            let (place, end) = entries[position];
            let found = u32::from(stated) - (end - place) as u32;
            Err(ListError::Uses { position, found, stated })
        }
    }
}

/// Adds a head to those that rise.
fn add_head(heads: &mut Vec<u8>, head: u8) {
    if let Err(place) = heads.binary_search(&head) {
        heads.insert(place, head);
    }
}

/// The clock of an instruction, with the addresses of its rows.
struct Timing {
    shape: Shape,
    word_bytes: Option<u64>,
    clock: Clock,
    words: Vec<u64>,
    segments: Vec<u16>,
    /// The cycle of the last token before the segment.
    before: u64,
}

impl Timing {
    fn new(shape: &Shape, machine: &Machine) -> Timing {
        let array = Array::new(shape.d, shape.lines, machine);
        Timing {
            shape: *shape,
            word_bytes: array.reads.map(|reads| reads.word_bytes.into()),
            clock: Clock::new(array, shape.phase),
            words: Vec::new(),
            segments: Vec::new(),
            before: 0,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Token { kind, row, heads, uses } => {
                self.words.clear();
                let operand = match kind {
                    Kind::Held => self.shape.held,
                    Kind::Row => Some(self.shape.streamed),
                };
                if let (Some(word), Some((base, stride))) = (self.word_bytes, operand) {
                    let d = u64::from(self.shape.d);
                    let at = u64::from(base) + u64::from(row) * u64::from(stride);
                    for head in heads {
                        let start = at + u64::from(*head) * d;
                        let from = self.words.last().map_or(0, |last| last + 1);
                        let words = (start / word).max(from)..(start + d).div_ceil(word);
                        self.words.extend(words);
                    }
                }
                self.clock.issue(kind, &self.words, uses);
            }
            Event::End => {
                self.clock.end_segment();
                let cycles = self.clock.cycle() - self.before;
                self.before = self.clock.cycle();
                self.segments.push(u16::try_from(cycles).unwrap_or(u16::MAX));
            }
        }
    }
}

/// Sets the cycles that the segments of a list and an instruction state to the right ones.
///
/// # Errors
/// The list does not hold together.
pub fn state_cycles(op: &mut Op, list: &mut List, machine: &Machine) -> Result<(), ListError> {
    let run = Run::new(op, list, machine)?;
    let Some(Shape { phase, .. }) = Shape::of(op) else { return Ok(()) };
    match op {
        Op::SddmmList(op) => op.cycles.0 = run.cycles,
        Op::SpmmList(op) => op.cycles.0 = run.cycles,
        _ => (),
    }
    for (segment, cycles) in list.segments.iter_mut().zip(run.segments) {
        segment.cycles[phase as usize] = cycles;
    }
    Ok(())
}
