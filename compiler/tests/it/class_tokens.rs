//! The class tokens of every model and idiom.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use vitcod_compiler::class_tokens::ClassTokens;
use vitcod_compiler::frontend::{Options, import_model};
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::ir::OpKind;
use vitcod_compiler::masks::check;
use vitcod_testing::files::file;

/// Per architecture, the class tokens of all its exports, and whether its attention can be pruned.
/// The idioms that have attention and no class tokens are counted only.
#[test]
fn class_tokens_are_those_of_the_architectures() {
    let mut text = String::new();
    let mut lines = BTreeSet::new();
    for folder in ["tests/models", "tests/idioms"] {
        let files = std::fs::read_dir(file(folder)).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
        paths.sort();
        let mut without = 0;
        for path in paths {
            let options = Options { all_rows: true, ..Options::default() };
            let imported = import_model(&path, &ImportOptions::default(), options);
            let graph = imported.unwrap_or_else(|e| panic!("{}: {e}", path.display())).graph;
            let is_attention = |op| matches!(graph.op(op).kind, OpKind::Attention { .. });
            if !graph.order.iter().any(|op| is_attention(*op)) {
                continue;
            }
            let ClassTokens { count, reason } = ClassTokens::of(&graph);
            if folder == "tests/idioms" && count == 0 {
                without += 1;
                continue;
            }
            let name = path.file_stem().unwrap().to_string_lossy();
            let name = name.split('.').next().unwrap_or_default();
            let can = if check(&graph).is_ok() { "" } else { " (cannot be pruned)" };
            lines.insert(format!("{name}: {count}: {reason}{can}\n"));
        }
        text.extend(std::mem::take(&mut lines));
        writeln!(text, "{folder}: {without} with attention and none\n").unwrap();
    }
    insta::assert_snapshot!(text);
}
