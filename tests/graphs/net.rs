//! Quantised graphs, put together operation by operation.

use vitcod_compiler::codegen::{self, CodegenError};
use vitcod_compiler::ir::{Elem, Graph, OpKind, Stage, TensorType, Value};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::{LayerNormParams, Scale};
use vitcod_isa::operands::Channel;

use crate::common::{Random, assert_bit_equal};

/// Step of every tensor.
const STEP: f64 = 1.0 / 64.0;

/// A quantised graph with seeded parameters.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    pub(crate) random: Random,
}

impl Net {
    pub(crate) fn new() -> Net {
        Net { graph: Graph::new("net", Stage::Quantised), random: Random(3) }
    }

    pub(crate) fn ty(elem: Elem, shape: &[usize]) -> TensorType {
        TensorType::quantised(elem, shape, STEP)
    }

    pub(crate) fn input(&mut self, elem: Elem, shape: &[usize]) -> Value {
        let name = format!("x{}", self.graph.inputs.len());
        self.graph.add_input(name, Net::ty(elem, shape))
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.next() as u8).collect()
    }

    pub(crate) fn constant(&mut self, elem: Elem, shape: &[usize]) -> Value {
        let ty = Net::ty(elem, shape);
        let bytes = self.bytes(ty.bytes());
        self.graph.add_const("", ty, bytes)
    }

    pub(crate) fn push(
        &mut self,
        kind: OpKind,
        operands: &[Value],
        elem: Elem,
        shape: &[usize],
    ) -> Value {
        self.graph.push_typed(kind, operands, vec![Net::ty(elem, shape)], &[])[0]
    }

    pub(crate) fn linear(&mut self, x: Value, n: usize, elem: Elem) -> Value {
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

    pub(crate) fn add(&mut self, a: Value, b: Value) -> Value {
        let shape = self.graph.ty(a).shape.clone();
        self.push(OpKind::QAdd { a_scale: 3, b_scale: 2, shift: 2 }, &[a, b], Elem::I16, &shape)
    }

    pub(crate) fn norm(&mut self, x: Value) -> Value {
        let (m, n) = self.graph.ty(x).matrix();
        let bytes = LayerNormParams::new(&vec![1.5; n], &vec![0.25; n], 1e-6, STEP, STEP)
            .unwrap()
            .to_bytes();
        let params = self.graph.add_const("", TensorType::new(Elem::Byte, [bytes.len()]), bytes);
        self.push(OpKind::QLayerNorm {}, &[x, params], Elem::I8, &[m, n])
    }

    pub(crate) fn lut(&mut self, x: Value) -> Value {
        let shape = self.graph.ty(x).shape.clone();
        let table = self.bytes(256);
        let table = self.graph.add_const("", TensorType::new(Elem::Byte, [256]), table);
        self.push(OpKind::Lut {}, &[x, table], Elem::I8, &shape)
    }

    pub(crate) fn slice(&mut self, x: Value, start: usize, len: usize) -> Value {
        let TensorType { elem, mut shape, .. } = self.graph.ty(x).clone();
        shape[0] = len;
        self.push(OpKind::Slice { axis: 0, start, len, stride: 1 }, &[x], elem, &shape)
    }

    pub(crate) fn concat(&mut self, parts: &[Value]) -> Value {
        let TensorType { elem, mut shape, .. } = self.graph.ty(parts[0]).clone();
        shape[0] = parts.iter().map(|part| self.graph.ty(*part).shape[0]).sum();
        self.push(OpKind::Concat { axis: 0 }, parts, elem, &shape)
    }

    pub(crate) fn sddmm(&mut self, q: Value, k: Value, heads: usize) -> [Value; 2] {
        self.sddmm_within(q, k, heads, 1, None)
    }

    /// Within windows, and a bias of as many heads.
    pub(crate) fn sddmm_within(
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
        let types =
            vec![TensorType::new(Elem::I8, [all, m, n]), TensorType::new(Elem::U32, [all, m])];
        let soft = self.graph.push_typed(OpKind::QSoftmax {}, &[scores], types, &[]);
        [soft[0], soft[1]]
    }

    pub(crate) fn bias(&mut self, shape: [usize; 3]) -> Value {
        let ty = TensorType::new(Elem::I16, shape);
        let bytes = self.bytes(ty.bytes());
        self.graph.add_const("", ty, bytes)
    }

    pub(crate) fn spmm(&mut self, soft: [Value; 2], v: Value) -> Value {
        self.spmm_within(soft, v, 1)
    }

    pub(crate) fn spmm_within(&mut self, soft: [Value; 2], v: Value, windows: usize) -> Value {
        let (_, columns) = self.graph.ty(v).matrix();
        let rows = self.graph.ty(soft[1]).shape[1] * windows;
        let kind = OpKind::Spmm { scale: Scale::ONE, windows };
        self.push(kind, &[soft[0], soft[1], v], Elem::I8, &[rows, columns])
    }

    pub(crate) fn pick(&mut self, x: Value, rows: &[i64], side: usize) -> Value {
        let TensorType { elem, shape, .. } = self.graph.ty(x).clone();
        let bytes: Vec<u8> = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
        let extents = [rows.len() / side, side];
        let rows = self.graph.add_const("rows", TensorType::new(Elem::I64, extents), bytes);
        self.push(OpKind::PickRows {}, &[x, rows], elem, &[extents[0], side * shape[1]])
    }

    pub(crate) fn output(&mut self, value: Value) {
        let shape = self.graph.ty(value).shape.clone();
        self.graph.add_output(format!("y{}", self.graph.outputs.len()), value, shape);
    }

    /// Compiles and compares, where everything stays on chip and where little does.
    #[track_caller]
    pub(crate) fn assert_bit_equal(&self) {
        for bytes in [16 << 20, 320 << 10, 6 << 10, 3 << 10] {
            assert_bit_equal(&self.graph, &machine(bytes))
                .unwrap_or_else(|error| panic!("{bytes}: {error}"));
        }
    }

    /// Why it does not compile, with a scratchpad of 16 MiB.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        match codegen::compile(&self.graph, &machine(16 << 20), codegen::Options::default()) {
            Err(error @ (CodegenError::Unsupported(_) | CodegenError::TooSmall { .. })) => {
                error.to_string()
            }
            other => panic!("{:?}", other.map(|program| program.code.len())),
        }
    }
}

/// The preset `vitcod` with another scratchpad.
pub(crate) fn machine(sram: u32) -> Machine {
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.sram.bytes = sram;
    machine
}
