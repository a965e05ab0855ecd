use cranelift_entity::packed_option::PackedOption;
use proptest::prelude::*;
use vitcod_isa::instr::table::{Add, Load, Matmul, Store};
use vitcod_isa::instr::{Dram, Engine, LineSet, Sram, Traffic, Width};

use super::*;
use crate::codegen::schedule::list::ordered::timed_starts;
use crate::codegen::schedule::prefetch::tests::{Draw, task, tasks, valid};
use crate::tiled::{Buffer, Task, Tasks};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    /// A task that waits for bytes is scheduled behind tasks that start later. It must not
    /// touch a buffer before the bytes of that buffer are taken.
    #[test]
    fn buffers_live_while_tasks_touch_them(
        draws in prop::collection::vec((0u8..4, [0usize..16, 0usize..16, 0usize..16], 0u64..8), 1..60),
        capacity in 3u64..9,
    ) {
        let draws: Vec<Draw> = valid(draws);
        let (before, machine) = (tasks(&draws), Machine::preset("vitcod").unwrap());
        let capacity = capacity * 64;
        let graph = TaskGraph::new(&before, &machine);
        let Some(schedule) = run(&graph, &machine, capacity, capacity) else { return Ok(()) };
        let (after, lives) = schedule.apply(&before, &machine);
        prop_assert_eq!(before.tasks.len(), after.tasks.len());
        for (index, task) in after.tasks.iter().enumerate() {
            for buffer in task.buffers() {
                let (first, last) = lives[buffer].unwrap();
                prop_assert!((first..=last).contains(&index), "{buffer} lives in {first}..={last}, not at {index}");
            }
        }
    }

    /// Without a limit to the scratchpad, tasks start when the machine starts them.
    #[test]
    fn tasks_start_when_the_machine_starts_them(
        draws in prop::collection::vec(any::<Random>(), 1..80),
        preset in prop::sample::select(vec!["vitcod", "vitcod-sim"]),
    ) {
        let machine = Machine::preset(preset).unwrap();
        let before = random_tasks(&draws, &machine);
        let graph = TaskGraph::new(&before, &machine);
        let schedule = run(&graph, &machine, u64::MAX / 4, u64::MAX / 4).unwrap();
        let starts = schedule.starts.clone().expect("memory is never short");
        let (after, _) = Schedule { starts: None, ..schedule }.apply(&before, &machine);
        prop_assert_eq!(starts, timed_starts(&after, &machine).unwrap());
    }
}

/// The load of the third of independent parts waits for the store of the first, unless all buffers
/// fit at once.
#[test]
fn one_independent_part_runs_ahead_where_memory_is_short() {
    let machine = Machine::preset("vitcod").unwrap();
    let mut tasks = Tasks::default();
    for part in 0..3 {
        let buffer = tasks.buffers.push(64);
        let at = |block: u64| Dram(64 * (2 * part + block));
        let load = Load::contiguous(Sram(0), at(0), 64, Traffic::Activations);
        let (a, b, dst) = (Sram(0), Sram(0), Sram(0));
        let add = Add { a, b, dst, m: 1, n: 16, a_scale: 1, b_scale: 1, ..Add::ZERO };
        let store = Store::contiguous(at(1), Sram(0), 64, Traffic::Activations);
        tasks.tasks.push(task(load, &[buffer]));
        tasks.tasks.push(task(add, &[buffer; 3]));
        tasks.tasks.push(task(store, &[buffer]));
    }
    let graph = TaskGraph::new(&tasks, &machine);
    for (capacity, waits) in [(2 * 64, true), (3 * 64, false)] {
        let order = run(&graph, &machine, capacity, capacity).unwrap().order;
        let at = |task: usize| order.iter().position(|other| *other == task).unwrap();
        let (load_of_second, load_of_third) = (at(3), at(6));
        assert!(load_of_second < at(1), "{order:?}");
        assert_eq!(load_of_third > at(2), waits, "{order:?}");
    }
}

/// A random task: its kind, its operands, its size.
type Random = (u8, [u8; 4], u8);

/// Tasks on all memories and several units, among them both engines on lines that overlap.
fn random_tasks(draws: &[Random], machine: &Machine) -> Tasks {
    const BYTES: u64 = 1 << 16;
    let mut tasks = Tasks::default();
    let buffers: Vec<Buffer> = (0..8).map(|_| tasks.buffers.push(BYTES)).collect();
    let half = machine.lines.count as u16 / 2;
    for (kind, operands, size) in draws {
        let rows = u16::from(*size % 64) + 1;
        let [a, b, c, _] = operands.map(|at| Sram(u32::from(at / 8 % 2) * (BYTES / 2) as u32));
        let [in_a, in_b, in_c, _] = operands.map(|at| buffers[usize::from(at % 8)]);
        let bytes = u32::from(rows) * 64;
        let dram = Dram(u64::from(operands[3] % 8) * 2048);
        let lines = match operands[3] / 8 % 3 {
            0 => LineSet { first: 0, count: 2 * half },
            1 => LineSet { first: 0, count: half },
            _ => LineSet { first: half, count: half },
        };
        tasks.tasks.push(match kind % 6 {
            0 => task(Load::contiguous(a, dram, bytes, Traffic::Activations), &[in_a]),
            1 => task(Store::contiguous(dram, a, bytes, Traffic::Activations), &[in_a]),
            2 => {
                let [a_stride, b_stride, dst_stride] = [32; 3];
                let rows = Add { m: rows, n: 16, a_stride, b_stride, dst_stride, ..Add::ZERO };
                task(Add { a, b, dst: c, ..rows }, &[in_a, in_b, in_c])
            }
            kind => {
                let engine = if kind == 3 { Engine::Sparser } else { Engine::Denser };
                let [a_stride, b_stride, dst_stride] = [128, 128, 64];
                let shape = Matmul { m: rows, n: 16, k: 128, out: Width::I32, ..Matmul::ZERO };
                let strides = Matmul { a_stride, b_stride, dst_stride, ..shape };
                // The first results have a bias, which lies with the weights.
                let params = Sram(b.0 + 4096);
                let matmul = Matmul { engine, lines, a, b, params, dst: c, ..strides };
                matmul_task(matmul, [in_a, in_b, in_c])
            }
        });
    }
    tasks
}

/// The task of a product of activations, weights with their parameters, and results.
fn matmul_task(op: Matmul, [a, b, dst]: [Buffer; 3]) -> Task {
    // In the order of the instruction table; there are no accumulators.
    let mut task = task(op, &[a, b, b]);
    task.buffers[4] = PackedOption::from(dst);
    task
}
