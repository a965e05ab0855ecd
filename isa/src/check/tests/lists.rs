//! Instructions on lists, and lists that are constants.

use super::*;

/// A list of a query with three entries; every operand somewhere else.
fn spmm_list() -> SpmmList {
    let at = |operand: u32| Sram(operand << 12);
    SpmmList {
        engine: Engine::Sparser,
        wide: false,
        accumulate: false,
        minifloat: false,
        lines: LineSet { first: 0, count: 64 },
        rows: at(0),
        tokens: at(1),
        p: at(2),
        sum: at(3),
        block_sum: at(4),
        acc: at(5),
        v: at(6),
        dst: at(7),
        m: 4,
        n: 5,
        d: 8,
        heads: 2,
        v_stride: 16,
        dst_stride: 16,
        acc_stride: SramBytes(64),
        queries: 1,
        token_bytes: SramBytes(100),
        entries: Entries(3),
        cycles: Cycles(5),
        scale: Scale::ONE,
    }
}

#[test]
fn operands_of_a_product_with_a_list() {
    assert_eq!(check(&of(spmm_list())), Ok(()));
    assert_eq!(error(&of(SpmmList { p: Sram(7 << 12), ..spmm_list() })), "0: p overlaps dst");
    assert_eq!(
        error(&of(SpmmList { token_bytes: SramBytes(0), ..spmm_list() })),
        "0: tokens is empty: a count is 0"
    );
    let continued = SpmmList { accumulate: true, acc_stride: SramBytes(62), ..spmm_list() };
    assert_eq!(error(&of(continued)), "0: acc has a stride of 62, expected a multiple of 4");
}

#[test]
fn lists_number_their_heads() {
    let list = SddmmList {
        engine: Engine::Sparser,
        wide: true,
        lines: LineSet { first: 63, count: 1 },
        rows: Sram(0),
        tokens: Sram(1 << 20),
        q: Sram(2 << 20),
        k: Sram(3 << 20),
        max: Sram(4 << 20),
        dst: Sram(5 << 20),
        m: 1 << 10,
        n: 5,
        d: 1,
        heads: 256,
        q_stride: 256,
        k_stride: 256,
        queries: 3,
        token_bytes: SramBytes(100),
        entries: Entries(7),
        cycles: Cycles(8),
        scale: Scale::ONE,
    };
    let large = |list: SddmmList| {
        let mut program = of(list);
        program.machine.sram.bytes = crate::instr::field::MAX_SRAM;
        program
    };
    assert_eq!(check(&large(list)), Ok(()));
    assert_eq!(
        error(&large(SddmmList { heads: 257, m: 1, q_stride: 257, k_stride: 257, ..list })),
        "0: a list of 257 heads, expected at most 256"
    );
    let beyond = SddmmList { lines: LineSet { first: 63, count: 2 }, rows: Sram(1), ..list };
    assert_eq!(
        error(&large(beyond)),
        "0: lines 63+2 on a machine of 64\n0: rows starts at 0x1, expected a multiple of 2"
    );
}

/// A list of a query with two keys, as constants; `LATER` are the changes of a later load.
fn listed(tokens: &str, cycles: u32, later: &str) -> Result<(), String> {
    let text = format!(
        r#"
        .program "list"
        .machine vitcod
        .input x i8 [1, 32] step=1
        .output y i8 [1, 4] step=1
        .const list
            .u16 1 2
            .u8 0 0
        .const tokens
            .u16 1 0 0
            .u8 1
            .u8 {tokens}
        .buffer rows 6
        .buffer steps 64
        .buffer q 16
        .buffer k 16
        .buffer max 4
        .buffer cells 4
        .layer "scores"
            load dst=rows src=list bytes=6 traffic=indices
            load dst=q src=x bytes=16 traffic=inputs
            load dst=k src=x+16 bytes=16 traffic=inputs
            load dst=steps src=tokens bytes=19 traffic=indices signal=sparser
            {later}
            sddmm_list engine=sparser lines=0+2 rows=rows tokens=steps q=q k=k max=max dst=cells m=2 n=2 d=8 heads=1 q_stride=8 k_stride=8 queries=1 token_bytes=19 entries=2 cycles={cycles} scale=1 wait=load signal=store
            store src=cells dst=y bytes=4 traffic=outputs wait=sparser
            halt
        "#
    );
    let parsed = crate::asm::Assembly::parse(&text, &|_| Err(String::new()));
    let program = parsed.map_err(|error| error.render("list", &text))?.program;
    crate::check::check(&program).map_err(|error| message(&program, error))
}

#[test]
fn lists_that_are_constants_hold_together_and_state_their_cycles() {
    // Query and key 0 are read in cycle 0; key 1, which shares its word with key 0, in cycle 1. Two
    // revolutions, of rows and of tokens, take longer.
    let revolution = Machine::preset("vitcod").unwrap().organisation().unwrap().revolution_cycles();
    let cycles = 2 * revolution as u32;
    let good = "2 0 1 0 1 0  0 0 1  0 1 1";
    assert_eq!(listed(good, cycles, ""), Ok(()));
    assert_eq!(listed(good, 3, ""), Err(format!("4: cycles is 3, expected {cycles}")));
    let wrong = "2 0 1 0 1 0  0 0 1  0 2 1";
    let key = "4: tokens has key 2 in token 1 of segment 1, expected less than 2";
    assert_eq!(listed(wrong, cycles, ""), Err(key.to_owned()));
    let slow = "2 0 7 0 1 0  0 0 1  0 1 1";
    let segment = "4: tokens states 7 cycles of scores for segment 1, expected 1";
    assert_eq!(listed(slow, cycles, ""), Err(segment.to_owned()));
    // A byte that comes from the input may say anything.
    let later = |load: &str| {
        let waits = "sync unit=load signal=sparser\nsync unit=sparser wait=load";
        format!("load dst=steps+14 bytes=1 {load}\n{waits}")
    };
    let input = later("src=x traffic=inputs");
    assert_eq!(listed(wrong, cycles, &input), Ok(()));
    let constant = later("src=tokens+14 traffic=indices");
    assert_eq!(listed(good, cycles, &constant), Ok(()));
    assert_eq!(listed(wrong, cycles, &constant), Err(key.replace("4:", "7:")));
}
