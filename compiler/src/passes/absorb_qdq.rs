//! Moves the quantisation of a QDQ model from operations into the steps of tensors.

use cranelift_entity::SecondaryMap;

use crate::ir::{Graph, OpKind, Value};

/// Returns the graph without `fake_quantise`: each quantised tensor has its int8 step noted in its
/// type instead.
pub(super) fn run(graph: &Graph) -> Graph {
    let mut result = graph.clone();
    let mut unrounded: SecondaryMap<Value, Option<Value>> = SecondaryMap::new();
    for id in &graph.order {
        let op = result.op_mut(*id);
        for operand in &mut op.operands {
            *operand = unrounded[*operand].unwrap_or(*operand);
        }
        if let OpKind::FakeQuantise { scale, zero_point, min, max } = op.kind {
            let (x, rounded) = (op.operands[0], op.results[0]);
            unrounded[rounded] = Some(x);
            result.note_step(x, int8_step(scale, zero_point, [min, max]));
        }
    }
    for output in &mut result.outputs {
        output.value = unrounded[output.value].unwrap_or(output.value);
    }
    result.compacted()
}

/// The finest step at which an int8 without zero point covers the range of the integers from `min`
/// to `max`. It is `scale` itself if those lie within -128 to 127 of the zero point.
fn int8_step(scale: f64, zero_point: i32, [min, max]: [i32; 2]) -> f64 {
    let [below, above] = [min, max].map(|end| (f64::from(end) - f64::from(zero_point)).abs());
    scale * (below / -f64::from(i8::MIN)).max(above / f64::from(i8::MAX)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Stage, TensorType, UnaryFn};

    #[test]
    fn steps_of_asymmetric_integers() {
        assert_eq!(int8_step(0.5, 0, [-128, 127]), 0.5);
        assert_eq!(int8_step(0.5, 128, [0, 255]), 0.5);
        assert_eq!(int8_step(0.5, 0, [0, 255]), 0.5 * 255.0 / 127.0);
        assert_eq!(int8_step(0.5, 255, [0, 255]), 0.5 * 255.0 / 128.0);
        assert_eq!(int8_step(0.5, -28, [-128, 127]), 0.5 * 155.0 / 127.0);
        assert_eq!(int8_step(1.0, 0, [-32768, 32767]), 32767.0 / 127.0);
    }

    #[test]
    fn chains_end_at_the_tensor_that_is_rounded() {
        let mut graph = Graph::new("test", Stage::Imported);
        let fake = |graph: &mut Graph, x, scale| {
            graph
                .push(OpKind::FakeQuantise { scale, zero_point: 0, min: -128, max: 127 }, &[x], &[])
                .unwrap()
        };
        let x = graph.add_input("x", TensorType::f32([2]));
        let a = fake(&mut graph, x, 0.25);
        let b = fake(&mut graph, a, 0.5);
        let y = graph.push(OpKind::Unary { f: UnaryFn::Relu }, &[b], &[]).unwrap();
        let z = fake(&mut graph, y, 2.0);
        graph.add_output("z", z, [2]);
        let text = run(&graph).to_string();
        assert!(
            text.contains("f32[2]*0.5") && text.contains("f32[2]*2.0") && !text.contains("fake"),
            "{text}"
        );
    }
}
