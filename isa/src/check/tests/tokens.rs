//! Signals and waits.

use super::*;

#[test]
fn tokens_balance() {
    let mut program = pipeline();
    program.code[1].signal = units(&[Unit::Store, Unit::Load]);
    assert_eq!(error(&program), "1: vector sends 1 token to load, which waits for 0");

    let mut program = pipeline();
    program.code[0].signal = UnitSet::EMPTY;
    assert_eq!(error(&program), "1: load sends 0 tokens to vector, which waits for 1");

    let mut program = pipeline();
    program.code[3].wait = units(&[Unit::Load]);
    assert_eq!(error(&program), "3: an instruction of all units has no tokens");
}

#[test]
fn waits_in_a_circle_never_end() {
    let program = with(vec![
        instr(load(), &[Unit::Store], &[Unit::Store]),
        instr(store(), &[Unit::Load], &[Unit::Load]),
        instr(Halt {}, &[], &[]),
    ]);
    let message =
        "0: waits for a token of instruction 1, which comes later: a signal precedes its wait";
    assert_eq!(error(&program), message);
}

#[test]
fn a_token_does_not_pass_a_barrier_backwards() {
    let program = with(vec![
        instr(store(), &[Unit::Load], &[]),
        instr(Barrier {}, &[], &[]),
        instr(load(), &[], &[Unit::Store]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(
        error(&program),
        "0: waits for a token of instruction 2, which comes later: a signal precedes its wait"
    );
}

#[test]
fn tokens_may_be_sent_long_before_they_are_taken_and_to_oneself() {
    let sync = |unit, wait: &[Unit], signal: &[Unit]| instr(Sync { unit }, wait, signal);
    let program = with(vec![
        sync(Unit::Load, &[], &[Unit::Load, Unit::Store]),
        sync(Unit::Load, &[Unit::Load], &[Unit::Store]),
        sync(Unit::Store, &[Unit::Load], &[]),
        instr(Barrier {}, &[], &[]),
        sync(Unit::Store, &[Unit::Load], &[]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(check(&program), Ok(()));

    let own = with(vec![sync(Unit::Load, &[Unit::Load], &[Unit::Load]), instr(Halt {}, &[], &[])]);
    assert_eq!(error(&own), "0: waits for a token of itself: a signal precedes its wait");
}

/// Without a limit to the queues of the units, these programs would end.
#[test]
fn a_signal_precedes_its_wait_in_the_program() {
    let program = with(vec![
        instr(store(), &[Unit::Load], &[]),
        instr(load(), &[], &[Unit::Store]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(
        error(&program),
        "0: waits for a token of instruction 1, which comes later: a signal precedes its wait"
    );
    // The token of instruction 0 is that of instruction 1; the second one is taken too early.
    let sync = |unit, wait: &[Unit], signal: &[Unit]| instr(Sync { unit }, wait, signal);
    let program = with(vec![
        sync(Unit::Load, &[], &[Unit::Store]),
        sync(Unit::Store, &[Unit::Load], &[]),
        sync(Unit::Store, &[Unit::Load], &[]),
        sync(Unit::Load, &[], &[Unit::Store]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(
        error(&program),
        "2: waits for a token of instruction 3, which comes later: a signal precedes its wait"
    );
}
