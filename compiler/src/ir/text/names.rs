//! Strings of the text form, which have the syntax of Rust's `Debug`.

/// The contents of a quoted string, or the first invalid escape.
pub(super) fn unquoted(text: &str) -> Result<String, &str> {
    let mut rest = &text[1..text.len() - 1];
    let mut string = String::with_capacity(rest.len());
    while let Some(at) = rest.find('\\') {
        string.push_str(&rest[..at]);
        let escape = &rest[at..];
        let (character, length) =
            unescaped(escape).ok_or(&escape[..escape.ceil_char_boundary(2)])?;
        string.push(character);
        rest = &escape[length..];
    }
    string.push_str(rest);
    Ok(string)
}

/// The character of the escape at the start of a text, and the length of the escape.
fn unescaped(text: &str) -> Option<(char, usize)> {
    let simple = |character| Some((character, 2));
    match text.as_bytes().get(1)? {
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'0' => simple('\0'),
        b'\\' => simple('\\'),
        b'"' => simple('"'),
        b'\'' => simple('\''),
        b'u' => {
            let digits = text.strip_prefix("\\u{")?.split_once('}')?.0;
            let is_code = (1..=6).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_code)?;
            Some((char::from_u32(code)?, digits.len() + 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_debug_writes_them() {
        for string in
            ["", "a b", "\"\\'", "\n\r\t\0\u{1}\u{7f}", "käse \u{301} 😀", "\u{200b}\u{feff}"]
        {
            assert_eq!(unquoted(&format!("{string:?}")), Ok(string.to_owned()));
        }
        for (text, escape) in [
            (r#""\x""#, r"\x"),
            (r#""a\u{d800}""#, r"\u"),
            (r#""\u{1""#, r"\u"),
            (r#""\ä""#, r"\ä"),
        ] {
            assert_eq!(unquoted(text), Err(escape));
        }
    }
}
