//! Attention: scores in units of fractions of an octave, and the format of their probabilities.

use vitcod_isa::numerics::{MAX_SCORE_SHIFT, ProbabilityFormat, SCORE_UNITS_PER_NAT, Scale};
use vitcod_isa::program::Decision;

use super::super::score_terms;
use super::super::weights::multiplier;
use super::{Pass, check_depth};
use crate::calibration::{Calibration, Scores};
use crate::ir::layout::mask_operand;
use crate::ir::{Elem, Graph, Op, OpData, OpKind, TensorType, Value};

impl Pass<'_> {
    pub(super) fn attention(
        &mut self,
        [q, k, v]: [Value; 3],
        ty: TensorType,
        data: &OpData,
    ) -> Result<Value, String> {
        let OpKind::Attention { heads, scale, windows } = data.kind else {
            unreachable!("matched by kind")
        };
        let ((m, c), (n, _)) = (self.out.ty(q).matrix(), self.out.ty(k).matrix());
        let (m, n, all) = (m / windows, n / windows, windows * heads);
        check_depth(c / heads)?;
        check_depth(n)?;
        let scores = self.calibration.scores(data.results[0]);
        let shift = scores.shift().ok_or_else(|| {
            let most = Scores::most_nats(MAX_SCORE_SHIFT);
            format!("scores reach {:.0} nats, expected at most {most:.0}", scores.largest)
        })?;
        let units_per_nat = SCORE_UNITS_PER_NAT / f64::from(1u32 << shift);
        let to_score = self.step(q) * self.step(k) * scale * units_per_nat;
        let score_scale = Scale::from_f64(to_score).map_err(|error| format!("scores: {error}"))?;
        let kind = OpKind::Sddmm { heads, scale: score_scale, windows };
        let mut operands = vec![q, k];
        if let Some(bias) = self.graph.attention_bias(data) {
            operands.extend(self.score_terms(bias, all, units_per_nat)?);
        }
        if let Some(keys) = self.graph.attention_keys(data) {
            if operands.iter().any(|operand| self.out.ty(*operand).elem == Elem::Byte) {
                return Err(
                    "not supported yet: a mask that is known at compile time and one that is an input".to_owned()
                );
            }
            // The bias must stay the last operand.
            operands.insert(2, self.keys(keys, m, data)?);
        }
        let elem = self.probabilities(&scores, shift, n, data);
        let scores = self.push(kind, &operands, TensorType::new(Elem::I16, [all, m, n]), data);
        let types = vec![TensorType::new(elem, [all, m, n]), TensorType::new(Elem::U32, [all, m])];
        let soft = self.out.push_typed(OpKind::QSoftmax { shift }, &[scores], types, &data.nodes);
        let kind = OpKind::Spmm { scale: multiplier(self.step(v) / self.step_of(&ty)), windows };
        Ok(self.push(kind, &[soft[0], soft[1], v], ty, data))
    }

    /// The format of the probabilities of `keys` keys, with its decision.
    fn probabilities(&mut self, scores: &Scores, shift: u8, keys: usize, data: &OpData) -> Elem {
        let fits = keys <= ProbabilityFormat::Minifloat.max_keys() as usize;
        let ratios = scores.sqnr_db();
        let is_minifloat = self.options.units.minifloat
            && fits
            && ratios.is_none_or(|[int8, minifloat]| minifloat >= int8);
        let reason = match ratios {
            _ if !self.options.units.minifloat => "the machine has no minifloats".to_owned(),
            _ if !fits => format!("{keys} keys; the sum of as many minifloats overflows"),
            None => "not calibrated".to_owned(),
            Some([int8, minifloat]) => format!(
                "their weights have {minifloat:.1} dB as minifloats, {int8:.1} dB as int8, for the \
                 same work; scores reach {:.1} nats",
                scores.largest
            ),
        };
        let format = if is_minifloat { "minifloats" } else { "int8" };
        let chosen = match shift {
            0 => format.to_owned(),
            _ => format!("{format}, scores in units of 2^{shift} / 256 octaves"),
        };
        let layer = data.nodes.first().map_or("", |node| self.graph.node(*node));
        self.out.decisions.push(Decision::new(layer, "probabilities", chosen, reason));
        if is_minifloat { Elem::E3m5 } else { Elem::I8 }
    }

    /// The mask of an input that prunes keys: one row of bits, repeated for `queries` queries.
    fn keys(&mut self, keys: Value, queries: usize, data: &OpData) -> Result<Value, String> {
        let mask = self.renamed[keys]
            .ok_or("expected a key mask that is a graph input, found a computed one")?;
        let mut ty = self.out.ty(mask).clone();
        if ty.elem != Elem::Byte || ty.shape[0] == queries {
            return Ok(mask);
        }
        ty.shape[0] = queries;
        let kind = OpKind::Slice { axis: 0, start: 0, len: queries, stride: 1 };
        Ok(self.push(kind, &[mask], ty, data))
    }

    /// The addends of the scores of `heads` heads in all windows: a mask of the pruned entries and
    /// a bias of the kept ones; each is omitted if trivial.
    fn score_terms(
        &mut self,
        value: Value,
        heads: usize,
        units_per_nat: f64,
    ) -> Result<Vec<Value>, String> {
        let elements = self.parameter(value)?;
        let shape = &self.graph.ty(value).shape;
        let (masks, bias) =
            score_terms::terms(&elements, [shape[0], shape[1], shape[2]], units_per_nat)?;
        let mut terms = Vec::new();
        if masks.iter().any(|mask| mask.kept() != mask.entries()) {
            // Windows may share a bias, but each has its own masks.
            let (ty, bytes) = mask_operand(masks.iter().cycle().take(heads));
            terms.push(self.out.add_const(self.name(value), ty, bytes));
        }
        if bias.iter().any(|x| *x != 0) {
            let bytes: Vec<u8> = bias.into_iter().flat_map(i16::to_le_bytes).collect();
            terms.push(self.out.add_const(
                self.name(value),
                TensorType::new(Elem::I16, shape.clone()),
                bytes,
            ));
        }
        Ok(terms)
    }
}

/// What the lack of minifloats costs on a machine without them.
pub(super) fn lacking_minifloats(graph: &Graph, calibration: &Calibration) -> Option<Decision> {
    const LEAST_DB: f64 = 3.0;
    let ratios = graph.order.iter().filter_map(|op| {
        let ratios = calibration.scores(graph.op(*op).results[0]).sqnr_db()?;
        (ratios[1] >= ratios[0] + LEAST_DB).then_some((*op, ratios))
    });
    let layers: Vec<(Op, [f64; 2])> = ratios.collect();
    let (worst, [int8, minifloat]) =
        layers.iter().min_by(|a, b| a.1[0].total_cmp(&b.1[0])).copied()?;
    let cost = format!(
        "the machine has no minifloats (softmax.minifloat): in {} layers, int8 probabilities are \
         less exact, at worst {int8:.1} dB in place of {minifloat:.1} in {}",
        layers.len(),
        graph.describe(worst)
    );
    Some(Decision::new("the model", "warning", cost, "choose another machine"))
}
