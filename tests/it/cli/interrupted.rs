//! Runs that end before they are done.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::*;

/// Ends a process as Ctrl-C or an out-of-memory killer does.
fn end(child: &mut Child, signal: &str) {
    // It may have ended by itself.
    let _ =
        Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_half_file() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let outputs = ["p.vitcod", "q.vir", "q.vir.bin"];
    let compile = ["compile", &onnx, "-o", "p.vitcod"];
    let opt = ["opt", &onnx, "--to", "quantised", "-o", "q.vir"];
    [&compile[..], &opt].iter().for_each(|arguments| drop(sandbox.ok(arguments)));
    let whole = outputs.map(|name| std::fs::read(sandbox.path(name)).unwrap());
    for round in 0..12 {
        let arguments = [&compile[..], &opt][round % 2];
        // Over what was there before, or where nothing was.
        if round % 3 == 0 {
            outputs.iter().for_each(|name| drop(std::fs::remove_file(sandbox.path(name))));
        }
        let mut child =
            sandbox.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(7 * round as u64));
        end(&mut child, ["-INT", "-KILL"][round / 2 % 2]);
        for (name, whole) in outputs.iter().zip(&whole) {
            match std::fs::read(sandbox.path(name)) {
                Ok(bytes) => assert!(bytes == *whole, "{name} has {} bytes", bytes.len()),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            }
        }
    }
    let left = sandbox
        .files()
        .into_iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let is_temporary = |name: &str| name.starts_with(".vitcod-") && name.ends_with(".tmp");
    let others: Vec<String> =
        left.filter(|name| !outputs.contains(&name.as_str()) && !is_temporary(name)).collect();
    assert!(others.is_empty(), "{others:?}");
}
