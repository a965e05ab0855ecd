//! Tensor data in files beside the model.

use std::fs;
use std::path::Path;

use super::*;
use crate::onnx::load;
use crate::onnx::proto::StringStringEntryProto;
use crate::onnx::proto::tensor_proto::DataLocation;

fn outside(name: &str, entries: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    TensorProto {
        data_location: Some(DataLocation::External.into()),
        external_data: entries.iter().map(entry).collect(),
        ..raw(name, Onnx::Float, &[2], &[])
    }
}

/// Writes a model whose only initialisers are these and `b`, and reads it.
fn load_with(folder: &Path, tensors: Vec<TensorProto>) -> Result<Model, OnnxError> {
    let model = changed(|graph| graph.initializer.extend(tensors));
    let path = folder.join("m.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    load(&path)
}

/// The problems of such a model, without the file's name.
fn refusal_with(folder: &Path, tensors: Vec<TensorProto>) -> String {
    let file = format!("{}: ", folder.join("m.onnx").display());
    let message = load_with(folder, tensors).unwrap_err().to_string();
    assert!(message.starts_with(&file), "{message}");
    message.replace(&file, "")
}

#[test]
fn data_is_found_by_offset_and_length() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let floats = [1f32, 2., 3., 4.].map(f32::to_le_bytes).concat();
    fs::write(folder.path().join("data/m.data"), floats).unwrap();
    let model = load_with(
        folder.path(),
        vec![
            outside("first", &[("location", "data/m.data"), ("checksum", "ignored")]),
            outside("last", &[("location", "./data/m.data"), ("offset", "8"), ("length", "8")]),
        ],
    );
    let constants = model.unwrap().graph.initializers;
    assert_eq!(*constants["first"].to_f32().unwrap(), [1., 2.]);
    assert_eq!(*constants["last"].to_f32().unwrap(), [3., 4.]);
}

#[test]
fn a_bare_file_name_means_the_current_folder() {
    // Reading the manifest: cargo runs tests in the package's folder.
    let error = load(Path::new("Cargo.toml")).unwrap_err();
    assert!(error.to_string().starts_with("Cargo.toml: byte 0: expected a field"), "{error}");
}

#[test]
fn bad_entries_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w"), [0; 12]).unwrap();
    let both = TensorProto { float_data: vec![0.; 2], ..outside("both", &[("location", "w")]) };
    let message = refusal_with(
        folder.path(),
        vec![
            outside("nowhere", &[]),
            outside("empty", &[("location", "")]),
            outside("here", &[("location", ".")]),
            outside("number", &[("location", "w"), ("offset", "-1")]),
            outside("length", &[("location", "w"), ("length", "4")]),
            outside("short", &[("location", "w"), ("offset", "8")]),
            outside("far", &[("location", "w"), ("offset", "18446744073709551615")]),
            both,
            outside("fine", &[("location", "w")]),
        ],
    );
    assert_eq!(
        message,
        "\
initializer `nowhere`: expected external data with a location, found none
initializer `empty`: expected external data at a path inside the model's folder, found ``
initializer `here`: expected external data at a path inside the model's folder, found `.`
initializer `number`: expected a number of bytes as offset of external data, found `-1`
initializer `length`: expected 8 bytes of external data, found a length of 4
initializer `short`: expected 8 bytes at offset 8 of `w`, found a file of 12 bytes
initializer `far`: expected 8 bytes at offset 18446744073709551615 of `w`, found a file of 12 bytes
initializer `both`: expected either external data or data of f32 inside the model, found both",
    );
}

#[test]
fn a_missing_file_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let missing = |name| outside(name, &[("location", "gone.data")]);
    let message = refusal_with(folder.path(), vec![missing("one"), missing("two")]);
    assert!(message.starts_with("initializer `one`: cannot read external data `gone.data`: "));
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn folders_and_devices_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let message = refusal_with(folder.path(), vec![outside("dir", &[("location", "sub")])]);
    assert!(message.ends_with("cannot read external data `sub`: not a regular file"), "{message}");
    let error = load(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("model: cannot read the file: not a regular file"), "{error}");
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), [0; 8]).unwrap();
    let absolute = outer.path().join("secret");
    for location in ["../secret", "a/../../secret", absolute.to_str().unwrap(), "..", "/"] {
        let message = refusal_with(&folder, vec![outside("w", &[("location", location)])]);
        let expected = format!(
            "expected external data at a path inside the model's folder, found `{location}`"
        );
        assert_eq!(message, format!("initializer `w`: {expected}"));
    }
}

#[cfg(unix)]
#[test]
fn links_that_leave_the_folder_are_refused_and_others_followed() {
    use std::os::unix::fs::symlink;

    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), [0; 8]).unwrap();
    fs::write(folder.join("w"), [0; 8]).unwrap();
    symlink("../secret", folder.join("out")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("w", folder.join("in")).unwrap();

    for location in ["out", "up/secret"] {
        let message = refusal_with(&folder, vec![outside("w", &[("location", location)])]);
        let expected = format!("found that `{location}` leads to ");
        assert!(message.contains(&expected) && message.ends_with("secret"), "{message}");
    }
    load_with(&folder, vec![outside("w", &[("location", "in")])]).unwrap();

    // A link to the model's own folder is where its data is looked for.
    symlink("model", outer.path().join("alias")).unwrap();
    load_with(&outer.path().join("alias"), vec![outside("w", &[("location", "w")])]).unwrap();
}

#[test]
fn bytes_without_a_folder_have_no_external_data() {
    let model = changed(|graph| graph.initializer.push(outside("w", &[("location", "w")])));
    assert_eq!(
        refusal(&model),
        "initializer `w`: expected data inside the model, found external data and no folder to look for it",
    );
}
