//! Decodes tensors and values from their protobuf form.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use vitcod_support::problems::Collector;

use super::error::{Fault, Place, Problem};
use super::external::ExternalFiles;
use super::limits::Limits;
use super::model::{Dim, ValueInfo};
use super::payload;
use super::proto::tensor_shape_proto::Dimension;
use super::proto::{TensorProto, ValueInfoProto};
use super::tensor::{DataType, Tensor, TensorFault};

/// A domain, with the two spellings of the default domain unified.
pub(super) fn domain(found: Option<String>) -> String {
    found.filter(|domain| domain != "ai.onnx").unwrap_or_default()
}

/// The context of decoding a graph.
pub(super) struct Decoder<'a> {
    pub(super) limits: &'a Limits,
    /// The heap that graphs inside attributes may still take.
    pub(super) memory: u64,
    /// The number of graphs around the one that is decoded.
    pub(super) depth: usize,
    pub(super) external: ExternalFiles<'a>,
    pub(super) problems: &'a mut Collector<Problem>,
}

impl Decoder<'_> {
    /// The initialisers by name. One with elements of an unsupported type, such as the names of
    /// classes, is left out if it is not among the `used` ones.
    pub(super) fn initializers(
        &mut self,
        protos: Vec<TensorProto>,
        used: &BTreeSet<&str>,
    ) -> BTreeMap<String, Tensor> {
        let mut initializers = BTreeMap::new();
        for (index, mut proto) in protos.into_iter().enumerate() {
            let Some(name) = proto.name.take().filter(|name| !name.is_empty()) else {
                let place = Place::Initializer(format!("#{index}"));
                self.problems.push(|| place.has(Fault::NoName));
                continue;
            };
            // A tensor that cannot be read still defines its name.
            let tensor = self.tensor(proto).unwrap_or_else(|fault| {
                let of_type = matches!(fault, Fault::Tensor(TensorFault::Unsupported { .. }));
                if !of_type || used.contains(name.as_str()) {
                    self.problems.push(|| Place::Initializer(name.clone()).has(fault));
                }
                None
            });
            match initializers.entry(name) {
                Entry::Vacant(new) => {
                    new.insert(tensor.unwrap_or_else(Tensor::empty));
                }
                Entry::Occupied(known) => {
                    let name = known.key().clone();
                    let place = Place::Initializer(name.clone());
                    self.problems.push(|| place.has(Fault::Duplicate { name }));
                }
            }
        }
        initializers
    }

    /// The tensor; `None` if the error of its external file was reported before.
    pub(super) fn tensor(&mut self, proto: TensorProto) -> Result<Option<Tensor>, Fault> {
        payload::tensor(proto, self.limits.rank, &mut self.external)
    }

    pub(super) fn value_infos(
        &mut self,
        protos: Vec<ValueInfoProto>,
        place: impl Fn(String) -> Place,
    ) -> Vec<ValueInfo> {
        let mut infos = Vec::with_capacity(protos.len());
        for (index, proto) in protos.into_iter().enumerate() {
            let Some(name) = proto.name.clone().filter(|name| !name.is_empty()) else {
                self.problems.push(|| place(format!("#{index}")).has(Fault::NoName));
                continue;
            };
            // A value with an unsupported type still defines its name.
            // A graph inside an attribute need not state types.
            let (data_type, shape) = self.tensor_type(proto).unwrap_or_else(|fault| {
                if self.depth == 0 || !matches!(fault, Fault::NoTensorType { .. }) {
                    self.problems.push(|| place(name.clone()).has(fault));
                }
                (DataType::F32, Vec::new())
            });
            infos.push(ValueInfo { name, data_type, shape });
        }
        infos
    }

    fn tensor_type(&self, proto: ValueInfoProto) -> Result<(DataType, Vec<Dim>), Fault> {
        let nothing = |found| Fault::NoTensorType { found };
        let tensor = proto.r#type.ok_or(nothing("no type"))?;
        let tensor = tensor.tensor_type.ok_or(nothing("another kind of type"))?;
        let data_type = payload::data_type(tensor.elem_type.unwrap_or_default())?;
        let dims = tensor.shape.ok_or(nothing("no shape"))?.dim;
        if dims.len() > self.limits.rank {
            let (limit, found) = (self.limits.rank, dims.len());
            return Err(TensorFault::Rank { limit, found }.into());
        }
        let dim = |(axis, dim): (usize, Dimension)| {
            Ok(match (dim.dim_value, dim.dim_param) {
                (Some(found), _) => Dim::Known(
                    usize::try_from(found).map_err(|_| TensorFault::Dimension { axis, found })?,
                ),
                (None, Some(name)) if !name.is_empty() => Dim::Symbol(name),
                (None, _) => Dim::Unknown,
            })
        };
        let shape: Result<_, TensorFault> = dims.into_iter().enumerate().map(dim).collect();
        Ok((data_type, shape?))
    }
}
