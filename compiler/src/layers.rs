//! Checks that the imports of every file respect the layers that the documentation of the [crate]
//! and of its [code generator](crate::codegen) lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

/// The modules of a list, bottom layer first.
fn order(documentation: &str) -> Vec<&str> {
    let items = documentation.lines().filter_map(|line| line.strip_prefix("//! - "));
    // Private modules are not links.
    let names = items.filter_map(|item| item.trim_start_matches('[').strip_prefix('`'));
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

/// The modules below `root`, a path that ends with `::`, that code names.
fn imports<'c>(code: &'c str, root: &str) -> Vec<&'c str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let after = code.split(root).skip(1);
    let names = after.flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or(list).split(',').map(str::trim).collect(),
        None => vec![rest],
    });
    let names = names.map(|name| name.split(|c| !is_name(c)).next().unwrap_or(name));
    names.filter(|name| !name.is_empty()).collect()
}

/// What a file imports from a layer that is not below its own, one line each.
fn upward(order: &[&str], root: &str, file: &Path, text: &str) -> Vec<String> {
    let folder = file.iter().next().and_then(|part| part.to_str()).unwrap();
    let layer = folder.trim_end_matches(".rs");
    let at = |name: &str| order.iter().position(|other| *other == name);
    let Some(own) = at(layer) else { return vec![format!("{layer} is not in the list of layers")] };
    let code = code(text);
    let imported = imports(&code, root).into_iter().filter(|name| *name != layer);
    let imported = imported.filter(|name| at(name).is_none_or(|other| other > own));
    imported.map(|name| format!("{} imports {name}", file.display())).collect()
}

/// The sources of a folder with their texts, by paths in it, without those named.
fn read(root: &Path, without: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut files = Vec::new();
    sources(root, &mut files);
    let text = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root).unwrap().to_owned(), text)
    };
    let mut texts: BTreeMap<PathBuf, String> = files.into_iter().map(text).collect();
    without.iter().for_each(|file| assert!(texts.remove(Path::new(file)).is_some(), "{file}"));
    texts
}

#[test]
fn layers_import_only_from_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (folder, list, path, without) in [
        (root.clone(), "lib.rs", "crate::", &["lib.rs", "layers.rs"][..]),
        (root.join("codegen"), "mod.rs", "crate::codegen::", &["mod.rs"]),
    ] {
        let documentation = fs::read_to_string(folder.join(list)).unwrap();
        let order = order(&documentation);
        let files = read(&folder, without);
        assert!(order.len() > 10 && files.len() > 40, "the list and the files were found");
        let problems: Vec<String> =
            files.iter().flat_map(|(file, text)| upward(&order, path, file, text)).collect();
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }
}

/// Cycles of files that import each other by absolute paths. A folder's `mod.rs` may re-export from
/// its files; only imports of other files count.
fn circles<'f>(files: &'f BTreeMap<PathBuf, String>, root: &str) -> Vec<Vec<&'f str>> {
    let module = |file: &'f Path| file.to_str().unwrap().trim_end_matches(".rs");
    let module = |file: &'f Path| {
        let name = module(file);
        name.strip_suffix("/mod").unwrap_or(name)
    };
    let names: Vec<&str> = files.keys().map(|file| module(file)).collect();
    let mut graph: DiGraph<&str, ()> = DiGraph::new();
    let nodes: BTreeMap<&str, _> = names.iter().map(|name| (*name, graph.add_node(name))).collect();
    for (file, text) in files {
        let code = code(text);
        let uses = code.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
        for path in uses.filter_map(|path| path.trim().strip_prefix(root)) {
            let path = path.replace("::", "/");
            let (base, list) = path.split_once('{').unwrap_or((&path, ""));
            let all = list.split([',', '}']).map(|item| format!("{base}{}", item.trim()));
            for path in all {
                // The longest module of the path.
                let parent = |path: &String| path.rsplit_once('/').map(|(up, _)| up.to_owned());
                let mut paths = std::iter::successors(Some(path.replace(' ', "")), parent);
                let found = paths.find_map(|path| nodes.get(path.as_str()));
                if let Some(found) = found.filter(|found| graph[**found] != module(file)) {
                    graph.add_edge(nodes[module(file)], *found, ());
                }
            }
        }
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|files| files.len() > 1);
    circles.map(|files| files.into_iter().map(|file| graph[file]).collect()).collect()
}

#[test]
fn files_of_the_code_generator_import_in_no_circle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/codegen");
    let files = read(&folder, &["mod.rs"]);
    let found = circles(&files, "crate::codegen::");
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_circle_is_found() {
    let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let files = [
        file("a.rs", "use crate::x::b::{c, d::E};\n"),
        file("b/mod.rs", "use crate::x::f;\n"),
        file("b/d.rs", "use crate::x::a::G;\n"),
        file("f.rs", ""),
    ];
    let files = files.into_iter().collect();
    let mut found = circles(&files, "crate::x::");
    found.iter_mut().for_each(|circle| circle.sort_unstable());
    assert_eq!(found, [["a", "b/d"]]);
}

#[test]
fn an_upward_import_is_found() {
    let order = order("//! - [`low`]: ground;\n//! - [`high`]: above.\n");
    assert_eq!(order, ["low", "high"]);
    let problems = |file: &str, text| upward(&order, "crate::", Path::new(file), text);
    assert_eq!(problems("low/a.rs", "use crate::high::X;\n"), ["low/a.rs imports high"]);
    assert_eq!(problems("low.rs", "use crate::{low, high};\n"), ["low.rs imports high"]);
    assert_eq!(problems("low.rs", "fn f() {\n    crate::high::g();\n}\n"), ["low.rs imports high"]);
    assert_eq!(problems("other.rs", ""), ["other is not in the list of layers"]);
    assert!(problems("high/a/b.rs", "use crate::low::X;\nuse crate::high::Y;\n").is_empty());
    assert!(problems("low.rs", "/// [`crate::high`]\n").is_empty());
    assert!(problems("low.rs", "#[cfg(test)]\nmod tests {\n    use crate::high;\n}\n").is_empty());
}
