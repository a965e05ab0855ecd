//! Evidence that the verifier finds every race and invents none.
//!
//! - On random small programs it agrees with an oracle that compares every pair of accesses.
//! - Of a compiled model no token can be taken out unnoticed, once the redundant ones are gone.
//! - What it accepts gives the same bits in every order of execution that chaos scheduling draws;
//!   what it refuses does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use vitcod_compiler::codegen::{self, Options};
use vitcod_compiler::split::GlobalTokens;
use vitcod_emulator::{Emulator, Fault, Memory};
use vitcod_isa::check::{self, check};
use vitcod_isa::instr::{Unit, UnitSet};
use vitcod_isa::program::{Buffer, Program};
use vitcod_support::random::SplitMix64;
use vitcod_testing::machine::with_scratchpad;
use vitcod_testing::oracle;
use vitcod_testing::vit::{Vit, masked, quantised, vit};

const TINY: Vit = Vit {
    image: 24,
    patch: 4,
    channels: 2,
    heads: 3,
    head_dim: 8,
    hidden: 48,
    depth: 2,
    classes: 5,
    all_tokens: true,
};

/// A vision transformer on a small machine, so that memory is used again and again: dense, and with
/// masks for both engines.
fn compiled() -> [(&'static str, Program); 2] {
    let machine = with_scratchpad(12 * 1024);
    let graph = vit(TINY, 3);
    let mut entries = SplitMix64::new(5);
    let sparse =
        masked(TINY, 3, |_, _, i, j| j.is_multiple_of(9) || i == j || entries.bits() % 100 < 15);
    let options = Options { globals: GlobalTokens::Above(12), ..Options::default() };
    [("dense", graph), ("sparse", sparse)].map(|(name, graph)| {
        let program = codegen::compile(&quantised(&graph), &machine, options).unwrap();
        let used = |unit: Unit| program.code.iter().any(|instr| instr.op.units().iter().eq([unit]));
        assert_eq!(used(Unit::Sparser), name == "sparse", "both engines work");
        (name, program)
    })
}

#[test]
fn agrees_with_the_oracle_on_random_programs() {
    let mut random = SplitMix64::new(1);
    let (mut sound, mut racing, mut undefined) = (0, 0, 0);
    for round in 0..4000 {
        let program = vitcod_testing::program::program(&mut random);
        let races = oracle::races(&program.code);
        let defined = oracle::is_defined(&program);
        let verdict = check(&program);
        let listing = || program.code.iter().map(|instr| format!("{instr}\n")).collect::<String>();
        assert_eq!(
            verdict.is_ok(),
            races.is_empty() && defined,
            "round {round}: races {races:?}, defined: {defined}, verifier: {verdict:?}\n{}",
            listing()
        );
        match (races.is_empty(), defined) {
            (true, true) => {
                sound += 1;
                no_token_is_redundant_after_the_pass(&program);
                any_order_gives_the_same(program, round);
            }
            (false, _) => racing += 1,
            (true, false) => undefined += 1,
        }
    }
    assert!(sound > 500 && racing > 500 && undefined > 100, "{sound} {racing} {undefined}");
}

/// A program gives in an order that a seed draws what it gives in that of the simulation, be it
/// that some instruction cannot execute.
fn any_order_gives_the_same(program: Program, seed: u64) {
    let program = Arc::new(program);
    let mut emulator = Emulator::new(Arc::clone(&program)).unwrap();
    match outputs(&program, &mut emulator, None) {
        Ok(expected) => assert_eq!(
            outputs(&program, &mut emulator, Some(seed)).as_ref(),
            Ok(&expected),
            "seed {seed}"
        ),
        Err(_) => assert!(outputs(&program, &mut emulator, Some(seed)).is_err(), "seed {seed}"),
    }
}

/// By the oracle.
fn no_token_is_redundant_after_the_pass(program: &Program) {
    let mut program = program.clone();
    let before = check::tokens(&program.code).len();
    let removed = check::remove_redundant_tokens(&mut program).unwrap();
    let left = check::tokens(&program.code);
    assert_eq!(left.len() + removed.len(), before);
    assert!(oracle::races(&program.code).is_empty(), "a needed token was removed");
    for token in left {
        let mut code = program.code.clone();
        token.remove(&mut code);
        assert!(!oracle::races(&code).is_empty(), "{token:?} is redundant");
    }
}

/// The same program in which every instruction waits for all before it, so that most of its tokens
/// order nothing.
fn in_program_order(program: &Program) -> Program {
    let mut program = program.clone();
    let mut last: [Option<usize>; Unit::COUNT] = Default::default();
    for index in 0..program.code.len() {
        let instr = &mut program.code[index];
        (instr.wait, instr.signal) = (UnitSet::EMPTY, UnitSet::EMPTY);
        let units: Vec<Unit> = instr.op.units().iter().collect();
        let [unit] = units[..] else { continue };
        for from in Unit::ALL {
            // Its last instruction sends one token, and so the first that comes after it takes
            // that.
            if let Some(sender) = last[from.index()]
                && !program.code[sender].signal.contains(unit)
            {
                program.code[sender].signal.insert(unit);
                program.code[index].wait.insert(from);
            }
        }
        last[unit.index()] = Some(index);
    }
    program
}

#[test]
fn no_token_of_a_compiled_model_is_taken_out_unnoticed() {
    for (name, compiled) in compiled() {
        for (mut program, is_full) in [(in_program_order(&compiled), true), (compiled, false)] {
            assert_eq!(check(&program), Ok(()), "{name}");
            let without = |program: &Program, token: check::Token| {
                let mut program = program.clone();
                token.remove(&mut program.code);
                program
            };
            let tokens = check::tokens(&program.code);
            let waits: u32 = program.code.iter().map(|instr| instr.wait.bits().count_ones()).sum();
            assert_eq!(tokens.len(), waits as usize, "{name}: every wait takes a token");
            let redundant: BTreeSet<_> = tokens
                .iter()
                .copied()
                .filter(|token| check(&without(&program, *token)).is_ok())
                .collect();
            assert_eq!(
                redundant.is_empty(),
                !is_full,
                "{name}: the compiler leaves no token that orders nothing"
            );
            let removed = check::remove_redundant_tokens(&mut program).unwrap();
            // Of several that stand in for each other not all can go.
            assert!(removed.iter().all(|token| redundant.contains(token)), "{name}");
            assert_eq!(removed.is_empty(), redundant.is_empty(), "{name}");
            assert_eq!(check(&program), Ok(()), "{name}");
            let left = check::tokens(&program.code);
            assert_eq!(left.len() + removed.len(), tokens.len(), "{name}");
            assert!(left.len() > 60, "{name}: {}", left.len());
            for token in left {
                assert!(check(&without(&program, token)).is_err(), "{name}: {token:?}");
            }
        }
    }
}

/// A wait alone cannot be taken out, nor a signal: the other would be left over.
#[test]
fn waits_and_signals_are_balanced() {
    for (name, program) in compiled() {
        for token in check::tokens(&program.code) {
            let mut one_sided = [program.clone(), program.clone()];
            one_sided[0].code[token.receiver].wait = UnitSet::EMPTY;
            one_sided[1].code[token.sender].signal = UnitSet::EMPTY;
            for program in one_sided {
                let error = check(&program).unwrap_err().to_string();
                assert!(error.contains("which waits for"), "{name}: {token:?}: {error}");
            }
        }
    }
}

/// The outputs of a run on inputs of noise: in the order of the simulation, or in one that a seed
/// draws.
fn outputs(
    program: &Arc<Program>,
    emulator: &mut Emulator,
    seed: Option<u64>,
) -> Result<Vec<u8>, Fault> {
    let mut memory = Memory::new(program).unwrap();
    let mut noise = SplitMix64::new(9);
    for input in &program.header.inputs {
        let bytes =
            &mut memory.dram_mut()[input.address as usize..][..input.bytes().unwrap() as usize];
        bytes.fill_with(|| noise.bits() as u8);
    }
    match seed {
        None => emulator.run(&mut memory)?,
        Some(seed) => emulator.run_in_random_order(&mut memory, seed)?,
    }
    let bytes =
        |address: u64, bytes: u64| memory.dram()[address as usize..][..bytes as usize].to_vec();
    Ok(program
        .header
        .outputs
        .iter()
        .flat_map(|output| bytes(output.address, output.bytes().unwrap()))
        .collect())
}

#[test]
fn accepted_programs_give_the_same_bits_in_every_order() {
    for (name, program) in compiled() {
        assert_eq!(check(&program), Ok(()));
        let program = Arc::new(program);
        let mut emulator = Emulator::new(Arc::clone(&program)).unwrap();
        let expected = outputs(&program, &mut emulator, None).unwrap();
        assert!(
            expected.iter().any(|byte| *byte != expected[0]),
            "{name}: outputs that show something"
        );
        for seed in 0..100 {
            assert_eq!(
                outputs(&program, &mut emulator, Some(seed)).as_ref(),
                Ok(&expected),
                "{name}, seed {seed}"
            );
        }
    }
}

/// Chaos finds what the verifier finds: the test above can fail.
#[test]
fn without_a_needed_token_some_order_gives_other_bits() {
    for (name, program) in compiled() {
        let program = Arc::new(program);
        let mut emulator = Emulator::new(Arc::clone(&program)).unwrap();
        let expected = outputs(&program, &mut emulator, None).unwrap();
        let (mut tried, mut found) = (0, 0);
        for token in check::tokens(&program.code).into_iter().step_by(3) {
            let mut racing = (*program).clone();
            token.remove(&mut racing.code);
            if check(&racing).is_ok() {
                continue;
            }
            let racing = Arc::new(racing);
            let mut emulator = Emulator::new(Arc::clone(&racing)).unwrap();
            // Bytes that come too late can also be such that an instruction cannot execute.
            let differs =
                |seed| outputs(&racing, &mut emulator, Some(seed)).as_ref() != Ok(&expected);
            tried += 1;
            found += usize::from((0..50).any(differs));
        }
        assert!(
            tried > 30 && found * 100 >= tried * 95,
            "{name}: {found} of {tried} races were seen"
        );
    }
}

/// A program one of whose buffers has moved to another address, with the operands that lie in it.
fn moved(program: &Program, buffer: usize, address: u32) -> Program {
    let mut program = program.clone();
    let Buffer { address: from, bytes, first, last } = program.buffers[buffer];
    program.buffers[buffer].address = address;
    for instr in &mut program.code[first as usize..=last as usize] {
        for at in instr.op.sram_operands() {
            if (from..from + bytes).contains(&at.0) {
                at.0 = at.0 - from + address;
            }
        }
    }
    program
}

/// The instructions run one after the other, so no order of theirs is at fault.
#[test]
fn no_buffer_of_a_compiled_model_is_moved_onto_a_live_one_unnoticed() {
    for (name, program) in compiled() {
        let program = in_program_order(&program);
        assert_eq!(check(&program), Ok(()), "{name}");
        let (mut tried, mut seen_only_by_buffers) = (0, 0);
        for (index, buffer) in program.buffers.iter().enumerate() {
            // The first that lives at the same time, and has as many bytes.
            let onto = program.buffers.iter().find(|other| {
                let together = other.first <= buffer.last && buffer.first <= other.last;
                together && *other != buffer && other.bytes >= buffer.bytes
            });
            let Some(onto) = onto else { continue };
            let mut broken = moved(&program, index, onto.address);
            tried += 1;
            let problems = check(&broken).unwrap_err().to_string();
            assert!(problems.contains("which is live at the same time"), "{name}: {problems}");
            broken.buffers.clear();
            seen_only_by_buffers += usize::from(check(&broken).is_ok());
        }
        assert!(
            tried > 100 && seen_only_by_buffers > 10,
            "{name}: {tried}, {seen_only_by_buffers}"
        );
    }
}
