//! The pass: the quantised form of each operation.

mod attention;

use cranelift_entity::SecondaryMap;
use vitcod_isa::numerics::{
    LayerNormParams, RescaleAdd, max_accumulation_depth, quantise_i8, quantise_i16,
};
use vitcod_isa::operands::{Channel, autoencoder_channels_at};
use vitcod_support::problems::{Collector, Problems};

use super::plan::{self, Plan};
use super::weights::{QuantisedLinear, multiplier};
use super::{Options, Quantised, tables};
use crate::calibration::{Calibration, Range};
use crate::ir::layout::Mask;
use crate::ir::{
    BinaryFn, Elem, Graph, GraphInput, Node, Op, OpData, OpKind, Stage, TensorType, UnaryFn, Value,
};

/// Quantises a canonical graph, or returns all problems.
pub(super) fn run(
    graph: &Graph,
    calibration: &Calibration,
    options: Options,
    i16_reach: f64,
) -> Result<Quantised, Problems<String>> {
    let mut problems = Collector::new();
    let plan = Plan::new(graph, calibration, options.clipping, i16_reach, &mut problems);
    let out = graph.successor(Stage::Quantised);
    let means = options.bias_correction.then_some(calibration);
    let (renamed, widened, narrowed) =
        (SecondaryMap::new(), SecondaryMap::new(), SecondaryMap::new());
    let mut pass =
        Pass { graph, calibration, options, means, plan, out, renamed, widened, narrowed };
    for input in &graph.inputs {
        let value = input.value;
        let ty = match graph.ty(value).elem {
            Elem::I64 => integers(graph, value).unwrap_or_else(|problem| {
                problems.push(|| format!("input {:?}: {problem}", input.name));
                TensorType::new(Elem::U16, [1, graph.ty(value).elements()])
            }),
            _ => pass.plan.ty(graph, value),
        };
        // An input that nothing reads is no mask.
        let inverted = input.inverted && ty.elem == Elem::Byte;
        let new = pass.out.add_input_like(&GraphInput { inverted, ..input.clone() }, ty);
        pass.renamed[value] = Some(new);
    }
    for op in &graph.order {
        let result = graph.op(*op).results[0];
        let new = pass.operation(*op).unwrap_or_else(|problem| {
            problems.push(|| format!("{}: {problem}", graph.describe(*op)));
            // The graph is lost, but what follows may hold other problems.
            pass.out.add_input("", pass.plan.ty(graph, result))
        });
        pass.renamed[result] = Some(new);
    }
    for output in &graph.outputs {
        match pass.read(output.value, None) {
            Ok(value) => pass.out.add_output(output.name.clone(), value, output.shape.clone()),
            Err(problem) => problems.push(|| format!("output {:?}: {problem}", output.name)),
        }
    }
    problems.finish()?;
    let (graph, compacted) = pass.out.compacted_and_renamed();
    let mut integers = SecondaryMap::new();
    for (value, made) in pass.renamed.iter() {
        integers[value] = made.and_then(|made| compacted[made]);
    }
    let warnings = match options.units.minifloat {
        true => Vec::new(),
        false => attention::lacking_minifloats(pass.graph, calibration).into_iter().collect(),
    };
    Ok(Quantised { graph, integers, warnings })
}

/// The state of the pass.
struct Pass<'g> {
    graph: &'g Graph,
    calibration: &'g Calibration,
    options: Options,
    /// Calibrated means of operands, if biases are corrected.
    means: Option<&'g Calibration>,
    plan: Plan,
    out: Graph,
    /// Values of `out` for activations of `graph`.
    renamed: SecondaryMap<Value, Option<Value>>,
    /// 16-bit copies of 8-bit values of `out`.
    widened: SecondaryMap<Value, Option<Value>>,
    /// 8-bit copies in `out` of activations of `graph` that are 16 bits wide.
    narrowed: SecondaryMap<Value, Option<Value>>,
}

impl Pass<'_> {
    /// Appends the quantised form of an operation.
    fn operation(&mut self, op: Op) -> Result<Value, String> {
        let graph = self.graph;
        let data = graph.op(op);
        let ty = self.plan.ty(graph, data.results[0]);
        let moves = plan::moves(&data.kind);
        if !moves && ty.rank() != 2 {
            return Err(format!("expected a matrix, found {}", graph.ty(data.results[0])));
        }
        let mut x = Vec::new();
        for operand in plan::activations(data) {
            let constant = graph.constant(*operand).is_some();
            // Constants take the step of the tensors that they are joined with.
            let quantised = if moves && constant {
                self.constant(*operand, ty.elem, self.step_of(&ty))
            } else {
                self.read(*operand, plan::operand_elem(&data.kind))
            };
            x.push(quantised?);
        }
        match &data.kind {
            _ if moves => Ok(self.moved(x, ty, data)),
            OpKind::Linear {} => self.linear(x[0], ty, data),
            OpKind::Embed {} => self.embed(ty, data),
            OpKind::MixHeads { heads_in, heads_out } => {
                self.mix_heads(x[0], *heads_in, *heads_out, ty, data)
            }
            OpKind::LayerNorm { eps } => self.layer_norm(x[0], *eps, ty, data),
            OpKind::Unary { f } => Ok(self.lut(x[0], *f, (&[], &[[1.0, 0.0, 1.0, 0.0]]), ty, data)),
            OpKind::Table { f, channels, .. } => {
                let groups = self.parameter(data.operands[1])?;
                let groups: Vec<[f64; 4]> =
                    groups.as_chunks().0.iter().map(|group| group.map(f64::from)).collect();
                let channels = if groups.len() > 1 { &channels[..] } else { &[] };
                Ok(self.lut(x[0], *f, (channels, &groups), ty, data))
            }
            OpKind::Binary { f } => self.binary([x[0], x[1]], *f, ty, data),
            OpKind::ReduceMean { .. } => Ok(self.mean(x[0], ty, data)),
            OpKind::Attention { .. } => self.attention([x[0], x[1], x[2]], ty, data),
            _ => Err("not an operation of the canonical stage".to_owned()),
        }
    }

    /// An operation that only moves elements, with its index operands.
    fn moved(&mut self, mut operands: Vec<Value>, ty: TensorType, data: &OpData) -> Value {
        for parameter in &data.operands[operands.len()..] {
            let bytes = self
                .graph
                .constant(*parameter)
                .map_or_else(Default::default, |constant| constant.bytes.clone());
            operands.push(self.out.add_const(
                self.name(*parameter),
                self.graph.ty(*parameter).clone(),
                bytes,
            ));
        }
        self.push(data.kind.clone(), &operands, ty, data)
    }

    fn push(&mut self, kind: OpKind, operands: &[Value], ty: TensorType, data: &OpData) -> Value {
        self.out.push_typed(kind, operands, vec![ty], &data.nodes)[0]
    }

    fn step_of(&self, ty: &TensorType) -> f64 {
        ty.step.expect("activations have steps")
    }

    fn step(&self, value: Value) -> f64 {
        self.step_of(self.out.ty(value))
    }

    /// The quantised form of an activation, in the element type `elem` if one is given.
    fn read(&mut self, value: Value, elem: Option<Elem>) -> Result<Value, String> {
        let Some(quantised) = self.renamed[value] else {
            let elem = elem.unwrap_or(Elem::I16);
            let limit = Range::of(&self.parameter(value)?).largest();
            if !limit.is_finite() {
                return Err("a constant operand is infinite or undefined".to_owned());
            }
            return self.constant(value, elem, self.plan.step(elem, limit));
        };
        match (self.out.ty(quantised).elem, elem) {
            (Elem::I8, Some(Elem::I16)) => self.widen(value, quantised),
            (Elem::I16, Some(Elem::I8)) => self.narrow(value),
            _ => Ok(quantised),
        }
    }

    /// A constant as an activation.
    fn constant(&mut self, value: Value, elem: Elem, step: f64) -> Result<Value, String> {
        let elements = self.parameter(value)?;
        let bytes: Vec<u8> = match elem {
            Elem::I8 => elements.iter().map(|x| quantise_i8(*x, step) as u8).collect(),
            _ => elements.iter().flat_map(|x| quantise_i16(*x, step).to_le_bytes()).collect(),
        };
        let ty = TensorType::quantised(elem, self.graph.ty(value).shape.clone(), step);
        Ok(self.out.add_const(self.name(value), ty, bytes))
    }

    fn name(&self, value: Value) -> String {
        self.graph.constant(value).map_or(String::new(), |constant| constant.name.clone())
    }

    /// Widens an 8-bit activation to 16 bits: its LayerNorm writes both, and any other value is
    /// multiplied by 256 with a step that is finer by as much.
    fn widen(&mut self, source: Value, value: Value) -> Result<Value, String> {
        const FACTOR: f64 = 256.0;
        if let Some(wide) = self.widened[value] {
            return Ok(wide);
        }
        if let Some((_, data)) = self.graph.producer(source)
            && let OpKind::LayerNorm { eps } = data.kind
        {
            let x = self.read(data.operands[0], Some(Elem::I16))?;
            let ty = self.plan.wide(self.out.ty(value));
            let wide = self.layer_norm(x, eps, ty, data)?;
            self.widened[value] = Some(wide);
            return Ok(wide);
        }
        let (_, columns) = self.out.ty(value).matrix();
        let weights =
            (0..columns).flat_map(|i| (0..columns).map(move |j| u8::from(i == j))).collect();
        let channels = vec![Channel { bias: 0, scale: multiplier(FACTOR) }; columns];
        let ty = TensorType::quantised(
            Elem::I16,
            self.out.ty(value).shape.clone(),
            self.step(value) / FACTOR,
        );
        let nodes = self.out.producer(value).map_or(Vec::new(), |(_, data)| data.nodes.clone());
        let wide = self.qlinear(
            value,
            QuantisedLinear { weights, channels },
            [String::new(), String::new()],
            ty,
            &nodes,
        );
        self.widened[value] = Some(wide);
        Ok(wide)
    }

    fn embed(&mut self, ty: TensorType, data: &OpData) -> Result<Value, String> {
        let table = self.constant(data.operands[0], ty.elem, self.step_of(&ty))?;
        let rows = self.renamed[data.operands[1]]
            .ok_or("expected row numbers that are a graph input, found computed ones")?;
        Ok(self.push(OpKind::QEmbed {}, &[table, rows], ty, data))
    }

    /// Narrows a 16-bit activation to 8 bits. Operations that only move elements move the narrow
    /// form.
    fn narrow(&mut self, value: Value) -> Result<Value, String> {
        if let Some(narrow) = self.narrowed[value] {
            return Ok(narrow);
        }
        let graph = self.graph;
        let ty = self.plan.narrow_ty(graph, value);
        let quantised = self.renamed[value].expect("operands precede their uses");
        let narrow = match graph.producer(value) {
            Some((_, data)) if plan::moves(&data.kind) && plan::activations(data).len() == 1 => {
                let x = self.read(data.operands[0], Some(Elem::I8))?;
                self.moved(vec![x], ty, data)
            }
            producer => {
                let (a_scale, b_scale, shift) =
                    add_scales(self.step(quantised), 0.0, self.step_of(&ty))?;
                let kind = OpKind::QAdd { a_scale, b_scale, shift };
                let nodes = producer.map_or(&[][..], |(_, data)| &data.nodes);
                self.out.push_typed(kind, &[quantised; 2], vec![ty], nodes)[0]
            }
        };
        self.narrowed[value] = Some(narrow);
        Ok(narrow)
    }

    /// The mean of all rows: a product with equal probabilities.
    fn mean(&mut self, x: Value, ty: TensorType, data: &OpData) -> Value {
        let (rows, _) = self.out.ty(x).matrix();
        let ones =
            self.out.add_const("ones", TensorType::new(Elem::I8, [1, 1, rows]), vec![1; rows]);
        let sum = (rows as u32).to_le_bytes().to_vec();
        let sum = self.out.add_const("rows", TensorType::new(Elem::U32, [1, 1]), sum);
        let scale = multiplier(self.step(x) / self.step_of(&ty));
        self.push(OpKind::Spmm { scale, windows: 1 }, &[ones, sum, x], ty, data)
    }

    fn qlinear(
        &mut self,
        x: Value,
        linear: QuantisedLinear,
        [weights_name, channels_name]: [String; 2],
        ty: TensorType,
        nodes: &[Node],
    ) -> Value {
        let (_, depth) = self.out.ty(x).matrix();
        let channels = linear.channels.len();
        let bytes: Vec<u8> =
            linear.channels.iter().flat_map(|channel| channel.to_bytes()).collect();
        let w = self.out.add_const(
            weights_name,
            TensorType::new(Elem::I8, [channels, depth]),
            linear.weights,
        );
        let b =
            self.out.add_const(channels_name, TensorType::new(Elem::Channel, [channels]), bytes);
        self.out.push_typed(OpKind::QLinear {}, &[x, w, b], vec![ty], nodes)[0]
    }

    /// The elements of a float parameter.
    fn parameter(&self, value: Value) -> Result<Vec<f32>, String> {
        self.graph
            .const_f32(value)
            .ok_or_else(|| format!("expected a float constant, found {value}"))
    }

    fn linear(&mut self, x: Value, ty: TensorType, data: &OpData) -> Result<Value, String> {
        let [w, b] = [data.operands[1], data.operands[2]];
        check_depth(self.graph.ty(w).shape[1])?;
        let bias = self.parameter(b)?;
        let weights = self.parameter(w)?;
        let means = self.means.and_then(|calibration| calibration.means(data.operands[0]));
        // What a table computes near 0 is its offset away from 0. Most results are there, so the
        // rounded weights, too, must make up for the offset.
        let means = means.or_else(|| tables::zeros(self.graph, data.operands[0]));
        let linear = QuantisedLinear::new(
            &weights,
            &bias,
            self.step(x),
            self.step_of(&ty),
            means.as_deref(),
        )?;
        let names = [self.name(w), self.name(b)];
        Ok(self.qlinear(x, linear, names, ty, &data.nodes))
    }

    /// Weights and biases of `mix_heads`, quantised as a linear layer whose channels are the result
    /// heads.
    fn mix_heads(
        &mut self,
        x: Value,
        heads_in: usize,
        heads_out: usize,
        ty: TensorType,
        data: &OpData,
    ) -> Result<Value, String> {
        let [w, b] = [data.operands[1], data.operands[2]];
        check_depth(heads_in)?;
        let coder = QuantisedLinear::new(
            &self.parameter(w)?,
            &self.parameter(b)?,
            self.step(x),
            self.step_of(&ty),
            None,
        )?;
        let mut bytes = coder.weights;
        bytes.resize(autoencoder_channels_at(heads_in, heads_out), 0);
        bytes.extend(coder.channels.iter().flat_map(|channel| channel.to_bytes()));
        let params =
            self.out.add_const(self.name(w), TensorType::new(Elem::Byte, [bytes.len()]), bytes);
        let kind = if heads_out < heads_in {
            OpKind::Encode { heads_in, heads_out }
        } else {
            OpKind::Decode { heads_in, heads_out }
        };
        Ok(self.push(kind, &[x, params], ty, data))
    }

    fn layer_norm(
        &mut self,
        x: Value,
        eps: f64,
        ty: TensorType,
        data: &OpData,
    ) -> Result<Value, String> {
        let real = |value| {
            let elements = self.graph.const_f64(value);
            elements.ok_or_else(|| format!("expected a float constant, found {value}"))
        };
        let (gamma, beta) = (real(data.operands[1])?, real(data.operands[2])?);
        let params = LayerNormParams::new(&gamma, &beta, eps, self.step(x), self.step_of(&ty));
        let bytes = params.map_err(|error| error.to_string())?.to_bytes();
        let params = self.out.add_const(
            self.name(data.operands[1]),
            TensorType::new(Elem::Byte, [bytes.len()]),
            bytes,
        );
        Ok(self.push(OpKind::QLayerNorm {}, &[x, params], ty, data))
    }

    fn lut(
        &mut self,
        x: Value,
        f: UnaryFn,
        (channels, groups): (&[usize], &[[f64; 4]]),
        ty: TensorType,
        data: &OpData,
    ) -> Value {
        let tables =
            tables::tables(f, groups, self.out.ty(x).elem, [self.step(x), self.step_of(&ty)]);
        let table =
            self.out.add_const(f.name(), TensorType::new(Elem::Byte, [tables.len()]), tables);
        self.push(OpKind::Lut { channels: channels.to_vec() }, &[x, table], ty, data)
    }

    fn binary(
        &mut self,
        x: [Value; 2],
        f: BinaryFn,
        ty: TensorType,
        data: &OpData,
    ) -> Result<Value, String> {
        let [a, b] = [data.operands[0], data.operands[1]];
        let out = self.step_of(&ty);
        let (operands, [a_factor, b_factor]) = match (f, self.uniform(a), self.uniform(b)) {
            (BinaryFn::Add, ..) => (x, [self.step(x[0]), self.step(x[1])]),
            (BinaryFn::Sub, ..) => (x, [self.step(x[0]), -self.step(x[1])]),
            (BinaryFn::Mul, _, Some(c)) => ([x[0]; 2], [self.step(x[0]) * c, 0.0]),
            (BinaryFn::Mul, Some(c), _) => ([x[1]; 2], [self.step(x[1]) * c, 0.0]),
            (BinaryFn::Div, _, Some(c)) if c != 0.0 => ([x[0]; 2], [self.step(x[0]) / c, 0.0]),
            _ => return Err(format!("the machine has no {} of two tensors", f.name())),
        };
        let (a_scale, b_scale, shift) = add_scales(a_factor, b_factor, out)?;
        Ok(self.push(OpKind::QAdd { a_scale, b_scale, shift }, &operands, ty, data))
    }

    /// The value of a constant whose elements are all equal.
    fn uniform(&self, value: Value) -> Option<f64> {
        let elements = self.graph.const_f32(value)?;
        let first = *elements.first()?;
        elements.iter().all(|x| *x == first).then(|| first.into())
    }
}

/// The quantised type of an integer input: row numbers, or a mask of keys with a row for each query
/// of its largest attention.
fn integers(graph: &Graph, input: Value) -> Result<TensorType, String> {
    let elements = graph.ty(input).elements();
    let attentions = graph
        .order
        .iter()
        .map(|op| graph.op(*op))
        .filter(|data| matches!(data.kind, OpKind::Attention { .. }));
    let masked = attentions.filter(|data| graph.attention_keys(data) == Some(input));
    match (masked.map(|data| graph.ty(data.operands[0]).shape[0]).max(), graph.table_rows(input)) {
        (Some(_), Some(_)) => {
            Err("expected one use, as row numbers or as a key mask, found both".to_owned())
        }
        (Some(queries), None) => {
            Ok(TensorType::new(Elem::Byte, [queries, Mask::row_bytes(elements)]))
        }
        (None, _) => Ok(TensorType::new(Elem::U16, [1, elements])),
    }
}

/// Rejects sums of products that could overflow the accumulator.
fn check_depth(depth: usize) -> Result<(), String> {
    let most = max_accumulation_depth(8, 8);
    if depth <= most as usize {
        Ok(())
    } else {
        Err(format!(
            "expected sums of at most {most} products (the int32 accumulator), found {depth}"
        ))
    }
}

/// Multipliers and shift of a rescaled add of operands with steps `a` and `b`; both may be negative
/// or zero.
fn add_scales(a: f64, b: f64, out: f64) -> Result<(i32, i32, u8), String> {
    // A step of zero uses the multiplier of the other operand, which is cleared afterwards; this
    // does not cost precision.
    let magnitude = |x: f64, other: f64| if x == 0.0 { other.abs() } else { x.abs() };
    if a == 0.0 && b == 0.0 {
        return Ok((0, 0, 0));
    }
    let add = RescaleAdd::new(magnitude(a, b), magnitude(b, a), out)
        .map_err(|error| error.to_string())?;
    let [a0, a1, a2, a3, b0, b1, b2, b3, shift, ..] = add.to_bytes();
    let signed = |multiplier: [u8; 4], step: f64| {
        let multiplier = i32::from_le_bytes(multiplier);
        if step == 0.0 {
            0
        } else if step < 0.0 {
            -multiplier
        } else {
            multiplier
        }
    };
    Ok((signed([a0, a1, a2, a3], a), signed([b0, b1, b2, b3], b), shift))
}
