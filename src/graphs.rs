//! Graphs in files: IR text with its side file, and models as imported.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use vitcod_compiler::ir::text::{self, Constants};
use vitcod_compiler::ir::{Graph, MAX_ACTIVATION_BYTES};

use crate::files::{self, Outputs};
use crate::pipeline::{self, Dims};

/// How the names of files of IR text end.
const EXTENSION: &str = "vir";

/// The graph in a file whose name ends in .vir, or else the imported graph of an ONNX model.
pub(crate) fn read(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    if path.extension().is_some_and(|extension| extension == EXTENSION) {
        read_text(path)
    } else {
        pipeline::import_as_exported(path, dims)
    }
}

fn read_text(path: &Path) -> anyhow::Result<Graph> {
    let source = String::from_utf8(files::read(path)?).with_context(|| path.display().to_string())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut read: BTreeMap<PathBuf, Bytes> = BTreeMap::new();
    let mut side_file = |name: &str| {
        let side: PathBuf = Path::new(name).components().collect();
        // As with external data of ONNX models: nothing outside of the folder.
        let inside = side.components().all(|component| matches!(component, Component::Normal(_)));
        if name.is_empty() || !inside {
            return Err(format!("{name:?} is not in the folder of the text or below"));
        }
        if let Some(bytes) = read.get(&side) {
            return Ok(bytes.clone());
        }
        let bytes = Bytes::from(files::read(&folder.join(&side)).map_err(|error| format!("{error:#}"))?);
        Ok(read.entry(side).or_insert(bytes).clone())
    };
    text::parse(&source, &mut side_file).map_err(|problems| {
        let name = path.display().to_string();
        anyhow!("{name} is no graph\n\n{}", problems.render(&name, &source))
    })
}

/// Stages a graph as IR text. Long constants go to a side file beside it, whose name is that of the text with `.bin`, or with `inline` into
/// the text.
pub(crate) fn stage(graph: &Graph, path: &Path, inline: bool, files: &mut Outputs) -> anyhow::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{}: the name is no text", path.display()))?;
    let (side_name, mut side) = (format!("{name}.bin"), Vec::new());
    let constants = if inline { Constants::Inline } else { Constants::File { name: &side_name, bytes: &mut side } };
    let text = text::print(graph, constants);
    files.stage(path, |file| Ok(file.write_all(text.as_bytes())?))?;
    if !side.is_empty() {
        files.stage(&path.with_file_name(&side_name), |file| Ok(file.write_all(&side)?))?;
    }
    Ok(())
}

/// Refuses a graph that takes too much memory to be run: text of a few lines can ask for any amount.
pub(crate) fn check_size(graph: &Graph) -> anyhow::Result<()> {
    // Float tensors are four times as large as those of programs.
    const LIMIT: usize = 4 * MAX_ACTIVATION_BYTES;
    let tensors = graph.values().filter(|(value, _)| graph.constant(*value).is_none());
    let bytes = tensors.fold(0usize, |sum, (_, data)| sum.saturating_add(data.ty.bytes()));
    ensure!(bytes <= LIMIT, "inputs and results take {bytes} bytes together: at most {LIMIT} are run");
    Ok(())
}
