use ndarray::ArrayD;
use std::path::Path;
use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context};
fn npy(path: &Path) -> ArrayD<f32> { ndarray_npy::read_npy(path).unwrap() }
#[test]
fn scratch() {
    let mut files: Vec<_> = std::fs::read_dir("/tmp/swin/m").unwrap().map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "onnx") && !p.to_str().unwrap().contains("big")).collect();
    files.sort();
    for path in files {
        println!("== {}", path.display());
        let model = match onnx::load(&path) { Ok(m) => m, Err(e) => { println!("{e}"); continue } };
        let imported = match import(&model, &ImportOptions::default()) { Ok(m) => m, Err(e) => { println!("{e}"); continue } };
        let x = npy(&path.with_extension("in.npy"));
        let outs = |g: &vitcod_compiler::ir::Graph, x: &ArrayD<f32>| {
            let shape = g.ty(g.inputs[0].1).shape.clone();
            let x = x.clone().into_shape_with_order(shape).unwrap();
            let ys = FloatInterpreter::new(g).unwrap().run(&[x.view()]).unwrap();
            g.outputs.iter().zip(ys).map(|(o, y)| {
                let f = path.with_extension(if g.outputs.len() > 1 { format!("{}.out.npy", o.name) } else { "out.npy".into() });
                let r = npy(&f);
                let d = (&r - &y.into_shape_with_order(r.shape().to_vec()).unwrap()).iter().fold(0f32, |m, v| m.max(v.abs()));
                d / r.std(0.0)
            }).collect::<Vec<f32>>()
        };
        println!("imported {:?}", outs(&imported, &x));
        match passes::run(&imported, passes::CANONICALISE, &Context::default(), |_, _| {}) {
            Ok(c) => { println!("canonical {:?} {:?}", outs(&c, &x), c.operator_counts());
                if std::env::var("SHOW").is_ok_and(|s| path.to_str().unwrap().contains(&s)) { println!("{c}") } }
            Err(e) => println!("{e}"),
        }
    }
}
