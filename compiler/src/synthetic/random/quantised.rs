//! Operations of the quantised stage.

use vitcod_isa::numerics::{LayerNormParams, Scale};
use vitcod_isa::operands::{Channel, autoencoder_channels_at};

use super::Generator;
use crate::ir::layout::{Mask, mask_operand};
use crate::ir::{Elem, OpKind, TensorType, Value, table_bytes};

impl Generator<'_> {
    /// Appends an operation of the quantised stage, or the three of an attention.
    pub(super) fn quantised(&mut self) {
        let elem = self.pick(&[Elem::I8, Elem::I16]);
        match self.below(10) {
            0 => {
                let x = self.integers(elem);
                let ty = self.graph.ty(x).clone();
                let constant = self.bytes(elem, &ty.shape[..], ty.step);
                let parts = self.extent();
                let parts: Vec<Value> = (0..parts).map(|_| self.pick(&[x, constant])).collect();
                let shape = vec![parts.len() * ty.shape[0], ty.shape[1]];
                self.result(OpKind::Concat { axis: 0 }, &parts, TensorType { shape, ..ty });
            }
            1 => {
                let x = self.integers(elem);
                let mut ty = self.graph.ty(x).clone();
                let start = self.below(ty.shape[0]);
                let len = 1 + self.below(ty.shape[0] - start);
                ty.shape[0] = len;
                self.result(OpKind::Slice { axis: 0, start, len, stride: 1 }, &[x], ty);
            }
            2 => {
                let (c, step) = (self.extent(), self.real());
                let [height, width] = [(); 2].map(|()| self.extent());
                let pixels = TensorType::quantised(Elem::I8, [height * width, c], step);
                let x = if self.one_in(2) {
                    let (last, shape) = self.image_shape([c, height, width]);
                    let image = self.input(TensorType::quantised(Elem::I8, shape, step));
                    let operands = self.image_operands(image, c);
                    let x = self.push_typed(OpKind::Pixels { last }, &operands, vec![pixels])[0];
                    if self.one_in(3) {
                        let rows = self.indices(height * width, vec![2, 1]);
                        let ty = TensorType::quantised(Elem::I8, [2, c], step);
                        self.result(OpKind::PickRows {}, &[x, rows], ty);
                    }
                    x
                } else {
                    self.value(|ty| *ty == pixels, pixels.clone())
                };
                let kernel = [1 + self.below(height), 1 + self.below(width)];
                let (stride, pad) =
                    ([self.extent(), self.extent()], [0; 4].map(|_: usize| self.below(2)));
                let along = |axis: usize, extent: usize| {
                    (extent + pad[axis] + pad[axis + 2] - kernel[axis]) / stride[axis] + 1
                };
                let shape = [along(0, height) * along(1, width), kernel[0] * kernel[1] * c];
                let kind = OpKind::Patches { map: [height, width], kernel, stride, pad };
                self.result(kind, &[x], TensorType::quantised(Elem::I8, shape, step));
            }
            3 => {
                let x = self.integers(Elem::I8);
                let ((m, k), n) = (self.graph.ty(x).matrix(), self.extent());
                let weights = self.bytes(Elem::I8, [n, k], None);
                let channels = self.channels(n);
                let channels = self.constant(TensorType::new(Elem::Channel, [n]), channels);
                self.stepped(OpKind::QLinear {}, &[x, weights, channels], elem, vec![m, n]);
            }
            4 => {
                let x = self.integers(Elem::I16);
                let (m, n) = self.graph.ty(x).matrix();
                let (gamma, beta) = (self.random.normal(), self.random.normal());
                let params =
                    LayerNormParams::new(&vec![gamma; n], &vec![beta; n], 1e-6, 0.01, 0.05);
                let params = params.expect("usual numbers").to_bytes();
                let params = self.constant(TensorType::new(Elem::Byte, [params.len()]), params);
                self.stepped(OpKind::QLayerNorm {}, &[x, params], elem, vec![m, n]);
            }
            5 => {
                let elem = self.pick(&[Elem::I8, Elem::I16]);
                let x = self.integers(elem);
                let (m, n) = self.graph.ty(x).matrix();
                let channels = if self.one_in(2) { self.channel_groups(n) } else { Vec::new() };
                let bytes = table_bytes(elem) * channels.len().max(1);
                let table = self.bytes(Elem::Byte, [bytes], None);
                self.stepped(OpKind::Lut { channels }, &[x, table], Elem::I8, vec![m, n]);
            }
            6 => {
                let a = self.integers(Elem::I16);
                let shape = self.graph.ty(a).shape.clone();
                let step = self.real();
                let b = self.value(
                    |ty| ty.elem == Elem::I16 && ty.shape == shape,
                    TensorType::quantised(Elem::I16, &shape[..], step),
                );
                let kind = OpKind::QAdd {
                    a_scale: self.below(1 << 20) as i32,
                    b_scale: self.below(1 << 20) as i32 * if self.one_in(8) { -1 } else { 1 },
                    shift: self.below(32) as u8,
                };
                self.stepped(kind, &[a, b], elem, shape);
            }
            7 if self.one_in(4) => {
                let (v, c, n, step) = (self.extent(), self.extent(), self.extent(), self.real());
                let table = self.bytes(Elem::I16, [v, c], Some(step));
                let rows = self.input(TensorType::new(Elem::U16, [1, n]));
                self.result(
                    OpKind::QEmbed {},
                    &[table, rows],
                    TensorType::quantised(Elem::I16, [n, c], step),
                );
            }
            7 => self.coder(),
            8 => {
                let x = self.integers(elem);
                let TensorType { step, shape, .. } = self.graph.ty(x).clone();
                let (n, k) = (self.extent(), 1 + self.below(2));
                let rows = self.indices(shape[0], vec![n, k]);
                let ty = TensorType { elem, shape: vec![n, k * shape[1]], step };
                self.result(OpKind::PickRows {}, &[x, rows], ty);
            }
            _ => self.masked_attention(),
        }
    }

    fn integers(&mut self, elem: Elem) -> Value {
        let (shape, step) = ([self.extent(), self.extent()], self.real());
        let fits = |ty: &TensorType| ty.elem == elem && ty.rank() == 2 && ty.elements() < 1000;
        self.value(fits, TensorType::quantised(elem, shape, step))
    }

    fn result(&mut self, kind: OpKind, operands: &[Value], ty: TensorType) {
        let results = self.push_typed(kind, operands, vec![ty]);
        self.pool.extend(results);
    }

    fn stepped(&mut self, kind: OpKind, operands: &[Value], elem: Elem, shape: Vec<usize>) {
        let step = self.real();
        self.result(kind, operands, TensorType::quantised(elem, shape, step));
    }

    fn scale(&mut self) -> Scale {
        Scale::from_f64(self.real()).expect("a scale")
    }

    fn channels(&mut self, n: usize) -> Vec<u8> {
        (0..n)
            .flat_map(|_| {
                Channel { bias: self.random.bits() as i8 as i32, scale: self.scale() }.to_bytes()
            })
            .collect()
    }

    fn coder(&mut self) {
        let (heads_in, heads_out) = (self.extent(), self.extent());
        let (m, d, step) = (self.extent(), self.extent(), self.real());
        let fits =
            |ty: &TensorType| ty.elem == Elem::I8 && ty.rank() == 2 && ty.shape[1] == heads_in * d;
        let x = self.value(fits, TensorType::quantised(Elem::I8, [m, heads_in * d], step));
        let m = self.graph.ty(x).shape[0];
        let mut params: Vec<u8> =
            (0..heads_in * heads_out).map(|_| self.random.bits() as u8).collect();
        params.resize(autoencoder_channels_at(heads_in, heads_out), 0);
        params.extend(self.channels(heads_out));
        let params = self.constant(TensorType::new(Elem::Byte, [params.len()]), params);
        let kind = match heads_out < heads_in {
            true => OpKind::Encode { heads_in, heads_out },
            false => OpKind::Decode { heads_in, heads_out },
        };
        self.stepped(kind, &[x, params], Elem::I8, vec![m, heads_out * d]);
    }

    /// Attention, mostly with a mask that keeps an entry of each row, sometimes with a bias or
    /// within windows.
    fn masked_attention(&mut self) {
        let (heads, d, m, n) =
            (1 + self.below(3), self.extent(), self.extent(), 1 + self.below(12));
        let windows = if self.one_in(3) { 1 + self.below(3) } else { 1 };
        let all = windows * heads;
        let [q, k, v] = [[windows * m, heads * d], [windows * n, heads * d], [windows * n, heads]]
            .map(|shape| {
                let step = self.real();
                let fits = |ty: &TensorType| ty.elem == Elem::I8 && ty.shape == shape;
                self.value(fits, TensorType::quantised(Elem::I8, shape, step))
            });
        let mut operands = vec![q, k];
        if windows == 1 && self.one_in(4) {
            let ty = TensorType::new(Elem::Byte, [m, Mask::row_bytes(n)]);
            let mask = self.input_of(ty, vec![1, n]);
            let inverted = self.one_in(2);
            self.graph.set_inverted(mask, inverted);
            operands.push(mask);
        } else if !self.one_in(3) {
            let density = self.below(101);
            let masks = (0..all).map(|_| {
                let always = self.below(n);
                Mask::from_fn(m, n, |_, key| key == always || self.below(100) < density)
            });
            let masks: Vec<Mask> = masks.collect();
            let (ty, bytes) = mask_operand(masks.iter());
            operands.push(self.constant(ty, bytes));
        }
        if self.one_in(3) {
            let biases = self.pick(&[heads, all]);
            operands.push(self.bytes(Elem::I16, [biases, m, n], None));
        }
        let kind = OpKind::Sddmm { heads, scale: self.scale(), windows };
        let scores =
            self.push_typed(kind, &operands, vec![TensorType::new(Elem::I16, [all, m, n])]);
        let elem = self.pick(&[Elem::I8, Elem::E3m5]);
        let types = vec![TensorType::new(elem, [all, m, n]), TensorType::new(Elem::U32, [all, m])];
        let shift = if self.one_in(3) { self.below(9) as u8 } else { 0 };
        let probs = self.push_typed(OpKind::QSoftmax { shift }, &scores, types);
        let kind = OpKind::Spmm { scale: self.scale(), windows };
        self.stepped(kind, &[probs[0], probs[1], v], Elem::I8, vec![windows * m, heads]);
    }
}
