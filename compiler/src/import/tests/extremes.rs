//! Operands that are allowed by their types, but not by their sizes or values.

use super::{Builder, ints};
use crate::onnx::Attribute;

/// What the import of a node has to say.
fn refused(domain: &str, build: impl Fn(Builder) -> Builder) -> String {
    let mut builder = build(Builder::new(21).input("x", &[1, 4, 6]));
    for node in &mut builder.model.graph.nodes {
        node.domain = domain.to_owned();
    }
    builder.output("y", &[-1, -1, -1]).refusal().to_string()
}

const RUNTIME: &str = "com.microsoft";

#[test]
fn operators_of_onnx_runtime() {
    let embedded = |ids: &'static [i64]| {
        refused(RUNTIME, move |builder| {
            builder
                .integers_of("ids", &[1, ids.len()], ids)
                .floats("words", &[2, 1], &[1.0, 2.0])
                .floats("places", &[3, 1], &[1.0, 2.0, 3.0])
                .floats("g", &[1], &[1.0])
                .node("EmbedLayerNormalization", "ids _ words places _ g g", "y", &[])
        })
    };
    assert!(embedded(&[0, 2]).contains("expected indices into an extent of 2, found 2"));
    let scalar_bias = refused(RUNTIME, |builder| {
        let heads = [("num_heads", Attribute::Int(2))];
        builder.floats("b", &[], &[1.0]).node("MultiHeadAttention", "x x x b", "y", &heads)
    });
    assert!(scalar_bias.contains("expected a bias of each channel"), "{scalar_bias}");
    let no_scale = refused(RUNTIME, |builder| {
        builder
            .integers_of("q", &[0, 3], &[])
            .floats("none", &[0], &[])
            .integers("bias", &[1])
            .node("QGemm", "q none _ q none _ bias", "y", &[])
    });
    assert!(no_scale.starts_with("node `/QGemm_0` (QGemm): "), "{no_scale}");
}

#[test]
fn sizes() {
    let huge = 1 << 40;
    let padded = refused("", |builder| {
        let mode = [("mode", Attribute::String("edge".into()))];
        builder.integers("w", &[0, 0, huge, 0, 0, 0]).node("Pad", "x w", "y", &mode)
    });
    assert!(padded.contains("expected at most 16 dimensions"), "{padded}");
    let blocks = refused("", |builder| {
        let size = [("blocksize", Attribute::Int(i64::MAX))];
        let builder = builder.integers("s", &[1, 4, 2, 3]).node("Reshape", "x s", "i", &[]);
        builder.node("DepthToSpace", "i", "y", &size)
    });
    assert!(blocks.contains("expected an image and a block size"), "{blocks}");
    let nothing = refused("", |builder| {
        builder.floats("c", &[1, 0, 2], &[]).integers("sizes", &[1, 4, 2]).node(
            "Resize",
            "c _ _ sizes",
            "y",
            &[],
        )
    });
    assert!(nothing.contains("expected a tensor with elements"), "{nothing}");
    let dilated = refused("", |builder| {
        let pads = [("pads", ints(&[i64::MAX, i64::MAX]))];
        builder.floats("w", &[1, 4, 1], &[1.0; 4]).node("Conv", "x w", "y", &pads)
    });
    assert!(dilated.starts_with("node `/Conv_0` (Conv): conv: "), "{dilated}");
}

#[test]
fn attention_sees_windows_of_keys() {
    let scores = |attributes: &[(&str, i64)]| {
        let attributes: Vec<(&str, Attribute)> =
            attributes.iter().map(|(name, x)| (*name, Attribute::Int(*x))).collect();
        let heads = [("q_num_heads", Attribute::Int(1)), ("kv_num_heads", Attribute::Int(1))];
        let graph = Builder::new(25)
            .input("x", &[1, 4, 1])
            .node("Attention", "x x x", "y", &[&heads[..], &attributes].concat())
            .output("y", &[1, 4, 1])
            .import();
        let mask = graph
            .values()
            .find_map(|(value, data)| graph.const_f32(value).filter(|_| data.ty.shape == [4, 4]));
        mask.map(|mask| {
            let row = |row: &[f32]| {
                row.iter().map(|x| if *x == 0.0 { '#' } else { '.' }).collect::<String>()
            };
            mask.chunks(4).map(row).collect::<Vec<String>>()
        })
    };
    assert_eq!(scores(&[]), None);
    let text = |rows: [&str; 4]| Some(rows.map(str::to_owned).to_vec());
    assert_eq!(scores(&[("is_causal", 1)]), text(["#...", "##..", "###.", "####"]));
    let window = [("left_window_size", 1), ("right_window_size", 1)];
    assert_eq!(scores(&window), text(["##..", "###.", ".###", "..##"]));
    let left = [("is_causal", 1), ("left_window_size", 0), ("right_window_size", 2)];
    assert_eq!(scores(&left), text(["#...", ".#..", "..#.", "...#"]));
}
