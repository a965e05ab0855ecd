//! Graphs at the edges of code generation: what shares a storage, what is fused out of its place,
//! what the graph returns.

use vitcod_compiler::codegen::CodegenError;
use vitcod_compiler::ir::{Elem, OpKind, Stage, TensorType};
use vitcod_compiler::synthetic::random;
use vitcod_isa::numerics::{LayerNormParams, Scale};
use vitcod_support::random::SplitMix64;
use vitcod_testing::equal::assert_bit_equal;
use vitcod_testing::machine::{self, with_scratchpad};
use vitcod_testing::net::Net;

#[test]
fn what_a_fused_add_would_overwrite_is_read_after_its_linear_layer() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[9, 16]);
    let stream = net.linear(x, 16, Elem::I16);
    let first = net.norm(stream);
    let product = net.linear(first, 16, Elem::I16);
    let second = net.norm(stream);
    let sum = net.add(stream, product);
    let out = net.linear(second, 16, Elem::I16);
    let sum = net.add(sum, out);
    net.output(sum);
    net.assert_bit_equal();
}

#[test]
fn an_add_takes_no_place_that_outputs_are_copied_from() {
    for whole in [false, true] {
        let mut net = Net::new();
        let x = net.input(Elem::I8, &[9, 16]);
        let stream = net.linear(x, 16, Elem::I16);
        let part = if whole { net.slice(stream, 0, 9) } else { net.slice(stream, 2, 3) };
        net.output(part);
        let other = net.linear(x, 16, Elem::I16);
        let both = net.concat(&[stream, other]);
        net.output(both);
        let normed = net.norm(stream);
        let product = net.linear(normed, 16, Elem::I16);
        let sum = net.add(stream, product);
        let doubled = net.add(both, both);
        let normed = net.norm(sum);
        let last = net.norm(doubled);
        net.output(normed);
        net.output(last);
        net.assert_bit_equal();
    }
}

#[test]
fn an_add_takes_no_place_through_a_slice_of_all_rows() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[9, 16]);
    let stream = net.linear(x, 16, Elem::I16);
    let all = net.slice(stream, 0, 9);
    let sum = net.add(all, all);
    let normed = net.norm(sum);
    let later = net.norm(stream);
    net.output(normed);
    net.output(later);
    net.assert_bit_equal();
}

#[test]
fn values_may_be_made_between_softmax_and_product() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[9, 16]);
    let (q, k) = (net.linear(x, 16, Elem::I8), net.linear(x, 16, Elem::I8));
    let soft = net.sddmm(q, k, 2);
    let v = net.linear(x, 16, Elem::I8);
    let attended = net.spmm(soft, v);
    net.output(attended);
    net.assert_bit_equal();
}

#[test]
fn queries_keys_and_values_may_be_one_or_differ_in_extent() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[9, 16]);
    let one = net.lut(x);
    let soft = net.sddmm(one, one, 4);
    let attended = net.spmm(soft, one);
    let few = net.slice(attended, 3, 2);
    let v = net.linear(x, 12, Elem::I8);
    let soft = net.sddmm(few, x, 2);
    let attended = net.spmm(soft, v);
    net.output(attended);
    net.assert_bit_equal();
}

#[test]
fn attention_within_windows_is_bit_equal() {
    for biases in [None, Some(2), Some(6)] {
        let mut net = Net::new();
        let x = net.input(Elem::I8, &[12, 16]);
        let y = net.input(Elem::I8, &[15, 16]);
        let (q, k) = (net.linear(x, 16, Elem::I8), net.linear(y, 16, Elem::I8));
        let v = net.linear(y, 12, Elem::I8);
        let soft = net.sddmm_within(q, k, 2, 3, biases);
        let attended = net.spmm_within(soft, v, 3);
        let attended = net.lut(attended);
        let out = net.linear(attended, 8, Elem::I16);
        net.output(out);
        net.assert_bit_equal();
    }
}

#[test]
fn windows_must_be_those_of_the_product() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[4, 8]);
    let soft = net.sddmm_within(x, x, 2, 2, None);
    // The same numbers of rows by other windows: 4 of one head.
    let y = net.input(Elem::I8, &[8, 8]);
    let attended = net.spmm_within(soft, y, 4);
    net.output(attended);
    assert!(
        net.refused().contains("op0 (sddmm): its scores are read by other operations"),
        "{}",
        net.refused()
    );
}

#[test]
fn rows_can_be_picked_in_any_order() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[6, 8]);
    let y = net.linear(x, 8, Elem::I16);
    // Of an input, of what is computed, of a part, of picked ones; returned, joined, read by layers
    // of all kinds.
    let of_input = net.pick(x, &[5, 0, 1, 1, -1], 1);
    let linear = net.linear(of_input, 4, Elem::I16);
    let order = [0, 1, 4, 5, 2, 3];
    let picked = net.pick(y, &order, 1);
    let normed = net.norm(picked);
    let merged = net.pick(y, &order, 2);
    let part = net.slice(y, 1, 3);
    let of_part = net.pick(part, &[2, 2, 0], 1);
    let joined = net.concat(&[of_part, picked, y]);
    let sum = net.add(picked, y);
    let constant = net.constant(Elem::I16, &[3, 8]);
    let of_constant = net.pick(constant, &[1, 0], 1);
    for value in [linear, normed, merged, joined, sum, of_constant, of_part] {
        net.output(value);
    }
    net.assert_bit_equal();
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[6, 8]);
    let y = net.pick(x, &[0, 6], 1);
    net.output(y);
    assert!(
        net.refused().contains("op0 (pick_rows): index 6 is not within an extent of 6"),
        "{}",
        net.refused()
    );
}

#[test]
fn patches_that_no_linear_layer_reads_are_moved() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[12, 4]);
    let y = net.linear(x, 4, Elem::I16);
    let kind = |kernel, stride| OpKind::Patches { map: [4, 3], kernel, stride, pad: [0; 4] };
    // Selected pixels, pixels merged, overlapping windows.
    let selected = net.push(kind([1, 1], [2, 2]), &[y], Elem::I16, &[4, 4]);
    let sum = net.add(selected, selected);
    let merged = net.push(kind([2, 3], [2, 3]), &[y], Elem::I16, &[2, 24]);
    let normed = net.norm(merged);
    let windows = net.push(kind([2, 2], [1, 1]), &[x], Elem::I8, &[6, 16]);
    let looked = net.lut(windows);
    let both = net.linear(windows, 5, Elem::I16);
    for value in [sum, normed, looked, both] {
        net.output(value);
    }
    net.assert_bit_equal();
}

#[test]
fn constants_inputs_and_results_can_be_joined() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[5, 8]);
    let y = net.input(Elem::I16, &[3, 8]);
    let constant = net.constant(Elem::I16, &[2, 8]);
    let made = net.linear(x, 8, Elem::I16);
    let twice = net.concat(&[made, made]);
    let part = net.slice(twice, 4, 3);
    let alone = net.linear(x, 8, Elem::I16);
    let single = net.concat(&[alone]);
    let all = net.concat(&[constant, part, y, twice, constant, single, y]);
    let returned = net.linear(x, 8, Elem::I16);
    let with_returned = net.concat(&[returned, all, returned]);
    let normed = net.norm(with_returned);
    net.output(returned);
    net.output(normed);
    net.output(twice);
    net.output(all);
    net.assert_bit_equal();
}

#[test]
fn inputs_constants_and_results_can_be_returned() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[5, 8]);
    let constant = net.constant(Elem::I16, &[2, 7]);
    let made = net.linear(x, 8, Elem::I16);
    let part = net.slice(made, 1, 3);
    let of_part = net.slice(part, 1, 1);
    let of_input = net.slice(x, 2, 3);
    let sum = net.add(made, made);
    for value in [made, x, constant, part, of_part, of_input, made, sum, x, sum] {
        net.output(value);
    }
    net.assert_bit_equal();
}

#[test]
fn images_pass_through() {
    let mut net = Net::new();
    let image = net.input(Elem::I8, &[1, 2, 3, 4]);
    let other = net.input(Elem::I8, &[2, 2, 3, 4]);
    let all = net.concat(&[image, other]);
    let last = net.slice(all, 2, 1);
    net.output(all);
    net.output(last);
    net.assert_bit_equal();
}

#[test]
fn a_linear_layer_may_feed_lookups_and_an_add_of_an_input() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[7, 5]);
    let y = net.input(Elem::I16, &[7, 6]);
    let narrow = net.linear(x, 6, Elem::I8);
    let looked = net.lut(narrow);
    let looked = net.lut(looked);
    let wide = net.linear(looked, 6, Elem::I16);
    let sum = net.add(y, wide);
    let own = net.linear(x, 6, Elem::I16);
    let doubled = net.add(own, own);
    let sum = net.add(doubled, sum);
    net.output(sum);
    net.output(looked);
    net.assert_bit_equal();
}

#[test]
fn patches_may_overlap_and_feed_several_layers() {
    let mut net = Net::new();
    let image = net.input(Elem::I8, &[1, 2, 7, 9]);
    let pixels = net.push(OpKind::Pixels { last: false }, &[image], Elem::I8, &[63, 2]);
    let kind = OpKind::Patches { map: [7, 9], kernel: [3, 2], stride: [2, 3], pad: [0; 4] };
    let patches = net.push(kind, &[pixels], Elem::I8, &[9, 12]);
    let a = net.linear(patches, 8, Elem::I16);
    let b = net.linear(patches, 8, Elem::I16);
    let sum = net.add(a, b);
    net.output(sum);
    net.assert_bit_equal();
}

#[test]
fn convolutions_read_maps_on_chip_and_off() {
    let mut net = Net::new();
    let image = net.input(Elem::I8, &[1, 3, 12, 9]);
    let pixels = net.push(OpKind::Pixels { last: false }, &[image], Elem::I8, &[108, 3]);
    let kind = OpKind::Patches { map: [12, 9], kernel: [3, 3], stride: [2, 2], pad: [1; 4] };
    let patches = net.push(kind, &[pixels], Elem::I8, &[30, 27]);
    let first = net.linear(patches, 5, Elem::I8);
    let first = net.lut(first);
    // Two readers with different padding, one of them with windows that lie in it entirely.
    let kind = OpKind::Patches { map: [6, 5], kernel: [3, 2], stride: [1, 2], pad: [1, 2, 0, 1] };
    let patches = net.push(kind, &[first], Elem::I8, &[20, 30]);
    let second = net.linear(patches, 8, Elem::I8);
    let kind = OpKind::Patches { map: [6, 5], kernel: [2, 2], stride: [3, 3], pad: [2, 2, 2, 2] };
    let patches = net.push(kind, &[first], Elem::I8, &[9, 20]);
    let third = net.linear(patches, 4, Elem::I16);
    net.output(third);
    // A map that is read as rows, too.
    let looked = net.lut(second);
    let kind = OpKind::Patches { map: [5, 4], kernel: [3, 3], stride: [1, 1], pad: [1; 4] };
    let patches = net.push(kind, &[looked], Elem::I8, &[20, 72]);
    let fourth = net.linear(patches, 8, Elem::I16);
    let plain = net.linear(looked, 8, Elem::I16);
    let sum = net.add(fourth, plain);
    net.output(sum);
    net.assert_bit_equal();
}

#[test]
fn a_map_whose_sums_are_split_keeps_its_zeros() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[64, 1024]);
    let map = net.linear(x, 24, Elem::I8);
    let kind = OpKind::Patches { map: [8, 8], kernel: [3, 3], stride: [1, 1], pad: [1; 4] };
    let patches = net.push(kind, &[map], Elem::I8, &[64, 216]);
    let out = net.linear(patches, 8, Elem::I16);
    net.output(out);
    for kilobytes in [22, 28, 34, 40, 320] {
        let machine = with_scratchpad(kilobytes << 10);
        assert_bit_equal(&net.graph, &machine)
            .unwrap_or_else(|error| panic!("{kilobytes}: {error}"));
    }
}

/// Among these machines are some in whose scratchpads both layers are made together, with pieces
/// and panels of many sizes.
#[test]
fn interleaved_layers_of_an_mlp_are_bit_equal_in_all_shapes() {
    for [tokens, width, hidden, out] in [
        [64, 48, 1536, 160],
        [50, 256, 1024, 33],
        [3, 256, 1024, 65],
        [1, 64, 512, 64],
        [49, 96, 384, 96],
    ] {
        let mut net = Net::new();
        let stream = net.input(Elem::I16, &[tokens, width]);
        let x = net.norm(stream);
        let made = net.linear(x, hidden, Elem::I8);
        let looked = net.lut(made);
        let result = net.linear(looked, out, Elem::I16);
        let result = if out == width { net.add(stream, result) } else { result };
        net.output(result);
        for bytes in [6_006, 16 << 10, 24 << 10, 43_180, 52 << 10, 76_768] {
            for bytes_per_cycle in [16.0, 153.6] {
                let mut machine = with_scratchpad(bytes);
                machine.dram.bytes_per_cycle = bytes_per_cycle;
                let equal = assert_bit_equal(&net.graph, &machine);
                equal.unwrap_or_else(|error| {
                    panic!("{tokens} {width} {hidden} {out} {bytes}: {error}")
                });
            }
        }
    }
}

#[test]
fn pixels_are_picked_from_slices() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[20, 8]);
    let made = net.linear(x, 6, Elem::I8);
    let part = net.slice(made, 2, 15);
    let kind = OpKind::Patches { map: [5, 3], kernel: [1, 1], stride: [2, 2], pad: [0; 4] };
    let picked = net.push(kind, &[part], Elem::I8, &[6, 6]);
    let y = net.linear(picked, 7, Elem::I16);
    net.output(y);
    net.assert_bit_equal();
}

#[test]
fn what_is_read_in_both_widths_is_narrowed_with_its_sum() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[9, 16]);
    let mut stream = net.linear(x, 13, Elem::I16);
    for _ in 0..3 {
        let narrow = OpKind::QAdd { a_scale: 9, b_scale: 0, shift: 6 };
        let narrow = net.push(narrow, &[stream, stream], Elem::I8, &[9, 13]);
        let hidden = net.linear(narrow, 21, Elem::I8);
        let hidden = net.lut(hidden);
        let out = net.linear(hidden, 13, Elem::I16);
        stream = net.add(stream, out);
    }
    let ones = net.graph.add_const("ones", TensorType::new(Elem::I8, [1, 1, 9]), vec![1; 9]);
    let nine = net.graph.add_const(
        "rows",
        TensorType::new(Elem::U32, [1, 1]),
        9u32.to_le_bytes().to_vec(),
    );
    let narrow = OpKind::QAdd { a_scale: 5, b_scale: 0, shift: 6 };
    let narrow = net.push(narrow, &[stream, stream], Elem::I8, &[9, 13]);
    let mean = net.push(
        OpKind::Spmm { scale: Scale::ONE, windows: 1 },
        &[ones, nine, narrow],
        Elem::I8,
        &[1, 13],
    );
    net.output(mean);
    net.output(stream);
    net.assert_bit_equal();
}

#[test]
fn means_with_minifloats_are_bit_equal() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[3, 40]);
    let weights = TensorType::new(Elem::E3m5, [2, 1, 3]);
    let weights = net.graph.add_const("weights", weights, vec![0xff, 0x45, 0, 1, 2, 3]);
    let sums = [4032u32 + 74, 6].map(u32::to_le_bytes).concat();
    let sums = net.graph.add_const("sums", TensorType::new(Elem::U32, [2, 1]), sums);
    let kind = OpKind::Spmm { scale: Scale::ONE, windows: 1 };
    let mean = net.push(kind, &[weights, sums, x], Elem::I8, &[1, 40]);
    net.output(mean);
    net.assert_bit_equal();
}

/// Tables of 16 bits: behind a linear layer, with a lookup of the result, between the layers of an
/// MLP, of an input, and of what something else reads, too.
#[test]
fn functions_of_16_bits_are_bit_equal() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[13, 24]);
    let stream = net.linear(x, 24, Elem::I16);
    let first = net.linear(x, 48, Elem::I16);
    let first = net.lut(first);
    let first = net.lut(first);
    let hidden = net.linear(first, 64, Elem::I16);
    let hidden = net.lut(hidden);
    let second = net.linear(hidden, 24, Elem::I16);
    let sum = net.add(stream, second);
    let looked = net.lut(sum);
    net.output(looked);
    net.output(sum);
    let wide = net.input(Elem::I16, &[5, 17]);
    let looked = net.lut(wide);
    net.output(looked);
    net.assert_bit_equal();
}

#[test]
fn images_are_read_as_pixels_or_as_they_are() {
    let mut net = Net::new();
    let image = net.input(Elem::I8, &[1, 2, 3, 3]);
    let pixels = net.push(OpKind::Pixels { last: false }, &[image], Elem::I8, &[9, 2]);
    let looked = net.lut(pixels);
    net.output(looked);
    net.output(image);
    let message = net.refused();
    assert!(
        message.contains("op0 (pixels): its image is also read by other operations"),
        "{message}"
    );
}

#[test]
fn what_nothing_reads_does_no_harm() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[7, 5]);
    net.input(Elem::I16, &[3]);
    let y = net.linear(x, 6, Elem::I16);
    let dead = net.linear(x, 6, Elem::I16);
    let joined = net.concat(&[dead, y]);
    net.slice(joined, 0, 2);
    net.output(y);
    net.assert_bit_equal();
}

#[test]
fn random_graphs_are_bit_equal_on_random_machines() {
    let mut machines = SplitMix64::new(5);
    let mut compiled = 0;
    for seed in 0..400 {
        let graph = random::graph(Stage::Quantised, seed);
        match assert_bit_equal(&graph, &machine::random(&mut machines)) {
            Ok(_) => compiled += 1,
            // Sums with negative multipliers; graphs without an operation.
            Err(CodegenError::Unsupported(_)) => {}
            Err(error) => panic!("{seed}: {error}\n{graph}"),
        }
    }
    assert!(compiled > 300, "{compiled}");
}

#[test]
fn extents_beyond_sixteen_bits_are_tiled() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[70_000, 1]);
    let y = net.linear(x, 1, Elem::I16);
    let y = net.add(y, y);
    let part = net.slice(y, 1, 69_000);
    net.output(part);
    let wide = net.linear(x, 2, Elem::I8);
    let wide = net.lut(wide);
    net.output(wide);
    let row = net.input(Elem::I8, &[1, 2]);
    let columns = net.linear(row, 70_000, Elem::I16);
    let doubled = net.add(columns, columns);
    net.output(doubled);
    let tall = net.constant(Elem::I8, &[300_001, 2]);
    let joined = net.concat(&[tall, row]);
    net.output(joined);
    for bytes in [16 << 20, 64 << 10] {
        assert_bit_equal(&net.graph, &with_scratchpad(bytes)).unwrap();
    }
}

#[test]
fn extents_that_no_instruction_holds_are_refused_with_their_layer() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[1, 65_536]);
    let y = net.linear(x, 1, Elem::I8);
    net.output(y);
    let message = net.refused();
    assert!(message.contains("op0 (qlinear): products in a sum: 65536"), "{message}");

    let mut net = Net::new();
    let x = net.input(Elem::I16, &[1, 8193]);
    let ty = TensorType::new(Elem::Byte, [LayerNormParams::encoded_len(8193)]);
    let params = net.graph.add_const("", ty.clone(), vec![0; ty.bytes()]);
    let y = net.push(OpKind::QLayerNorm {}, &[x, params], Elem::I8, &[1, 8193]);
    net.output(y);
    assert!(net.refused().contains("op0 (qlayer_norm): rows of 8193"));

    let mut net = Net::new();
    let q = net.input(Elem::I8, &[1, 2]);
    let k = net.input(Elem::I8, &[65_536, 2]);
    let soft = net.sddmm(q, k, 1);
    let y = net.spmm(soft, k);
    net.output(y);
    assert!(net.refused().contains("op0 (sddmm): keys: 65536"));
}

#[test]
fn graphs_that_make_no_program_are_refused() {
    let mut net = Net::new();
    let x = net.input(Elem::I8, &[1, 2]);
    net.output(x);
    assert!(net.refused().contains("has no operation"));

    let mut net = Net::new();
    let x = net.input(Elem::I8, &[1, 2]);
    let y = net.lut(x);
    net.graph.add_output("y", y, [1, 2]);
    net.graph.add_output("y", y, [1, 2]);
    assert!(net.refused().contains("several outputs are called \"y\""));

    let mut net = Net::new();
    let x = net.input(Elem::I8, &[0, 2]);
    let y = net.linear(x, 3, Elem::I8);
    net.output(y);
    assert!(net.refused().contains("i8[0,2]*0.015625 is empty"));

    let mut net = Net::new();
    let x = net.input(Elem::I8, &[2, 0]);
    let y = net.lut(x);
    net.output(y);
    assert!(net.refused().contains("is empty"));

    let mut net = Net::new();
    let image = net.input(Elem::I8, &[1, 1, 2, 2]);
    let pixels = net.push(OpKind::Pixels { last: false }, &[image], Elem::I8, &[4, 1]);
    let kind = OpKind::Patches { map: [2, 2], kernel: [2, 2], stride: [2, 2], pad: [1, 1, 0, 0] };
    let patches = net.push(kind, &[pixels], Elem::I8, &[1, 4]);
    net.output(patches);
    assert!(net.refused().contains("op1 (patches): its padded patches"));

    let mut net = Net::new();
    let x = net.input(Elem::I8, &[2, 4]);
    let weights = net.input(Elem::I8, &[3, 4]);
    let channels = net.graph.add_const("", TensorType::new(Elem::Channel, [3]), vec![0; 36]);
    let y = net.push(OpKind::QLinear {}, &[x, weights, channels], Elem::I8, &[2, 3]);
    net.output(y);
    assert!(net.refused().contains("op0 (qlinear): its parameters are not constants"));

    let mut net = Net::new();
    let x = net.input(Elem::I16, &[2, 4]);
    let params = net.graph.add_const("", TensorType::new(Elem::Byte, [3]), vec![0; 3]);
    let y = net.push(OpKind::QLayerNorm {}, &[x, params], Elem::I8, &[2, 4]);
    net.output(y);
    assert!(net.refused().contains("op0 (qlayer_norm): 3 bytes of parameters"));

    let mut net = Net::new();
    let x = net.input(Elem::I16, &[2, 4]);
    let y =
        net.push(OpKind::QAdd { a_scale: 1, b_scale: 1, shift: 63 }, &[x, x], Elem::I16, &[2, 4]);
    net.output(y);
    assert!(net.refused().contains("op0 (qadd): a shift by 63"));

    let mut net = Net::new();
    let x = net.input(Elem::I16, &[1 << 40, 1 << 10]);
    let y = net.add(x, x);
    net.output(y);
    assert!(net.refused().contains("bytes of DRAM"));
}
