//! Emission of programs: header, bindings, layers, constant image, and the final code.

use std::collections::BTreeSet;

use bytes::Bytes;
use vitcod_isa::asm::Attempt;
use vitcod_isa::check::remove_redundant_tokens;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{self, Binding, Element, Header, Layer, Layout, Program};

use crate::codegen::error::CodegenError;
use crate::codegen::group::views::planes_removed;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::objective::energy_delay;
use crate::codegen::plan::Plan;
use crate::codegen::residence::constant_pool::ConstantPool;
use crate::codegen::residence::storage::{MemorySpace, Residence};
use crate::codegen::schedule;
use crate::ir::layout::{Patterns, ProductParts};
use crate::ir::{Elem, Graph, Image, Op, OpKind, SavedGraph, Value};
use crate::tiled::{Addresses, Buffer, Scheduled, Tasks, Tiled};

/// The tiled program of a plan. It carries the graph; constants that tasks load are in the image.
pub(crate) fn tiled(model: &Graph, machine: &Machine, plan: Plan, attempt: Attempt) -> Tiled {
    let Plan { residence, pool, tasks, layers: order, decisions, .. } = plan;
    let graph = &planes_removed(model);
    let bind = |name: &str, shape: &[usize], value: Value, address: u64| Binding {
        name: name.to_owned(),
        shape: shape.iter().map(|extent| *extent as u64).collect(),
        layout: Layout::RowMajor,
        element: element(graph, value),
        step: graph.ty(value).step.unwrap_or(1.0),
        factors: Vec::new(),
        offsets: Vec::new(),
        expected_sqnr_db: None,
        address,
    };
    let inputs = graph.inputs.iter().zip(&residence.inputs).map(|(input, address)| {
        let binding = bind(&input.name, &input.shape, input.value, *address);
        match graph.image(input.value) {
            Some(Image { last, factors, offsets }) => {
                let layout = if last { Layout::RowMajor } else { Layout::Pixels };
                Binding { layout, factors, offsets, ..binding }
            }
            None => binding,
        }
    });
    let outputs = graph.outputs.iter().zip(&model.outputs).zip(&residence.outputs);
    let outputs = outputs.map(|((output, of_model), place)| {
        let address = match residence.data(*place).space {
            MemorySpace::Dram(address) => address,
            MemorySpace::Sram => unreachable!("outputs live in DRAM"),
        };
        let binding = bind(&output.name, &output.shape, output.value, address);
        let transposed = output.value != of_model.value;
        Binding { layout: if transposed { Layout::Pixels } else { Layout::RowMajor }, ..binding }
    });

    let address = |value| residence.constants.get(&value).copied();
    Tiled {
        header: Header {
            name: graph.name.clone(),
            dram_bytes: residence.dram_bytes,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            layers: layers(graph, &residence, &pool, &order),
            decisions: graph.decisions.iter().cloned().chain(decisions).collect(),
        },
        machine: machine.clone(),
        image: image(graph, &residence, &pool),
        ir: Some(SavedGraph::save(model, address)),
        tasks,
        attempt: Some(attempt),
    }
}

/// The element type of a binding.
fn element(graph: &Graph, value: Value) -> Element {
    let ty = graph.ty(value);
    match ty.elem {
        Elem::I16 => Element::I16,
        Elem::U16 => {
            // Row numbers that nothing reads are unrestricted.
            Element::Row { below: graph.table_rows(value).unwrap_or(MAX_COUNT + 1) as u32 }
        }
        Elem::Byte => {
            Element::Bits { rows: ty.shape[0] as u32, inverted: graph.is_inverted(value) }
        }
        _ => Element::I8,
    }
}

/// The constants at their addresses, then the pool.
fn image(graph: &Graph, residence: &Residence, pool: &ConstantPool) -> Bytes {
    let mut image = vec![0; residence.image_bytes as usize];
    for (value, address) in &residence.constants {
        if let Some(constant) = graph.constant(*value) {
            image[*address as usize..][..constant.bytes.len()].copy_from_slice(&constant.bytes);
        }
    }
    let start = image.len() - pool.bytes.len();
    image[start..].copy_from_slice(&pool.bytes);
    image.into()
}

/// The layers for reports. Compulsory bytes are attributed to the first layer that needs them.
fn layers(graph: &Graph, residence: &Residence, pool: &ConstantPool, order: &[Op]) -> Vec<Layer> {
    let mut seen: BTreeSet<Value> = BTreeSet::new();
    let inputs: BTreeSet<Value> = graph.inputs.iter().map(|input| input.value).collect();
    let mut layers: Vec<Layer> = order
        .iter()
        .map(|op| {
            let data = graph.op(*op);
            let travels =
                |value: &Value| residence.constants.contains_key(value) || inputs.contains(value);
            let compulsory: usize = data
                .operands
                .iter()
                .map(|value| pictured(graph, *value).unwrap_or(*value))
                .filter(travels)
                .filter(|value| seen.insert(*value))
                .map(|value| match data.kind {
                    // Only the requested rows of a table are compulsory.
                    OpKind::QEmbed {} if value == data.operands[0] => {
                        graph.ty(data.results[0]).bytes()
                    }
                    _ => graph.ty(value).bytes(),
                })
                .sum();
            let listed = pool.of_layer.get(op).copied().unwrap_or(0);
            let nodes: Vec<String> =
                data.nodes.iter().map(|node| graph.node(*node).to_owned()).collect();
            Layer {
                name: nodes.first().cloned().unwrap_or_else(|| op.to_string()),
                operation: data.kind.mnemonic().to_owned(),
                nodes,
                needed_macs: needed_macs(graph, *op),
                compulsory_bytes: compulsory as u64 + listed,
            }
        })
        .collect();
    // Outputs and constants that no layer reads directly (operands of a concat) are transferred,
    // too.
    for output in &graph.outputs {
        let maker = graph
            .producer(output.value)
            .and_then(|(op, _)| order.iter().position(|other| *other == op));
        if let Some(layer) =
            maker.or(order.len().checked_sub(1)).and_then(|index| layers.get_mut(index))
        {
            layer.compulsory_bytes += graph.ty(output.value).bytes() as u64;
        }
    }
    layers
}

/// The image of which a value is the pixels.
fn pictured(graph: &Graph, value: Value) -> Option<Value> {
    let (_, data) = graph.producer(value)?;
    matches!(data.kind, OpKind::Pixels { .. }).then(|| data.operands[0])
}

/// Multiplications of an operation on the MAC lines, without padding.
fn needed_macs(graph: &Graph, op: Op) -> u64 {
    let data = graph.op(op);
    let shape = |value: usize| &graph.ty(data.operands[value]).shape;
    let product = match data.kind {
        OpKind::QLinear {} => shape(0)[0] * shape(1).iter().product::<usize>(),
        OpKind::Sddmm { windows, .. } => shape(0)[0] * (shape(1)[0] / windows) * shape(0)[1],
        OpKind::Encode { heads_in, heads_out } | OpKind::Decode { heads_in, heads_out } => {
            shape(0)[0] * (shape(0)[1] / heads_in) * heads_in * heads_out
        }
        OpKind::BlockSddmm { heads, .. } | OpKind::CscSddmm { heads, .. } => {
            kept(graph, op) * shape(0)[1] / heads
        }
        OpKind::SplitSpmm { heads, block, csc, .. } => {
            let parts = ProductParts::of(block, csc);
            let kept =
                parts.iter().map(|part| kept_of(graph, data.operands[part.probs])).sum::<usize>();
            kept * shape(0)[1] / heads
        }
        // Probabilities [heads, m, n] times values [n, c]: each head multiplies its share of the
        // columns.
        OpKind::Spmm { windows, .. } => windows * shape(0)[1] * shape(0)[2] * shape(2)[1],
        _ => 0,
    };
    product as u64
}

/// Entries that the scores of split attention compute; of a block only the kept cells.
fn kept(graph: &Graph, scores: Op) -> usize {
    let patterns = Patterns::read(graph, graph.op(scores)).unwrap_or_default();
    let cells = patterns.mask.map_or(0, |mask| mask.kept());
    cells + patterns.csc.map_or(0, |csc| csc.nonzeros())
}

/// [`kept`] of the scores from which probabilities are computed.
fn kept_of(graph: &Graph, probabilities: Value) -> usize {
    let scores =
        graph.producer(probabilities).and_then(|(_, softmax)| graph.producer(softmax.operands[0]));
    scores.map_or(0, |(op, _)| kept(graph, op))
}

/// Emits the program of a schedule, with no more tokens than it needs.
///
/// # Errors
/// Buffers with overlapping live ranges share bytes, or the verifier rejects the program: the
/// schedule is invalid. Both are checked in every build.
pub fn emit(scheduled: &Scheduled) -> Result<Program, CodegenError> {
    scheduled.verify_placement().map_err(CodegenError::Misplaced)?;
    let Scheduled { tiled: Tiled { header, machine, image, ir, tasks, .. }, addresses } = scheduled;
    let mut layer_of: Vec<u32> = tasks.tasks.iter().map(|task| task.layer).collect();
    // `halt` belongs to the last layer.
    layer_of.push(header.layers.len().saturating_sub(1) as u32);
    let mut program = Program {
        header: header.clone(),
        machine: machine.clone(),
        code: schedule::with_tokens(tasks, addresses),
        layer_of,
        buffers: buffers(tasks, addresses),
        image: image.clone(),
        ir: ir.clone(),
        host: None,
    };
    let timed = cfg!(debug_assertions).then(|| energy_delay(&program.code, machine));
    // This also verifies the program, so an invalid one is never emitted.
    remove_redundant_tokens(&mut program)?;
    // Removing redundant tokens does not change the timing.
    debug_assert_eq!(timed, Some(energy_delay(&program.code, machine)));
    Ok(program)
}

/// The buffers as the program states them, live from the first to the last task that accesses them.
/// A task becomes one instruction with the same index.
fn buffers(tasks: &Tasks, addresses: &Addresses) -> Vec<program::Buffer> {
    let lives = tasks.lives();
    let buffer = |(buffer, bytes): (Buffer, &u64)| {
        let (first, last) = lives[buffer]?;
        Some(program::Buffer {
            address: addresses[buffer],
            // A buffer fits the scratchpad; a task index is an instruction index.
            bytes: *bytes as u32,
            first: first as u32,
            last: last as u32,
        })
    };
    let mut buffers: Vec<program::Buffer> = tasks.buffers.iter().filter_map(buffer).collect();
    buffers.sort_unstable_by_key(|buffer| (buffer.first, buffer.address));
    buffers
}
