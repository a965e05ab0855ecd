//! The wire-format table: one static `Message` per protobuf message, naming its fields.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use heck::{ToShoutySnakeCase, ToSnakeCase};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// Messages by their full name, `.onnx.TypeProto.Tensor`.
type Messages<'a> = BTreeMap<String, &'a DescriptorProto>;

/// Writes the table; fails where a message can contain itself, because the scanner's recursion is
/// bounded by the schema alone.
pub fn generate(file: &FileDescriptorProto) -> Result<String, Box<dyn Error>> {
    let mut messages = Messages::new();
    collect(&format!(".{}", file.package()), &file.message_type, &mut messages);

    let mut out = String::from("use super::proto;\nuse super::scan::{Field, Kind, Message};\n");
    for (name, message) in &messages {
        check_finite(name, &messages, &mut Vec::new())?;
        let path: Vec<&str> = name.split('.').skip(2).collect();
        let (last, modules) = path.split_last().ok_or("a message without a name")?;
        let modules: String =
            modules.iter().map(|module| format!("{}::", module.to_snake_case())).collect();
        writeln!(
            out,
            "\npub(super) static {}: Message = Message::new(size_of::<proto::{modules}{last}>(), &[",
            constant(name),
        )?;
        for field in &message.field {
            let (number, label, kind) = (field.number(), label(field), kind(field)?);
            writeln!(out, "Field::{label}({number}, \"{}\", {kind}),", field.name())?;
        }
        writeln!(out, "]);")?;
    }
    Ok(out)
}

fn collect<'a>(scope: &str, found: &'a [DescriptorProto], messages: &mut Messages<'a>) {
    for message in found {
        let name = format!("{scope}.{}", message.name());
        collect(&name, &message.nested_type, messages);
        messages.insert(name, message);
    }
}

fn check_finite(
    name: &str,
    messages: &Messages<'_>,
    above: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    if above.iter().any(|outer| outer == name) {
        return Err(format!("{name} contains itself: {above:?}").into());
    }
    above.push(name.to_owned());
    for field in &messages[name].field {
        if field.r#type() == Type::Message {
            check_finite(field.type_name(), messages, above)?;
        }
    }
    above.pop();
    Ok(())
}

/// `.onnx.TypeProto.Tensor` as `TYPE_PROTO_TENSOR`.
fn constant(full_name: &str) -> String {
    let path: Vec<&str> = full_name.split('.').skip(2).collect();
    path.join("_").to_shouty_snake_case()
}

fn label(field: &FieldDescriptorProto) -> &'static str {
    match field.label() {
        Label::Repeated => "repeated",
        Label::Optional | Label::Required => "single",
    }
}

fn kind(field: &FieldDescriptorProto) -> Result<String, Box<dyn Error>> {
    Ok(match field.r#type() {
        Type::Int32 | Type::Enum => "Kind::Varint32".into(),
        Type::Int64 | Type::Uint64 => "Kind::Varint64".into(),
        Type::Float => "Kind::Fixed32".into(),
        Type::Double => "Kind::Fixed64".into(),
        Type::String => "Kind::Text".into(),
        Type::Bytes => "Kind::Bytes".into(),
        Type::Message => format!("Kind::Message(&{})", constant(field.type_name())),
        other => return Err(format!("{}: no such kind: {other:?}", field.name()).into()),
    })
}
