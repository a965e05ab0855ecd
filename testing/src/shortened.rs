//! Text of the IR that does not depend on the processor.

/// Shortens numbers to four digits and omits the elements of constants: the last digits of a step
/// differ between kinds of processors, as float matrix products do.
pub fn shortened(text: &str) -> String {
    let mut short = String::new();
    let mut digits = 0;
    let without_elements = |line| match line {
        line if str::contains(line, " = const ") => {
            line.rsplit_once(" = ").map_or(line, |(constant, _)| constant)
        }
        line => line,
    };
    let text: Vec<&str> = text.lines().map(without_elements).collect();
    for character in text.join("\n").chars() {
        digits = match character {
            '0' if digits == 0 => 0,
            '0'..='9' => digits + 1,
            _ => 0,
        };
        match digits {
            0..=4 => short.push(character),
            5 => short.push('~'),
            _ => {}
        }
    }
    short
}

/// [`shortened`] of tasks: their real numbers and multipliers to four digits, without the digests
/// of constants. Sizes and addresses stay as they are.
pub fn shortened_tasks(text: &str) -> String {
    let word = |word: &str| match word.split_once('=') {
        Some(("sha256", _)) => "sha256=~".to_owned(),
        Some(("step" | "scale" | "a_scale" | "b_scale", _)) => shortened(word),
        _ => word.to_owned(),
    };
    // The embedded IR states steps with all digits, so its size differs, too.
    let line = |line: &str| match line.starts_with(".ir ") {
        true => ".ir ~".to_owned(),
        false => line.split(' ').map(word).collect::<Vec<_>>().join(" "),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
