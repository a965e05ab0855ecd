//! Files bound to tensors by name: `[NAME=]FILE`.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use vitcod_isa::program::Binding;

/// A tensor that the command line can name.
pub(crate) trait Named {
    /// Name in the model.
    fn name(&self) -> &str;
}

impl Named for Binding {
    fn name(&self) -> &str {
        &self.name
    }
}

/// The name alone.
impl Named for &str {
    fn name(&self) -> &str {
        self
    }
}

/// Parses arguments `[NAME=]FILE` to pairs of a tensor and a file, in the order of the command
/// line.
///
/// The name may be omitted if the model has only one tensor of that `kind` ("input", "output").
pub(crate) fn bind<'a, T: Named>(
    kind: &str,
    arguments: &'a [String],
    tensors: &'a [T],
) -> anyhow::Result<Vec<(&'a T, PathBuf)>> {
    let mut bound: Vec<(&T, PathBuf)> = Vec::new();
    for argument in arguments {
        let (tensor, path) = find(kind, argument, tensors)?;
        let name = tensor.name();
        ensure!(
            bound.iter().all(|(other, _)| other.name() != name),
            "{kind} {name:?} is given more than once"
        );
        bound.push((tensor, path.to_owned()));
    }
    Ok(bound)
}

fn find<'a, T: Named>(
    kind: &str,
    argument: &'a str,
    tensors: &'a [T],
) -> anyhow::Result<(&'a T, &'a Path)> {
    // Names may contain "=", so match the names of the model.
    let named = tensors.iter().filter_map(|tensor| {
        let path = argument.strip_prefix(tensor.name())?.strip_prefix('=')?;
        Some((tensor, Path::new(path)))
    });
    if let Some(found) = named.max_by_key(|(tensor, _)| tensor.name().len()) {
        return Ok(found);
    }
    let names = || {
        tensors.iter().map(|tensor| format!("{:?}", tensor.name())).collect::<Vec<_>>().join(", ")
    };
    match (argument.split_once('='), tensors) {
        (Some((name, _)), _) => {
            bail!("unknown {kind} {name:?}; the model\'s {kind}s are {}", names())
        }
        (None, [tensor]) => Ok((tensor, Path::new(argument))),
        (None, _) => {
            bail!("which {kind} is {argument}? Write NAME={argument} with one of {}", names())
        }
    }
}

#[cfg(test)]
mod tests {
    use vitcod_isa::program::{Element, Layout};

    use super::*;

    fn bindings(names: &[&str]) -> Vec<Binding> {
        let binding = |name: &&str| Binding {
            name: (*name).to_owned(),
            shape: vec![1],
            layout: Layout::RowMajor,
            element: Element::I8,
            step: 1.0,
            factors: vec![],
            offsets: vec![],
            expected_sqnr_db: None,
            address: 0,
        };
        names.iter().map(binding).collect()
    }

    fn bound(arguments: &[&str], names: &[&str]) -> Result<Vec<(String, String)>, String> {
        let arguments: Vec<String> =
            arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let bindings = bindings(names);
        let bound = bind("input", &arguments, &bindings).map_err(|error| error.to_string())?;
        Ok(bound
            .into_iter()
            .map(|(binding, path)| (binding.name.clone(), path.display().to_string()))
            .collect())
    }

    #[test]
    fn files_are_bound_by_name() {
        let pair = |name: &str, path: &str| (name.to_owned(), path.to_owned());
        assert_eq!(bound(&["x.npy"], &["x"]), Ok(vec![pair("x", "x.npy")]));
        assert_eq!(bound(&["x=a=b.npy"], &["x"]), Ok(vec![pair("x", "a=b.npy")]));
        assert_eq!(bound(&["y=1", "x=2"], &["x", "y"]), Ok(vec![pair("y", "1"), pair("x", "2")]));
        assert_eq!(bound(&["a=b=c"], &["a", "a=b"]), Ok(vec![pair("a=b", "c")]));
    }

    #[test]
    fn what_cannot_be_bound_is_named() {
        assert_eq!(
            bound(&["z=1"], &["x"]),
            Err("unknown input \"z\"; the model's inputs are \"x\"".to_owned())
        );
        assert_eq!(
            bound(&["1.npy"], &["x", "y"]),
            Err("which input is 1.npy? Write NAME=1.npy with one of \"x\", \"y\"".to_owned())
        );
        assert_eq!(
            bound(&["x=1", "2"], &["x"]),
            Err("input \"x\" is given more than once".to_owned())
        );
    }
}
