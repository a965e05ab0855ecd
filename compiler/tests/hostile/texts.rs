//! Texts: machines, graphs, programs in all their stages.

use vitcod_compiler::ir::text;
use vitcod_compiler::tiled::Tiled;
use vitcod_isa::asm::Assembly;
use vitcod_isa::machine::Machine;

use super::Case;

fn source(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn machine(bytes: Vec<u8>) -> Result<usize, String> {
    let source = source(bytes);
    Machine::from_toml(&source).map(|_| 1).map_err(|problems| problems.render("m.toml", &source))
}

fn graph(bytes: Vec<u8>) -> Result<usize, String> {
    let source = source(bytes);
    let graph = text::parse(&source, &mut |_| Err("there are no files".to_owned()));
    graph.map(|graph| graph.order.len()).map_err(|problems| problems.render("g.vir", &source))
}

fn assembly(bytes: Vec<u8>) -> Result<usize, String> {
    let source = source(bytes);
    let read = Assembly::parse(&source, &|_| Err("there are no files".to_owned()));
    read.map(|assembly| assembly.program.code.len())
        .map_err(|problems| problems.render("p.s", &source))
}

fn tiled(bytes: Vec<u8>) -> Result<usize, String> {
    let source = source(bytes);
    let read = Tiled::parse(&source, &|_| Err("there are no files".to_owned()));
    read.map(|_| 1).map_err(|problems| problems.render("t.vir", &source))
}

/// As many copies of a text as fit, after another.
fn filled(start: &str, copy: &str) -> Vec<u8> {
    format!("{start}{}", copy.repeat((super::FILE - start.len()) / copy.len())).into_bytes()
}

/// Lines of a graph, by number, as many as fit.
fn graph_of(line: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = "graph \"a\" canonical {\nv0 = input \"x\" : f32[1]\n".to_owned();
    for number in 1.. {
        let line = line(number);
        if text.len() + line.len() > super::FILE {
            break;
        }
        text += &line;
    }
    format!("{text}output \"y\" [1] = v0\n}}\n").into_bytes()
}

pub(super) fn cases() -> Vec<Case> {
    let preset = Machine::preset("vitcod").unwrap().to_toml();
    let count =
        |count: &str| preset.replacen("count = 64", &format!("count = {count}"), 1).into_bytes();
    let machines = [
        ("arrays in arrays", filled("a = ", "["), "max recursion depth"),
        ("tables in tables", filled("a = ", "{a="), "max recursion depth"),
        ("keys in keys", [filled("a", ".a"), b" = 1".to_vec()].concat(), "recursion limit"),
        ("nothing but mistakes", filled("", "!\n"), "more"),
        ("many keys", filled("", "a=1\n"), "duplicate key"),
        ("many sections", filled("", "[[a]]\n"), "`name` is missing"),
        ("an integer of a million digits", filled("clock_mhz = ", "9"), "clock_mhz"),
        (
            "a key of a million letters",
            [filled("", "a"), b" = 1".to_vec()].concat(),
            "`name` is missing",
        ),
        ("no lines", count("0"), "lines.count = 0: expected an integer from 1"),
        (
            "2^63 lines",
            count("9223372036854775808"),
            "lines.count = an integer of more than 64 bits",
        ),
        ("an empty machine", Vec::new(), "`name` is missing"),
    ];
    let open = "graph \"a\" canonical {\n";
    let graphs = [
        ("brackets for a graph", filled("", "("), "expected end of line, graph, found `(`"),
        ("brackets in a graph", filled(open, "("), "found `(`"),
        ("a word without end", filled(open, "a"), "expected end of line"),
        ("digits without end", filled(open, "9"), "expected end of line"),
        ("lines that are none", filled(open, "a(\n"), "more"),
        ("lines of almost nothing", filled(open, "v0=\n"), "more"),
        ("empty lines", filled(open, "\n"), "found the end of the text"),
        ("a quote that stays open", filled(open, "\"\\"), "expected end of line"),
        (
            "values beyond 64 bits",
            graph_of(|_| "v99999999999999999999 = input \"x\" : f32[1]\n".to_owned()),
            "v999",
        ),
        (
            "extents beyond 64 bits",
            graph_of(|n| format!("v{n} = input \"x\" : f32[99999999999999999999]\n")),
            "is not an extent",
        ),
        (
            "constants by seed",
            graph_of(|n| format!("v{n} = const \"\" : f32[9000000] = seed 1\n")),
            "constants from seeds take",
        ),
        (
            "many dimensions",
            [filled("graph \"a\" canonical {\nv0 = input \"x\" : f32[", "1,"), b"1]\n}\n".to_vec()]
                .concat(),
            "at most 32 dimensions",
        ),
        (
            "many operands",
            [
                filled("graph \"a\" canonical {\nv0 = input \"x\" : f32[1]\nv1 = concat(", "v0,"),
                b"v0) {axis=0} : f32[1]\n}\n".to_vec(),
            ]
            .concat(),
            "error",
        ),
        (
            "files",
            graph_of(|n| {
                format!("v{n} = const \"\" : f32[1] = file \"../x\" @ 0 digest x\"00\"\n")
            }),
            "there are no files",
        ),
    ];
    let programs = [
        ("brackets for a program", filled("", "("), "unexpected \"(\""),
        ("a list that stays open", filled("", "["), "this line is too long"),
        ("a mnemonic without end", filled("", "a"), "belongs to no layer"),
        ("a directive without end", filled("", "."), "no directive"),
        ("quotes", filled("", "\""), "this line is too long"),
        ("lines of one letter", filled("", "a\n"), "no instruction `a`"),
        ("names without values", filled("", "a =\n"), "found `=`"),
        ("no program", filled("", "\n"), "missing `.program`"),
    ];
    let refused = |name, bytes, message| Case::refused(name, bytes, message);
    let machines = machines.map(|(name, bytes, message)| refused(name, bytes, message).by(machine));
    let graphs = graphs.map(|(name, bytes, message)| refused(name, bytes, message).by(graph));
    let tiles = programs.clone().map(|(name, bytes, _)| refused(name, bytes, "error").by(tiled));
    let programs =
        programs.map(|(name, bytes, message)| refused(name, bytes, message).by(assembly));
    let many =
        Case::accepted("many inputs", graph_of(|n| format!("v{n} = input \"x\" : f32[1]\n")))
            .by(graph);
    machines.into_iter().chain(graphs).chain(programs).chain(tiles).chain([many]).collect()
}
