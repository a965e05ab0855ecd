//! A program that copies its inputs, on the emulator.

use bytes::Bytes;
use ndarray::{Array, ArrayD, IxDyn, array};
use vitcod_isa::instr::table::{Gather, Halt, Load, Store};
use vitcod_isa::instr::{Dram, Instr, Op, Sram, Traffic, Unit};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Binding, Element, Header, Layer, Layout, Program};

use super::*;
use crate::input::Inputs;

fn binding(name: &str, shape: &[u64], element: Element, step: f64, address: u64) -> Binding {
    Binding {
        name: name.to_owned(),
        shape: shape.to_vec(),
        layout: Layout::RowMajor,
        element,
        step,
        factors: vec![],
        offsets: vec![],
        expected_sqnr_db: None,
        address,
    }
}

fn load(dst: u32, src: u64, bytes: u32) -> Instr {
    let load = Load {
        dst: Sram(dst),
        src: Dram(src),
        bytes,
        inner: 1,
        outer: 1,
        src_inner_stride: 0,
        src_outer_stride: 0,
        dst_inner_stride: 0,
        dst_outer_stride: 0,
        traffic: Traffic::Inputs,
    };
    Instr { signal: [Unit::Store].into_iter().collect(), ..Instr::new(load) }
}

fn store(src: u32, dst: u64, bytes: u32) -> Instr {
    let store = Store {
        src: Sram(src),
        dst: Dram(dst),
        bytes,
        inner: 1,
        outer: 1,
        src_inner_stride: 0,
        src_outer_stride: 0,
        dst_inner_stride: 0,
        dst_outer_stride: 0,
        traffic: Traffic::Outputs,
    };
    Instr { wait: [Unit::Load].into_iter().collect(), ..Instr::new(store) }
}

/// Inputs `a` i8[2, 3] and `b` i16[2]; outputs are both as they are, and `a`'s first element as a
/// scalar.
fn copies() -> Program {
    let code = vec![
        load(0, 64, 6),
        load(64, 128, 4),
        store(0, 192, 6),
        store(64, 256, 4),
        Instr { wait: Default::default(), ..store(0, 320, 1) },
        Instr::new(Halt {}),
    ];
    Program {
        header: Header {
            name: "copies".to_owned(),
            dram_bytes: 384,
            inputs: vec![
                binding("a", &[2, 3], Element::I8, 0.5, 64),
                binding("b", &[2], Element::I16, 0.25, 128),
            ],
            outputs: vec![
                binding("a'", &[2, 3], Element::I8, 0.5, 192),
                binding("b'", &[2], Element::I16, 0.5, 256),
                binding("first", &[], Element::I8, 0.5, 320),
            ],
            layers: vec![Layer {
                name: "copy".to_owned(),
                operation: "copy".to_owned(),
                nodes: vec![],
                needed_macs: 0,
                compulsory_bytes: 21,
            }],
            decisions: vec![],
        },
        machine: Machine::preset("vitcod").unwrap(),
        layer_of: vec![0; code.len()],
        code,
        buffers: Vec::new(),
        image: Bytes::from(vec![0; 64]),
        ir: None,
        host: None,
    }
}

fn session() -> Session {
    let model = Model::from_bytes(copies().to_bytes().unwrap()).unwrap();
    model.open(&EmulatorDevice).unwrap()
}

#[test]
fn inputs_are_quantised_and_outputs_dequantised() {
    let a = array![[0.5, 1.0, 1.3], [-100.0, f32::INFINITY, 0.0]].into_dyn();
    let b = array![1.0, -2.0].into_dyn();
    let mut session = session();
    let outputs = session.run(&[("b", b.view()), ("a", a.view())]).unwrap();
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["a'", "b'", "first"]);
    assert_eq!(outputs[0].values, Integers::I8(array![[1, 2, 3], [-128, 127, 0]].into_dyn()));
    assert_eq!(outputs[0].to_f32(), array![[0.5, 1.0, 1.5], [-64.0, 63.5, 0.0]].into_dyn());
    // The steps of this input and its output differ.
    assert_eq!(outputs[1].values, Integers::I16(array![4, -8].into_dyn()));
    assert_eq!(outputs[1].to_f32(), array![2.0, -4.0].into_dyn());
    assert_eq!(outputs[2].to_f32(), Array::from_elem(IxDyn(&[]), 0.5));
    // 127 steps of 0.5 are the range.
    let [beyond] = session.beyond_range() else { panic!("{:?}", session.beyond_range()) };
    assert_eq!((beyond.input.as_str(), beyond.total, beyond.beyond), ("a", 6, 2));
    assert_eq!(beyond.largest, f64::INFINITY);
    let a = array![[0.5, 63.6, -63.7], [127.0, 0.0, 0.0]].into_dyn();
    session.run(&[("b", b.view()), ("a", a.view())]).unwrap();
    assert_eq!(
        session.beyond_range()[0].to_string(),
        "input \"a\": 16.67 % of the numbers are beyond the calibrated range, up to 2.0 times as \
         large, and saturate; compile with --calibration on samples like these"
    );
    session
        .run(&[("b", b.view()), ("a", array![[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]].into_dyn().view())])
        .unwrap();
    assert_eq!(session.beyond_range(), []);
}

#[test]
fn nan_is_refused() {
    let a = array![[0.5, 1.0, 1.3], [0.0, f32::NAN, 0.0]].into_dyn();
    let b = array![1.0, -2.0].into_dyn();
    let error = session().run(&[("b", b.view()), ("a", a.view())]).unwrap_err().to_string();
    assert!(error.contains("input \"a\" holds NaN at [1, 1]: expected a number"), "{error}");
}

#[test]
fn channels_of_images_are_divided_by_their_factors() {
    let factors = vec![0.5, 4.0];
    let image = Binding {
        layout: Layout::Pixels,
        factors,
        ..binding("image", &[1, 2, 1, 3], Element::I8, 0.25, 0)
    };
    let x = array![1.0, 0.5, -0.25, 8.0, -4.0, 1.0].into_shape_with_order([1, 2, 1, 3]).unwrap();
    let x = x.into_dyn();
    let inputs = Inputs::bind(std::slice::from_ref(&image), &[("image", x.view())]).unwrap();
    let (_, bytes) = inputs.quantised(0).next().unwrap();
    let integers: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
    // Pixel by pixel: 1 / 0.5 / 0.25 = 8, and 8 / 4 / 0.25 = 8.
    assert_eq!(integers, [8, 8, 4, -4, -2, 1]);
    assert_eq!(inputs.beyond_range(), []);

    // Channels last, with offsets: (x - 1) / 0.5 and (x + 1) / 4.
    let image = Binding {
        layout: Layout::RowMajor,
        offsets: vec![1.0, -1.0],
        shape: vec![1, 1, 3, 2],
        ..image
    };
    let x = array![1.0, 3.0, 1.5, 7.0, 0.5, -1.0].into_shape_with_order([1, 1, 3, 2]).unwrap();
    let x = x.into_dyn();
    let inputs = Inputs::bind(std::slice::from_ref(&image), &[("image", x.view())]).unwrap();
    let (_, bytes) = inputs.quantised(0).next().unwrap();
    let integers: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
    assert_eq!(integers, [0, 4, 4, 8, -4, 0]);
}

#[test]
fn maps_are_returned_channel_by_channel() {
    let map =
        Binding { layout: Layout::Pixels, ..binding("map", &[1, 2, 1, 3], Element::I8, 1.0, 0) };
    let output = Output::new(&map, 2, &[1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
    let expected = vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 11.0, 13.0, 15.0, 12.0, 14.0, 16.0];
    assert_eq!(output.to_f32(), ArrayD::from_shape_vec(vec![2, 2, 1, 3], expected).unwrap());
    assert_eq!(map.arranged(map.restored((0..6).collect())), (0..6).collect::<Vec<u8>>());
}

#[test]
fn a_multiple_of_the_batch_runs_item_by_item() {
    let a = Array::from_shape_fn((6, 3), |(i, j)| (3 * i + j) as f32 * 0.5).into_dyn();
    let b = Array::from_shape_fn(6, |i| i as f32 * 0.25).into_dyn();
    let mut session = session();
    let joined = session.run(&[("a", a.view()), ("b", b.view())]).unwrap();
    assert_eq!(joined[0].to_f32(), a);
    assert_eq!(joined[1].to_f32(), b.mapv(|x| 2.0 * x));
    assert_eq!(joined[2].to_f32(), array![0.0, 3.0, 6.0].into_dyn());
    // A layout that is not row-major means the same.
    let columns = a.t().as_standard_layout().into_owned();
    assert_eq!(session.run(&[("a", columns.t()), ("b", b.view())]).unwrap(), joined);
}

#[test]
fn all_that_is_wrong_with_inputs_is_said_with_what_is_expected() {
    let wrong = ArrayD::<f32>::zeros(vec![3, 3]);
    let error = session().run(&[("a", wrong.view()), ("c", wrong.view())]).unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown input \"c\"\n\
         input \"a\" has shape [3, 3]\n\
         input \"b\" is missing\n\
         the model's inputs (the first axis may be a multiple): \"a\" [2, 3] \"b\" [2]"
    );
}

#[test]
fn shapes_are_multiples_along_the_first_axis_and_alike() {
    let zeros = |shape: &[usize]| ArrayD::<f32>::zeros(shape);
    let problems = |a: &[usize], b: &[usize]| {
        let (a, b) = (zeros(a), zeros(b));
        match session().run(&[("a", a.view()), ("b", b.view())]).unwrap_err() {
            RunError::Input(error) => error.problems.kept().to_vec(),
            RunError::Device(error) => panic!("{error}"),
        }
    };
    for shape in [&[0, 3][..], &[1, 3], &[3, 3], &[2, 4], &[2], &[2, 3, 1], &[]] {
        assert_eq!(
            problems(shape, &[2]),
            [InputProblem::Shape { name: "a".to_owned(), found: shape.to_vec() }]
        );
    }
    assert!(matches!(
        problems(&[4, 3], &[2])[..],
        [InputProblem::Items { items: 1, first_items: 2, .. }]
    ));
    let (a, b) = (zeros(&[2, 3]), zeros(&[2]));
    let error = session().run(&[("a", a.view()), ("b", b.view()), ("b", b.view())]).unwrap_err();
    assert!(error.to_string().starts_with("input \"b\" is given more than once"), "{error}");
}

#[test]
fn the_report_is_that_of_one_item() {
    let session = session();
    let report = session.report();
    assert_eq!((report.dram.read_bytes, report.dram.write_bytes), (10, 11));
    assert_eq!(report.model, "copies");
}

#[test]
fn programs_are_checked_before_they_run() {
    assert!(matches!(Model::from_bytes(vec![0; 100]), Err(LoadError::Format(_))));
    let mut program = copies();
    program.code.pop();
    program.layer_of.pop();
    let error = Model::from_bytes(program.to_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("the program fails its checks:\n"), "{error}");
}

#[test]
fn what_stops_the_machine_is_an_error() {
    let mut program = copies();
    // The indices are `a`'s first two elements.
    let gather = Gather {
        dst: Sram(128),
        src: Dram(0),
        bytes: 1,
        rows: 1,
        limit: 64,
        src_stride: 1,
        dst_stride: 1,
        index: Sram(0),
        traffic: Traffic::Indices,
    };
    // It reads what the load before it writes.
    program.code[0].signal.insert(Unit::Load);
    program.code.insert(
        1,
        Instr { wait: [Unit::Load].into_iter().collect(), ..Instr::new(Op::from(gather)) },
    );
    program.layer_of.push(0);
    let mut session = Model::new(program).unwrap().open(&EmulatorDevice).unwrap();
    let (a, b) = (ArrayD::zeros(vec![2, 3]), ArrayD::zeros(vec![2]));
    session.run(&[("a", a.view()), ("b", b.view())]).unwrap();
    let error =
        session.run(&[("a", (a + 1.0f32).view()), ("b", b.view())]).unwrap_err().to_string();
    assert!(error.starts_with("instruction 1, `gather "), "{error}");
}

/// Row numbers and a mask of keys, whose bytes are the outputs.
fn integers(inverted: bool) -> Session {
    let Program { header, code, .. } = copies();
    let rows = binding("rows", &[1, 3], Element::Row { below: 300 }, 1.0, 64);
    let keys = binding("keys", &[1, 9], Element::Bits { rows: 2, inverted }, 1.0, 128);
    let outputs = vec![
        binding("bytes of rows", &[6], Element::I8, 1.0, 192),
        binding("bytes of keys", &[4], Element::I8, 1.0, 256),
    ];
    let header = Header { inputs: vec![rows, keys], outputs, ..header };
    let code = code
        .into_iter()
        .filter(|instr| !matches!(instr.op, Op::Store(Store { dst: Dram(320), .. })))
        .collect();
    let program = Program { header, code, layer_of: vec![0; 5], ..copies() };
    Model::from_bytes(program.to_bytes().unwrap()).unwrap().open(&EmulatorDevice).unwrap()
}

#[test]
fn row_numbers_and_masks_are_bound_as_they_are() {
    let rows = array![[1.0, 2.0, 299.0]].into_dyn();
    let keys = array![[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]].into_dyn();
    let outputs = integers(false).run(&[("rows", rows.view()), ("keys", keys.view())]).unwrap();
    assert_eq!(outputs[0].values, Integers::I8(array![1, 0, 2, 0, 43, 1].into_dyn()));
    assert_eq!(outputs[1].values, Integers::I8(array![5, 1, 5, 1].into_dyn()));
    let pruned = keys.mapv(|kept| 1.0 - kept);
    let of_inverted = integers(true).run(&[("rows", rows.view()), ("keys", pruned.view())]);
    assert_eq!(of_inverted.unwrap(), outputs);
}

#[test]
fn rows_that_are_not_there_and_masks_without_keys_are_refused() {
    let rows = array![[1.0, 2.0, 300.0], [0.5, 0.0, 0.0]].into_dyn();
    let keys = array![[1.0; 9], [0.0; 9]].into_dyn();
    let error = integers(false)
        .run(&[("rows", rows.view()), ("keys", keys.view())])
        .unwrap_err()
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines[0],
        "input \"rows\" holds 300 at [0, 2]: expected the number of a row, from 0 to 299"
    );
    assert_eq!(lines[1], "input \"keys\" is 0 everywhere in item 1: at least one key must count");
    let error = integers(true).run(&[("rows", rows.view()), ("keys", keys.view())]).unwrap_err();
    let second = "input \"keys\" is 1 everywhere in item 0: at least one key must count";
    assert_eq!(error.to_string().lines().nth(1), Some(second));
    let keys = array![[1.0, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]].into_dyn();
    let rows = array![[-1.0, 2.0, 3.0]].into_dyn();
    let error = integers(false)
        .run(&[("rows", rows.view()), ("keys", keys.view())])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("input \"rows\" holds -1 at [0, 0]: "), "{error}");
    assert!(error.contains("\ninput \"keys\" holds NaN at [0, 2]: expected 0 or 1\n"), "{error}");
}
