//! Random small programs: valid ones, some with races, some that read bytes that were never
//! written.

use vitcod_isa::check::{check, tokens};
use vitcod_isa::instr::table::*;
use vitcod_isa::instr::{
    Dram, Engine, Instr, LineSet, Op, ScoreShift, Shift, Sram, Traffic, Unit, Width,
};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;
use vitcod_isa::program::{Binding, Element, Header, Layer, Layout, Program};
use vitcod_support::random::SplitMix64;

use crate::oracle::races;

/// Bytes of the image; the input follows, then the output.
const IMAGE: u64 = 64;
const INPUT: u64 = 64;
const OUTPUT: u64 = 32;

/// The range of the scratchpad for operands, in bytes: small, so that they overlap.
const SRAM: u64 = 512;

/// A program with operands inside the memories and balanced tokens; everything else is random.
pub fn program(random: &mut SplitMix64) -> Program {
    let mut code = Vec::new();
    // Initial contents make it likely that all reads are defined.
    let filled = if pick(random, 4) == 0 { SRAM / 2 } else { SRAM };
    code.push(Instr::new(fill(filled as u32)));
    for _ in 0..2 + pick(random, 9) {
        let op = operation(random);
        if sound(&op) {
            code.push(Instr::new(op));
        }
    }
    code.push(Instr::new(transfer::<false>(0, IMAGE + INPUT, [OUTPUT, 1, 1], [0; 4])));
    if pick(random, 8) == 0 {
        extra_token(&mut code, random);
    }
    order(&mut code);
    code = balanced(&code);
    for _ in 0..pick(random, 3) {
        let sent = tokens(&code);
        match (pick(random, 3), sent.is_empty()) {
            (0, false) => sent[pick(random, sent.len() as u64) as usize].remove(&mut code),
            (1, _) => {
                let (moved, op) = (pick(random, code.len() as u64) as usize, operation(random));
                // An instruction of the same unit keeps the tokens.
                if sound(&op) && op.units() == code[moved].op.units() {
                    code[moved].op = op;
                }
            }
            _ => {}
        }
    }
    code.push(Instr::new(Halt {}));
    assemble(code)
}

fn pick(random: &mut SplitMix64, below: u64) -> u64 {
    random.bits() % below
}

/// Whether the verifier's checks of a single instruction pass: operands lie in memory and do not
/// overlap each other.
fn sound(op: &Op) -> bool {
    let program = assemble(vec![Instr::new(*op), Instr::new(Halt {})]);
    let problems = check(&program).err();
    let flow = |message: &str| message.contains("was never written");
    problems.is_none_or(|problems| problems.kept().iter().all(|problem| flow(&problem.message)))
}

/// Adds an unnecessary token from an instruction to a later one.
fn extra_token(code: &mut [Instr], random: &mut SplitMix64) {
    let receiver = 1 + pick(random, code.len() as u64 - 1) as usize;
    let sender = pick(random, receiver as u64) as usize;
    send(code, sender, receiver);
}

fn unit(instr: &Instr) -> Unit {
    instr.op.units().iter().next().unwrap()
}

fn send(code: &mut [Instr], sender: usize, receiver: usize) {
    let (from, to) = (unit(&code[sender]), unit(&code[receiver]));
    code[sender].signal.insert(to);
    code[receiver].wait.insert(from);
}

/// Adds tokens until there are no races: for each instruction, repeatedly, one from the last
/// instruction that it races with. Existing tokens may interfere.
fn order(code: &mut [Instr]) {
    for end in 1..=code.len() {
        for _ in 0..Unit::COUNT {
            let last = races(&balanced(&code[..end]))
                .into_iter()
                .filter(|(_, later)| later + 1 == end)
                .max();
            let Some((sender, receiver)) = last else { break };
            send(code, sender, receiver);
        }
    }
}

/// Keeps only tokens from an instruction to a later one.
fn balanced(code: &[Instr]) -> Vec<Instr> {
    let mut balanced: Vec<Instr> = code.iter().map(|instr| Instr::new(instr.op)).collect();
    let forward = tokens(code).into_iter().filter(|token| token.sender < token.receiver);
    forward.for_each(|token| send(&mut balanced, token.sender, token.receiver));
    balanced
}

/// Repeats the image and the input over the start of the scratchpad.
fn fill(bytes: u32) -> Op {
    transfer::<true>(0, 0, [64, 2, u64::from(bytes) / 128], [64, 0, 64, 128])
}

/// A load or a store. Strides are those of DRAM, then of the scratchpad, inner before outer.
fn transfer<const LOAD: bool>(
    sram: u32,
    dram: u64,
    [bytes, inner, outer]: [u64; 3],
    strides: [u32; 4],
) -> Op {
    let (bytes, inner, outer) = (bytes as u32, inner as u16, outer as u16);
    let [dram_inner, dram_outer, sram_inner, sram_outer] = strides;
    if LOAD {
        let (src_inner_stride, src_outer_stride) = (dram_inner, dram_outer);
        let (dst_inner_stride, dst_outer_stride) = (sram_inner, sram_outer);
        Load {
            dst: Sram(sram),
            src: Dram(dram),
            bytes,
            inner,
            outer,
            src_inner_stride,
            src_outer_stride,
            dst_inner_stride,
            dst_outer_stride,
            traffic: Traffic::Inputs,
        }
        .into()
    } else {
        let (dst_inner_stride, dst_outer_stride) = (dram_inner, dram_outer);
        let (src_inner_stride, src_outer_stride) = (sram_inner, sram_outer);
        Store {
            src: Sram(sram),
            dst: Dram(dram),
            bytes,
            inner,
            outer,
            src_inner_stride,
            src_outer_stride,
            dst_inner_stride,
            dst_outer_stride,
            traffic: Traffic::Outputs,
        }
        .into()
    }
}

fn operation(random: &mut SplitMix64) -> Op {
    let kind = pick(random, 10);
    let mut below = |limit: u64| pick(random, limit);
    let engine = [Engine::Denser, Engine::Sparser][below(2) as usize];
    let lines = LineSet { first: 0, count: 8 };
    let (m, n, stride) = (1 + below(4) as u16, 1 + below(8) as u16, 16 + 4 * below(5) as u32);
    let mut at = || Sram(8 * below(SRAM / 8 - 8) as u32);
    let [x, y, z, w] = [at(), at(), at(), at()];
    let nest = [1 + below(12), 1 + below(3), 1 + below(3)];
    let strides = [0; 4].map(|_: u32| 4 * below(12) as u32);
    match kind {
        0 => transfer::<true>(x.0, below(IMAGE + INPUT + OUTPUT), nest, strides),
        1 => transfer::<false>(x.0, IMAGE + below(INPUT + OUTPUT), nest, strides),
        2 => Op::from(Add {
            narrow: below(2) == 0,
            a: x,
            b: y,
            dst: if below(2) == 0 { x } else { z },
            m,
            n,
            a_scale: 1,
            b_scale: 1,
            shift: Shift(0),
            a_stride: stride,
            b_stride: stride,
            dst_stride: stride,
        }),
        3 => Lut { src: x, table: Sram(0), dst: z, m, n, src_stride: stride, dst_stride: stride }
            .into(),
        4 => Matmul {
            engine,
            out: Width::I8,
            accumulate: false,
            lines,
            a: x,
            b: y,
            params: w,
            acc: Sram(0),
            dst: z,
            m,
            n: 2,
            k: n,
            a_stride: stride,
            b_stride: stride,
            acc_stride: 0,
            dst_stride: stride,
            more_runs: below(3) as u16,
            run_stride: stride,
        }
        .into(),
        5 => Sddmm {
            engine,
            fresh: below(2) == 0,
            indexed: false,
            masked: false,
            biased: below(2) == 0,
            lines,
            q: x,
            k: y,
            max: w,
            dst: z,
            m,
            n: 3,
            d: n,
            scale: Scale::ONE,
            q_stride: stride,
            k_stride: stride,
            dst_stride: stride,
            index: Sram(0),
            mask: Sram(0),
            limit: 1,
            bias: x,
        }
        .into(),
        6 => Softmax {
            engine,
            fresh: true,
            both: false,
            minifloat: below(2) == 0,
            shift: ScoreShift(below(9) as u8),
            src: x,
            max: y,
            other_max: Sram(0),
            sum: w,
            dst: z,
            m,
            n,
            src_stride: stride,
            dst_stride: stride,
        }
        .into(),
        7 => Spmm {
            engine,
            out: Width::I8,
            minifloat: below(2) == 0,
            lines,
            p: x,
            v: y,
            sum: w,
            dst: z,
            m,
            n,
            d: 3,
            scale: Scale::ONE,
            p_stride: stride,
            v_stride: stride,
            dst_stride: stride,
            ..Spmm::ZERO
        }
        .into(),
        8 => {
            let (table, src_stride, dst_stride) = (Sram(0), stride, stride);
            Interpolate { src: x, table, dst: z, m, n, src_stride, dst_stride }.into()
        }
        _ => Sync { unit: Unit::ALL[below(Unit::COUNT as u64) as usize] }.into(),
    }
}

fn assemble(code: Vec<Instr>) -> Program {
    let binding = |name: &str, address, bytes| Binding {
        name: name.to_owned(),
        shape: vec![bytes],
        layout: Layout::RowMajor,
        element: Element::I8,
        step: 1.0,
        factors: vec![],
        offsets: vec![],
        expected_sqnr_db: None,
        address,
    };
    let layer = Layer {
        name: "random".to_owned(),
        operation: "random".to_owned(),
        nodes: vec![],
        needed_macs: 0,
        compulsory_bytes: 0,
    };
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.sram.bytes = 1024;
    Program {
        header: Header {
            name: "random".to_owned(),
            dram_bytes: IMAGE + INPUT + OUTPUT,
            inputs: vec![binding("x", IMAGE, INPUT)],
            outputs: vec![binding("y", IMAGE + INPUT, OUTPUT)],
            layers: vec![layer],
            decisions: vec![],
        },
        machine,
        layer_of: vec![0; code.len()],
        code,
        buffers: Vec::new(),
        image: vec![0; IMAGE as usize].into(),
        ir: None,
        host: None,
    }
}
