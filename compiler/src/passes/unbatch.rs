//! Reduces a model with a fixed batch to one of its items.

use cranelift_entity::SecondaryMap;
use vitcod_support::problems::{Collector, Problems};

use super::error::{Problem, Unsupported};
use crate::ir::{Graph, Node, OpData, OpKind, TensorType, Value};

/// Replaces a graph whose inputs and outputs hold the items of a batch along their first dimensions
/// by the graph of one item. Any other graph is returned as it is.
///
/// # Errors
/// The operations that combine items.
pub(super) fn run(graph: &Graph) -> Result<Graph, Problems<Problem>> {
    let Some(batch) = batch(graph) else { return Ok(graph.clone()) };
    let graph = &graph.compacted();
    let mut walk =
        Unbatch { graph, batch, item: graph.successor(graph.stage), values: SecondaryMap::new() };
    for input in &graph.inputs {
        let mut ty = graph.ty(input.value).clone();
        ty.shape[0] = 1;
        let value = walk.item.add_input(&input.name, ty);
        walk.values[input.value] = Some(Of { value, axis: Some(0) });
    }
    for op in &graph.order {
        let data = graph.op(*op);
        // What depends on an operation that combines items is not understood.
        walk.operation(data)
            .map_err(|unsupported| Problems::from(Problem::at_op(graph, data, unsupported)))?;
    }
    let mut problems = Collector::new();
    for output in &graph.outputs {
        match walk.values[output.value] {
            Some(Of { value, axis: Some(0) }) => {
                let shape = walk.item.ty(value).shape.clone();
                walk.item.add_output(&output.name, value, shape);
            }
            _ => problems.push(|| {
                let unsupported = Unsupported::new(
                    "a tensor without the items along its first dimension",
                    format!("the results of the {batch} items"),
                );
                Problem::new(format!("output {:?}", output.name), unsupported)
            }),
        }
    }
    problems.finish()?;
    Ok(walk.item.compacted())
}

/// The number of items that all inputs and outputs of a graph hold, if there are several. A matrix
/// holds tokens rather than items.
fn batch(graph: &Graph) -> Option<usize> {
    let inputs = graph.inputs.iter().map(|input| &graph.ty(input.value).shape);
    let outputs = graph.outputs.iter().map(|output| &graph.ty(output.value).shape);
    let largest = inputs.clone().find(|shape| shape.len() > 2)?;
    let batch = *largest.first()?;
    (batch > 1 && inputs.chain(outputs).all(|shape| shape.first() == Some(&batch))).then_some(batch)
}

/// What a value of the batch becomes.
#[derive(Clone, Copy, Debug)]
struct Of {
    /// The value of the graph of one item.
    value: Value,
    /// The dimension whose outermost factor was the batch; `None` if the value is the same for all
    /// items.
    axis: Option<usize>,
}

struct Unbatch<'g> {
    graph: &'g Graph,
    batch: usize,
    item: Graph,
    values: SecondaryMap<Value, Option<Of>>,
}

impl Unbatch<'_> {
    fn combined(&self, what: &str) -> Unsupported {
        Unsupported::new(
            what,
            format!("operations on each of the {} items of the batch by itself", self.batch),
        )
    }

    fn operation(&mut self, data: &OpData) -> Result<(), Unsupported> {
        let shapes: Vec<&[usize]> =
            data.operands.iter().map(|value| &self.graph.ty(*value).shape[..]).collect();
        let to = &self.graph.ty(data.results[0]).shape;
        let axes: Vec<Option<usize>> =
            data.operands.iter().map(|value| self.values[*value].and_then(|of| of.axis)).collect();
        let within = |axis: &usize| {
            self.combined(&format!("a {} along dimension {axis}, of items", data.kind.mnemonic()))
        };
        let mut kind = data.kind.clone();
        let axis = match &mut kind {
            OpKind::Unary { .. } | OpKind::FakeQuantise { .. } | OpKind::Convert { .. } => axes[0],
            OpKind::Binary { .. } | OpKind::Select {} | OpKind::Concat { .. } => {
                self.aligned(&shapes, &axes, to.len())?
            }
            OpKind::MatMul {} => {
                let axis = self.aligned(&shapes, &axes, to.len())?;
                // Rows of the first matrix are independent of each other.
                let mixes = |axis: usize| axis + 1 == to.len() || axes[1].is_some();
                if axis.is_some_and(|axis| axis + 2 >= to.len() && mixes(axis)) {
                    return Err(self.combined("a product of matrices that hold several items"));
                }
                axis
            }
            OpKind::Conv { .. } if axes[0].is_none_or(|axis| axis == 0) => axes[0],
            OpKind::Reshape { shape } => match axes[0] {
                Some(axis) => Some(self.reshaped(shapes[0], axis, shape)?),
                None => None,
            },
            OpKind::Expand { shape } => match axes[0] {
                Some(axis) => {
                    let axis = axis + to.len() - shapes[0].len();
                    shape[axis] /= self.batch;
                    Some(axis)
                }
                None => None,
            },
            OpKind::Transpose { perm } => {
                axes[0].and_then(|axis| perm.iter().position(|from| *from == axis))
            }
            OpKind::Slice { axis, .. }
            | OpKind::Pad { axis, .. }
            | OpKind::Softmax { axis }
            | OpKind::TopIndices { axis, .. }
                if axes[0] == Some(*axis) =>
            {
                return Err(within(axis));
            }
            OpKind::Slice { .. }
            | OpKind::Pad { .. }
            | OpKind::Softmax { .. }
            | OpKind::TopIndices { .. } => axes[0],
            OpKind::GatherElements { axis } if axes[0] == axes[1] && axes[0] != Some(*axis) => {
                axes[0]
            }
            OpKind::LayerNorm { .. } if axes[0].is_none_or(|axis| axis + 1 < to.len()) => axes[0],
            OpKind::ReduceMean { axes: reduced, keep }
            | OpKind::ReduceMax { axes: reduced, keep } => {
                if let Some(axis) = axes[0].filter(|axis| reduced.contains(axis)) {
                    return Err(within(&axis));
                }
                let before = |axis: usize| reduced.iter().filter(|other| **other < axis).count();
                axes[0].map(|axis| if *keep { axis } else { axis - before(axis) })
            }
            OpKind::Gather { axis } => match (axes[0], axes[1]) {
                (Some(of_x), None) if of_x == *axis => return Err(within(axis)),
                (Some(of_x), None) if of_x > *axis => Some(of_x + shapes[1].len() - 1),
                (of_x, None) => of_x,
                (None, Some(of_indices)) => Some(*axis + of_indices),
                _ => return Err(self.combined("rows of each item by its own indices")),
            },
            _ => return Err(self.combined(&format!("{} of several items", data.kind.mnemonic()))),
        };
        let mut operands = Vec::with_capacity(data.operands.len());
        for operand in &data.operands {
            operands.push(self.operand(*operand, axis, &data.kind, to.len())?);
        }
        let nodes: Vec<Node> = data.nodes.clone();
        let value = self.item.push(kind, &operands, &nodes).map_err(|error| {
            self.combined(&format!("an operation that one item cannot have ({error})"))
        })?;
        if let Some(step) = self.graph.ty(data.results[0]).step {
            self.item.note_step(value, step);
        }
        self.values[data.results[0]] = Some(Of { value, axis });
        Ok(())
    }

    /// The dimension of the items in the result of operands that broadcast; dimensions count from
    /// the last one.
    fn aligned(
        &self,
        shapes: &[&[usize]],
        axes: &[Option<usize>],
        rank: usize,
    ) -> Result<Option<usize>, Unsupported> {
        let mut found = None;
        for (shape, axis) in shapes.iter().zip(axes) {
            let Some(axis) = axis.map(|axis| axis + rank - shape.len()) else { continue };
            if *found.get_or_insert(axis) != axis {
                return Err(self.combined("items along different dimensions"));
            }
        }
        Ok(found)
    }

    /// The dimension of the items after a reshape, whose extent is divided.
    fn reshaped(
        &self,
        from: &[usize],
        axis: usize,
        shape: &mut [usize],
    ) -> Result<usize, Unsupported> {
        let before: usize = from[..axis].iter().product();
        let mut product = 1;
        for (axis, extent) in shape.iter_mut().enumerate() {
            if product == before && *extent > 1 {
                if extent.is_multiple_of(self.batch) {
                    *extent /= self.batch;
                    return Ok(axis);
                }
                break;
            }
            product *= *extent;
        }
        Err(self.combined(&format!("items reshaped to {shape:?}")))
    }

    /// An operand in the graph of one item. Of a constant that has a slice for each item, all of
    /// which are equal, it is one slice.
    fn operand(
        &mut self,
        value: Value,
        axis: Option<usize>,
        kind: &OpKind,
        rank: usize,
    ) -> Result<Value, Unsupported> {
        if let Some(of) = self.values[value] {
            return Ok(of.value);
        }
        let Some(constant) = self.graph.constant(value) else {
            return Err(self.combined("an operand that is not computed"));
        };
        let ty = self.graph.ty(value).clone();
        let broadcasts = matches!(
            kind,
            OpKind::Binary { .. } | OpKind::Select {} | OpKind::Concat { .. } | OpKind::MatMul {}
        );
        let own = axis.filter(|_| broadcasts).and_then(|axis| (axis + ty.rank()).checked_sub(rank));
        // The last two dimensions of weights are those of a matrix.
        let leading = match kind {
            OpKind::MatMul {} => ty.rank().saturating_sub(2),
            _ => ty.rank(),
        };
        let own = own.filter(|own| *own < leading);
        let own = own.filter(|own| ty.shape[*own] > 1 && ty.shape[*own].is_multiple_of(self.batch));
        let (name, bytes) = (constant.name.clone(), constant.bytes.clone());
        let Some(own) = own else { return Ok(self.item.add_const(name, ty, bytes)) };
        let outer: usize = ty.shape[..own].iter().product();
        let block = bytes.len() / outer.max(1) / self.batch;
        let mut one = Vec::with_capacity(bytes.len() / self.batch);
        for blocks in bytes.chunks((block * self.batch).max(1)) {
            let mut items = blocks.chunks(block.max(1));
            let first = items.next().unwrap_or_default();
            if items.any(|item| item != first) {
                return Err(self.combined("another constant for each item"));
            }
            one.extend_from_slice(first);
        }
        let mut shape = ty.shape.clone();
        shape[own] /= self.batch;
        Ok(self.item.add_const(name, TensorType { shape, ..ty }, one))
    }
}
