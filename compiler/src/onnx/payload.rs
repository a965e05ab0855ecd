//! Decodes tensors from their protobuf form: five typed fields, raw bytes, or an external file.

use bytes::Bytes;

use super::error::Fault;
use super::external::ExternalFiles;
use super::proto::TensorProto;
use super::proto::tensor_proto::{DataLocation, DataType as Onnx};
use super::tensor::{DataType, Tensor, TensorFault, byte_count};

/// The tensor; `None` if the error of its external file was reported before.
pub(super) fn tensor(
    mut proto: TensorProto,
    max_rank: usize,
    external: &mut ExternalFiles<'_>,
) -> Result<Option<Tensor>, Fault> {
    let data_type = data_type(proto.data_type.unwrap_or_default())?;
    let dims = dims(&proto.dims, max_rank)?;
    let data = if proto.data_location() == DataLocation::External {
        if !filled(&proto).is_empty() {
            return Err(Fault::TwoPlaces { data_type });
        }
        match external.fetch(&proto.external_data, byte_count(data_type, &dims)?)? {
            Some(data) => data,
            None => return Ok(None),
        }
    } else {
        inline(data_type, &mut proto)?
    };
    Ok(Some(Tensor::new(data_type, dims, data)?))
}

/// The element type with this number in ONNX.
pub(super) fn data_type(number: i32) -> Result<DataType, TensorFault> {
    let unsupported = |found| Err(TensorFault::Unsupported { found });
    let Ok(onnx) = Onnx::try_from(number) else {
        return unsupported(format!("number {number}"));
    };
    Ok(match onnx {
        Onnx::Float => DataType::F32,
        Onnx::Double => DataType::F64,
        Onnx::Float16 => DataType::F16,
        Onnx::Bfloat16 => DataType::Bf16,
        Onnx::Int8 => DataType::I8,
        Onnx::Int16 => DataType::I16,
        Onnx::Int32 => DataType::I32,
        Onnx::Int64 => DataType::I64,
        Onnx::Uint8 => DataType::U8,
        Onnx::Uint16 => DataType::U16,
        Onnx::Uint32 => DataType::U32,
        Onnx::Uint64 => DataType::U64,
        Onnx::Bool => DataType::Bool,
        other => return unsupported(other.as_str_name().to_owned()),
    })
}

fn dims(found: &[i64], limit: usize) -> Result<Vec<usize>, TensorFault> {
    if found.len() > limit {
        return Err(TensorFault::Rank { limit, found: found.len() });
    }
    let dim =
        |(axis, &found)| usize::try_from(found).map_err(|_| TensorFault::Dimension { axis, found });
    found.iter().enumerate().map(dim).collect()
}

const RAW: &str = "raw_data";
const FLOAT: &str = "float_data";
const INT32: &str = "int32_data";
const INT64: &str = "int64_data";
const DOUBLE: &str = "double_data";
const UINT64: &str = "uint64_data";

/// The fields that hold data.
fn filled(proto: &TensorProto) -> Vec<&'static str> {
    let fields = [
        (RAW, proto.raw_data().is_empty()),
        (FLOAT, proto.float_data.is_empty()),
        (INT32, proto.int32_data.is_empty()),
        (INT64, proto.int64_data.is_empty()),
        (DOUBLE, proto.double_data.is_empty()),
        (UINT64, proto.uint64_data.is_empty()),
    ];
    fields.iter().filter(|(_, empty)| !empty).map(|(name, _)| *name).collect()
}

/// The typed field of an element type, according to onnx.proto.
fn typed_field(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F32 => FLOAT,
        DataType::F64 => DOUBLE,
        DataType::I64 => INT64,
        DataType::U32 | DataType::U64 => UINT64,
        DataType::F16
        | DataType::Bf16
        | DataType::I8
        | DataType::I16
        | DataType::I32
        | DataType::U8
        | DataType::U16
        | DataType::Bool => INT32,
    }
}

/// The little-endian elements of a tensor whose data is in the model.
fn inline(data_type: DataType, proto: &mut TensorProto) -> Result<Bytes, TensorFault> {
    let expected = typed_field(data_type);
    let found = filled(proto);
    match found.as_slice() {
        [] => return Ok(Bytes::new()),
        [RAW] => return Ok(proto.raw_data.take().unwrap_or_default()),
        [field] if *field == expected => {}
        _ => {
            return Err(TensorFault::Storage { data_type, expected, found: found.join(", ") });
        }
    }

    let int32 = &proto.int32_data;
    Ok(match data_type {
        DataType::F32 => elements(&proto.float_data, |value| value.to_le_bytes()),
        DataType::F64 => elements(&proto.double_data, |value| value.to_le_bytes()),
        DataType::I64 => elements(&proto.int64_data, |value| value.to_le_bytes()),
        DataType::U64 => elements(&proto.uint64_data, |value| value.to_le_bytes()),
        DataType::U32 => narrow(data_type, &proto.uint64_data, u32::to_le_bytes)?,
        DataType::I32 => elements(int32, |value| value.to_le_bytes()),
        DataType::I16 => narrow(data_type, int32, i16::to_le_bytes)?,
        DataType::I8 => narrow(data_type, int32, i8::to_le_bytes)?,
        DataType::U8 => narrow(data_type, int32, u8::to_le_bytes)?,
        // Halves are stored by their bits.
        DataType::U16 | DataType::F16 | DataType::Bf16 => {
            narrow(data_type, int32, u16::to_le_bytes)?
        }
        DataType::Bool => elements(int32, |value| [u8::from(value != 0)]),
    })
}

fn elements<T: Copy, const N: usize>(values: &[T], write: impl Fn(T) -> [u8; N]) -> Bytes {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for &value in values {
        bytes.extend_from_slice(&write(value));
    }
    bytes.into()
}

/// Like [`elements`], for values that are stored in a wider type.
fn narrow<W, T, const N: usize>(
    data_type: DataType,
    values: &[W],
    write: impl Fn(T) -> [u8; N],
) -> Result<Bytes, TensorFault>
where
    W: Copy + Into<i128>,
    T: TryFrom<W>,
{
    let mut bytes = Vec::with_capacity(values.len() * N);
    for (index, &value) in values.iter().enumerate() {
        let narrow = T::try_from(value).map_err(|_| TensorFault::Value {
            data_type,
            found: value.into(),
            index,
        })?;
        bytes.extend_from_slice(&write(narrow));
    }
    Ok(bytes.into())
}
