//! A program written by hand: assembled, verified, run, and printed.
//!
//! examples/kernel explains the kernel, docs/assembly.md the language.
//!
//! ```sh
//! cargo run --release --example assemble_a_kernel
//! ```

use anyhow::{Context as _, anyhow};
use ndarray::ArrayD;
use vitcod_isa::asm::Assembly;
use vitcod_isa::program::Program;
use vitcod_runtime::{EmulatorDevice, Model};

/// One head of sparse attention: 8 tokens, 16 features.
const KERNEL: &str = include_str!("kernel/attention.s");

fn main() -> anyhow::Result<()> {
    let program = assemble(KERNEL).map_err(|message| anyhow!(message))?;
    println!("{} instructions; the first:", program.code.len());
    let listing = program.listing().annotated()?.to_string();
    let first = listing.lines().find(|line| line.trim_start().starts_with("load"));
    println!("{}", first.context("the kernel loads its lists")?);

    // Equal queries and keys give every kept entry the same weight: y is the mean of kept values.
    let model = Model::new(program)?;
    let mut session = model.open(&EmulatorDevice)?;
    let ones = ArrayD::<f32>::ones(vec![8, 16]);
    let v = ArrayD::from_shape_fn(vec![8, 16], |at| at[0] as f32 / 8.0);
    let outputs = session.run(&[("q", ones.view()), ("k", ones.view()), ("v", v.view())])?;
    let y = outputs[0].to_f32();
    let column: Vec<f32> = y.outer_iter().map(|row| row[0]).collect();
    println!("\ny[.., 0] = {column:?}");
    println!("{} cycles\n", session.report().cycles.total);

    // The verifier refuses it if the sparser engine does not wait for its values.
    let race = KERNEL.replace("wait=load|denser_softmax", "wait=denser_softmax");
    match assemble(&race) {
        Ok(_) => Err(anyhow!("the verifier accepts a race")),
        Err(message) => {
            println!("Without one of its tokens:\n\n{message}");
            Ok(())
        }
    }
}

/// The program of a text, or its errors with their lines.
fn assemble(text: &str) -> Result<Program, String> {
    let render = |error: vitcod_isa::asm::AssemblyError| error.render("attention.s", text);
    let assembly = Assembly::parse(text, &|_| Err("no files".to_owned())).map_err(render)?;
    assembly.check().map_err(render)?;
    Ok(assembly.program)
}
