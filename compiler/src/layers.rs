//! The layers of the crate, as [its documentation](crate) lists them, against the imports of every
//! file.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the list in `lib.rs`, from the ground up.
fn order(documentation: &str) -> Vec<&str> {
    let names = documentation.lines().filter_map(|line| line.strip_prefix("//! - [`"));
    names.filter_map(|line| line.split('`').next()).collect()
}

/// The Rust files of a folder that are not tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file before its tests, without lines that are comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The modules of the crate that code names.
fn imports(code: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let after = code.split("crate::").skip(1);
    let names = after.flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or(list).split(',').map(str::trim).collect(),
        None => vec![rest],
    });
    let names = names.map(|name| name.split(|c| !is_name(c)).next().unwrap_or(name));
    names.filter(|name| !name.is_empty()).collect()
}

/// What a file imports from a layer that is not below its own, one line each.
fn upward(order: &[&str], file: &Path, text: &str) -> Vec<String> {
    let folder = file.iter().next().and_then(|part| part.to_str()).unwrap();
    let layer = folder.trim_end_matches(".rs");
    let at = |name: &str| order.iter().position(|other| *other == name);
    let Some(own) = at(layer) else { return vec![format!("{layer} is not in the list of layers")] };
    let code = code(text);
    let imported = imports(&code).into_iter().filter(|name| *name != layer);
    let imported = imported.filter(|name| at(name).is_none_or(|other| other > own));
    imported.map(|name| format!("{} imports {name}", file.display())).collect()
}

#[test]
fn layers_import_only_from_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let documentation = fs::read_to_string(root.join("lib.rs")).unwrap();
    let order = order(&documentation);
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.retain(|file| *file != root.join("lib.rs") && *file != root.join("layers.rs"));
    assert!(order.len() > 10 && files.len() > 100, "the list and the files were found");
    let problems: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            upward(&order, file.strip_prefix(&root).unwrap(), &text)
        })
        .collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn an_upward_import_is_found() {
    let order = order("//! - [`low`]: ground;\n//! - [`high`]: above.\n");
    assert_eq!(order, ["low", "high"]);
    let problems = |file: &str, text| upward(&order, Path::new(file), text);
    assert_eq!(problems("low/a.rs", "use crate::high::X;\n"), ["low/a.rs imports high"]);
    assert_eq!(problems("low.rs", "use crate::{low, high};\n"), ["low.rs imports high"]);
    assert_eq!(problems("low.rs", "fn f() {\n    crate::high::g();\n}\n"), ["low.rs imports high"]);
    assert_eq!(problems("other.rs", ""), ["other is not in the list of layers"]);
    assert!(problems("high/a/b.rs", "use crate::low::X;\nuse crate::high::Y;\n").is_empty());
    assert!(problems("low.rs", "/// [`crate::high`]\n").is_empty());
    assert!(problems("low.rs", "#[cfg(test)]\nmod tests {\n    use crate::high;\n}\n").is_empty());
}
