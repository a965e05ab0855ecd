//! The division of a model between the host and the machine.
//!
//! The pass `canonicalise` finds the operations that have no canonical form.
//! Each goes to the host, with all that depends on it or, if that takes fewer products from the
//! machine, with all that it depends on. What remains is canonicalised again, until nothing is
//! found: an output of the machine must have a form, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cranelift_entity::SecondaryMap;
use vitcod_isa::program::Decision;

use super::{Host, Tensor};
use crate::ir::{Graph, GraphInput, GraphOutput, Op, OpKind, TensorType, Value};
use crate::passes::{Obstacle, Obstacles, Problem, obstacles};

/// The most attempts to find a division: each moves the boundary by an operation at least.
const MOST_ATTEMPTS: usize = 64;

/// Who computes an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The host, before the machine.
    Before,
    /// The machine.
    #[default]
    Machine,
    /// The host, after the machine.
    After,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Before => "before the machine",
            Place::Machine => "on the machine",
            Place::After => "after the machine",
        })
    }
}

/// How a model is divided between host and machine.
#[derive(Clone, Debug)]
pub struct Division {
    /// The parts of the host.
    pub host: Host,
    /// The operations of the host, in execution order.
    pub nodes: Vec<HostNode>,
    /// Products of the model.
    pub products: Products,
}

impl Division {
    /// The numbers of operations before and after the machine, in words.
    pub fn counts(&self) -> String {
        let count = |place: Place| {
            let count = self.nodes.iter().filter(|node| node.place == place).count();
            let operations = if count == 1 { "operation" } else { "operations" };
            (count > 0).then(|| format!("{count} {operations} {place}"))
        };
        let counts: Vec<String> =
            [Place::Before, Place::After].into_iter().filter_map(count).collect();
        counts.join(" and ")
    }

    /// The operations of the host as decisions, for reports.
    pub fn decisions(&self) -> impl Iterator<Item = Decision> {
        self.nodes.iter().map(|HostNode { node, operation, place, reason }| {
            let reason = match reason {
                Some(Problem { found, expected, .. }) => {
                    format!("found {found}, where the machine needs {expected}")
                }
                None if *place == Place::Before => "what follows is on the host".to_owned(),
                None => "what precedes is on the host".to_owned(),
            };
            Decision::new(format!("{operation} {node}"), "host", place.to_string(), reason)
        })
    }
}

/// An operation that the host computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNode {
    /// Name of its ONNX node.
    pub node: String,
    /// The operation of the IR.
    pub operation: &'static str,
    /// When the host computes it.
    pub place: Place,
    /// Why the machine does not; `None` if it only follows from another operation.
    pub reason: Option<Problem>,
}

/// Numbers of products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// Those of the machine.
    pub machine: u128,
    /// Those of the whole model.
    pub all: u128,
}

impl Products {
    /// The machine's share, from 0 to 1.
    pub fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.machine as f64 / self.all as f64 }
    }
}

/// Divides a graph of the imported stage: into the part of the machine, which has a canonical form,
/// and those of the host. `None` if nothing is left for the machine.
pub fn divide(graph: &Graph) -> Option<(Graph, Division)> {
    let graph = graph.compacted();
    let mut division = Walk::new(&graph);
    for _ in 0..MOST_ATTEMPTS {
        division.pass_by_machine();
        let part = division.machine();
        let machine = division.products(Place::Machine);
        if part.graph.outputs.is_empty() || machine == 0 {
            return None;
        }
        match obstacles(&part.graph) {
            None => return Some(division.finish(part)),
            Some(found) => division.move_to_host(&part, found)?,
        }
    }
    None
}

/// The part of the machine, with the operation of the model that each of its operations is.
struct Part {
    graph: Graph,
    origin: SecondaryMap<Op, Option<Op>>,
}

/// The state of the search for a division.
struct Walk<'g> {
    graph: &'g Graph,
    uses: SecondaryMap<Value, Vec<Op>>,
    places: SecondaryMap<Op, Place>,
    reasons: SecondaryMap<Op, Option<Problem>>,
    /// The name by which a value passes from one part to another.
    names: BTreeMap<Value, String>,
}

impl<'g> Walk<'g> {
    fn new(graph: &'g Graph) -> Walk<'g> {
        Walk {
            graph,
            uses: graph.uses(),
            places: SecondaryMap::new(),
            reasons: SecondaryMap::new(),
            names: names(graph),
        }
    }

    /// Who computes a value; `None` of inputs and constants.
    fn place(&self, value: Value) -> Option<Place> {
        self.graph.producer(value).map(|(op, _)| self.places[op])
    }

    fn products(&self, place: Place) -> u128 {
        let ops = self.graph.order.iter().filter(|op| self.places[**op] == place);
        ops.map(|op| products(self.graph, *op)).sum()
    }

    /// The values that pass from the parts `from` to the parts `to`, in order of their definition.
    fn crossing(&self, from: &[Place], to: &[Place]) -> Vec<Value> {
        let results = self.graph.order.iter().filter(|op| from.contains(&self.places[**op]));
        let results = results.flat_map(|op| self.graph.op(*op).results.iter().copied());
        let is_read =
            |value: &Value| self.uses[*value].iter().any(|op| to.contains(&self.places[*op]));
        results.filter(is_read).collect()
    }

    fn input(&self, value: Value) -> GraphInput {
        let shape = self.graph.ty(value).shape.clone();
        GraphInput { name: self.names[&value].clone(), value, shape, inverted: false }
    }

    fn output(&self, value: Value) -> GraphOutput {
        let shape = self.graph.ty(value).shape.clone();
        GraphOutput { name: self.names[&value].clone(), value, shape }
    }

    /// The inputs of the model that operations of a part read.
    fn inputs_of(&self, places: &[Place]) -> impl Iterator<Item = &'g GraphInput> {
        self.graph.inputs.iter().filter(|input| {
            self.uses[input.value].iter().any(|op| places.contains(&self.places[*op]))
        })
    }

    /// The outputs of the model that a part computes.
    fn outputs_of(&self, place: Place) -> impl Iterator<Item = &'g GraphOutput> {
        self.graph.outputs.iter().filter(move |output| self.place(output.value) == Some(place))
    }

    /// The outputs of a part: those of the model, and values for other parts.
    fn results(&self, place: Place, readers: &[Place]) -> Vec<GraphOutput> {
        let mut outputs: Vec<GraphOutput> = self.outputs_of(place).cloned().collect();
        for value in self.crossing(&[place], readers) {
            if !outputs.iter().any(|output| output.value == value) {
                outputs.push(self.output(value));
            }
        }
        outputs
    }

    fn machine(&self) -> Part {
        let inputs: Vec<GraphInput> = self
            .inputs_of(&[Place::Machine])
            .cloned()
            .chain(
                self.crossing(&[Place::Before], &[Place::Machine])
                    .into_iter()
                    .map(|x| self.input(x)),
            )
            .collect();
        let (graph, renamed) =
            self.graph.part(&inputs, &self.results(Place::Machine, &[Place::After]));
        let mut origin = SecondaryMap::new();
        for op in &self.graph.order {
            let result = self.graph.op(*op).results.first();
            let new = result.and_then(|result| renamed[*result]);
            if let Some((new, _)) = new.and_then(|new| graph.producer(new)) {
                origin[new] = Some(*op);
            }
        }
        Part { graph, origin }
    }

    /// Gives the host what would only pass through the machine: operations that lead to no product
    /// there, nor to anything that one leads to.
    fn pass_by_machine(&mut self) {
        let graph = self.graph;
        let mut has_product: SecondaryMap<Op, bool> = SecondaryMap::new();
        let on_machine = |op: &Op| self.places[*op] == Place::Machine;
        for op in graph.order.iter().copied().filter(on_machine) {
            let producers = graph.op(op).operands.iter().filter_map(|x| graph.producer(*x));
            let mut of_operands = producers.map(|(producer, _)| has_product[producer]);
            has_product[op] = products(graph, op) > 0 || of_operands.any(|has| has);
        }
        for op in graph.order.iter().rev().copied().filter(on_machine) {
            let mut readers = graph.op(op).results.iter().flat_map(|x| &self.uses[*x]);
            has_product[op] |= readers.any(|reader| has_product[*reader]);
        }
        for op in graph.order.iter().filter(|op| !has_product[**op]) {
            if self.places[*op] == Place::Machine {
                self.places[*op] = Place::After;
            }
        }
    }

    /// Moves what has no form to the host; `None` if that is impossible.
    fn move_to_host(&mut self, part: &Part, Obstacles { found, .. }: Obstacles) -> Option<()> {
        if self.prepare_operands(part, &found) {
            return Some(());
        }
        let mut is_moved = false;
        for (obstacle, problem) in found {
            let ops: Vec<Op> = match obstacle {
                Obstacle::Operation(op) => part.origin[op].into_iter().collect(),
                Obstacle::Output(i) => {
                    let producer = part.graph.producer(part.graph.outputs.get(i)?.value);
                    producer.and_then(|(op, _)| part.origin[op]).into_iter().collect()
                }
                Obstacle::Input(i) => {
                    let name = &part.graph.inputs.get(i)?.name;
                    let value = self.names.iter().find(|(_, other)| *other == name)?.0;
                    self.uses[*value].clone()
                }
            };
            for op in
                ops.into_iter().filter(|op| self.places[*op] == Place::Machine).collect::<Vec<_>>()
            {
                // An earlier one may have taken it along.
                if self.places[op] != Place::Machine {
                    continue;
                }
                is_moved = true;
                self.reasons[op] = Some(problem.clone());
                self.give_away(op);
            }
        }
        is_moved.then_some(())
    }

    /// Gives the host what an operation without a form depends on, if that gives it a form, because
    /// only its operands had the wrong one, and if that is cheaper than to give the operation away.
    fn prepare_operands(&mut self, part: &Part, found: &[(Obstacle, Problem)]) -> bool {
        let operations = found.iter().filter_map(|(obstacle, problem)| match obstacle {
            Obstacle::Operation(op) => Some((part.origin[*op]?, problem)),
            Obstacle::Input(_) | Obstacle::Output(_) => None,
        });
        for (op, problem) in operations {
            let [before, after] = [self.before(op), self.after(op)];
            let own = products(self.graph, op);
            let operands = self.cost(&before) - own;
            if before.len() < 2 || own == 0 || operands >= self.cost(&after) {
                continue;
            }
            let places = self.places.clone();
            let others = before.into_iter().filter(|other| *other != op);
            others.for_each(|other| self.places[other] = Place::Before);
            let prepared = self.machine();
            let obstacles = obstacles(&prepared.graph);
            let is_left = |(obstacle, _): &(Obstacle, Problem)| match obstacle {
                Obstacle::Operation(other) => prepared.origin[*other] == Some(op),
                // The operands have no form by themselves.
                Obstacle::Input(_) => true,
                Obstacle::Output(_) => false,
            };
            if obstacles.is_none_or(|obstacles| !obstacles.found.iter().any(is_left)) {
                let operand =
                    self.graph.op(op).operands.iter().find_map(|x| self.graph.producer(*x));
                if let Some((operand, _)) = operand {
                    self.reasons[operand] = Some(problem.clone());
                }
                return true;
            }
            self.places = places;
        }
        false
    }

    fn cost(&self, ops: &[Op]) -> u128 {
        ops.iter().map(|op| products(self.graph, *op)).sum()
    }

    /// The operations of the machine on which one depends, itself included.
    fn before(&self, op: Op) -> Vec<Op> {
        self.reached(op, |op| {
            let operands = &self.graph.op(op).operands;
            operands.iter().filter_map(|x| Some(self.graph.producer(*x)?.0)).collect()
        })
    }

    /// The operations of the machine that depend on one, itself included.
    fn after(&self, op: Op) -> Vec<Op> {
        self.reached(op, |op| {
            self.graph.op(op).results.iter().flat_map(|x| self.uses[*x].clone()).collect()
        })
    }

    /// Gives an operation to the host with those that it depends on, or that depend on it,
    /// whichever have fewer products.
    fn give_away(&mut self, op: Op) {
        let (before, after) = (self.before(op), self.after(op));
        let (ops, place) = match self.cost(&before) < self.cost(&after) {
            true => (before, Place::Before),
            false => (after, Place::After),
        };
        ops.into_iter().for_each(|op| self.places[op] = place);
    }

    /// The operations of the machine that a walk from one reaches, itself included.
    fn reached(&self, from: Op, next: impl Fn(Op) -> Vec<Op>) -> Vec<Op> {
        let mut reached = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(op) = open.pop() {
            open.extend(next(op).into_iter().filter(|op| reached.insert(*op)));
        }
        reached.into_iter().filter(|op| self.places[*op] == Place::Machine).collect()
    }

    fn finish(mut self, part: Part) -> (Graph, Division) {
        let graph = self.graph;
        let before = self.results(Place::Before, &[Place::Machine, Place::After]);
        let before = (!before.is_empty()).then(|| {
            let inputs: Vec<GraphInput> = self.inputs_of(&[Place::Before]).cloned().collect();
            graph.part(&inputs, &before).0
        });
        // Outputs that are inputs or constants have no producer.
        let is_after = |output: &&GraphOutput| {
            self.place(output.value).is_none_or(|place| place == Place::After)
        };
        let outputs: Vec<GraphOutput> = graph.outputs.iter().filter(is_after).cloned().collect();
        let after = (!outputs.is_empty()).then(|| {
            let is_returned = |input: &&GraphInput| outputs.iter().any(|x| x.value == input.value);
            let read: BTreeSet<Value> = self.inputs_of(&[Place::After]).map(|x| x.value).collect();
            let inputs = graph.inputs.iter().filter(|x| read.contains(&x.value) || is_returned(x));
            let crossing = self.crossing(&[Place::Before, Place::Machine], &[Place::After]);
            let inputs = inputs.cloned().chain(crossing.into_iter().map(|value| self.input(value)));
            graph.part(&inputs.collect::<Vec<_>>(), &outputs).0
        });
        let tensor = |name: &str, value: Value, shape: &[usize]| Tensor {
            name: name.to_owned(),
            ty: TensorType { shape: shape.to_vec(), ..graph.ty(value).clone() },
            expected_sqnr_db: None,
        };
        let host = Host {
            inputs: graph.inputs.iter().map(|x| tensor(&x.name, x.value, &x.shape)).collect(),
            outputs: graph.outputs.iter().map(|x| tensor(&x.name, x.value, &x.shape)).collect(),
            before,
            after,
        };
        let machine = self.products(Place::Machine);
        let all = graph.order.iter().map(|op| products(graph, *op)).sum();
        let of_host = graph.order.iter().filter(|op| self.places[**op] != Place::Machine);
        let nodes = of_host.map(|op| HostNode {
            node: graph.layer_name(*op),
            operation: graph.op(*op).kind.mnemonic(),
            place: self.places[*op],
            reason: self.reasons[*op].take(),
        });
        let division =
            Division { nodes: nodes.collect(), host, products: Products { machine, all } };
        (part.graph, division)
    }
}

/// Names of all inputs and results: of inputs and outputs in the model, of others after their node.
fn names(graph: &Graph) -> BTreeMap<Value, String> {
    let mut names = BTreeMap::new();
    let mut taken: BTreeSet<String> = graph.inputs.iter().map(|input| input.name.clone()).collect();
    taken.extend(graph.outputs.iter().map(|output| output.name.clone()));
    names.extend(graph.inputs.iter().map(|input| (input.value, input.name.clone())));
    for output in &graph.outputs {
        names.entry(output.value).or_insert_with(|| output.name.clone());
    }
    for op in &graph.order {
        for result in &graph.op(*op).results {
            names.entry(*result).or_insert_with(|| {
                let node = graph.layer_name(*op);
                let numbered = (2..).map(|i| format!("{node}#{i}"));
                let mut candidates = std::iter::once(node.clone()).chain(numbered);
                let name = candidates.find(|name| !taken.contains(name)).expect("endless");
                taken.insert(name.clone());
                name
            });
        }
    }
    names
}

/// The products of an operation of the imported stage.
pub(super) fn products(graph: &Graph, op: Op) -> u128 {
    let data = graph.op(op);
    let shape = |value: Value| &graph.ty(value).shape;
    let each = match data.kind {
        OpKind::MatMul {} => shape(data.operands[0]).last().copied().unwrap_or(1),
        OpKind::Conv { .. } => shape(data.operands[1])[1..].iter().product(),
        _ => return 0,
    };
    graph.ty(data.results[0]).elements() as u128 * each as u128
}
