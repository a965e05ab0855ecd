//! The subcommands.

mod ablate;
mod accuracy;
mod asm;
mod attention;
mod bound;
mod compile;
mod demo;
mod disasm;
mod inspect;
mod interp;
mod opt;
mod prune;
mod run;
mod sensitivity;
mod survey;

use std::io::Write;

use clap::Subcommand;

/// A subcommand.
#[derive(Subcommand)]
pub(crate) enum Command {
    Compile(compile::Args),
    Run(run::Args),
    Asm(asm::Args),
    Disasm(disasm::Args),
    Inspect(inspect::Args),
    Opt(opt::Args),
    Interp(interp::Args),
    Accuracy(accuracy::Args),
    Survey(survey::Args),
    Prune(prune::Args),
    Attention(attention::Args),
    Ablate(ablate::Args),
    Bound(bound::Args),
    Sensitivity(sensitivity::Args),
    Demo(demo::Args),
}

impl Command {
    /// Runs the subcommand and prints to `out`.
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Command::Compile(args) => compile::run(&args, out),
            Command::Run(args) => run::run(&args, out),
            Command::Asm(args) => asm::run(&args, out),
            Command::Disasm(args) => disasm::run(&args, out),
            Command::Inspect(args) => inspect::run(&args, out),
            Command::Opt(args) => opt::run(&args, out),
            Command::Interp(args) => interp::run(&args, out),
            Command::Accuracy(args) => accuracy::run(&args, out),
            Command::Survey(args) => survey::run(&args, out),
            Command::Prune(args) => prune::run(&args, out),
            Command::Attention(args) => attention::run(&args, out),
            Command::Ablate(args) => ablate::run(&args, out),
            Command::Bound(args) => bound::run(&args, out),
            Command::Sensitivity(args) => sensitivity::run(&args, out),
            Command::Demo(args) => demo::run(&args, out),
        }
    }
}
