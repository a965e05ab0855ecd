//! Task listings and their text hold the same. Cases are files of `tests/ir`.

use super::*;

/// Any task listing whose operands all lie in buffers, most of them without sense.
fn task_listing() -> impl Strategy<Value = TaskListing> {
    let buffers = prop::collection::vec((1..1u32 << 16, any::<u32>()), 1..5);
    let picks = prop::collection::vec(
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u32>()),
        100,
    );
    (program(), buffers, picks, any::<bool>()).prop_map(
        |(mut program, buffers, picks, is_scheduled)| {
            let mut picks = picks.into_iter().cycle();
            let (mut operands, mut groups) = (Vec::new(), Vec::new());
            // The buffers of a task listing are its own.
            program.buffers.clear();
            program.host = None;
            for instr in &mut program.code {
                (instr.wait, instr.signal) = Default::default();
                let mut lies_in = Operands::default();
                for (at, buffer) in instr.op.sram_operands().into_iter().zip(&mut lies_in) {
                    let (number, offset, _) = picks.next().unwrap();
                    let number = number.index(buffers.len());
                    (at.0, *buffer) =
                        (offset.index(buffers[number].0 as usize) as u32, Some(number as u32));
                }
                operands.push(lies_in);
                groups.push(picks.next().unwrap().2 % 3);
            }
            let kind = if is_scheduled { Kind::Scheduled } else { Kind::Tiled };
            let buffers = buffers
                .iter()
                .map(|(bytes, at)| (*bytes, is_scheduled.then_some(at % MAX_SRAM)))
                .collect();
            let attempt = (!is_scheduled && picks.next().unwrap().2 % 2 == 0).then(|| Attempt {
                order: Order::ALL[picks.next().unwrap().2 as usize % 2],
                ahead: u64::from(picks.next().unwrap().2 % 101),
            });
            TaskListing { kind, program, buffers, operands, groups, attempt }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_local_rejects: 1 << 24, ..ProptestConfig::default() })]

    #[test]
    fn task_listings_and_their_texts_convert_both_ways(tasks in task_listing()) {
        let text = tasks.listing(Sections::Inline).to_string();
        prop_assert_eq!(Kind::of(&text), Some(tasks.kind));
        let again = TaskListing::parse(&text, tasks.kind, &no_files);
        let (again, places) = again.unwrap_or_else(|error| panic!("{}", error.render("text", &text)));
        prop_assert_eq!(&again, &tasks);
        prop_assert_eq!(again.listing(Sections::Inline).to_string(), text);
        prop_assert_eq!(places.code.len(), tasks.program.code.len());
        prop_assert_eq!(places.buffers.len(), tasks.buffers.len());
    }

    #[test]
    fn damaged_drafts_do_no_harm(
        tasks in task_listing(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(),
            prop_oneof!["[ -~\n]{0,4}", Just("b0+0xffffffff".to_owned()), any::<String>()]), 1..6),
    ) {
        let text = damaged(&tasks.listing(Sections::Inline).to_string(), &changes);
        for kind in Kind::ALL {
            match TaskListing::parse(&text, kind, &no_files) {
                Ok((tasks, _)) => drop(tasks.listing(Sections::Inline).to_string()),
                Err(error) => prop_assert!(!error.render("text", &text).is_empty()),
            }
        }
    }
}

#[test]
fn large_sections_are_parts_of_a_side_file() {
    let mut program = parse(TEXT);
    program.image = Bytes::from(vec![7; 10_000]);
    let [graph, constants] = [5_000, 6_000].map(|bytes| Bytes::from(vec![b' '; bytes]));
    program.ir = Some(SavedIr { graph, constants });
    let side = Bytes::from(Sections::side(&program.image, program.ir.as_ref()));
    assert_eq!(side.len(), 21_000);
    let text = program.listing().with_sections(Sections::Side("side".to_owned())).to_string();
    assert!(text.contains(".image \"side\" at=0 bytes=10000 sha256="), "{text}");
    assert!(text.contains(".ir \"side\" at=10000 bytes=5000 sha256="), "{text}");
    assert!(text.contains(".ir_constants \"side\" at=15000 bytes=6000 sha256="), "{text}");
    let files = |_: &str| Ok(side.clone());
    assert_eq!(Assembly::parse(&text, &files).unwrap().program, program);

    let message = |text: &str| Assembly::parse(text, &files).unwrap_err().kept()[0].message.clone();
    assert_eq!(message(&text.replace("at=10000", "at=16001")), "this has only 21000 bytes");
    assert_eq!(
        message(&text.replace("at=10000", "at=18446744073709551615")),
        "this has only 21000 bytes"
    );
    let glance = program.listing().with_sections(Sections::Digest).to_string();
    assert_eq!(
        message(&glance),
        "only the digest of these bytes is there: this text is for reading"
    );
}

#[test]
fn kinds_are_told_by_heads() {
    let kinds = [
        "; a\n\n.tiled x",
        ".machine vitcod\n.scheduled x",
        ".program x",
        ".tilde x",
        "graph \"x\" split {\n.tiled x",
        "",
        "\"",
    ];
    let expected = [
        Some(Kind::Tiled),
        Some(Kind::Scheduled),
        Some(Kind::Program),
        Some(Kind::Tiled),
        None,
        None,
        None,
    ];
    assert_eq!(kinds.map(Kind::of), expected);
}

#[test]
fn seeds_make_the_same_integers_everywhere() {
    let of = |lines: &str| {
        let text = format!(".program x\n.machine vitcod\n{lines}\n");
        Assembly::parse(&text, &no_files)
            .map(|assembly| assembly.program.image)
            .map_err(|error| error.kept()[0].clone())
    };
    // SplitMix64 of seed 0 begins with 0xe220a8397b1dcdaf.
    assert_eq!(of(".u16 count=1 seed=0").unwrap()[..], [0xaf, 0xcd]);
    assert_eq!(of(".i8 count=3 seed=5").unwrap()[..], of(".u8 count=3 seed=5").unwrap()[..]);
    assert_eq!(of(".i8 count=3 seed=5\n.i32 -1").unwrap().len(), 7);
    for (lines, message) in [
        (".i8 seed=5", "`.i8` needs `count=`"),
        (".hex count=1 seed=5", "`.hex` takes no seed"),
        (".i32 count=25165825 seed=5", "seeds make at most 100663296 bytes in a text"),
        (".i32 count=18446744073709551615 seed=5", "seeds make at most 100663296 bytes in a text"),
        (".i8 1 count=1 seed=5", "`.i8` takes no such argument"),
    ] {
        assert_eq!(of(lines).unwrap_err().message, message);
    }
    let digest = of(".u8 count=1 seed=0 sha256=00").unwrap_err().message;
    assert!(digest.starts_with("the digest of these bytes is "), "{digest}");
}
