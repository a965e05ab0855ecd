//! Makes the parser of the IR's text form from its grammar.

fn main() {
    lalrpop::Configuration::new()
        .emit_rerun_directives(true)
        .process_file("src/ir/text/grammar.lalrpop")
        .expect("the grammar is LR(1)");
}
