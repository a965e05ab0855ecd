//! Cases of IR text, one file each in `tests/ir`: `parse` and `verify` (what is accepted or why
//! not), `print` (text that comes back as it is), `pass` (what passes make of it), `divide` (the
//! parts of the host and of the machine), `tiled` and
//! `scheduled` (programs before they are programs: what is accepted or why not). `docs/ir.md` says
//! how to write one; `cargo bless --test it ir::` writes the snapshots.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use ndarray::ArrayViewD;
use vitcod_compiler::calibration;
use vitcod_compiler::host::{self, Division, Host, HostNode};
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::ir::text::{self, Constants};
use vitcod_compiler::passes::{self, Context, Level, Module};
use vitcod_compiler::split::GlobalTokens;
use vitcod_compiler::tiled::{Scheduled, Tiled};
use vitcod_isa::asm::{Kind, Sections};
use vitcod_isa::machine::Machine;
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;
use vitcod_testing::shortened::shortened;
use vitcod_testing::stated::{assert_stated, stated};

fn source(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The graph of a text; side files are beside it.
fn parse(path: &Path, source: &str) -> Result<Graph, Problems<Diagnostic>> {
    text::parse(source, &mut |name| {
        fs::read(path.with_file_name(name))
            .map(Bytes::from)
            .map_err(|_| format!("there is no file {name:?}"))
    })
}

fn parsed(path: &Path, source: &str) -> Graph {
    parse(path, source)
        .unwrap_or_else(|problems| panic!("{}", problems.render(&name(path), source)))
}

/// Asserts that the text of a graph parses to a graph with that text.
fn assert_survives(path: &Path, graph: &Graph) {
    let text = text::print(&graph.compacted(), Constants::Inline);
    assert_eq!(text::print(&parsed(path, &text), Constants::Inline), text, "{}", path.display());
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn assert_parsed_or_refused(kind: &str, path: &Path) {
    let source = source(path);
    match parse(path, &source) {
        Ok(graph) => {
            assert_eq!(stated(&source), [], "{} is accepted", path.display());
            assert_survives(path, &graph);
            insta::assert_snapshot!(kind, text::print(&graph, Constants::Inline));
        }
        Err(problems) => {
            assert_stated(&name(path), &source, &problems);
            insta::assert_snapshot!(kind, problems.render(&name(path), &source));
        }
    }
}

#[test]
fn parse_cases() {
    insta::glob!("../ir/parse", "*.vir", |path| assert_parsed_or_refused("parse", path));
}

/// The parts of a model that is divided between host and machine. Together they compute the same.
#[test]
fn divide_cases() {
    insta::glob!("../ir/divide", "*.vir", |path| {
        let graph = parsed(path, &source(path));
        let Some((machine, division)) = host::divide(&graph) else {
            return insta::assert_snapshot!("divide", "nothing for the machine");
        };
        assert_divided(&graph, &machine, &division);
        let Division { host, nodes, products } = division;
        let mut text = format!("{} of {} products\n", products.machine, products.all);
        for HostNode { node, operation, place, reason } in nodes {
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            text += &format!("{place}: {operation} {node}{reason}\n");
        }
        for part in [&host.before, &Some(machine), &host.after] {
            let part = part.as_ref().map(|part| text::print(part, Constants::Digests));
            text += &format!("\n{}", part.as_deref().unwrap_or("nothing\n"));
        }
        insta::assert_snapshot!("divide", text);
    });
}

/// Asserts that the parts compute what the whole computes, also after a round trip through bytes.
fn assert_divided(graph: &Graph, machine: &Graph, division: &Division) {
    let host = Host::load(&division.host.save()).unwrap();
    let inputs = calibration::noise(graph, 1);
    let views: Vec<ArrayViewD<'_, f32>> = inputs.iter().map(|input| input.view()).collect();
    let expected = FloatInterpreter::new(graph).unwrap().run(&views).unwrap();
    let mut tensors = host.items(&views).unwrap().remove(0);
    let of_machine: Vec<_> =
        machine.inputs.iter().map(|input| tensors[&input.name].view()).collect();
    let results = FloatInterpreter::new(machine).unwrap().run(&of_machine).unwrap();
    let names = machine.outputs.iter().map(|output| output.name.clone());
    tensors.extend(names.zip(results));
    host.run_after(&mut tensors).unwrap();
    for (output, expected) in graph.outputs.iter().zip(expected) {
        assert_eq!(tensors[&output.name], expected, "{}", output.name);
    }
}

#[test]
fn verify_cases() {
    insta::glob!("../ir/verify", "*.vir", |path| assert_parsed_or_refused("verify", path));
}

#[test]
fn print_cases() {
    insta::glob!("../ir/print", "*.vir", |path| {
        let source = source(path);
        assert_eq!(
            text::print(&parsed(path, &source), Constants::Inline),
            source,
            "{}",
            path.display()
        );
    });
}

/// The module of a text of any stage; nothing is beside it.
fn parsed_module(path: &Path, source: &str) -> Module {
    let none = |name: &str| Err(format!("there is no file {name:?}"));
    let parsed = match Kind::of(source) {
        Some(Kind::Tiled) => Tiled::parse(source, &none).map(Module::Tiled),
        Some(Kind::Scheduled) => Scheduled::parse(source, &none).map(Module::Scheduled),
        _ => parse(path, source).map(Module::Graph),
    };
    parsed.unwrap_or_else(|problems| panic!("{}", problems.render(&name(path), source)))
}

/// A text is accepted, and then prints to what parses to the same, or each of its mistakes is
/// stated.
fn assert_tasks<T: PartialEq + std::fmt::Debug>(
    kind: &str,
    path: &Path,
    parse: impl Fn(&str) -> Result<T, Problems<Diagnostic>>,
    print: impl Fn(&T) -> String,
) {
    let source = source(path);
    match parse(&source) {
        Ok(tasks) => {
            assert_eq!(stated(&source), [], "{} is accepted", path.display());
            let text = print(&tasks);
            assert_eq!(parse(&text).unwrap(), tasks);
            insta::assert_snapshot!(kind, text);
        }
        Err(problems) => {
            assert_stated(&name(path), &source, &problems);
            insta::assert_snapshot!(kind, problems.render(&name(path), &source));
        }
    }
}

#[test]
fn tiled_cases() {
    let none = |name: &str| Err(format!("there is no file {name:?}"));
    insta::glob!("../ir/tiled", "*.vir", |path| {
        assert_tasks(
            "tiled",
            path,
            |text| Tiled::parse(text, &none),
            |tiled| tiled.text(Sections::Inline),
        );
    });
}

#[test]
fn scheduled_cases() {
    let none = |name: &str| Err(format!("there is no file {name:?}"));
    insta::glob!("../ir/scheduled", "*.vir", |path| {
        assert_tasks(
            "scheduled",
            path,
            |text| Scheduled::parse(text, &none),
            |all| all.text(Sections::Inline),
        );
    });
}

/// The first line of a case says `// passes: a, b`, or `// to: stage`. The second one may say
/// `// without optional units`, of the machine.
#[test]
fn pass_cases() {
    insta::glob!("../ir/pass", "*.vir", |path| {
        let source = source(path);
        let module = parsed_module(path, &source);
        let mut machine = Machine::preset("vitcod").unwrap();
        if source.lines().nth(1) == Some("// without optional units") {
            (machine.softmax.minifloat, machine.vector.interpolation) = (false, false);
        }
        let samples = module.graph().map(|graph| calibration::noise(graph, 1));
        let context = Context {
            machine: Some(&machine),
            samples: samples.as_deref(),
            globals: GlobalTokens::Above(2),
            ..Context::default()
        };
        let first = source.lines().next().unwrap_or_default();
        let line = first.trim_start_matches(['/', ';']).trim_start();
        let names: Vec<&str> = match (line.strip_prefix("passes: "), line.strip_prefix("to: ")) {
            (Some(names), _) => names.split(", ").collect(),
            (_, Some(to)) => {
                let to = Level::ALL.into_iter().find(|level| level.name() == to).unwrap();
                passes::pipeline(module.level(), to, &context)
            }
            _ => panic!("{}: the first line names no passes", path.display()),
        };
        let result = passes::run(module, &names, &context, |_, module| {
            module.graph().into_iter().for_each(|graph| assert_survives(path, graph));
        });
        let text = match result {
            Ok(module) if module.graph().is_some_and(|graph| !graph.stage.is_float()) => {
                shortened(&module.to_string())
            }
            Ok(module) => module.to_string(),
            Err(error) => format!("error: {error}\n"),
        };
        insta::assert_snapshot!("pass", text);
    });
}
