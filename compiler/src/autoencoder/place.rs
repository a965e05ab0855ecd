//! Chooses where encoder and decoder are computed, layer by layer.

use std::fmt;

use cranelift_entity::SecondaryMap;
use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::{Decode, Encode, Matmul, Op as Instruction};
use vitcod_isa::machine::Machine;
use vitcod_isa::program;

use super::chain::{Chain, chains, readers};
use super::fold::fold;
use super::{AutoencoderError, OPERANDS, layer};
use crate::estimate::Estimate;
use crate::ir::{Graph, Op, OpData, OpKind, Stage, Value};

/// Where the halves of an auto-encoder are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Separately, by `encode` and `decode`, as in the paper.
    Apart,
    /// The encoder is folded into the projection; the decoder is `decode`.
    FoldEncoder,
    /// Both are folded into the projection.
    FoldBoth,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 3] = [Form::Apart, Form::FoldEncoder, Form::FoldBoth];

    /// Name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Apart => "apart",
            Form::FoldEncoder => "fold-encoder",
            Form::FoldBoth => "fold-both",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the form is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By the cost model, for each layer.
    Auto,
    /// By the user, for all layers.
    Always(Form),
}

/// The choice for a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The first ONNX node of the layer's attention.
    pub layer: String,
    /// The form of its auto-encoders. Where nothing can be folded, `reason` names those that are
    /// not folded.
    pub form: Form,
    /// Costs of projections, encoders and decoders with the transfers of Q and K, in every form;
    /// see the module documentation.
    pub estimates: [(Form, Estimate); 3],
    /// Why this form was chosen, for the report.
    pub reason: String,
}

impl Decision {
    /// The decision as reports state it.
    fn reported(&self) -> program::Decision {
        let costs =
            self.estimates.map(|(form, estimate)| format!("{form} {}", estimate.weighted_cycles()));
        let reason = format!("{}; weighted cycles: {}", self.reason, costs.join(", "));
        program::Decision::new(&*self.layer, "auto-encoder", self.form.to_string(), reason)
    }
}

/// Places the auto-encoders of a canonical graph. A layer is one attention with its Q and K; a
/// layer without auto-encoders has no decision.
///
/// The result computes the same in real arithmetic, is compacted, and records the decisions.
///
/// # Errors
/// The graph is not canonical, or a layer exceeds the limits of instructions, so that its cost is
/// unknown.
pub fn place(
    graph: &Graph,
    machine: &Machine,
    choice: Choice,
) -> Result<(Graph, Vec<Decision>), AutoencoderError> {
    if graph.stage != Stage::Canonical {
        return Err(AutoencoderError::Stage(graph.stage));
    }
    let readers = readers(graph);
    let mut placed = graph.clone();
    let mut decisions = Vec::new();
    for op in &graph.order {
        if let Some(layer) = Layer::new(graph, &readers, *op) {
            let decision = layer.decide(graph, machine, choice)?;
            layer.chains.iter().for_each(|chain| apply(graph, &mut placed, chain, decision.form));
            placed.decisions.push(decision.reported());
            decisions.push(decision);
        }
    }
    Ok((placed.compacted(), decisions))
}

/// Converts a chain of `graph` to a form in `placed`, if the chain can have it.
fn apply(graph: &Graph, placed: &mut Graph, chain: &Chain, form: Form) {
    let Ok(projection) = chain.projection else { return };
    match form {
        Form::Apart => {}
        Form::FoldEncoder => fold(graph, placed, projection, &[chain.encoder]),
        Form::FoldBoth => fold(graph, placed, projection, &[chain.encoder, chain.decoder]),
    }
}

/// An attention with auto-encoders.
struct Layer<'g> {
    name: String,
    attention: &'g OpData,
    chains: Vec<Chain>,
}

impl<'g> Layer<'g> {
    fn new(graph: &'g Graph, readers: &SecondaryMap<Value, usize>, op: Op) -> Option<Layer<'g>> {
        let attention = graph.op(op);
        if !matches!(attention.kind, OpKind::Attention { .. }) {
            return None;
        }
        let chains = chains(graph, readers, attention);
        (!chains.is_empty()).then(|| Layer { name: layer(graph, op), attention, chains })
    }

    fn decide(
        &self,
        graph: &Graph,
        machine: &Machine,
        choice: Choice,
    ) -> Result<Decision, AutoencoderError> {
        let mut estimates = Form::ALL.map(|form| (form, Estimate::default()));
        for (form, estimate) in &mut estimates {
            let (_, dram_bytes) = self.traffic(graph, machine, *form);
            let cycles = self.compute_cycles(graph, machine, *form)?;
            *estimate = Estimate::with_waits(machine, cycles, dram_bytes);
        }
        let stuck: Vec<String> = self
            .chains
            .iter()
            .filter_map(|chain| {
                Some(format!("the encoder of {} stays: {}", chain.operand, chain.projection.err()?))
            })
            .collect();
        let (form, why) = if stuck.len() == self.chains.len() {
            (Form::Apart, "nothing can be folded")
        } else {
            match choice {
                // Of equal costs the first form, which is nearest to the paper.
                Choice::Auto => (
                    (estimates.iter().min_by_key(|(_, estimate)| estimate.weighted_cycles()))
                        .expect("three forms")
                        .0,
                    "fewest weighted cycles",
                ),
                Choice::Always(form) => (form, "asked for"),
            }
        };
        let stored = match self.traffic(graph, machine, form) {
            (bytes, 0) => format!("Q and K stay on chip ({bytes} bytes)"),
            (bytes, _) => format!("Q and K are stored in DRAM ({bytes} bytes)"),
        };
        let reason =
            [why.to_owned(), stored].into_iter().chain(stuck).collect::<Vec<_>>().join("; ");
        Ok(Decision { layer: self.name.clone(), form, estimates, reason })
    }

    /// Cycles of projections, encoders and decoders.
    fn compute_cycles(
        &self,
        graph: &Graph,
        machine: &Machine,
        form: Form,
    ) -> Result<u64, AutoencoderError> {
        let mut sum = 0;
        for chain in &self.chains {
            let form = chain.takes(form);
            let m = self.field("tokens:", chain.tokens)?;
            let d = self.field("features of a head:", chain.features)?;
            let [heads, compressed] = [chain.heads, chain.compressed];
            if let Ok(projection) = chain.projection {
                let projected = if form == Form::FoldEncoder { compressed } else { heads };
                let n = self.field("channels:", projected * chain.features)?;
                let k = self.field(
                    "inputs of a projection:",
                    graph.ty(graph.op(projection).operands[0]).matrix().1,
                )?;
                sum += cost(&matmul(machine, m, n, k), machine).cycles;
            }
            let [heads, compressed] =
                [self.field("heads:", heads)?, self.field("heads:", compressed)?];
            if form == Form::Apart {
                sum += cost(&encode(machine, m, d, heads, compressed), machine).cycles;
            }
            if form != Form::FoldBoth {
                sum += cost(&decode(machine, m, d, compressed, heads), machine).cycles;
            }
        }
        Ok(sum)
    }

    fn field(&self, what: &'static str, count: usize) -> Result<u16, AutoencoderError> {
        u16::try_from(count).map_err(|_| AutoencoderError::TooLarge {
            layer: self.name.clone(),
            what,
            count,
        })
    }

    /// Bytes of Q and K as stored, and bytes of their DRAM transfers: 0 if they are resident.
    fn traffic(&self, graph: &Graph, machine: &Machine, form: Form) -> (u64, u64) {
        let operands = self.attention.operands[..2].iter().zip(OPERANDS);
        let bytes = operands.fold(0u64, |sum, (value, operand)| {
            let coded =
                |chain: &&Chain| chain.operand == operand && chain.takes(form) != Form::FoldBoth;
            let stored = match self.chains.iter().find(coded) {
                Some(chain) => chain.tokens * chain.compressed * chain.features,
                None => graph.ty(*value).elements(),
            };
            sum.saturating_add(stored as u64)
        });
        if bytes <= u64::from(machine.sram.bytes) / 2 {
            return (bytes, 0);
        }
        (bytes, bytes.saturating_mul(2))
    }
}

impl Chain {
    /// The form of the chain if the layer has this form.
    fn takes(&self, form: Form) -> Form {
        if self.projection.is_ok() { form } else { Form::Apart }
    }
}

/// A projection as one instruction. The addresses of its operands do not affect its cost.
fn matmul(machine: &Machine, m: u16, n: u16, k: u16) -> Instruction {
    Matmul { lines: machine.all_lines(), m, n, k, ..Matmul::ZERO }.into()
}

fn encode(machine: &Machine, m: u16, d: u16, heads_in: u16, heads_out: u16) -> Instruction {
    Encode { lines: machine.all_lines(), m, d, heads_in, heads_out, ..Encode::ZERO }.into()
}

fn decode(machine: &Machine, m: u16, d: u16, heads_in: u16, heads_out: u16) -> Instruction {
    Decode { lines: machine.all_lines(), m, d, heads_in, heads_out, ..Decode::ZERO }.into()
}
