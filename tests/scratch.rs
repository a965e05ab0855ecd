//! scratch
mod common;
use ndarray::ArrayD;
use std::path::Path;
use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::interp::{FloatInterpreter, QuantisedInterpreter, sqnr_db};
use vitcod_compiler::ir::Graph;
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context};
use vitcod_isa::machine::Machine;
fn npy(path: &Path) -> ArrayD<f32> {
    ndarray_npy::read_npy(path).unwrap()
}
#[test]
fn scratch() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir("/tmp/swin/m")
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx") && !p.to_str().unwrap().contains("big"))
        .filter(|p| p.to_str().unwrap().contains(&only))
        .collect();
    files.sort();
    for path in files {
        println!("== {}", path.display());
        let model = match onnx::load(&path) {
            Ok(m) => m,
            Err(e) => {
                println!("{e}");
                continue;
            }
        };
        let imported = match import(&model, &ImportOptions::default()) {
            Ok(m) => m,
            Err(e) => {
                println!("{e}");
                continue;
            }
        };
        let x = npy(&path.with_extension("in.npy"));
        let outs = |g: &Graph, ys: Vec<ArrayD<f32>>| {
            g.outputs
                .iter()
                .zip(ys)
                .map(|(o, y)| {
                    let f = path.with_extension(if g.outputs.len() > 1 {
                        format!("{}.out.npy", o.name)
                    } else {
                        "out.npy".into()
                    });
                    let r = npy(&f);
                    let y = y.into_shape_with_order(r.shape().to_vec()).unwrap();
                    let d = (&r - &y).iter().fold(0f32, |m, v| m.max(v.abs()));
                    (d / r.std(0.0), sqnr_db(r.as_slice().unwrap(), y.as_slice().unwrap()))
                })
                .collect::<Vec<_>>()
        };
        let input = |g: &Graph| x.clone().into_shape_with_order(g.ty(g.inputs[0].1).shape.clone()).unwrap();
        let float = |g: &Graph| outs(g, FloatInterpreter::new(g).unwrap().run(&[input(g).view()]).unwrap());
        println!("imported {:?}", float(&imported));
        let canonical = match passes::run(&imported, passes::CANONICALISE, &Context::default(), |_, _| {}) {
            Ok(c) => c,
            Err(e) => {
                println!("{e}");
                continue;
            }
        };
        println!("canonical {:?} {:?}", float(&canonical), canonical.operator_counts());
        if std::env::var("SHOW").is_ok() {
            println!("{canonical}");
        }
        let samples = input(&canonical);
        let calibration = vitcod_compiler::quantise::Calibration::run(&canonical, &[samples.view()]).unwrap();
        let q = match vitcod_compiler::quantise::quantise(&canonical, &calibration) {
            Ok(q) => q,
            Err(e) => {
                println!("{e}");
                continue;
            }
        };
        q.verify().unwrap();
        println!("quantised {:?}", outs(&q, QuantisedInterpreter::new(&q).unwrap().run_f32(&[samples.view()]).unwrap()));
        for sram in [320 << 10, 24 << 10, 8 << 10] {
            let mut machine = Machine::preset("vitcod").unwrap();
            machine.sram.bytes = sram;
            match common::assert_bit_equal(&q, &machine) {
                Ok(report) => println!("{sram}: {:?}", report.cycles),
                Err(e) => println!("{sram}: {e}"),
            }
        }
    }
}
