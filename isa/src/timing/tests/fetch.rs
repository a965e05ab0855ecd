//! Fetch and dispatch, worked out by hand. A burst of 64 bytes takes 5/12 of a cycle; a contiguous
//! `load` has a word of 16 bytes, `sync` of 8, `barrier` and `halt` of 4.

use super::*;

fn fetching(buffer_bytes: u32, queue_depth: u32) -> Machine {
    Machine { fetch: Some(machine::Fetch { buffer_bytes, queue_depth }), ..vitcod() }
}

fn sync(unit: Unit, wait: &[Unit], signal: &[Unit]) -> Instr {
    instr(Sync { unit }, wait, signal)
}

#[test]
fn words_have_the_lengths_on_which_the_cases_depend() {
    let length = |op: Op| Instr::new(op).encode().unwrap().len();
    assert_eq!(length(load(0, 0, 1536).into()), 16);
    assert_eq!(length(Sync { unit: Unit::Vector }.into()), 8);
    assert_eq!([length(Barrier {}.into()), length(Halt {}.into())], [4, 4]);
}

#[test]
fn instructions_are_dispatched_one_per_cycle_once_their_words_have_arrived() {
    // The two bursts are requested in cycles 0 and 1 and arrive in 51 and 52.
    let code = ended(&[Instr::new(load(0, 0, 1536)); 4]);
    let timing = simulate(&code, &fetching(1024, 8)).unwrap();
    let starts: Vec<u64> = timing.spans().iter().map(|span| span.start).collect();
    // Dispatched in cycles 51 to 55.
    assert_eq!(starts, [52, 62, 72, 82, 142]);
    let fetched =
        Fetched { bytes: 68, burst_bytes: 128, bursts: 2, word_cycles: 51, ..Fetched::default() };
    assert_eq!(timing.fetched(), Some(&fetched));
    assert_eq!(timing.unit(Unit::Load).fetch, 52);
    assert_eq!(timing.unit(Unit::Vector).drained, 143);
}

#[test]
fn a_full_queue_holds_up_all_units() {
    let code =
        [Instr::new(load(0, 0, 1536)), Instr::new(load(0, 0, 1536)), Instr::new(load(0, 0, 1536))];
    let code = ended(&[&code[..], &[Instr::new(work(Engine::Denser, 0, 64, 5))]].concat());
    let timing = simulate(&code, &fetching(1024, 1)).unwrap();
    // The loads start in cycles 52, 62 and 72; a place is free a cycle later. They are dispatched
    // in cycles 51, 53 and 63, the product in 64, and `halt` when all queues are empty, in 73.
    let starts: Vec<u64> = timing.spans().iter().map(|span| span.start).collect();
    assert_eq!(starts, [52, 62, 72, 65, 132]);
    let fetched = timing.fetched().unwrap();
    assert_eq!((fetched.word_cycles, fetched.queue_cycles), (51, 1 + 9 + 8));
    assert_eq!(timing.unit(Unit::Denser).fetch, 65);

    // With queues of two, the product does not wait for the loads: it is dispatched in cycle 54.
    // Only `halt` waits, for a place behind the last load.
    let timing = simulate(&code, &fetching(1024, 2)).unwrap();
    assert_eq!(timing.spans()[3].start, 55);
    assert_eq!(timing.fetched().unwrap().queue_cycles, 8);
}

#[test]
fn bursts_of_instructions_share_the_channel_and_wait_for_room() {
    // 196 bytes in four bursts, of which the buffer holds two.
    let code = ended(&[Instr::new(load(0, 0, 1536)); 12]);
    let timing = simulate(&code, &fetching(128, 16)).unwrap();
    // The fourth load is dispatched in cycle 54, which makes room for the third burst; that is
    // served in 62, between the first and the second load, and arrives in 113. Before, the eighth
    // load is dispatched in 58, and the fourth burst requested when the third one's cycle is over,
    // 63 5/12, served in 72 5/12, and there in 124.
    assert_eq!(timing.spans()[..3], [span(52, 62, 112), span(63, 73, 123), span(73, 83, 133)]);
    assert_eq!(timing.spans()[11..], [span(163, 173, 223), span(223, 224, 224)]);
    let fetched = timing.fetched().unwrap();
    assert_eq!((fetched.bursts, fetched.word_cycles, fetched.queue_cycles), (4, 51 + 54 + 7, 0));
}

#[test]
fn a_wait_is_for_what_came_last() {
    let machine = fetching(1024, 4);
    let code = ended(&[
        instr(load(0, 0, 1536), &[], &[Unit::Vector]),
        sync(Unit::Vector, &[Unit::Load], &[]),
    ]);
    let timing = simulate(&code, &machine).unwrap();
    // The token arrives in cycle 112, long after the word.
    assert_eq!(timing.spans()[1].start, 112);
    assert_eq!(timing.unit(Unit::Vector).token[Unit::Load.index()], 112);
    assert_eq!(timing.unit(Unit::Vector).fetch, 0);
}

#[test]
fn a_barrier_waits_for_its_word() {
    // The first burst has seven words of `sync` and one of `barrier`, the second one `halt`.
    let mut code = vec![sync(Unit::Vector, &[], &[]); 7];
    code.extend([Instr::new(Barrier {}), Instr::new(Barrier {}), Instr::new(Halt {})]);
    let timing = simulate(&code, &fetching(1024, 8)).unwrap();
    // Dispatched in cycles 51 to 60.
    let starts: Vec<u64> = timing.spans().iter().map(|span| span.start).collect();
    assert_eq!(starts, [52, 53, 54, 55, 56, 57, 58, 59, 60, 61]);
    let UnitCycles { fetch, barrier, drained, .. } = *timing.unit(Unit::Load);
    assert_eq!((fetch, barrier, drained), (0, 61, 1));
    // With a late word, all units wait at the barrier.
    let timing = simulate(&[Instr::new(Barrier {}), Instr::new(Halt {})], &fetching(1024, 8));
    let UnitCycles { fetch, barrier, drained, .. } = *timing.unwrap().unit(Unit::Load);
    assert_eq!((fetch, barrier, drained), (0, 53, 1));
}

/// The rule of the verifier is necessary: this program ends if all instructions are there.
#[test]
fn a_wait_before_its_signal_may_never_end() {
    let waiting = sync(Unit::Vector, &[Unit::Load], &[]);
    let signalling = sync(Unit::Load, &[], &[Unit::Vector]);
    let code = ended(&[waiting, sync(Unit::Vector, &[], &[]), signalling]);
    assert!(simulate(&code, &vitcod()).is_ok());
    assert!(simulate(&code, &fetching(1024, 2)).is_ok());
    let error = simulate(&code, &fetching(1024, 1)).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().map(str::trim).collect();
    assert_eq!(lines[1], "load: instruction 2, `sync`, waits for its dispatch");
    assert!(lines[9].ends_with("vector: instruction 0, `sync`, waits for a token from load"));
}

#[test]
fn a_buffer_holds_a_word_and_a_burst() {
    let text = |bytes| fetching(bytes, 4).validate().map_err(|found| found.to_string());
    assert_eq!(text(128), Ok(()));
    assert_eq!(text(127), Err("fetch.buffer_bytes = 127: a word and a burst take 128".to_owned()));
}
