//! Masks made here: by hand and at random.

use ndarray::{Array3, ArrayD, IxDyn};
use proptest::prelude::*;

use bytes::Bytes;

use super::*;
use crate::calibration::average_attention;
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::{Graph, OpKind, Stage, TensorType};

/// The mask whose kept entries are the letters `x` of its rows.
fn drawn(rows: &[&str]) -> Mask {
    Mask::from_fn(rows.len(), rows[0].len(), |query, key| rows[query].as_bytes()[key] == b'x')
}

/// A mask like those of trained models: the class token's row and column, a diagonal, and columns 3
/// and 70.
fn trained(tokens: usize) -> Mask {
    Mask::from_fn(tokens, tokens, |query, key| {
        query == 0
            || key == 0
            || query == key
            || (query * 7 + key) % 5 != 0 && (key == 3 || key == 70)
    })
}

/// A `.npy` file of version 1 with this header.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data]
        .concat()
}

fn header(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn from_npy(header: &str, data: &[u8]) -> Result<Masks, MaskError> {
    Masks::from_npy(&npy(header, data), None)
}

fn message(error: impl ToString) -> String {
    error.to_string()
}

fn any_mask(max: usize) -> impl Strategy<Value = Mask> {
    (1..=max, 1..=max, 0.0..=1.0).prop_flat_map(|(queries, keys, density)| {
        proptest::collection::vec(proptest::bool::weighted(density), queries * keys).prop_map(
            move |kept| Mask::from_fn(queries, keys, |query, key| kept[query * keys + key]),
        )
    })
}

/// Masks of equal shape, as one file holds them, the class token kept.
fn any_masks() -> impl Strategy<Value = Masks> {
    (1..4usize, 1..4usize, 1..9usize, 1..70usize).prop_flat_map(|(layers, heads, queries, keys)| {
        let bits = proptest::collection::vec(any::<bool>(), layers * heads * queries * keys);
        bits.prop_map(move |bits| {
            let mask = |head: usize| {
                Mask::from_fn(queries, keys, |query, key| {
                    query == 0 || key == 0 || bits[(head * queries + query) * keys + key]
                })
            };
            let layer = |layer: usize| (0..heads).map(|head| mask(layer * heads + head)).collect();
            Masks::new((0..layers).map(layer).collect()).unwrap()
        })
    })
}

#[test]
fn bits() {
    let mask = trained(130);
    assert_eq!(mask.row(102).collect::<Vec<_>>(), [0, 3, 70, 102]);
    assert_eq!(mask.row(0).count(), 130);
    assert_eq!(mask.kept(), (0..130).map(|query| mask.row(query).count()).sum::<usize>());
    assert_eq!(mask.kept_per_key().iter().sum::<usize>(), mask.kept());
    assert_eq!(drawn(&["x..", "...", "xxx"]).empty_row(), Some(1));
    assert_eq!(drawn(&["x..", "..."]).sparsity(), 5.0 / 6.0);
}

#[test]
fn kept_bytes() {
    let mask = drawn(&["x.......x.", ".x.......x"]);
    assert_eq!(mask.bytes()[..], [0b1, 0b1, 0b10, 0b10]);
    assert_eq!(Mask::row_bytes(10), 2);
    let from = |queries, keys, bytes: &'static [u8]| {
        Mask::from_bytes(queries, keys, Bytes::from_static(bytes))
    };
    assert_eq!(from(2, 10, &[1, 1, 2, 2]), Some(mask));
    assert_eq!(from(2, 10, &[1, 1, 2]), None, "too short");
    assert_eq!(from(2, 10, &[1, 1, 2, 2, 0]), None, "too long");
    assert_eq!(from(2, 10, &[1, 1, 2, 6]), None, "a bit past the last key");
    assert_eq!(from(1, MAX_TOKENS + 1, &[0; MAX_TOKENS / 8 + 1]), None);
    assert_eq!(from(usize::MAX, 8, &[]), None);
}

#[test]
fn masks_of_a_model_have_heads_alike_and_no_empty_rows() {
    let two = || drawn(&["x.", "xx"]);
    assert!(Masks::new(vec![vec![two(), two()], vec![drawn(&["x"])]]).is_ok(), "layers may differ");
    let error = |layers| message(Masks::new(layers).unwrap_err());
    assert_eq!(
        error(vec![vec![two()], vec![two(), drawn(&["x.", ".."])]]),
        "layer 1, head 1: row 1 is pruned entirely"
    );
    assert!(error(vec![vec![two(), drawn(&["x"])]]).starts_with("a mask of shape [1, 2, 1, 1]"));
    assert!(error(vec![]).starts_with("a mask of shape [0]"));
    assert!(error(vec![vec![two()], vec![]]).starts_with("a mask of shape [2, 0, 0, 0]"));
}

#[test]
fn every_element_type_and_order() {
    let expected = Masks::new(vec![vec![drawn(&["xxx", "x.x"])]]).unwrap();
    let kept = [1u8, 1, 1, 1, 0, 1];
    let wide = |bytes: usize| {
        kept.iter().flat_map(|x| [vec![*x], vec![0; bytes - 1]].concat()).collect::<Vec<u8>>()
    };
    for descr in ["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"] {
        let bytes = wide(descr[2..].parse().unwrap());
        assert_eq!(
            from_npy(&header(descr, "False", "(1, 1, 2, 3)"), &bytes).unwrap(),
            expected,
            "{descr}"
        );
    }
    let f32s: Vec<u8> = kept.iter().flat_map(|x| f32::from(*x).to_le_bytes()).collect();
    assert_eq!(from_npy(&header("<f4", "False", "(1, 1, 2, 3)"), &f32s).unwrap(), expected);
    let f64s: Vec<u8> = kept.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    assert_eq!(from_npy(&header("<f8", "False", "(1, 1, 2, 3)"), &f64s).unwrap(), expected);
    assert_eq!(
        from_npy(&header("|b1", "True", "(1,1,2,3)"), &[1, 1, 1, 0, 1, 1]).unwrap(),
        expected
    );
    let doubled = "{\"shape\":(1,1,2,3,),\"fortran_order\":False,\"descr\":\"|b1\"}";
    assert_eq!(from_npy(doubled, &kept).unwrap(), expected);
    for major in [2, 3] {
        let header = header("|b1", "False", "(1, 1, 2, 3)");
        let prefix = [b"\x93NUMPY", &[major, 0][..], &(header.len() as u32).to_le_bytes()].concat();
        let bytes = [&prefix, header.as_bytes(), &kept].concat();
        assert_eq!(Masks::from_npy(&bytes, None).unwrap(), expected);
    }
}

#[test]
fn what_is_no_mask_says_where() {
    let error = |header: &str, data: &[u8]| message(from_npy(header, data).unwrap_err());
    let b1 = |shape: &str| header("|b1", "False", shape);
    assert_eq!(
        error(&b1("(1, 2, 2, 2)"), &[1, 1, 1, 1, 1, 1, 3, 1]),
        "the mask is not binary: element [0, 1, 1, 0] is 3"
    );
    assert!(
        error(&header("<f4", "False", "(1,1,1,1)"), &f32::NAN.to_le_bytes())
            .ends_with("[0, 0, 0, 0] is NaN")
    );
    assert!(error(&b1("(1, 1, 2, 2)"), &[1, 1, 0, 1]).contains("polarity cannot be told"));
    assert!(
        error(&b1("(1, 1, 2, 2)"), &[1, 1, 0, 1])
            .contains("[0, 0, 0, 0] is true and element [0, 0, 1, 0] is false")
    );
    assert!(error(&b1("(4, 4)"), &[1; 16]).starts_with("a mask of shape [4, 4]: expected"));
    assert!(error(&b1("(1, 0, 2, 2)"), &[]).starts_with("a mask of shape [1, 0, 2, 2]"));
    assert!(error(&b1("(1, 1, 65537, 1)"), &[1; 65537]).contains("at most 65536 tokens"));
    assert!(error(&b1("(1, 1, 2, 2)"), &[1; 3]).ends_with("has 3 bytes of elements of 1 bytes"));
    assert!(
        error(&b1("(4294967296, 4294967296, 2, 2)"), &[1; 3]).contains("8192 heads"),
        "an overflow"
    );
    assert!(error(&header(">i4", "False", "(1,1,1,1)"), &[0, 0, 0, 1]).contains("\">i4\""));
    assert!(error(&header("|O", "False", "(1,1,1,1)"), &[0; 8]).contains("\"|O\""));
    for header in [
        "",
        "{}",
        "{'descr': '|b1'}",
        "[1]",
        "{'shape': (99999999999999999999,)}",
        "{'a': 1}",
        "{} x",
    ] {
        assert!(error(header, &[]).contains("the header is not a dictionary"), "{header}");
    }
    let empty_row =
        Masks::from_npy(&npy(&b1("(1, 1, 2, 2)"), &[1, 1, 0, 0]), Some(Polarity::KeptIsTrue));
    assert_eq!(message(empty_row.unwrap_err()), "layer 0, head 0: row 1 is pruned entirely");
    assert!(matches!(Masks::read_npy("/no such file", None), Err(MaskError::Read(_))));
}

#[test]
fn layers_that_differ_are_no_array() {
    let masks = Masks::new(vec![vec![trained(5)], vec![trained(4)]]).unwrap();
    assert!(matches!(masks.to_npy(Polarity::KeptIsTrue), Err(MaskError::Ragged { layer: 1 })));
}

#[test]
fn rows_are_kept_until_their_mass_is_reached() {
    // Row 0 stays whole. In row 1, 0.5 + 0.25 reaches 0.75 exactly; in row 2 the first of two equal
    // entries does.
    let map = Array3::from_shape_vec(
        (1, 3, 4),
        vec![0.25, 0.25, 0.25, 0.25, 0.0, 0.25, 0.5, 0.25, 0.125, 0.25, 0.25, 0.375],
    )
    .unwrap();
    let kept = |theta| {
        prune(std::slice::from_ref(&map), Criterion::Theta(theta), 1).unwrap().masks.layers()[0][0]
            .clone()
    };
    assert_eq!(kept(0.5), drawn(&["xxxx", "x.x.", "xx.x"]));
    assert_eq!(kept(0.625), drawn(&["xxxx", "xxx.", "xx.x"]));
    assert_eq!(kept(0.75), drawn(&["xxxx", "xxx.", "xxxx"]));
    assert_eq!(kept(1e-9), drawn(&["xxxx", "x.x.", "x..x"]));
    assert_eq!(kept(1.0), drawn(&["xxxx", "xxxx", "xxxx"]));
}

#[test]
fn rows_and_columns_of_class_tokens_are_kept() {
    let map = Array3::from_shape_fn(
        (1, 4, 4),
        |(_, query, key)| {
            if key == (query + 1) % 4 { 0.7 } else { 0.1 }
        },
    );
    let kept = |class_tokens| {
        let pruned = prune(std::slice::from_ref(&map), Criterion::Theta(0.5), class_tokens);
        pruned.unwrap().masks.layers()[0][0].clone()
    };
    assert_eq!(kept(0), drawn(&[".x..", "..x.", "...x", "x..."]));
    assert_eq!(kept(1), drawn(&["xxxx", "x.x.", "x..x", "x..."]));
    assert_eq!(kept(2), drawn(&["xxxx", "xxxx", "xx.x", "xx.."]));
    // All that is not the largest entry of its row can be pruned.
    let pruned = prune(std::slice::from_ref(&map), Criterion::Sparsity(0.75), 0).unwrap();
    assert_eq!(pruned.masks.kept(), 4);
}

#[test]
fn maps_and_criteria_are_checked() {
    let map =
        |elements: [f64; 4]| vec![Array3::from_shape_vec((1, 2, 2), elements.to_vec()).unwrap()];
    let error = |elements, criterion| message(prune(&map(elements), criterion, 1).unwrap_err());
    assert_eq!(
        error([0.5, 0.5, f64::NAN, 0.5], Criterion::Theta(0.5)),
        "attention map element [0, 0, 1, 0] is NaN, expected a probability from 0 to 1"
    );
    assert!(error([0.5, 0.5, -0.5, 0.5], Criterion::Theta(0.5)).contains("is -0.5"));
    assert!(error([0.5, 0.5, 0.0, 0.0], Criterion::Theta(0.5)).ends_with("row 1 sums to 0"));
    for theta in [0.0, 1.5, f64::NAN] {
        assert!(error([0.5; 4], Criterion::Theta(theta)).starts_with("theta"));
    }
    for sparsity in [-0.5, 1.0, f64::NAN] {
        assert!(error([0.5; 4], Criterion::Sparsity(sparsity)).starts_with("sparsity"));
    }
    // Three of four entries are the class token's; the fourth is second in its row.
    assert!(prune(&map([0.5; 4]), Criterion::Sparsity(0.25), 1).is_ok());
    assert!(error([0.5; 4], Criterion::Sparsity(0.5)).ends_with("which leaves 0.2500"));
    assert_eq!(prune(&[], Criterion::Theta(0.5), 1), Err(PruneError::NoAttention));
    let none = [Array3::zeros((1, 0, 2))];
    assert_eq!(
        prune(&none, Criterion::Theta(0.5), 1),
        Err(PruneError::Shape { layer: 0, found: [1, 0, 2] })
    );
}

/// Attention over 6 tokens in 2 heads, with a bias if `bias`, and its graph.
fn attention(bias: bool) -> Graph {
    let mut graph = Graph::new("test", Stage::Canonical);
    let [q, k, v] = ["q", "k", "v"].map(|name| graph.add_input(name, TensorType::f32([6, 8])));
    let mut operands = vec![q, k, v];
    if bias {
        let bias: Vec<f32> = (0..72).map(|i| (i * 37 % 72) as f32 / 36.0 - 1.0).collect();
        operands.push(graph.add_f32("bias", [2, 6, 6], &bias));
    }
    let y =
        graph.push(OpKind::Attention { heads: 2, scale: 0.5, windows: 1 }, &operands, &[]).unwrap();
    graph.add_output("y", y, [6, 8]);
    graph
}

#[test]
fn averaged_maps_are_those_of_the_interpreter() {
    for bias in [false, true] {
        let graph = attention(bias);
        let samples = crate::calibration::noise(&graph, 3);
        let views: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
        let maps = average_attention(&graph, &views).unwrap();
        assert_eq!(maps.len(), 1);
        // The identity as values: the result of a head is the first 4 columns of its map.
        let values =
            ArrayD::from_shape_fn(IxDyn(&[6, 8]), |at| f32::from(u8::from(at[0] == at[1] % 4)));
        let mut means = ArrayD::<f32>::zeros(IxDyn(&[6, 8]));
        for item in 0..3 {
            let part = |sample: usize| {
                samples[sample].slice(ndarray::s![6 * item..6 * (item + 1), ..]).into_dyn()
            };
            let run =
                FloatInterpreter::new(&graph).unwrap().run(&[part(0), part(1), values.view()]);
            means += &(run.unwrap().remove(0) / 3.0);
        }
        for (at, mean) in means.indexed_iter() {
            let found = maps[0][[at[1] / 4, at[0], at[1] % 4]];
            assert!((found - f64::from(*mean)).abs() < 1e-6, "{found} is not {mean}");
        }
        assert!(maps[0].rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(
            pool.install(|| average_attention(&graph, &views)).unwrap(),
            maps,
            "on one thread"
        );
        prune(&maps, Criterion::Sparsity(0.5), 1).unwrap();
    }
}

#[test]
fn averages_need_canonical_graphs_and_items() {
    let imported = Graph::new("test", Stage::Imported);
    assert_eq!(average_attention(&imported, &[]), Err(InterpError::Stage(Stage::Imported)));
    assert!(matches!(
        average_attention(&attention(false), &[]),
        Err(InterpError::InputCount { .. })
    ));
}

#[test]
fn global_tokens_come_first() {
    let mask = drawn(&["xxxx", "x.x.", "x.xx", "x.x."]);
    let split = polarise(&mask, 2);
    assert_eq!(split.order, [0, 2, 1, 3]);
    assert_eq!((split.globals(), split.dense_cells(), split.fill()), (2, 8, 1.0));
    assert_eq!(split.sparser, [vec![], vec![0], vec![], vec![0, 2]]);
    let split = polarise(&mask, 1);
    assert_eq!((split.globals(), split.denser.kept()), (3, 10));
    assert_eq!(split.order, [0, 2, 3, 1]);
    let split = polarise(&mask, 4);
    assert_eq!((split.globals(), split.fill()), (0, 1.0));
    assert_eq!(split.order, [0, 1, 2, 3]);
    assert_eq!(split.nonzeros(), mask.kept());
    assert_eq!(polarise(&mask, 0).nonzeros(), 0);
}

/// The shape of the authors' masks and their threshold, on a mask of which the figures can be
/// counted: among keys 3 and 70 one entry in five is pruned.
#[test]
fn columns_of_a_mask_like_a_trained_one() {
    let split = polarise(&trained(197), 50);
    assert_eq!(split.order[..4], [0, 3, 70, 1]);
    assert_eq!(split.dense_cells(), 3 * 197);
    assert_eq!(split.nonzeros(), 2 * 194);
}

#[test]
fn a_picture_shows_both_orders() {
    let masks =
        Masks::new(vec![vec![drawn(&["x.x", "..x"])], vec![drawn(&["x"]), drawn(&["x"])]]).unwrap();
    let splits: Vec<Vec<Partition>> =
        masks.layers().iter().map(|l| l.iter().map(|m| polarise(m, 1)).collect()).collect();
    let bytes = picture(&masks, &splits).unwrap();
    assert_eq!(bytes, picture(&masks, &splits).unwrap());
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (24, 15));
    let at = |y: usize, x: usize, count: usize| &pixels[y * 24 + x..][..count];
    assert_eq!((at(4, 4, 3), at(5, 4, 3)), (&[2, 1, 4][..], &[1, 1, 4][..]));
    assert_eq!((at(4, 11, 3), at(5, 11, 3)), (&[4, 2, 1][..], &[4, 1, 1][..]));
    assert_eq!(
        (at(10, 4, 1), at(10, 9, 1), at(10, 14, 1), at(10, 19, 1)),
        (&[2][..], &[2][..], &[2][..], &[2][..])
    );
    assert_eq!(at(4, 0, 4), [0; 4]);
}

proptest! {
    #[test]
    fn a_split_holds_every_kept_entry_once(mask in any_mask(90), theta_d in 0..60usize) {
        let split = polarise(&mask, theta_d);
        let mut sorted = split.order.clone();
        sorted.sort_unstable();
        prop_assert!(sorted.iter().copied().eq(0..mask.keys() as u16), "a permutation");
        prop_assert!(split.order[..split.globals()].is_sorted() && split.order[split.globals()..].is_sorted());
        prop_assert_eq!(split.denser.kept() + split.nonzeros(), mask.kept());
        for (place, key) in split.order.iter().enumerate() {
            let column: Vec<u16> = match place.checked_sub(split.globals()) {
                None => (0..mask.queries()).filter(|q| split.denser.is_kept(*q, place)).map(|q| q as u16).collect(),
                Some(_) => split.sparser[usize::from(*key)].clone(),
            };
            let expected = (0..mask.queries()).filter(|q| mask.is_kept(*q, usize::from(*key))).map(|q| q as u16);
            prop_assert!(column.iter().copied().eq(expected));
            prop_assert_eq!(column.len() > theta_d, place < split.globals());
        }
    }

    #[test]
    fn kept_bytes_round_trip(mask in any_mask(90)) {
        let bytes = mask.bytes().clone();
        prop_assert_eq!(bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>(), mask.kept());
        prop_assert_eq!(Mask::from_bytes(mask.queries(), mask.keys(), bytes), Some(mask));
    }

    #[test]
    fn npy_round_trips(masks in any_masks(), kept_is_true: bool) {
        let polarity = if kept_is_true { Polarity::KeptIsTrue } else { Polarity::PrunedIsTrue };
        let bytes = masks.to_npy(polarity).unwrap();
        prop_assert_eq!((bytes.len() - masks.entries()) % 64, 0);
        prop_assert_eq!(&Masks::from_npy(&bytes, None).unwrap(), &masks);
        prop_assert_eq!(&Masks::from_npy(&bytes, Some(polarity)).unwrap(), &masks);
    }

    #[test]
    fn mutations_do_not_panic(
        masks in any_masks(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_header: bool,
        length: prop::sample::Index,
    ) {
        let mut bytes = masks.to_npy(Polarity::KeptIsTrue).unwrap();
        let _ = Masks::from_npy(&bytes[..length.index(bytes.len())], None);
        let reach = if in_header { 128 } else { bytes.len() };
        edits.into_iter().for_each(|(at, byte)| bytes[at.index(reach)] = byte);
        for polarity in [None, Some(Polarity::KeptIsTrue), Some(Polarity::PrunedIsTrue)] {
            let _ = Masks::from_npy(&bytes, polarity);
        }
    }

    #[test]
    fn any_header_is_read_or_refused(header in "[{}()',:0-9a-z|<' ]{0,80}", data in proptest::collection::vec(0..2u8, 0..20)) {
        let _ = from_npy(&header, &data);
    }

    #[test]
    fn pruning_reaches_what_was_asked(
        weights in proptest::collection::vec(0..9u32, 2 * 2 * 12 * 12),
        theta in 0.01..=1.0f64,
        sparsity in 0.0..0.75f64,
    ) {
        let mut maps: Vec<Array3<f64>> = weights.chunks(2 * 12 * 12).map(|layer| {
            Array3::from_shape_vec((2, 12, 12), layer.iter().map(|x| f64::from(*x) + 1.0).collect()).unwrap()
        }).collect();
        maps.iter_mut().for_each(|map| map.rows_mut().into_iter().for_each(|mut row| { let sum = row.sum(); row /= sum; }));

        let pruned = prune(&maps, Criterion::Theta(theta), 1).unwrap();
        for (map, masks) in maps.iter().zip(pruned.masks.layers()) {
            for (head, mask) in masks.iter().enumerate() {
                for query in 1..12 {
                    let kept: Vec<f64> = mask.row(query).map(|key| map[[head, query, key]]).collect();
                    prop_assert!(kept.iter().sum::<f64>() >= theta - 1e-12, "the mass is reached");
                    let smallest = mask.row(query).skip(1).map(|key| map[[head, query, key]]).fold(1.0, f64::min);
                    let pruned = (0..12).filter(|key| !mask.is_kept(query, *key));
                    prop_assert!(pruned.map(|key| map[[head, query, key]]).all(|p| p <= smallest), "the largest are kept");
                }
            }
        }

        let pruned = prune(&maps, Criterion::Sparsity(sparsity), 1).unwrap();
        prop_assert!(pruned.masks.sparsity() >= sparsity);
        prop_assert_eq!(&prune(&maps, Criterion::Theta(pruned.theta), 1).unwrap(), &pruned);
        // The next larger theta keeps more entries than that sparsity leaves.
        if pruned.theta < 1.0 {
            let more = prune(&maps, Criterion::Theta(pruned.theta.next_up()), 1).unwrap().masks;
            prop_assert!(more.sparsity() < sparsity);
        }
    }
}
