//! Checks inputs and outputs.

use std::collections::BTreeSet;

use super::Report;
use crate::program::{Binding, Element, Layout, Program};

pub(super) fn check(program: &Program, problems: &mut Report) {
    let header = &program.header;
    for bindings in [&header.inputs, &header.outputs] {
        let mut names = BTreeSet::new();
        for binding in bindings {
            if !names.insert(&binding.name) {
                problems.binding(program, binding, || "the name is used twice".to_owned());
            }
        }
    }

    for input in header.inputs.iter().filter(|input| input.expected_sqnr_db.is_some()) {
        problems.binding(program, input, || "an input has no expected accuracy".to_owned());
    }
    for output in &header.outputs {
        let Some(expected) = output.expected_sqnr_db else { continue };
        if !(-200.0..=200.0).contains(&expected) {
            problems.binding(program, output, || {
                format!("an expected accuracy of {expected:e} dB, expected -200 to 200")
            });
        }
    }
    for output in &header.outputs {
        if !(output.factors.is_empty() && output.offsets.is_empty()) {
            problems.binding(program, output, || {
                "an output has no factors and offsets of channels".to_owned()
            });
        }
    }

    for output in header.outputs.iter().filter(|output| !output.element.is_number()) {
        problems.binding(program, output, || format!("{} are no outputs", output.element));
    }
    for input in &header.inputs {
        match input.element {
            Element::Row { below } if !(1..=1 << 16).contains(&below) => {
                problems.binding(program, input, || {
                    format!("rows below {below}; their numbers have 16 bits")
                });
            }
            Element::Bits { .. } if !input.layout.is_row_major() => {
                problems.binding(program, input, || {
                    "the bits of a mask have no other layout than that of its shape".to_owned()
                });
            }
            _ => {}
        }
    }

    let mut placed = Vec::new();
    for binding in header.inputs.iter().chain(&header.outputs) {
        if !(binding.step.is_finite() && binding.step > 0.0) {
            problems.binding(program, binding, || {
                format!("the step {} is not positive and finite", binding.step)
            });
        }
        if binding.layout == Layout::Pixels && binding.channels().is_none() {
            problems.binding(program, binding, || {
                format!(
                    "layout pixels with shape {:?}, expected an image [1, c, h, w] or [1, c, n]",
                    binding.shape
                )
            });
        }
        if let Some(message) = channels(binding) {
            problems.binding(program, binding, || message);
        }
        match end(program, binding) {
            Ok(end) => placed.push((binding, end)),
            Err(message) => problems.binding(program, binding, || message),
        }
    }
    placed.sort_by_key(|(binding, end)| (binding.address, *end));
    // The binding with the highest end among those that start earlier.
    let mut reached: Option<(u64, &Binding)> = None;
    for (binding, end) in placed {
        if let Some((_, other)) = reached.filter(|(reach, _)| binding.address < *reach) {
            problems.binding(program, binding, || format!("overlaps binding {:?}", other.name));
        }
        if reached.is_none_or(|(reach, _)| end > reach) {
            reached = Some((end, binding));
        }
    }
}

/// Why the factors or offsets of a binding are invalid.
fn channels(binding: &Binding) -> Option<String> {
    let Binding { factors, offsets, .. } = binding;
    if factors.is_empty() && offsets.is_empty() {
        return None;
    }
    let Some(channels) = binding.channels() else {
        return Some(
            "factors or offsets of channels, expected an image with layout pixels, or [1, h, w, c]"
                .to_owned(),
        );
    };
    for (name, numbers) in [("factors", factors), ("offsets", offsets)] {
        if !numbers.is_empty() && numbers.len() as u64 != channels {
            return Some(format!("{} {name} for {channels} channels", numbers.len()));
        }
    }
    if let Some(factor) = factors.iter().find(|factor| !(factor.is_normal() && **factor > 0.0)) {
        return Some(format!("the factor {factor} is not positive and finite"));
    }
    let offset = offsets.iter().find(|offset| !offset.is_finite());
    offset.map(|offset| format!("the offset {offset} is not finite"))
}

/// The address after the last byte, or why the region is invalid.
fn end(program: &Program, binding: &Binding) -> Result<u64, String> {
    let dram = program.header.dram_bytes;
    let image = program.image.len() as u64;
    let bytes = binding.bytes().filter(|bytes| *bytes <= dram);
    let bytes = bytes
        .ok_or_else(|| format!("shape {:?} exceeds the {dram} bytes of DRAM", binding.shape))?;
    let end = binding.address.saturating_add(bytes);
    if bytes == 0 {
        Err(format!("shape {:?} is empty", binding.shape))
    } else if binding.address < image {
        Err(format!("starts at {:#x}, inside the image of {image:#x} bytes", binding.address))
    } else if end > dram {
        Err(format!("ends at {end:#x}; DRAM has {dram:#x} bytes"))
    } else {
        Ok(end)
    }
}
