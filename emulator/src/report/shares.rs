//! Attributes the cycles of a run to layers.

use std::ops::Range;

use vitcod_isa::program::Program;

use vitcod_isa::timing::Timing;

/// The cycles of a run in order, each range with its layer: that of the instruction that completes
/// next, of several the first in the program. Instructions of undefined layers have none.
pub fn shares(program: &Program, timing: &Timing) -> Vec<(usize, Range<u64>)> {
    let layers = program.header.layers.len();
    let mut completions: Vec<(u64, usize, usize)> =
        (timing.spans().iter().zip(&program.layer_of).enumerate())
            .map(|(index, (span, layer))| (span.completion, index, *layer as usize))
            .filter(|(_, _, layer)| *layer < layers)
            .collect();
    completions.sort_unstable();
    let mut shares: Vec<(usize, Range<u64>)> = Vec::new();
    let mut frontier = 0;
    for (completion, _, layer) in completions {
        match shares.last_mut() {
            Some((last, cycles)) if *last == layer => cycles.end = completion,
            _ if completion > frontier => shares.push((layer, frontier..completion)),
            _ => {}
        }
        frontier = completion;
    }
    shares
}
