//! The fuzz targets on their seeds and on some drawn inputs, and cases that fuzzing found.
//! `fuzz/run.sh` gives them more.

use vitcod_testing::fuzz::{Target, attention};

/// A test for each target.
macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            Target::named(stringify!($name)).unwrap().exercise();
        })*

        #[test]
        fn every_target_has_a_test() {
            let names = vitcod_testing::fuzz::TARGETS.map(|target| target.name);
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets![asm, attention, graph, instr, ir_text, machine, npy, onnx, program, races, tasks];

/// Two buffers that live at the same time were given the same bytes: a task touched its buffer
/// before the one that took the bytes, so that its live range was too short.
#[test]
fn buffers_that_are_touched_early_keep_their_bytes() {
    for case in attention::TOUCHED_EARLY {
        attention::check(case);
    }
}
