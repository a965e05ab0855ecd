//! Rewrites masked attention to operations on its dense and its sparse part.

use cranelift_entity::SecondaryMap;
use vitcod_isa::numerics::Scale;
use vitcod_support::problems::Collector;

use super::{HeadSplit, Polarised, SplitError};
use crate::estimate::Estimate;
use crate::ir::layout::{BlockKeys, BlockMask, Csc, Mask, sddmm_masks, sddmm_terms};
use crate::ir::{Elem, Graph, Op, OpKind, Stage, TensorType, Value};
use crate::masks::Partition;

/// Masked attention: `sddmm`, `qsoftmax` and `spmm`, of which each alone reads what the one before
/// it makes.
pub(super) struct Layer<'g> {
    pub(super) graph: &'g Graph,
    sddmm: Op,
    softmax: Op,
    spmm: Op,
    pub(super) heads: usize,
    scale: Scale,
    /// The shift of the scores.
    shift: u8,
    product_scale: Scale,
    /// One for each head.
    pub(super) masks: Vec<Mask>,
}

impl Layer<'_> {
    /// Number of queries and of keys.
    pub(super) fn extents(&self) -> [usize; 2] {
        let [q, k, ..] = self.tensors().map(|value| self.graph.ty(value).shape[0]);
        [q, k]
    }

    /// Queries, keys, values and result.
    pub(super) fn tensors(&self) -> [Value; 4] {
        let (scores, product) = (self.graph.op(self.sddmm), self.graph.op(self.spmm));
        [scores.operands[0], scores.operands[1], product.operands[2], product.results[0]]
    }

    /// Whether no entry is pruned.
    pub(super) fn keeps_everything(&self) -> bool {
        self.masks.iter().all(|mask| mask.kept() == mask.entries())
    }

    /// How messages and reports name it.
    fn name(&self) -> String {
        let data = self.graph.op(self.sddmm);
        data.nodes.first().map_or_else(
            || self.graph.describe(self.sddmm),
            |node| self.graph.node(*node).to_owned(),
        )
    }
}

/// The global tokens of a layer: the partition of each head, what the layer takes, and why.
pub(super) struct Choice {
    pub(super) partitions: Vec<Partition>,
    pub(super) estimate: Estimate,
    pub(super) reason: String,
}

/// Splits every masked attention as `choose` says.
pub(super) fn run(
    graph: &Graph,
    choose: &mut dyn FnMut(&Layer<'_>) -> Choice,
) -> Result<(Graph, Vec<Polarised>), SplitError> {
    if graph.stage != Stage::Quantised {
        return Err(SplitError::Stage(graph.stage));
    }
    let layers = layers(graph)?;
    let mut pass = Pass { graph, out: graph.successor(Stage::Split), renamed: SecondaryMap::new() };
    for input in &graph.inputs {
        let ty = graph.ty(input.value).clone();
        pass.renamed[input.value] = Some(pass.out.add_input_like(input, ty));
    }
    let mut report = Vec::new();
    for op in &graph.order {
        match layers.iter().find(|layer| [layer.sddmm, layer.softmax, layer.spmm].contains(op)) {
            None => pass.copy(*op),
            Some(layer) if layer.spmm == *op => {
                let choice = choose(layer);
                report.push(polarised(layer, &choice));
                pass.attention(layer, &choice.partitions).map_err(|problem| {
                    let at = graph.describe(layer.sddmm);
                    SplitError::Unsupported(format!("{at}: {problem}").into())
                })?;
            }
            // What becomes of all three stands where the product stood.
            Some(_) => {}
        }
    }
    for output in &graph.outputs {
        let value = pass.rename(output.value);
        pass.out.add_output(output.name.clone(), value, output.shape.clone());
    }
    Ok((pass.out.compacted(), report))
}

/// Every masked attention, or all that is wrong with them.
fn layers(graph: &Graph) -> Result<Vec<Layer<'_>>, SplitError> {
    let mut problems = Collector::new();
    let mut layers = Vec::new();
    for op in &graph.order {
        match layer(graph, *op) {
            Ok(layer) => layers.extend(layer),
            Err(problem) => problems.push(|| format!("{}: {problem}", graph.describe(*op))),
        }
    }
    problems.finish().map_err(SplitError::Unsupported)?;
    Ok(layers)
}

/// The masked attention whose scores `op` makes; `None` where it makes none.
fn layer(graph: &Graph, op: Op) -> Result<Option<Layer<'_>>, String> {
    let data = graph.op(op);
    // Windows are small: all of their scores are computed, masked ones too.
    let OpKind::Sddmm { heads, scale, windows: 1 } = data.kind else { return Ok(None) };
    // Lists and blocks have no bias: such attention stays as it is, masked on the denser engine.
    if sddmm_terms(graph, data).bias.is_some() {
        return Ok(None);
    }
    let Some(masks) = sddmm_masks(graph, data)? else { return Ok(None) };
    if let Some((head, query)) =
        masks.iter().enumerate().find_map(|(head, mask)| Some((head, mask.empty_row()?)))
    {
        return Err(format!("head {head}: row {query} is pruned entirely by its mask"));
    }
    if let Some(mask) = masks.iter().find(|mask| mask.keys() > usize::from(u16::MAX)) {
        return Err(format!(
            "{} keys; the number of a block's columns is 16 bits wide",
            mask.keys()
        ));
    }
    let softmax = only_reader(graph, op, 0).ok_or("more than a softmax reads its masked scores")?;
    let spmm =
        only_reader(graph, softmax, 0).filter(|spmm| only_reader(graph, softmax, 1) == Some(*spmm));
    let spmm = spmm.ok_or("more than one product reads its masked probabilities")?;
    let (OpKind::QSoftmax { shift }, OpKind::Spmm { scale: product_scale, windows: 1 }) =
        (&graph.op(softmax).kind, &graph.op(spmm).kind)
    else {
        return Err("its masked scores do not become softmax and product".to_owned());
    };
    Ok(Some(Layer {
        graph,
        sddmm: op,
        softmax,
        spmm,
        heads,
        scale,
        shift: *shift,
        product_scale: *product_scale,
        masks,
    }))
}

/// The operation that alone, and once, reads a result of another, where no output is that result.
fn only_reader(graph: &Graph, op: Op, result: usize) -> Option<Op> {
    let value = *graph.op(op).results.get(result)?;
    if graph.outputs.iter().any(|output| output.value == value) {
        return None;
    }
    let reads = |reader: &&Op| graph.op(**reader).operands.contains(&value);
    let mut readers = graph.order.iter().filter(reads);
    readers.next().copied().filter(|_| readers.next().is_none())
}

fn polarised(layer: &Layer<'_>, choice: &Choice) -> Polarised {
    let heads = choice.partitions.iter().map(|head| HeadSplit {
        globals: head.globals(),
        cells: head.dense_cells(),
        cells_kept: head.denser.kept(),
        nonzeros: head.nonzeros(),
    });
    Polarised {
        layer: layer.name(),
        heads: heads.collect(),
        estimate: choice.estimate,
        reason: choice.reason.clone(),
    }
}

/// The state of the pass.
struct Pass<'g> {
    graph: &'g Graph,
    out: Graph,
    /// Values of `out` for values of `graph`.
    renamed: SecondaryMap<Value, Option<Value>>,
}

impl Pass<'_> {
    fn rename(&mut self, value: Value) -> Value {
        if let Some(new) = self.renamed[value] {
            return new;
        }
        // Inputs and results are renamed before they are read: this is the first use of a constant.
        let constant = self.graph.constant(value).expect("operands precede their uses");
        let ty = self.graph.ty(value).clone();
        let new = self.out.add_const(constant.name.clone(), ty, constant.bytes.clone());
        self.renamed[value] = Some(new);
        new
    }

    fn copy(&mut self, op: Op) {
        let data = self.graph.op(op);
        let operands: Vec<Value> =
            data.operands.iter().map(|operand| self.rename(*operand)).collect();
        self.replace(op, data.kind.clone(), &operands);
    }

    /// Appends what takes the place of an operation and has its results.
    fn replace(&mut self, op: Op, kind: OpKind, operands: &[Value]) {
        let data = self.graph.op(op);
        let types = data.results.iter().map(|result| self.graph.ty(*result).clone()).collect();
        let new = self.push(op, kind, operands, types);
        data.results.iter().zip(new).for_each(|(old, new)| self.renamed[*old] = Some(new));
    }

    /// Appends an operation that comes from the same ONNX nodes as `op`.
    fn push(
        &mut self,
        op: Op,
        kind: OpKind,
        operands: &[Value],
        types: Vec<TensorType>,
    ) -> Vec<Value> {
        self.out.push_typed(kind, operands, types, &self.graph.op(op).nodes)
    }

    fn bytes(&mut self, name: &str, bytes: Vec<u8>) -> Value {
        self.out.add_const(name, TensorType::new(Elem::Byte, [bytes.len()]), bytes)
    }

    fn attention(&mut self, layer: &Layer<'_>, partitions: &[Partition]) -> Result<(), String> {
        if layer.keeps_everything() {
            self.dense(layer);
            return Ok(());
        }
        self.split_attention(layer, partitions)
    }

    /// Attention without its mask.
    fn dense(&mut self, layer: &Layer<'_>) {
        let [q, k, ..] = layer.tensors();
        let operands = [q, k].map(|value| self.rename(value));
        self.replace(layer.sddmm, self.graph.op(layer.sddmm).kind.clone(), &operands);
        self.copy(layer.softmax);
        self.copy(layer.spmm);
    }

    /// Adds the operations of split attention.
    fn split_attention(
        &mut self,
        layer: &Layer<'_>,
        partitions: &[Partition],
    ) -> Result<(), String> {
        let [q, k, v, _] = layer.tensors();
        let [q, k, v] = [q, k, v].map(|value| self.rename(value));
        let (heads, scale) = (layer.heads, layer.scale);
        let [queries, tokens] = layer.extents();
        let rows = [heads, queries];
        let maxima = TensorType::new(Elem::I16, rows);

        let mut parts = Vec::new();
        if partitions.iter().any(|head| head.globals() > 0) {
            let keys = BlockKeys::new(
                partitions.iter().map(|head| head.global_tokens().to_vec()).collect(),
            );
            let mask = BlockMask::new(partitions.iter().map(|head| head.denser.clone()).collect());
            let scores = TensorType::new(Elem::I16, [keys.columns() * queries]);
            let (keys, mask) = (
                self.bytes("block_keys", keys.to_bytes()),
                self.bytes("block_mask", mask.to_bytes()),
            );
            let kind = OpKind::BlockSddmm { heads, scale };
            let results =
                self.push(layer.sddmm, kind, &[q, k, keys, mask], vec![scores, maxima.clone()]);
            parts.push((OpKind::BlockSoftmax { shift: layer.shift }, keys, results));
        }
        if partitions.iter().any(|head| head.nonzeros() > 0) {
            let csc = pattern(partitions, tokens)?;
            let scores = TensorType::new(Elem::I16, [csc.nonzeros()]);
            let csc = self.bytes("csc", csc.to_bytes());
            let results = self.push(
                layer.sddmm,
                OpKind::CscSddmm { heads, scale },
                &[q, k, csc],
                vec![scores, maxima],
            );
            parts.push((OpKind::CscSoftmax { shift: layer.shift }, csc, results));
        }

        let mut product = vec![v];
        for (i, (kind, pattern, results)) in parts.iter().enumerate() {
            let other = (0..parts.len()).filter(|part| *part != i).map(|part| parts[part].2[1]);
            let operands: Vec<Value> =
                [results[0], *pattern, results[1]].into_iter().chain(other).collect();
            let entries = self.out.ty(results[0]).shape.clone();
            let elem = self.graph.ty(self.graph.op(layer.softmax).results[0]).elem;
            let types = vec![TensorType::new(elem, entries), TensorType::new(Elem::U32, rows)];
            product.extend(self.push(layer.softmax, kind.clone(), &operands, types));
            product.push(*pattern);
        }
        let has = |wanted: fn(&OpKind) -> bool| parts.iter().any(|(kind, _, _)| wanted(kind));
        let block = has(|kind| matches!(kind, OpKind::BlockSoftmax { .. }));
        let csc = has(|kind| matches!(kind, OpKind::CscSoftmax { .. }));
        self.replace(
            layer.spmm,
            OpKind::SplitSpmm { heads, scale: layer.product_scale, block, csc },
            &product,
        );
        Ok(())
    }
}

/// The entries outside of the blocks.
fn pattern(partitions: &[Partition], keys: usize) -> Result<Csc, String> {
    let column = |head: usize, key: usize| partitions[head].sparser[key].iter().copied();
    Csc::new(partitions.len(), keys, column)
        .ok_or_else(|| "more kept entries outside of blocks than 32 bits number".to_owned())
}
