//! Finds the tensors of a graph whose channels can be shifted or scaled.

use vitcod_isa::program::Decision;

use super::Rewrite;
use super::readers::{OTHER_READERS, OWN_STEP, QUANTISED_WEIGHTS, Readers, Uses};
use crate::ir::{Graph, Op, OpData, OpKind, UnaryFn, Value, ValueDef};
use crate::quantise::reads_16_bits;

/// Keys of an attention.
pub(super) struct Keys {
    layer: Op,
    /// The linear layer that makes them.
    pub(super) source: Op,
}

/// Queries and keys of an attention.
pub(super) struct Scores {
    layer: Op,
    /// The linear layers that make them.
    pub(super) queries: Op,
    pub(super) keys: Op,
    /// The features of a head, if the heads are mixed before attention: all heads then have the
    /// same factors.
    pub(super) mixed: Option<usize>,
}

/// An image whose patches only linear layers read.
pub(super) struct Image {
    /// The operation that lays it out as pixels.
    pub(super) pixels: Op,
    pub(super) readers: Vec<Op>,
}

/// A tensor that only linear layers read, perhaps after attention or ReLU.
pub(super) struct Site {
    layer: Op,
    kind: Kind,
    /// The operation whose parameters make its channels.
    pub(super) source: Op,
    /// What the linear layers read.
    pub(super) reads: Value,
    /// The linear layers, or selections of rows for linear layers, that read it.
    pub(super) direct: Vec<Op>,
    pub(super) readers: Vec<Op>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Norm,
    Values,
    Hidden,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Norm => "normalised tokens",
            Kind::Values => "values",
            Kind::Hidden => "hidden units",
        }
    }
}

/// A tensor that is not rewritten.
struct Left {
    layer: Op,
    tensor: &'static str,
    reason: String,
}

/// The tensors that can be rewritten, without those that have been.
#[derive(Default)]
pub(super) struct Sites {
    pub(super) keys: Vec<Keys>,
    pub(super) scores: Vec<Scores>,
    pub(super) linear_after: Vec<Site>,
    pub(super) images: Vec<Image>,
    left: Vec<Left>,
}

const KEYS: &str = "keys";
const QUERIES_AND_KEYS: &str = "queries and keys";
const IMAGE: &str = "an image";

/// The subject of the decisions of a rewrite.
fn subject(rewrite: Rewrite, tensor: &str) -> String {
    match rewrite {
        Rewrite::Offsets => format!("channel offsets of {tensor}"),
        Rewrite::Factors => format!("channel factors of {tensor}"),
    }
}

/// Finds the tensors to rewrite.
pub(super) fn find(graph: &Graph, rewrite: Rewrite) -> Sites {
    let finder = Finder { graph, uses: Uses::new(graph), rewrite };
    let mut sites = Sites::default();
    for op in &graph.order {
        match graph.op(*op).kind {
            OpKind::Attention { .. } => {
                finder.scores(*op, &mut sites);
                finder.site(*op, Kind::Values, &mut sites);
            }
            OpKind::LayerNorm { .. } => finder.site(*op, Kind::Norm, &mut sites),
            OpKind::Unary { f: UnaryFn::Relu } if rewrite == Rewrite::Factors => {
                finder.site(*op, Kind::Hidden, &mut sites);
            }
            OpKind::Pixels { .. } if rewrite == Rewrite::Factors => finder.image(*op, &mut sites),
            _ => {}
        }
    }
    // What a LayerNorm feeds makes values and hidden units: their factors come first, so that those
    // of the LayerNorm do not depend on how the model divided them.
    sites.linear_after.sort_by_key(|site| site.kind == Kind::Norm);
    sites
}

impl Sites {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.scores.is_empty()
            && self.linear_after.is_empty()
            && self.images.is_empty()
    }

    /// Leaves out the tensors for which there is a reason, by the operations that make them.
    pub(super) fn leave_out(
        &mut self,
        scores: impl Fn(Op) -> Option<String>,
        linear_after: impl Fn(Op) -> Option<String>,
    ) {
        let left = &mut self.left;
        let mut stays = |layer, tensor, reason: Option<String>| {
            let stays = reason.is_none();
            left.extend(reason.map(|reason| Left { layer, tensor, reason }));
            stays
        };
        self.keys.retain(|site| stays(site.layer, KEYS, scores(site.source)));
        self.scores.retain(|site| {
            let reason = scores(site.queries).or_else(|| scores(site.keys));
            stays(site.layer, QUERIES_AND_KEYS, reason)
        });
        self.linear_after
            .retain(|site| stays(site.layer, site.kind.name(), linear_after(site.source)));
        self.images.retain(|image| stays(image.pixels, IMAGE, scores(image.pixels)));
    }

    /// What was decided for each tensor.
    pub(super) fn decisions(&self, graph: &Graph, rewrite: Rewrite) -> Vec<Decision> {
        let chosen = match rewrite {
            Rewrite::Offsets => "moved",
            Rewrite::Factors => "balanced",
        };
        let rewritten = |layer: Op, tensor: &str, reason: &str| {
            Decision::new(graph.layer_name(layer), subject(rewrite, tensor), chosen, reason)
        };
        let keys = self.keys.iter().map(|site| {
            rewritten(
                site.layer,
                KEYS,
                "softmax does not change if all scores of a row are shifted",
            )
        });
        let scores = self.scores.iter().map(|site| {
            let reason = "a score is a sum of products of queries and keys, channel by channel";
            rewritten(site.layer, QUERIES_AND_KEYS, reason)
        });
        let linear_after = self.linear_after.iter().map(|site| {
            let reason = match rewrite {
                Rewrite::Offsets => {
                    "the biases of the linear layers that read them take the offsets"
                }
                Rewrite::Factors => {
                    "the weights of the linear layers that read them take the factors"
                }
            };
            rewritten(site.layer, site.kind.name(), reason)
        });
        let left = self.left.iter().map(|left| {
            let (layer, subject) = (graph.layer_name(left.layer), subject(rewrite, left.tensor));
            Decision::new(layer, subject, "left as they are", &*left.reason)
        });
        let images = self.images.iter().map(|image| {
            let reason = "the patch weights take the factors, and the runtime divides by them";
            rewritten(image.pixels, IMAGE, reason)
        });
        keys.chain(scores).chain(linear_after).chain(images).chain(left).collect()
    }
}

struct Finder<'g> {
    graph: &'g Graph,
    uses: Uses<'g>,
    rewrite: Rewrite,
}

/// The linear layer that makes the queries or keys.
struct Projection {
    op: Op,
    /// Whether a `mix_heads` follows it.
    mixed: bool,
    /// Whether a `mix_heads` adds a bias.
    biased: bool,
}

impl Finder<'_> {
    /// Whether the tensor of a layer has a decision of this rewrite.
    fn is_decided(&self, layer: Op, tensor: &str) -> bool {
        let (layer, subject) = (self.graph.layer_name(layer), subject(self.rewrite, tensor));
        let mut decisions = self.graph.decisions.iter();
        decisions.any(|decision| decision.layer == layer && decision.subject == subject)
    }

    fn scores(&self, layer: Op, sites: &mut Sites) {
        let tensor = match self.rewrite {
            Rewrite::Factors => QUERIES_AND_KEYS,
            Rewrite::Offsets => KEYS,
        };
        if self.is_decided(layer, tensor) {
            return;
        }
        let data = self.graph.op(layer);
        let [queries, keys] = [0, 1].map(|i| self.projection(data.operands[i]));
        let found = match self.rewrite {
            Rewrite::Offsets => keys
                .map(|keys| sites.keys.push(Keys { layer, source: keys.op }))
                .map_err(|reason| format!("the keys {reason}")),
            Rewrite::Factors => {
                self.queries_and_keys(data, queries, keys).map(|(queries, keys, mixed)| {
                    sites.scores.push(Scores { layer, queries, keys, mixed });
                })
            }
        };
        if let Err(reason) = found {
            sites.left.push(Left { layer, tensor, reason });
        }
    }

    fn queries_and_keys(
        &self,
        attention: &OpData,
        queries: Result<Projection, &'static str>,
        keys: Result<Projection, &'static str>,
    ) -> Result<(Op, Op, Option<usize>), String> {
        let queries = queries.map_err(|reason| format!("the queries {reason}"))?;
        let keys = keys.map_err(|reason| format!("the keys {reason}"))?;
        if queries.op == keys.op {
            return Err("one linear layer makes queries and keys".to_owned());
        }
        if queries.biased || keys.biased {
            return Err("the auto-encoder has a bias for each head".to_owned());
        }
        let OpKind::Attention { heads, .. } = attention.kind else { unreachable!("an attention") };
        let features = self.graph.ty(attention.operands[0]).matrix().1 / heads;
        let mixed = (queries.mixed || keys.mixed).then_some(features);
        Ok((queries.op, keys.op, mixed))
    }

    /// The linear layer that makes a tensor for one reader alone, perhaps with heads mixed on the
    /// way, or why there is none.
    fn projection(&self, mut value: Value) -> Result<Projection, &'static str> {
        let (mut mixed, mut biased) = (false, false);
        loop {
            self.uses.single_reader(value)?;
            let Some((op, data)) = self.graph.producer(value) else {
                return Err("are not the result of a linear layer");
            };
            match data.kind {
                OpKind::Linear {} => {
                    self.uses.parameters(op)?;
                    return Ok(Projection { op, mixed, biased });
                }
                OpKind::MixHeads { .. } => {
                    let bias = self.graph.const_f32(data.operands[2]);
                    biased |= bias.is_none_or(|bias| bias.iter().any(|x| *x != 0.0));
                    mixed = true;
                    value = data.operands[0];
                }
                _ => return Err("are not the result of a linear layer"),
            }
        }
    }

    fn image(&self, pixels: Op, sites: &mut Sites) {
        let data = self.graph.op(pixels);
        let (_, channels) = self.graph.ty(data.results[0]).matrix();
        let is_input = matches!(self.graph.def(data.operands[0]), ValueDef::Input(_));
        let is_divided = data.operands.len() > 1;
        if channels < 2 || !is_input || is_divided || self.is_decided(pixels, IMAGE) {
            return;
        }
        let found = self.uses.single_reader(data.operands[0]).and_then(|()| {
            let readers = self.uses.window_readers(data.results[0])?;
            readers.iter().try_for_each(|reader| self.uses.parameters(*reader))?;
            match readers.iter().any(|reader| self.uses.has_quantised(*reader)) {
                true => Err(QUANTISED_WEIGHTS),
                false => Ok(readers),
            }
        });
        match found {
            Ok(readers) => sites.images.push(Image { pixels, readers }),
            Err(reason) => {
                let reason = format!("its pixels {reason}");
                sites.left.push(Left { layer: pixels, tensor: IMAGE, reason });
            }
        }
    }

    fn site(&self, layer: Op, kind: Kind, sites: &mut Sites) {
        let reads = self.graph.op(layer).results[0];
        let readers = self.uses.readers(reads);
        if readers.linear.is_empty() || self.is_decided(layer, kind.name()) {
            return;
        }
        match self.source(layer, kind, reads, &readers) {
            Ok(source) => {
                let Readers { linear: readers, direct, .. } = readers;
                sites.linear_after.push(Site { layer, kind, source, reads, direct, readers });
            }
            Err(reason) => {
                let reason = format!("they {reason}");
                sites.left.push(Left { layer, tensor: kind.name(), reason });
            }
        }
    }

    /// The operation whose parameters make the channels, or why they cannot be changed.
    fn source(
        &self,
        layer: Op,
        kind: Kind,
        reads: Value,
        Readers { linear, others, own_step, .. }: &Readers,
    ) -> Result<Op, &'static str> {
        let data = self.graph.op(layer);
        if *own_step {
            return Err(OWN_STEP);
        }
        let source = match kind {
            // A copy of the LayerNorm serves readers of 16 bits, which need one in any case.
            Kind::Norm => {
                if others
                    .iter()
                    .any(|op| !op.is_some_and(|op| reads_16_bits(&self.graph.op(op).kind)))
                {
                    return Err(OTHER_READERS);
                }
                layer
            }
            Kind::Values | Kind::Hidden => {
                if !others.is_empty() {
                    return Err(OTHER_READERS);
                }
                let made = data.operands[if kind == Kind::Values { 2 } else { 0 }];
                self.uses.single_reader(made)?;
                let linear = self.graph.producer(made).filter(|(_, data)| {
                    matches!(data.kind, OpKind::Linear {})
                        && self.graph.ty(made).matrix().1 == self.graph.ty(reads).matrix().1
                });
                linear.ok_or("are not the result of a linear layer")?.0
            }
        };
        self.uses.parameters(source)?;
        for reader in linear {
            self.uses.parameters(*reader)?;
            if self.rewrite == Rewrite::Factors && self.uses.has_quantised(*reader) {
                return Err(QUANTISED_WEIGHTS);
            }
        }
        Ok(source)
    }
}

impl Scores {
    /// The ranges of the channels, or of the features of all heads together.
    pub(super) fn shared_across_heads(&self, ranges: Vec<f64>) -> Vec<f64> {
        let Some(features) = self.mixed else { return ranges };
        let feature = |i| ranges[i..].iter().step_by(features).fold(0.0, |a: f64, b| a.max(*b));
        (0..features).map(feature).collect()
    }
}
