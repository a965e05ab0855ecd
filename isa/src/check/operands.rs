//! Checks operands and limits of one instruction.

use super::Report;
use crate::effects::{Access, Space, accesses, in_place};
use crate::instr::table::*;
use crate::instr::{Instr, Op, Width};
use crate::lists::MAX_HEADS;
use crate::machine::Unit;
use crate::numerics::{MAX_LAYER_NORM_WIDTH, max_accumulation_depth};
use crate::program::Program;

// Lengths of sums have 16 bits, except those of `matmul`.
const _: () = assert!(max_accumulation_depth(8, 8) >= u16::MAX as u32);

pub(super) fn check(program: &Program, index: usize, instr: &Instr, problems: &mut Report) {
    let mut report = |message: String| problems.instruction(index, instr, || message);

    if let Some(lines) = instr.op.lines()
        && lines.end() > program.machine.lines.count
    {
        report(format!("lines {lines} on a machine of {}", program.machine.lines.count));
    }
    if let Op::Matmul(matmul) = instr.op
        && matmul.depth() > max_accumulation_depth(8, 8).into()
    {
        report(format!(
            "sums of {} products, expected at most {}",
            matmul.depth(),
            max_accumulation_depth(8, 8)
        ));
    }
    if let Op::LayerNorm(LayerNorm { out, n, .. }) = instr.op {
        if usize::from(n) > MAX_LAYER_NORM_WIDTH {
            report(format!("rows of {n} elements, expected at most {MAX_LAYER_NORM_WIDTH}"));
        }
        if out == Width::I32 {
            report("LayerNorm writes 8 or 16 bits".to_owned());
        }
    }

    if let Some(unit) = unit(&instr.op)
        && !program.machine.has(unit)
    {
        report(format!("the machine has no {unit}"));
    }
    if let Op::SddmmList(SddmmList { heads, .. })
    | Op::SoftmaxList(SoftmaxList { heads, .. })
    | Op::SpmmList(SpmmList { heads, .. }) = instr.op
        && heads > MAX_HEADS
    {
        report(format!("a list of {heads} heads, expected at most {MAX_HEADS}"));
    }

    let accesses = accesses(&instr.op);
    let mut sound = Vec::with_capacity(accesses.len());
    for access in &accesses {
        match access_problem(program, access) {
            Some(message) => report(format!("{} {message}", access.operand)),
            None => sound.push(access),
        }
    }
    for (i, a) in sound.iter().enumerate() {
        for b in &sound[i + 1..] {
            let conflict = a.space == b.space && (a.mode.writes() || b.mode.writes());
            if conflict && a.region.overlaps(&b.region) && !in_place(&instr.op, a, b) {
                report(format!("{} overlaps {}", a.operand, b.operand));
            }
        }
    }
}

/// The unit that an operation needs and a machine need not have.
fn unit(op: &Op) -> Option<Unit> {
    match op {
        Op::Softmax(Softmax { minifloat: true, .. })
        | Op::SoftmaxList(SoftmaxList { minifloat: true, .. })
        | Op::Spmm(Spmm { minifloat: true, .. })
        | Op::SpmmList(SpmmList { minifloat: true, .. }) => Some(Unit::Minifloat),
        Op::Interpolate(_) => Some(Unit::Interpolation),
        _ => None,
    }
}

/// The problem of a single operand, if any.
fn access_problem(program: &Program, access: &Access) -> Option<String> {
    let Access { space, mode, region, align, .. } = *access;
    let (memory, capacity) = match space {
        Space::Sram => ("the scratchpad", u64::from(program.machine.sram.bytes)),
        Space::Dram => ("DRAM", program.header.dram_bytes),
    };
    let strides = [(region.inner, region.inner_stride), (region.outer, region.outer_stride)];
    if region.total() == 0 {
        Some("is empty: a count is 0".to_owned())
    } else if region.end() > capacity {
        Some(format!("ends at {:#x}; {memory} has {capacity:#x} bytes", region.end()))
    } else if !region.base.is_multiple_of(align) {
        Some(format!("starts at {:#x}, expected a multiple of {align}", region.base))
    } else if let Some((_, stride)) =
        strides.iter().find(|(count, stride)| *count > 1 && !stride.is_multiple_of(align))
    {
        Some(format!("has a stride of {stride}, expected a multiple of {align}"))
    } else if mode.writes() && !region.is_disjoint() {
        Some("has rows that overlap".to_owned())
    } else if mode.writes() && space == Space::Dram && region.base < program.image.len() as u64 {
        Some(format!("starts at {:#x}, inside the image", region.base))
    } else {
        None
    }
}
