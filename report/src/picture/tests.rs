//! Pictures of small programs, pixel by pixel where it matters.

use std::sync::Arc;

use super::*;
use vitcod_emulator::Emulator;
use vitcod_emulator::scratchpad::MemoryPlan;
use vitcod_isa::testing::two_layers;

/// The colours of a picture, row by row, and its width.
fn decoded(png: &[u8]) -> (Vec<[u8; 3]>, usize) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let width = reader.next_frame(&mut pixels).unwrap().width as usize;
    (pixels.as_chunks().0.to_vec(), width)
}

/// How many pixels of a picture have a colour.
fn count(png: &[u8], colour: [u8; 3]) -> usize {
    decoded(png).0.iter().filter(|pixel| **pixel == colour).count()
}

fn draw(from: Option<u64>, to: Option<u64>) -> [Vec<u8>; 2] {
    let emulator = Emulator::new(Arc::new(two_layers())).unwrap();
    let (program, timing) = (emulator.program(), emulator.timing());
    let cycles = window(timing.total(), from, to).unwrap();
    let (mut units, mut scratchpad) = (Vec::new(), Vec::new());
    timeline(program, timing, cycles.clone(), &mut units).unwrap();
    memory(&MemoryPlan::new(program, timing), cycles, &mut scratchpad).unwrap();
    [units, scratchpad]
}

const LOAD: [u8; 3] = [0x44, 0x77, 0xaa];
const PRODUCT: [u8; 3] = [0x22, 0x88, 0x33];
const TOKEN: [u8; 3] = [0xe4, 0xe4, 0xe8];

/// Of 224 cycles the load takes 10, the product 100 on all lines, and a token is awaited for 60 and
/// for 173.
#[test]
fn a_timeline_shows_what_cycles_are_spent_on() {
    let [units, _] = draw(None, None);
    // With the square of the legend, less edges and letters and what rounding does to a column.
    let near = |found: usize, cycles: usize, height: usize| {
        let expected = cycles * 1260 / 224 * height;
        assert!(found <= expected + 150 && found + 700 > expected, "{found} of {expected}");
    };
    near(count(&units, TOKEN), 60 + 173, 28);
    near(count(&units, LOAD), 10, 28);
    near(count(&units, PRODUCT), 100, 28 + 44);
}

#[test]
fn a_part_of_the_run_fills_the_width() {
    let [units, scratchpad] = draw(Some(70), Some(150));
    assert_eq!(count(&units, LOAD), 0);
    // The product takes its lane and that of the lines from side to side, less its name, the axis'
    // dots and the legend's square.
    let product = count(&units, PRODUCT);
    assert!(product > 1260 * (28 + 44) - 1500 && product <= 1260 * (28 + 44) + 64, "{product}");
    // Weights: 1,500 of 327,680 bytes are 2.9 of 640 rows.
    let weights = count(&scratchpad, LOAD);
    assert!((2 * 1260..4 * 1260).contains(&weights), "{weights}");
}

#[test]
fn pictures_are_the_same_bytes_each_time() {
    assert_eq!(draw(None, None), draw(None, None));
}

#[test]
fn windows_are_parts_of_the_run() {
    assert_eq!(window(100, None, None), Ok(0..100));
    assert_eq!(window(100, Some(10), Some(1000)), Ok(10..100));
    let error = |from, to| window(100, from, to).unwrap_err();
    assert_eq!(
        error(Some(100), None),
        "cycles 100..: expected a range within the 100 cycles of the run"
    );
    assert_eq!(
        error(Some(7), Some(7)),
        "cycles 7..7: expected a range within the 100 cycles of the run"
    );
    assert_eq!(
        error(None, Some(0)),
        "cycles ..0: expected a range within the 100 cycles of the run"
    );
}
