//! Programs with invalid inputs and outputs.

use super::*;

#[test]
fn each_rule_is_checked() {
    let error_of = |change: &dyn Fn(&mut Header)| {
        let mut program = pipeline();
        change(&mut program.header);
        error(&program)
    };
    assert_eq!(
        error_of(&|header| header
            .inputs
            .push(Binding { name: "y".to_owned(), ..binding("x", 319) })),
        "binding \"y\": overlaps binding \"x\"\nbinding \"x\": overlaps binding \"y\""
    );
    assert_eq!(
        error_of(&|header| header.inputs.push(Binding { shape: vec![], ..binding("x", 256) })),
        "binding \"x\": the name is used twice\nbinding \"x\": overlaps binding \"x\""
    );
    assert_eq!(
        error_of(&|header| header.inputs[0].shape[0] = 0),
        "binding \"x\": shape [0, 16] is empty"
    );
    assert_eq!(
        error_of(&|header| header.inputs[0].shape = vec![1 << 40, 1 << 40]),
        "binding \"x\": shape [1099511627776, 1099511627776] exceeds the 384 bytes of DRAM"
    );
    assert_eq!(
        error_of(&|header| header.inputs[0].address = 255),
        "binding \"x\": starts at 0xff, inside the image of 0x100 bytes"
    );
    assert_eq!(
        error_of(&|header| header.outputs[0].address = u64::MAX),
        "binding \"x\": ends at 0xffffffffffffffff; DRAM has 0x180 bytes"
    );
    assert_eq!(
        error_of(&|header| header.inputs[0].layout = Layout::Pixels),
        "binding \"x\": layout pixels with shape [2, 16], expected an image [1, c, h, w] or [1, c, n]"
    );
    assert!(
        error_of(&|header| header.outputs[0].offsets = vec![1.0])
            .starts_with("binding \"x\": an output has no factors and offsets of channels\n")
    );
    for step in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(
            error_of(&|header| header.outputs[0].step = step)
                .ends_with("is not positive and finite")
        );
    }
}
