//! Quantised graphs, put together operation by operation.

use vitcod_compiler::codegen::{self, CodegenError};
use vitcod_compiler::ir::{Elem, Graph, OpKind, Stage, TensorType, Value, table_bytes};
use vitcod_isa::numerics::{LayerNormParams, MAX_SCORE_SHIFT, Scale};
use vitcod_isa::operands::Channel;
use vitcod_support::random::SplitMix64;

use crate::equal::assert_bit_equal;
use crate::machine;

/// Step of every tensor.
const STEP: f64 = 1.0 / 64.0;

/// A quantised graph with seeded parameters.
pub struct Net {
    /// The graph so far.
    pub graph: Graph,
    /// Draws the parameters.
    pub random: SplitMix64,
}

impl Default for Net {
    fn default() -> Net {
        Net::new()
    }
}

impl Net {
    /// A graph without operations.
    pub fn new() -> Net {
        Net { graph: Graph::new("net", Stage::Quantised), random: SplitMix64::new(3) }
    }

    /// The type of a tensor of integers.
    pub fn ty(elem: Elem, shape: &[usize]) -> TensorType {
        TensorType::quantised(elem, shape, STEP)
    }

    /// Adds an input `x0`, `x1`, ...
    pub fn input(&mut self, elem: Elem, shape: &[usize]) -> Value {
        let name = format!("x{}", self.graph.inputs.len());
        self.graph.add_input(name, Net::ty(elem, shape))
    }

    /// Drawn bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.bits() as u8).collect()
    }

    /// Adds a constant of drawn elements.
    pub fn constant(&mut self, elem: Elem, shape: &[usize]) -> Value {
        let ty = Net::ty(elem, shape);
        let bytes = self.bytes(ty.bytes());
        self.graph.add_const("", ty, bytes)
    }

    /// Adds an operation of one result.
    pub fn push(&mut self, kind: OpKind, operands: &[Value], elem: Elem, shape: &[usize]) -> Value {
        self.graph.push_typed(kind, operands, vec![Net::ty(elem, shape)], &[])[0]
    }

    /// Adds a linear layer of `n` outputs with drawn weights.
    pub fn linear(&mut self, x: Value, n: usize, elem: Elem) -> Value {
        let (m, k) = self.graph.ty(x).matrix();
        let weights = self.bytes(n * k);
        let weights = self.graph.add_const("", TensorType::new(Elem::I8, [n, k]), weights);
        let scale = Scale::from_f64(if elem == Elem::I8 { 0.01 } else { 0.5 }).unwrap();
        let channels = (0..n as i32)
            .flat_map(|i| Channel { bias: i - 5, scale }.to_bytes())
            .collect::<Vec<u8>>();
        let channels = self.graph.add_const("", TensorType::new(Elem::Channel, [n]), channels);
        self.push(OpKind::QLinear {}, &[x, weights, channels], elem, &[m, n])
    }

    /// Adds a sum.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        let shape = self.graph.ty(a).shape.clone();
        self.push(OpKind::QAdd { a_scale: 3, b_scale: 2, shift: 2 }, &[a, b], Elem::I16, &shape)
    }

    /// Adds a LayerNorm.
    pub fn norm(&mut self, x: Value) -> Value {
        let (m, n) = self.graph.ty(x).matrix();
        let bytes = LayerNormParams::new(&vec![1.5; n], &vec![0.25; n], 1e-6, STEP, STEP)
            .unwrap()
            .to_bytes();
        let params = self.graph.add_const("", TensorType::new(Elem::Byte, [bytes.len()]), bytes);
        self.push(OpKind::QLayerNorm {}, &[x, params], Elem::I8, &[m, n])
    }

    /// Adds a lookup in drawn tables: one, or one for each of two groups of channels.
    pub fn lut(&mut self, x: Value) -> Value {
        let shape = self.graph.ty(x).shape.clone();
        let first = self.bytes(1)[0] as usize % shape[1].max(1);
        let channels = if first > 0 { vec![first, shape[1] - first] } else { Vec::new() };
        let bytes = table_bytes(self.graph.ty(x).elem) * channels.len().max(1);
        let table = self.bytes(bytes);
        let table = self.graph.add_const("", TensorType::new(Elem::Byte, [bytes]), table);
        self.push(OpKind::Lut { channels }, &[x, table], Elem::I8, &shape)
    }

    /// Adds a slice of rows.
    pub fn slice(&mut self, x: Value, start: usize, len: usize) -> Value {
        let TensorType { elem, mut shape, .. } = self.graph.ty(x).clone();
        shape[0] = len;
        self.push(OpKind::Slice { axis: 0, start, len, stride: 1 }, &[x], elem, &shape)
    }

    /// Adds a concatenation of rows.
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        let TensorType { elem, mut shape, .. } = self.graph.ty(parts[0]).clone();
        shape[0] = parts.iter().map(|part| self.graph.ty(*part).shape[0]).sum();
        self.push(OpKind::Concat { axis: 0 }, parts, elem, &shape)
    }

    /// Adds scores and their softmax: probabilities and sums of rows.
    pub fn sddmm(&mut self, q: Value, k: Value, heads: usize) -> [Value; 2] {
        self.sddmm_within(q, k, heads, 1, None)
    }

    /// [`Net::sddmm`] in attention windows, with a bias for this number of heads.
    pub fn sddmm_within(
        &mut self,
        q: Value,
        k: Value,
        heads: usize,
        windows: usize,
        biases: Option<usize>,
    ) -> [Value; 2] {
        let ((m, _), (n, _)) = (self.graph.ty(q).matrix(), self.graph.ty(k).matrix());
        let (m, n, all) = (m / windows, n / windows, windows * heads);
        let mut operands = vec![q, k];
        operands.extend(biases.map(|biases| self.bias([biases, m, n])));
        let kind = OpKind::Sddmm { heads, scale: Scale::from_f64(0.01).unwrap(), windows };
        let scores = self.graph.push_typed(
            kind,
            &operands,
            vec![TensorType::new(Elem::I16, [all, m, n])],
            &[],
        )[0];
        // Either format, and any unit of scores.
        let [elem, shift] = self.bytes(2)[..] else { unreachable!("two bytes") };
        let elem = if elem % 2 == 0 { Elem::E3m5 } else { Elem::I8 };
        let types = vec![TensorType::new(elem, [all, m, n]), TensorType::new(Elem::U32, [all, m])];
        let kind = OpKind::QSoftmax { shift: shift % (MAX_SCORE_SHIFT + 1) };
        let soft = self.graph.push_typed(kind, &[scores], types, &[]);
        [soft[0], soft[1]]
    }

    /// Adds a drawn bias of attention scores.
    pub fn bias(&mut self, shape: [usize; 3]) -> Value {
        let ty = TensorType::new(Elem::I16, shape);
        let bytes = self.bytes(ty.bytes());
        self.graph.add_const("", ty, bytes)
    }

    /// Adds the product of probabilities and values.
    pub fn spmm(&mut self, soft: [Value; 2], v: Value) -> Value {
        self.spmm_within(soft, v, 1)
    }

    /// [`Net::spmm`] in attention windows.
    pub fn spmm_within(&mut self, soft: [Value; 2], v: Value, windows: usize) -> Value {
        let (_, columns) = self.graph.ty(v).matrix();
        let rows = self.graph.ty(soft[1]).shape[1] * windows;
        let kind = OpKind::Spmm { scale: Scale::ONE, windows };
        self.push(kind, &[soft[0], soft[1], v], Elem::I8, &[rows, columns])
    }

    /// Adds a gather of rows that concatenates `side` of them.
    pub fn pick(&mut self, x: Value, rows: &[i64], side: usize) -> Value {
        let TensorType { elem, shape, .. } = self.graph.ty(x).clone();
        let bytes: Vec<u8> = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
        let extents = [rows.len() / side, side];
        let rows = self.graph.add_const("rows", TensorType::new(Elem::I64, extents), bytes);
        self.push(OpKind::PickRows {}, &[x, rows], elem, &[extents[0], side * shape[1]])
    }

    /// Adds an output `y0`, `y1`, ...
    pub fn output(&mut self, value: Value) {
        let shape = self.graph.ty(value).shape.clone();
        self.graph.add_output(format!("y{}", self.graph.outputs.len()), value, shape);
    }

    /// Compiles and compares, where everything stays on chip and where little does.
    #[track_caller]
    pub fn assert_bit_equal(&self) {
        for bytes in [16 << 20, 320 << 10, 6 << 10, 3 << 10] {
            assert_bit_equal(&self.graph, &machine::with_scratchpad(bytes))
                .unwrap_or_else(|error| panic!("{bytes}: {error}"));
        }
    }

    /// Why it does not compile, with a scratchpad of 16 MiB.
    #[track_caller]
    pub fn refused(&self) -> String {
        match codegen::compile(
            &self.graph,
            &machine::with_scratchpad(16 << 20),
            codegen::Options::default(),
        ) {
            Err(error @ (CodegenError::Unsupported(_) | CodegenError::TooSmall { .. })) => {
                error.to_string()
            }
            other => panic!("{:?}", other.map(|program| program.code.len())),
        }
    }
}
