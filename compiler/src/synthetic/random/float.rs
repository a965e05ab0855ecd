//! Operations of the imported and canonical stages.

use super::Generator;
use crate::ir::{BinaryFn, Conversion, Elem, OpKind, TensorType, UnaryFn, Value};

impl Generator<'_> {
    /// Appends an operation of the imported stage.
    pub(super) fn imported(&mut self) {
        let x = self.tensor();
        let shape = self.graph.ty(x).shape.clone();
        let axis = self.below(shape.len().max(1));
        let _ = match self.below(17) {
            0 => self.unary(x),
            1 => {
                let y = self.broadcasting(&shape);
                let f = self.pick(BinaryFn::ALL);
                self.push(OpKind::Binary { f }, &[x, y])
            }
            2 => {
                let columns = self.extent();
                let w = self.floats([shape.last().copied().unwrap_or(1), columns]);
                self.push(OpKind::MatMul {}, &[x, w])
            }
            3 => self.conv(),
            4 => {
                let mut shape = vec![shape.iter().product::<usize>()];
                shape.insert(self.below(2), 1);
                self.push(OpKind::Reshape { shape }, &[x])
            }
            5 => {
                let mut perm: Vec<usize> = (0..shape.len()).collect();
                (1..perm.len()).for_each(|i| perm.swap(i, self.below(i + 1)));
                self.push(OpKind::Transpose { perm }, &[x])
            }
            6 => self.concat(x, axis),
            7 => self.slice(x, axis),
            8 => self.gather(x, axis),
            9 if self.one_in(2) => {
                let (before, after) = (self.below(3), self.below(3));
                self.push(OpKind::Pad { axis, before, after }, &[x])
            }
            9 => {
                let shape = [&[self.extent()], &shape[..]].concat();
                self.push(OpKind::Expand { shape }, &[x])
            }
            10 => {
                let axes = (0..shape.len()).filter(|_| self.one_in(2)).collect();
                let keep = self.one_in(2);
                let kind = match self.one_in(2) {
                    true => OpKind::ReduceMean { axes, keep },
                    false => OpKind::ReduceMax { axes, keep },
                };
                self.push(kind, &[x])
            }
            11 => self.push(OpKind::Softmax { axis }, &[x]),
            12 => self.layer_norm(x),
            13 => {
                let to = self.pick(Conversion::ALL);
                self.push(OpKind::Convert { to }, &[x])
            }
            14 => {
                let y = self.broadcasting(&shape);
                let condition = self.push(OpKind::Convert { to: Conversion::Truth }, &[x]);
                condition.and_then(|condition| self.push(OpKind::Select {}, &[condition, x, y]))
            }
            15 => {
                let count = 1 + self.below(shape.get(axis).copied().unwrap_or(1).max(1));
                let largest = self.one_in(2);
                let indices = self.push(OpKind::TopIndices { axis, count, largest }, &[x]);
                indices.and_then(|i| self.push(OpKind::GatherElements { axis }, &[x, i]))
            }
            _ => {
                // An expression that is deep enough for pattern matching.
                let squared = self.push(OpKind::Binary { f: BinaryFn::Mul }, &[x, x]);
                squared.and_then(|squared| {
                    if self.one_in(2) { self.unary(squared) } else { self.fake_quantise(squared) }
                })
            }
        };
    }

    /// Appends an operation of the canonical stage.
    pub(super) fn canonical(&mut self) {
        let x = self.matrix();
        let (m, k) = self.graph.ty(x).matrix();
        let _ = match self.below(10) {
            0 if self.one_in(3) => {
                let (f, channels) = (self.pick(UnaryFn::ALL), self.channel_groups(k));
                let rows = channels.iter().flat_map(|_| {
                    let [a, b, c, d] = [(); 4].map(|()| self.random.normal() as f32);
                    [0.5 + a.abs(), b, 0.5 + c.abs(), d]
                });
                let rows: Vec<f32> = rows.collect();
                let groups = self.graph.add_f32("groups", [channels.len(), 4], &rows);
                let [input_limit, result_limit] =
                    [(); 2].map(|()| f64::from(u8::from(self.one_in(2))));
                let wide = self.one_in(3);
                let kind = OpKind::Table { f, channels, input_limit, result_limit, wide };
                self.push(kind, &[x, groups])
            }
            0 => self.unary(x),
            1 => {
                let y = if self.one_in(2) { x } else { self.floats([m, k]) };
                let f = self.pick(BinaryFn::ALL);
                self.push(OpKind::Binary { f }, &[x, y])
            }
            2 => self.concat(x, 0),
            3 => self.slice(x, 0),
            4 if self.one_in(4) => {
                self.push(OpKind::ReduceMean { axes: vec![0], keep: true }, &[x])
            }
            4 => self.layer_norm(x),
            5 => {
                let (c, height, width) = (self.extent(), self.extent(), self.extent());
                let x = if self.one_in(2) {
                    let (last, shape) = self.image_shape([c, height, width]);
                    let image = self.input(TensorType::f32(shape));
                    let operands = self.image_operands(image, c);
                    self.graph.push(OpKind::Pixels { last }, &operands, &[]).expect("an image")
                } else {
                    self.floats([height * width, c])
                };
                let kernel = [1 + self.below(height), 1 + self.below(width)];
                let (stride, pad) =
                    ([self.extent(), self.extent()], [0; 4].map(|_: usize| self.below(2)));
                self.push(OpKind::Patches { map: [height, width], kernel, stride, pad }, &[x])
            }
            6 => {
                let n = self.extent();
                let (w, b) = (self.floats([n, k]), self.floats([n]));
                self.push(OpKind::Linear {}, &[x, w, b])
            }
            7 if self.one_in(4) => {
                let (v, n) = (self.extent(), self.extent());
                let (table, rows) =
                    (self.floats([v, k]), self.input(TensorType::new(Elem::I64, [n])));
                self.push(OpKind::Embed {}, &[table, rows])
            }
            7 => self.attention(),
            8 => self.pick_rows(x),
            _ => {
                let heads_in = self
                    .pick(&(1..=k).filter(|heads| k.is_multiple_of(*heads)).collect::<Vec<_>>());
                let heads_out = self.extent();
                let (w, b) = (self.floats([heads_out, heads_in]), self.floats([heads_out]));
                self.push(OpKind::MixHeads { heads_in, heads_out }, &[x, w, b])
            }
        };
    }

    /// A tensor of any rank and limited size.
    fn tensor(&mut self) -> Value {
        let rank = self.below(5);
        let shape: Vec<usize> = (0..rank).map(|_| self.extent()).collect();
        self.value(|ty| ty.elem == Elem::F32 && ty.elements() < 1000, TensorType::f32(shape))
    }

    fn matrix(&mut self) -> Value {
        let shape = [self.extent(), self.extent()];
        self.value(|ty| ty.rank() == 2 && ty.elements() < 1000, TensorType::f32(shape))
    }

    /// A float constant; one in eight has arbitrary bits.
    fn floats(&mut self, shape: impl Into<Vec<usize>>) -> Value {
        if self.one_in(8) {
            return self.bytes(Elem::F32, shape, None);
        }
        let ty = TensorType::f32(shape);
        let bytes =
            (0..ty.elements()).flat_map(|_| (self.random.normal() as f32).to_le_bytes()).collect();
        self.constant(ty, bytes)
    }

    /// A constant that broadcasts to a shape.
    fn broadcasting(&mut self, shape: &[usize]) -> Value {
        let first = self.below(shape.len() + 1);
        let shape: Vec<usize> =
            shape[first..].iter().map(|extent| if self.one_in(3) { 1 } else { *extent }).collect();
        self.floats(shape)
    }

    fn unary(&mut self, x: Value) -> Option<Value> {
        let f = self.pick(UnaryFn::ALL);
        self.push(OpKind::Unary { f }, &[x])
    }

    fn fake_quantise(&mut self, x: Value) -> Option<Value> {
        let (scale, zero_point) = (0.5f64.powi(self.below(9) as i32), self.below(256) as i32);
        self.push(OpKind::FakeQuantise { scale, zero_point, min: 0, max: 255 }, &[x])
    }

    fn layer_norm(&mut self, x: Value) -> Option<Value> {
        let channels = *self.graph.ty(x).shape.last()?;
        let (gamma, beta) = (self.floats([channels]), self.floats([channels]));
        let eps = self.real();
        self.push(OpKind::LayerNorm { eps }, &[x, gamma, beta])
    }

    fn concat(&mut self, x: Value, axis: usize) -> Option<Value> {
        let shape = self.graph.ty(x).shape.clone();
        let constant = self.floats(shape);
        let parts = self.extent();
        let parts: Vec<Value> = (0..parts).map(|_| self.pick(&[x, constant])).collect();
        self.push(OpKind::Concat { axis }, &parts)
    }

    fn slice(&mut self, x: Value, axis: usize) -> Option<Value> {
        let extent = *self.graph.ty(x).shape.get(axis)?;
        let start = self.below(extent);
        let len = 1 + self.below(extent - start);
        self.push(OpKind::Slice { axis, start, len, stride: 1 }, &[x])
    }

    fn gather(&mut self, x: Value, axis: usize) -> Option<Value> {
        let shape: Vec<usize> = (0..self.below(3)).map(|_| self.extent()).collect();
        let indices = self.indices(*self.graph.ty(x).shape.get(axis)?, shape);
        self.push(OpKind::Gather { axis }, &[x, indices])
    }

    fn pick_rows(&mut self, x: Value) -> Option<Value> {
        let shape = vec![self.extent(), 1 + self.below(2)];
        let indices = self.indices(self.graph.ty(x).shape[0], shape);
        self.push(OpKind::PickRows {}, &[x, indices])
    }

    /// Constant indices into an extent.
    pub(super) fn indices(&mut self, extent: usize, shape: Vec<usize>) -> Value {
        let ty = TensorType::new(Elem::I64, shape);
        // Indices may also count from the end.
        let index = |random: usize| random as i64 - extent as i64;
        let bytes =
            (0..ty.elements()).flat_map(|_| index(self.below(2 * extent)).to_le_bytes()).collect();
        self.constant(ty, bytes)
    }

    fn conv(&mut self) -> Option<Value> {
        let group = 1 + self.below(2);
        let (c, height, width) = (group * self.extent(), self.extent(), self.extent());
        let x = self.input(TensorType::f32([1, c, height, width]));
        let o = group * self.extent();
        let kernel = [1 + self.below(height), 1 + self.below(width)];
        let w = self.floats([o, c / group, kernel[0], kernel[1]]);
        let mut operands = vec![x, w];
        if self.one_in(2) {
            operands.push(self.floats([o]));
        }
        let (stride, pad) = ([self.extent(), self.extent()], [0; 4].map(|_: usize| self.below(2)));
        self.push(OpKind::Conv { stride, pad, dilation: [1, 1], group }, &operands)
    }

    fn attention(&mut self) -> Option<Value> {
        let (heads, d, m, n) = (self.extent(), self.extent(), self.extent(), self.extent());
        let windows = if self.one_in(2) { 1 } else { self.extent() };
        let mut operands: Vec<Value> = Vec::new();
        for shape in [[windows * m, heads * d], [windows * n, heads * d], [windows * n, heads]] {
            operands.push(self.value(|ty| ty.shape == shape, TensorType::f32(shape)));
        }
        if self.one_in(2) {
            let each = self.pick(&[1, windows]);
            operands.push(self.floats([each * heads, m, n]));
        }
        if windows == 1 && self.one_in(4) {
            let mask = self.input(TensorType::new(Elem::I64, [n]));
            let inverted = self.one_in(2);
            self.graph.set_inverted(mask, inverted);
            operands.push(mask);
        }
        let scale = self.real();
        self.push(OpKind::Attention { heads, scale, windows }, &operands)
    }
}
