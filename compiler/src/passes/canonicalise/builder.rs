//! Builds the canonical graph: operations on matrices. Constant subexpressions are folded.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::column_map::per_head;
use super::constants::{self, PerElement, data, floats, transpose};
use super::view::{Axis, View, Walk, places, walks};
use crate::ir::shared_bytes;
use crate::ir::{BinaryFn, Elem, Graph, Node, OpData, OpKind, Stage, TensorType, UnaryFn, Value};
use crate::mapped;
use crate::passes::error::Unsupported;

/// The most elements that are allocated in total, for constants and lists of nodes, independently
/// of the size of the model. It bounds time and memory for hostile graphs.
const BUDGET: usize = 1 << 22;

/// Additional elements for each float of a parameter. Transposing a whole parameter is not counted.
const PER_PARAMETER: usize = 3;

/// The deepest nesting of `concat` for which an addend is distributed over the parts.
const NESTED: usize = 4;

pub(super) struct Builder<'a> {
    source: &'a Graph,
    pub(super) graph: Graph,
    /// Source constants that the graph already holds.
    adopted: BTreeMap<Value, Value>,
    /// Source constants that the graph already holds transposed.
    transposed: BTreeMap<Value, Value>,
    /// Weights of monomial layers.
    pub(super) monomials: BTreeSet<Value>,
    /// Sums of monomial layers that join matrices.
    pub(super) sums: BTreeSet<Value>,
    /// Existing `pick_rows`, by their operand, the number of rows side by side, and the row
    /// numbers.
    picked: BTreeMap<(Value, usize, Vec<usize>), Value>,
    /// The remaining budget in elements.
    budget: usize,
    /// The ONNX nodes of the operation that is being translated.
    pub(super) nodes: Vec<Node>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a Graph) -> Builder<'a> {
        let constants = source.values().filter_map(|(value, _)| source.constant(value));
        let parameters =
            shared_bytes::count(constants.map(|constant| &constant.bytes[..])) / size_of::<f32>();
        Builder {
            source,
            graph: source.successor(Stage::Canonical),
            adopted: BTreeMap::new(),
            transposed: BTreeMap::new(),
            monomials: BTreeSet::new(),
            sums: BTreeSet::new(),
            picked: BTreeMap::new(),
            budget: BUDGET.saturating_add(parameters.saturating_mul(PER_PARAMETER)),
            nodes: Vec::new(),
        }
    }

    /// Appends an operation attributed to the current nodes.
    pub(super) fn push(&mut self, kind: OpKind, operands: &[Value]) -> Result<Value, Unsupported> {
        let nodes = self.nodes.clone();
        self.push_for(kind, operands, &nodes)
    }

    pub(super) fn push_for(
        &mut self,
        kind: OpKind,
        operands: &[Value],
        nodes: &[Node],
    ) -> Result<Value, Unsupported> {
        self.graph
            .push(kind, operands, nodes)
            .map_err(|error| Unsupported::new(error.to_string(), "operands that fit"))
    }

    /// Appends a replacement for an operation, attributed to its nodes and to the current ones.
    pub(super) fn replace(
        &mut self,
        old: &OpData,
        kind: OpKind,
        operands: &[Value],
    ) -> Result<Value, Unsupported> {
        let mut nodes = old.nodes.clone();
        nodes.extend(self.nodes.iter().filter(|node| !old.nodes.contains(node)));
        self.charge(nodes.len())?;
        self.push_for(kind, operands, &nodes)
    }

    /// The operation that computes a value, if one does.
    pub(super) fn producer(&self, value: Value) -> Option<OpData> {
        self.graph.producer(value).map(|(_, op)| op.clone())
    }

    /// Rows and columns of a value.
    pub(super) fn extents(&self, value: Value) -> (usize, usize) {
        self.graph.ty(value).matrix()
    }

    /// Copies a float constant of the source graph, with another shape of as many elements.
    pub(super) fn adopt(&mut self, value: Value, shape: &[usize]) -> Result<Value, Unsupported> {
        if let Some(known) =
            self.adopted.get(&value).filter(|known| self.graph.ty(**known).shape == shape)
        {
            return Ok(*known);
        }
        let (name, bytes) = self.float_constant(value)?;
        let adopted = self.graph.add_const(name, TensorType::f32(shape), bytes);
        self.adopted.insert(value, adopted);
        Ok(adopted)
    }

    /// Copies a float matrix of the source graph, `rows x columns`, transposed.
    pub(super) fn adopt_transposed(
        &mut self,
        value: Value,
        rows: usize,
        columns: usize,
    ) -> Result<Value, Unsupported> {
        if let Some(known) = self.transposed.get(&value) {
            return Ok(*known);
        }
        let (name, bytes) = self.float_constant(value)?;
        let transposed = transpose(&bytes, rows, columns);
        mapped::release(&bytes);
        let adopted = self.graph.add_const(name, TensorType::f32([columns, rows]), transposed);
        self.transposed.insert(value, adopted);
        Ok(adopted)
    }

    /// Converts convolution weights `[o,c,kh,kw]` of the source graph to the weights of a linear
    /// layer on windows with the channels last: `[o, kh*kw*c]`.
    pub(super) fn adopt_kernel(
        &mut self,
        value: Value,
        [o, c, kh, kw]: [usize; 4],
    ) -> Result<Value, Unsupported> {
        if let Some(known) = self.transposed.get(&value) {
            return Ok(*known);
        }
        let (name, bytes) = self.float_constant(value)?;
        let taps = kh * kw;
        let filters = bytes.chunks((c * taps * size_of::<f32>()).max(1)).take(o);
        let bytes =
            Bytes::from(filters.flat_map(|filter| transpose(filter, c, taps)).collect::<Vec<u8>>());
        let adopted = self.graph.add_const(name, TensorType::f32([o, taps * c]), bytes);
        self.transposed.insert(value, adopted);
        Ok(adopted)
    }

    fn float_constant(&self, value: Value) -> Result<(String, Bytes), Unsupported> {
        let ty = self.source.ty(value);
        match self.source.constant(value) {
            Some(constant) if ty.elem == Elem::F32 => {
                Ok((constant.name.clone(), constant.bytes.clone()))
            }
            _ => Err(Unsupported::new(format!("{value} of type {ty}"), "a float constant")),
        }
    }

    /// The remaining budget in elements.
    pub(super) fn left(&self) -> usize {
        self.budget
    }

    /// [`constants::check_size`] against the remaining budget.
    pub(super) fn check_size(&self, extents: &[usize]) -> Result<usize, Unsupported> {
        constants::check_size(extents, self.budget)
    }

    /// Takes elements from the budget.
    pub(super) fn charge(&mut self, elements: usize) -> Result<(), Unsupported> {
        self.budget -= self.check_size(&[elements])?;
        Ok(())
    }

    /// Adds a constant with new elements and charges them.
    pub(super) fn make(
        &mut self,
        name: &str,
        shape: &[usize],
        bytes: Bytes,
    ) -> Result<Value, Unsupported> {
        self.charge(bytes.len() / size_of::<f32>())?;
        Ok(self.graph.add_const(name, TensorType::f32(shape), bytes))
    }

    /// The name of a constant; empty for anything else.
    pub(super) fn name(&self, constant: Value) -> String {
        self.graph.constant(constant).map_or_else(String::new, |constant| constant.name.clone())
    }

    pub(super) fn zeros(&mut self, extent: usize) -> Result<Value, Unsupported> {
        self.check_size(&[extent])?;
        self.make("", &[extent], data(std::iter::repeat_n(0.0, extent)))
    }

    /// The matrix of the rows and columns that these walks visit from the view's first element,
    /// multiplied by the view's factor.
    pub(super) fn matrix_of(
        &mut self,
        view: &View,
        rows: &[Walk],
        columns: &[Walk],
    ) -> Result<Value, Unsupported> {
        let (height, width) = self.extents(view.matrix);
        let mut matrix = view.matrix;
        let grid = match rows {
            [] => Some(Grid { map: [1, 1], step: [1, 1] }),
            [Walk { extent, stride: 1, .. }] => Some(Grid { map: [*extent, 1], step: [1, 1] }),
            _ => Grid::of(rows, height - view.row),
        };
        match grid {
            Some(Grid { map, step }) => {
                let len = map[0] * map[1];
                if len != height {
                    matrix = self.push(
                        OpKind::Slice { axis: 0, start: view.row, len, stride: 1 },
                        &[matrix],
                    )?;
                }
                if step != [1, 1] {
                    let kind = OpKind::Patches { map, kernel: [1, 1], stride: step, pad: [0; 4] };
                    matrix = self.push(kind, &[matrix])?;
                }
            }
            None => {
                let extents: Vec<usize> = rows.iter().map(|walk| walk.extent).collect();
                self.check_size(&extents)?;
                matrix = self.pick_rows(matrix, places(view.row, rows), 1)?;
            }
        }
        let all =
            matches!(columns, [Walk { stride: 1, extent, .. }] if *extent == width) || width == 1;
        if !all {
            let extents: Vec<usize> = columns.iter().map(|walk| walk.extent).collect();
            let count = self.check_size(&extents)?;
            self.charge(count)?;
            matrix = self.selected(matrix, places(view.column, columns))?;
        }
        if view.factor != 1.0 {
            let width = self.check_size(&[self.extents(matrix).1])?;
            self.charge(width)?;
            matrix = self.scaled(matrix, vec![view.factor; width], "")?;
        }
        if let Some(step) = view.step {
            self.graph.note_step(matrix, step);
        }
        Ok(matrix)
    }

    /// Selects rows of a matrix and concatenates each `side` of them into one row of the result.
    pub(super) fn pick_rows(
        &mut self,
        matrix: Value,
        rows: Vec<usize>,
        side: usize,
    ) -> Result<Value, Unsupported> {
        self.charge(3 * rows.len())?;
        let key = (matrix, side, rows);
        if let Some(known) = self.picked.get(&key) {
            return Ok(*known);
        }
        let picked = self.pick_new_rows(matrix, key.2.clone(), side)?;
        self.picked.insert(key, picked);
        Ok(picked)
    }

    fn pick_new_rows(
        &mut self,
        matrix: Value,
        rows: Vec<usize>,
        side: usize,
    ) -> Result<Value, Unsupported> {
        if side == 1
            && rows.len() == self.extents(matrix).0
            && rows.iter().enumerate().all(|(i, row)| i == *row)
        {
            return Ok(matrix);
        }
        if let Some(op) = self.producer(matrix) {
            match op.kind {
                // A selection of selected rows is one selection.
                OpKind::PickRows {} if self.graph.ty(op.operands[1]).shape[1] == 1 => {
                    let first = self.graph.indices(op.operands[1], self.extents(op.operands[0]).0);
                    let first =
                        first.map_err(|problem| Unsupported::new(problem, "rows of a matrix"))?;
                    let rows = rows.into_iter().map(|row| first[row]).collect();
                    return self.pick_rows(op.operands[0], rows, side);
                }
                // Select before the linear layer: its operand has 8 bits, its result may have 16.
                OpKind::Linear {}
                    if side == 1
                        && rows.len() <= self.extents(matrix).0
                        && !self.is_padded(op.operands[0])
                        && !self.is_read(matrix) =>
                {
                    let x = self.pick_rows(op.operands[0], rows, 1)?;
                    return self.replace(
                        &op,
                        OpKind::Linear {},
                        &[x, op.operands[1], op.operands[2]],
                    );
                }
                _ => {}
            }
        }
        let ty = TensorType::new(Elem::I64, [rows.len() / side, side]);
        let bytes: Vec<u8> = rows.into_iter().flat_map(|row| (row as i64).to_le_bytes()).collect();
        let rows = self.graph.add_const("rows", ty, bytes);
        self.push(OpKind::PickRows {}, &[matrix, rows])
    }

    /// Whether a value is windows that reach over the edges of a map: a linear layer reads them in
    /// place.
    fn is_padded(&self, value: Value) -> bool {
        self.producer(value)
            .is_some_and(|op| matches!(op.kind, OpKind::Patches { pad, .. } if pad != [0; 4]))
    }

    /// Whether an operation reads a value.
    fn is_read(&self, value: Value) -> bool {
        self.graph.order.iter().any(|op| self.graph.op(*op).operands.contains(&value))
    }

    /// The view as a matrix: `rows` are the dimensions that become rows, in row-major order, and
    /// `columns` those that become columns. Each dimension must be in one of the lists.
    pub(super) fn layout(
        &mut self,
        view: &View,
        rows: &[usize],
        columns: &[usize],
    ) -> Result<Value, Unsupported> {
        let pick = |dims: &[usize]| walks(dims.iter().flat_map(|d| view.dims[*d].iter().copied()));
        let (rows, columns) = (pick(rows), pick(columns));
        let is_row = |walk: &Walk| walk.axis == Axis::Row;
        if !rows.iter().all(is_row) {
            return Err(Unsupported::new(
                format!(
                    "a matrix with {} along rows and {} along columns",
                    describe(&rows),
                    describe(&columns)
                ),
                "tokens along rows and channels along columns",
            ));
        }
        let (merged, rest): (Vec<Walk>, Vec<Walk>) = columns.iter().copied().partition(is_row);
        if merged.is_empty() {
            return self.matrix_of(view, &rows, &columns);
        }
        let joined = self.merge_rows(view, &rows, &merged, &rest)?;
        // Merged rows are outermost; in the tensor they may be anywhere.
        let width = self.extents(joined).1;
        let [mut row, mut column] = [width, rest.iter().map(|walk| walk.extent).product()];
        let order = columns.iter().map(|walk| {
            let left = if is_row(walk) { &mut row } else { &mut column };
            *left /= walk.extent;
            Walk { axis: Axis::Column, extent: walk.extent, stride: *left }
        });
        let order: Vec<Walk> = order.collect();
        self.charge(width)?;
        self.selected(joined, places(0, &order))
    }

    /// The matrix in which each row that `rows` visit is concatenated with the rows that `merged`
    /// visit from there.
    fn merge_rows(
        &mut self,
        view: &View,
        rows: &[Walk],
        merged: &[Walk],
        columns: &[Walk],
    ) -> Result<Value, Unsupported> {
        let matrix = self.whole_columns(view, columns)?;
        if let Some(kind) = windows(view, rows, merged, self.extents(matrix).0) {
            return self.push(kind, &[matrix]);
        }
        let extents: Vec<usize> = rows.iter().chain(merged).map(|walk| walk.extent).collect();
        self.check_size(&extents)?;
        let side = merged.iter().map(|walk| walk.extent).product();
        let places = places(view.row, &[rows, merged].concat());
        self.pick_rows(matrix, places, side)
    }

    /// All rows of the view's matrix, restricted to these columns, multiplied by the view's factor.
    fn whole_columns(&mut self, view: &View, columns: &[Walk]) -> Result<Value, Unsupported> {
        let all = Walk { axis: Axis::Row, extent: self.extents(view.matrix).0, stride: 1 };
        self.matrix_of(&View { row: 0, ..view.clone() }, &walks([all]), columns)
    }

    /// The view as a matrix whose rows are the elements of the dimensions before `split`.
    pub(super) fn matrix(&mut self, view: &View, split: usize) -> Result<Value, Unsupported> {
        let dims: Vec<usize> = (0..view.dims.len()).collect();
        self.layout(view, &dims[..split], &dims[split..])
    }

    /// The same tensor as a view with factor 1 that covers its whole matrix; the step stays with
    /// the matrix.
    pub(super) fn whole(&mut self, view: &View) -> Result<View, Unsupported> {
        let [rows, columns] = view.sorted();
        let matrix = self.matrix_of(view, &rows, &columns)?;
        // The new matrix has no gaps between the visited rows and columns.
        let closed = |walk: &Walk| {
            let inner = view
                .dims
                .iter()
                .flatten()
                .filter(|other| other.axis == walk.axis && other.stride < walk.stride);
            Walk { stride: inner.map(|other| other.extent).product(), ..*walk }
        };
        let dims = view.dims.iter().map(|dim| walks(dim.iter().map(closed))).collect();
        Ok(View { matrix, row: 0, column: 0, dims, factor: 1.0, step: None })
    }

    /// The same tensor with its tokens in row-major order; picks rows if they are in another order.
    pub(super) fn in_order(&mut self, view: &View) -> Result<View, Unsupported> {
        let (rows, columns) = (&view.split()[0], &view.sorted()[1]);
        if *rows == view.sorted()[0] {
            return Ok(view.clone());
        }
        let matrix = self.matrix_of(view, rows, columns)?;
        let mut left: usize = rows.iter().map(|walk| walk.extent).product();
        let mut closed = |walk: &Walk| match walk.axis {
            Axis::Column => *walk,
            Axis::Row => {
                left /= walk.extent;
                Walk { stride: left, ..*walk }
            }
        };
        let dims = view.dims.iter().map(|dim| walks(dim.iter().map(&mut closed))).collect();
        Ok(View { matrix, row: 0, column: 0, dims, factor: 1.0, step: None })
    }

    /// Adds a constant to a matrix. A new constant gets `name`.
    pub(super) fn add_constant(
        &mut self,
        value: Value,
        addend: &PerElement,
        name: &str,
    ) -> Result<Value, Unsupported> {
        self.add_within(value, addend, name, NESTED)
    }

    fn add_within(
        &mut self,
        value: Value,
        addend: &PerElement,
        name: &str,
        depth: usize,
    ) -> Result<Value, Unsupported> {
        if addend.is_zero() {
            return Ok(value);
        }
        let (rows, columns) = self.extents(value);
        if self.graph.constant(value).is_some() {
            return self.add_to_elements(value, addend, name);
        }
        let op = self.producer(value);
        match (op.as_ref().map(|op| (&op.kind, op)), addend) {
            // An addend of joined tokens is split and added to the parts.
            (Some((OpKind::Concat { axis: 0 }, op)), _) if depth > 0 => {
                let mut start = 0;
                let mut parts = Vec::with_capacity(op.operands.len());
                for part in &op.operands {
                    let len = self.extents(*part).0;
                    parts.push(self.add_within(
                        *part,
                        &addend.rows(start, len, columns),
                        name,
                        depth - 1,
                    )?);
                    start += len;
                }
                self.replace(op, op.kind.clone(), &parts)
            }
            (Some((OpKind::Linear {} | OpKind::LayerNorm { .. }, op)), PerElement::Columns(_)) => {
                let mut operands = op.operands.clone();
                operands[2] = self.add_to_elements(operands[2], addend, name)?;
                self.replace(op, op.kind.clone(), &operands)
            }
            (Some((OpKind::MixHeads { heads_out, .. }, op)), PerElement::Columns(addends))
                if let Some(addends) = per_head(addends, *heads_out) =>
            {
                let mut operands = op.operands.clone();
                operands[2] =
                    self.add_to_elements(operands[2], &PerElement::Columns(addends), name)?;
                self.replace(op, op.kind.clone(), &operands)
            }
            _ => {
                let count = self.check_size(&[rows, columns])?;
                let constant =
                    self.make(name, &[rows, columns], data((0..count).map(|i| addend.at(i))))?;
                self.push(OpKind::Binary { f: BinaryFn::Add }, &[value, constant])
            }
        }
    }

    fn add_to_elements(
        &mut self,
        constant: Value,
        addend: &PerElement,
        name: &str,
    ) -> Result<Value, Unsupported> {
        let old = self.graph.constant(constant).ok_or_else(computed_parameter)?;
        let sum = data(floats(&old.bytes).enumerate().map(|(i, x)| x + addend.at(i)));
        let name = if old.name.is_empty() { name.to_string() } else { old.name.clone() };
        let shape = self.graph.ty(constant).shape.clone();
        self.make(&name, &shape, sum)
    }

    /// Applies a function to every element.
    pub(super) fn unary(&mut self, f: UnaryFn, x: Value) -> Result<Value, Unsupported> {
        self.push(OpKind::Unary { f }, &[x])
    }
}

/// Tokens as the pixels of a map from which every n-th row and column is selected.
struct Grid {
    /// Height and width of the map.
    map: [usize; 2],
    /// Vertical and horizontal distance of the selected pixels.
    step: [usize; 2],
}

impl Grid {
    /// The grid whose pixels the walks visit; `None` if they do not form one. `left` is the number
    /// of tokens from the first one to the end of the matrix.
    fn of(rows: &[Walk], left: usize) -> Option<Grid> {
        let (down, width, across) = match rows {
            [down] => (down, 1, 1),
            [down, across] => {
                // The map must be wide enough for the inner walk, and the outer walk must step by
                // whole rows.
                let mut widths =
                    (across.extent - 1) * across.stride + 1..=across.extent * across.stride;
                (down, widths.find(|width| down.stride.is_multiple_of(*width))?, across.stride)
            }
            _ => return None,
        };
        let step = down.stride / width;
        let height = (down.extent * step).min(left / width);
        (step > 0 && height > (down.extent - 1) * step)
            .then_some(Grid { map: [height, width], step: [step, across] })
    }
}

/// The windows that merged rows are, if they tile a map: patches that an exporter cut by reshapes.
fn windows(view: &View, rows: &[Walk], merged: &[Walk], height: usize) -> Option<OpKind> {
    let ([down, across], [inner_down, inner_across]) = (rows, merged) else { return None };
    let kernel = [inner_down.extent, inner_across.extent];
    let width = across.extent * kernel[1];
    let tiles = view.row == 0
        && inner_across.stride == 1
        && across.stride == kernel[1]
        && inner_down.stride == width
        && down.stride == kernel[0] * width
        && down.extent * kernel[0] * width == height;
    let map = [down.extent * kernel[0], width];
    tiles.then_some(OpKind::Patches { map, kernel, stride: kernel, pad: [0; 4] })
}

/// The error for a weight, bias or scale that is not a constant.
pub(super) fn computed_parameter() -> Unsupported {
    Unsupported::new("a computed parameter", "a constant parameter")
}

fn describe(walks: &[Walk]) -> String {
    let one = |walk: &Walk| {
        let axis = if walk.axis == Axis::Row { "tokens" } else { "channels" };
        let apart =
            if walk.stride == 1 { String::new() } else { format!(" {} apart", walk.stride) };
        format!("{} {axis}{apart}", walk.extent)
    };
    if walks.is_empty() {
        "one".to_string()
    } else {
        walks.iter().map(one).collect::<Vec<_>>().join(" x ")
    }
}
