//! IR text is a graph or an error, and a graph's text is that graph.

use vitcod_compiler::ir::text::{Constants, parse, print};
use vitcod_compiler::ir::{Graph, ValueDef};
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;

/// The most bytes of constants that are printed: seeds can generate many.
const MAX_PRINTED: usize = 1 << 16;

fn read(text: &str) -> Result<Graph, Problems<Diagnostic>> {
    parse(text, &mut |name| Err(format!("there is no {name}")))
}

/// The target.
pub fn check(text: &str) {
    match read(text) {
        Err(problems) => drop(problems.render("fuzzed", text)),
        Ok(graph) => {
            graph.verify().expect("what is parsed is verified");
            if graph
                .values()
                .filter(|(_, value)| matches!(value.def, ValueDef::Const(_)))
                .map(|(_, value)| value.ty.bytes())
                .sum::<usize>()
                > MAX_PRINTED
            {
                return;
            }
            // Values may be numbered in another order than that of printing.
            let printed = print(&graph.compacted(), Constants::Inline);
            let again = read(&printed)
                .unwrap_or_else(|problems| panic!("{}", problems.render("printed", &printed)));
            assert_eq!(print(&again, Constants::Inline), printed);
        }
    }
}
