//! The memory accesses of an instruction: the byte ranges that it reads and writes.
//!
//! Token insertion in the compiler, the program verifier and the emulator's accounting all use this
//! function.
//!
//! # Operands in memory
//!
//! An operand is read or written as a whole. An operand that a flag switches off is not accessed,
//! and its fields are ignored. Operands are not empty, lie inside their memory, and have addresses
//! and strides that are multiples of their alignment. Rows that are written do not overlap; rows
//! that are read may, and a stride of 0 repeats one row. Instructions on lists count all queries of
//! all heads as written, although they write only those of the list: the others keep their values.
//!
//! An operand that is written overlaps no other operand of its instruction, with one exception: a
//! result that is computed element by element may overwrite its source, at the same address and
//! stride. These are `a` or `b` of an `add` that is not narrow, `src` of `lut`, and `acc` of
//! `matmul` and `spmm` with `out=i32`.
//!
//! An instruction that waits for tokens accesses no operand before it has them, and its tokens are
//! sent after its last write. Within a unit, an instruction has read its operands when the next one
//! starts, and writes happen in order; its results are available to the next one only when it has
//! completed. Nothing else orders the accesses of two units.

mod data;
mod pieces;
mod region;
#[cfg(test)]
mod tests;

pub use data::Data;
pub use pieces::{Limits, Pieces};
pub use region::Region;

use crate::instr::table::*;
use crate::instr::{Dram as DramAddress, Sram as SramAddress, SramBytes, Width};
use crate::lists::LIST_ROW_BYTES;
use crate::numerics::{Interpolation, LayerNormParams};
use crate::operands::{Channel, autoencoder_bytes};

/// A memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The on-chip scratchpad.
    Sram,
    /// The DRAM on the channel.
    Dram,
}

/// How an operand is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes are read.
    Read,
    /// Bytes are written, independently of their old values.
    Write,
    /// Bytes are read and written (running row maxima and sums).
    Update,
}

impl Mode {
    /// Whether the old bytes are read.
    pub fn reads(self) -> bool {
        self != Mode::Write
    }

    /// Whether the bytes are written.
    pub fn writes(self) -> bool {
        self != Mode::Read
    }
}

/// The access to one operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The operand's name in the instruction table.
    pub operand: &'static str,
    /// The memory.
    pub space: Space,
    /// How the operand is accessed.
    pub mode: Mode,
    /// The bytes.
    pub region: Region,
    /// Bytes to which the address and the strides must be aligned.
    pub align: u64,
}

/// The accesses of an operation, in the order of its operands.
pub fn accesses(op: &Op) -> Vec<Access> {
    let mut all = Accesses(Vec::new());
    match *op {
        Op::Load(Load {
            dst,
            src,
            bytes,
            inner,
            outer,
            src_inner_stride,
            src_outer_stride,
            dst_inner_stride,
            dst_outer_stride,
            ..
        }) => {
            let runs = (bytes, inner, outer);
            all.nest(
                "dst",
                Space::Sram,
                Mode::Write,
                dst.0.into(),
                runs,
                dst_inner_stride,
                dst_outer_stride,
            );
            all.nest(
                "src",
                Space::Dram,
                Mode::Read,
                src.0,
                runs,
                src_inner_stride,
                src_outer_stride,
            );
        }
        Op::Store(Store {
            src,
            dst,
            bytes,
            inner,
            outer,
            src_inner_stride,
            src_outer_stride,
            dst_inner_stride,
            dst_outer_stride,
            ..
        }) => {
            let runs = (bytes, inner, outer);
            all.nest(
                "src",
                Space::Sram,
                Mode::Read,
                src.0.into(),
                runs,
                src_inner_stride,
                src_outer_stride,
            );
            all.nest(
                "dst",
                Space::Dram,
                Mode::Write,
                dst.0,
                runs,
                dst_inner_stride,
                dst_outer_stride,
            );
        }
        Op::Gather(Gather {
            dst, src, bytes, rows, limit, src_stride, dst_stride, index, ..
        }) => {
            all.rows("dst", Mode::Write, dst, rows, bytes.into(), dst_stride, 1);
            all.dram_rows("src", Mode::Read, src, limit, bytes.into(), src_stride);
            all.vector("index", Mode::Read, index, rows, 2);
        }
        Op::Matmul(
            matmul @ Matmul {
                out,
                accumulate,
                a,
                b,
                params,
                acc,
                dst,
                m,
                n,
                k,
                a_stride,
                b_stride,
                acc_stride,
                dst_stride,
                run_stride,
                ..
            },
        ) => {
            let windows = Region {
                base: a.0.into(),
                bytes: k.into(),
                inner: matmul.runs().into(),
                inner_stride: run_stride.into(),
                outer: m.into(),
                outer_stride: a_stride.into(),
            };
            all.push("a", Mode::Read, windows.merged(), 1);
            all.rows("b", Mode::Read, b, n, matmul.depth(), b_stride, 1);
            if !accumulate || out != Width::I32 {
                all.push(
                    "params",
                    Mode::Read,
                    Region::contiguous(params.0.into(), u64::from(n) * Channel::BYTES as u64),
                    4,
                );
            }
            if accumulate {
                all.matrix("acc", Mode::Read, acc, m, n, acc_stride, 4);
            }
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, out.bytes());
        }
        Op::Sddmm(Sddmm {
            fresh,
            indexed,
            masked,
            biased,
            q,
            k,
            max,
            dst,
            m,
            n,
            d,
            q_stride,
            k_stride,
            dst_stride,
            index,
            mask,
            limit,
            bias,
            ..
        }) => {
            all.rows("q", Mode::Read, q, m, d.into(), q_stride, 1);
            all.rows("k", Mode::Read, k, if indexed { limit } else { n }, d.into(), k_stride, 1);
            all.vector("max", running(fresh), max, m, 2);
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, 2);
            if indexed {
                all.vector("index", Mode::Read, index, n, 2);
            }
            if masked {
                all.bytes("mask", Mode::Read, mask, u64::from(m) * u64::from(n.div_ceil(8)), 1);
            }
            if biased {
                all.bytes("bias", Mode::Read, bias, u64::from(m) * u64::from(n) * 2, 2);
            }
        }
        Op::SddmmList(SddmmList {
            rows,
            tokens,
            q,
            k,
            max,
            dst,
            m,
            n,
            d,
            heads,
            q_stride,
            k_stride,
            queries,
            token_bytes,
            entries,
            ..
        }) => {
            let width = u64::from(heads) * u64::from(d);
            all.list(rows, queries, Some((tokens, token_bytes)));
            all.rows("q", Mode::Read, q, m, width, q_stride.into(), 1);
            all.rows("k", Mode::Read, k, n, width, k_stride.into(), 1);
            all.bytes("max", Mode::Write, max, u64::from(heads) * u64::from(m) * 2, 2);
            all.bytes("dst", Mode::Write, dst, u64::from(entries.0) * 2, 2);
        }
        Op::SoftmaxList(SoftmaxList {
            both,
            rows,
            src,
            max,
            other_max,
            sum,
            dst,
            m,
            heads,
            queries,
            entries,
            ..
        }) => {
            let (entries, maxima) = (u64::from(entries.0), u64::from(heads) * u64::from(m) * 2);
            all.list(rows, queries, None);
            all.bytes("src", Mode::Read, src, entries * 2, 2);
            all.bytes("max", Mode::Read, max, maxima, 2);
            if both {
                all.bytes("other_max", Mode::Read, other_max, maxima, 2);
            }
            all.vector("sum", Mode::Write, sum, queries, 4);
            all.bytes("dst", Mode::Write, dst, entries, 1);
        }
        Op::SpmmList(SpmmList {
            accumulate,
            rows,
            tokens,
            p,
            sum,
            block_sum,
            acc,
            v,
            dst,
            m,
            n,
            d,
            heads,
            v_stride,
            dst_stride,
            acc_stride,
            queries,
            token_bytes,
            entries,
            ..
        }) => {
            let width = u64::from(heads) * u64::from(d);
            all.list(rows, queries, Some((tokens, token_bytes)));
            all.bytes("p", Mode::Read, p, entries.0.into(), 1);
            all.vector("sum", Mode::Read, sum, queries, 4);
            if accumulate {
                let sums = u64::from(heads) * u64::from(m) * 4;
                all.bytes("block_sum", Mode::Read, block_sum, sums, 4);
                all.rows("acc", Mode::Read, acc, m, 4 * width, acc_stride.0, 4);
            }
            all.rows("v", Mode::Read, v, n, width, v_stride.into(), 1);
            all.rows("dst", Mode::Write, dst, m, width, dst_stride.into(), 1);
        }
        Op::Softmax(Softmax {
            fresh,
            both,
            src,
            max,
            other_max,
            sum,
            dst,
            m,
            n,
            src_stride,
            dst_stride,
            ..
        }) => {
            all.matrix("src", Mode::Read, src, m, n, src_stride, 2);
            all.vector("max", Mode::Read, max, m, 2);
            if both {
                all.vector("other_max", Mode::Read, other_max, m, 2);
            }
            all.vector("sum", running(fresh), sum, m, 4);
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, 1);
        }
        Op::Spmm(Spmm {
            out,
            accumulate,
            both,
            p,
            v,
            sum,
            other_sum,
            acc,
            dst,
            m,
            n,
            d,
            p_stride,
            v_stride,
            acc_stride,
            dst_stride,
            ..
        }) => {
            all.rows("p", Mode::Read, p, m, n.into(), p_stride, 1);
            all.rows("v", Mode::Read, v, n, d.into(), v_stride, 1);
            if out != Width::I32 {
                all.vector("sum", Mode::Read, sum, m, 4);
                if both {
                    all.vector("other_sum", Mode::Read, other_sum, m, 4);
                }
            }
            if accumulate {
                all.matrix("acc", Mode::Read, acc, m, d, acc_stride, 4);
            }
            all.matrix("dst", Mode::Write, dst, m, d, dst_stride, out.bytes());
        }
        Op::LayerNorm(LayerNorm { out, src, params, dst, m, n, src_stride, dst_stride }) => {
            let bytes = LayerNormParams::encoded_len(n.into()) as u64;
            all.matrix("src", Mode::Read, src, m, n, src_stride, 2);
            all.push("params", Mode::Read, Region::contiguous(params.0.into(), bytes), 8);
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, out.bytes());
        }
        Op::Add(Add { narrow, a, b, dst, m, n, a_stride, b_stride, dst_stride, .. }) => {
            all.matrix("a", Mode::Read, a, m, n, a_stride, 2);
            all.matrix("b", Mode::Read, b, m, n, b_stride, 2);
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, if narrow { 1 } else { 2 });
        }
        Op::Lut(Lut { src, table, dst, m, n, src_stride, dst_stride }) => {
            all.matrix("src", Mode::Read, src, m, n, src_stride, 1);
            all.push("table", Mode::Read, Region::contiguous(table.0.into(), 256), 1);
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, 1);
        }
        Op::Interpolate(Interpolate { src, table, dst, m, n, src_stride, dst_stride }) => {
            all.matrix("src", Mode::Read, src, m, n, src_stride, 2);
            all.bytes("table", Mode::Read, table, Interpolation::BYTES as u64, 2);
            all.matrix("dst", Mode::Write, dst, m, n, dst_stride, 1);
        }
        Op::Encode(Encode {
            src,
            params,
            dst,
            m,
            d,
            heads_in,
            heads_out,
            src_stride,
            dst_stride,
            ..
        })
        | Op::Decode(Decode {
            src,
            params,
            dst,
            m,
            d,
            heads_in,
            heads_out,
            src_stride,
            dst_stride,
            ..
        }) => {
            let features = u64::from(d);
            all.rows("src", Mode::Read, src, m, features * u64::from(heads_in), src_stride, 1);
            let bytes = autoencoder_bytes(heads_in.into(), heads_out.into()) as u64;
            all.push("params", Mode::Read, Region::contiguous(params.0.into(), bytes), 4);
            all.rows("dst", Mode::Write, dst, m, features * u64::from(heads_out), dst_stride, 1);
        }
        Op::Sync(_) | Op::Barrier(_) | Op::Halt(_) => {}
    }
    all.0
}

/// Whether two operands may share their bytes although one is written: the exception in the
/// module's documentation.
pub fn in_place(op: &Op, a: &Access, b: &Access) -> bool {
    let source = match (a.operand, b.operand) {
        ("dst", source) | (source, "dst") => source,
        _ => return false,
    };
    let elementwise = match op {
        Op::Matmul(Matmul { out, .. }) | Op::Spmm(Spmm { out, .. }) => {
            source == "acc" && *out == Width::I32
        }
        Op::Add(Add { narrow, .. }) => !narrow && (source == "a" || source == "b"),
        Op::Lut(_) => source == "src",
        Op::Load(_)
        | Op::Store(_)
        | Op::Gather(_)
        | Op::Sddmm(_)
        | Op::Softmax(_)
        | Op::SddmmList(_)
        | Op::SoftmaxList(_)
        | Op::SpmmList(_)
        | Op::LayerNorm(_)
        | Op::Interpolate(_)
        | Op::Encode(_)
        | Op::Decode(_)
        | Op::Sync(_)
        | Op::Barrier(_)
        | Op::Halt(_) => false,
    };
    elementwise && a.region == b.region
}

/// How a running maximum or sum is accessed.
fn running(fresh: bool) -> Mode {
    if fresh { Mode::Write } else { Mode::Update }
}

struct Accesses(Vec<Access>);

impl Accesses {
    fn push(&mut self, operand: &'static str, mode: Mode, region: Region, align: u64) {
        self.0.push(Access { operand, space: Space::Sram, mode, region, align });
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the loop nest of a transfer has that many numbers"
    )]
    fn nest(
        &mut self,
        operand: &'static str,
        space: Space,
        mode: Mode,
        base: u64,
        (bytes, inner, outer): (u32, u16, u16),
        inner_stride: u32,
        outer_stride: u32,
    ) {
        let region = Region {
            base,
            bytes: bytes.into(),
            inner: inner.into(),
            inner_stride: inner_stride.into(),
            outer: outer.into(),
            outer_stride: outer_stride.into(),
        };
        self.0.push(Access { operand, space, mode, region: region.merged(), align: 1 });
    }

    #[expect(clippy::too_many_arguments, reason = "a strided matrix has that many numbers")]
    fn rows(
        &mut self,
        operand: &'static str,
        mode: Mode,
        at: SramAddress,
        rows: u16,
        bytes: u64,
        stride: u32,
        align: u64,
    ) {
        self.push(
            operand,
            mode,
            Region::rows(at.0.into(), rows.into(), bytes, stride.into()),
            align,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "a strided matrix has that many numbers")]
    fn matrix(
        &mut self,
        operand: &'static str,
        mode: Mode,
        at: SramAddress,
        rows: u16,
        columns: u16,
        stride: u32,
        element: u32,
    ) {
        self.rows(
            operand,
            mode,
            at,
            rows,
            u64::from(columns) * u64::from(element),
            stride,
            element.into(),
        );
    }

    fn bytes(
        &mut self,
        operand: &'static str,
        mode: Mode,
        at: SramAddress,
        bytes: u64,
        align: u64,
    ) {
        self.push(operand, mode, Region::contiguous(at.0.into(), bytes), align);
    }

    /// Adds the accesses to a list.
    fn list(&mut self, rows: SramAddress, queries: u16, tokens: Option<(SramAddress, SramBytes)>) {
        self.bytes("rows", Mode::Read, rows, u64::from(queries) * LIST_ROW_BYTES, 2);
        if let Some((at, bytes)) = tokens {
            self.bytes("tokens", Mode::Read, at, bytes.0.into(), 1);
        }
    }

    fn vector(
        &mut self,
        operand: &'static str,
        mode: Mode,
        at: SramAddress,
        count: u16,
        element: u64,
    ) {
        self.push(
            operand,
            mode,
            Region::contiguous(at.0.into(), u64::from(count) * element),
            element,
        );
    }

    fn dram_rows(
        &mut self,
        operand: &'static str,
        mode: Mode,
        at: DramAddress,
        rows: u16,
        bytes: u64,
        stride: u32,
    ) {
        let region = Region::rows(at.0, rows.into(), bytes, stride.into());
        self.0.push(Access { operand, space: Space::Dram, mode, region, align: 1 });
    }
}
