//! The shapes of the attention of the paper's models.
//!
//! Sources: DeiT (Touvron et al., ICML 2021): 224 x 224 pixels in patches of 16 and a class token.
//! LeViT (Graham et al., ICCV 2021): `specification` and `AttentionSubsample` of `levit.py` in
//! `facebookresearch/LeViT`; attention between stages has the queries of the next one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workload::{Layer, LayerShape, Workload};

/// The file that the scripts of this crate measure by.
const SHAPES: &str = include_str!("../shapes.json");

/// Consecutive layers of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// Number of layers.
    pub count: u32,
    /// Heads of each.
    pub heads: u32,
    /// Queries of a head.
    pub queries: u32,
    /// Keys of a head.
    pub keys: u32,
    /// Features of a key.
    pub key_features: u32,
    /// Features of a value.
    pub value_features: u32,
}

impl Layers {
    /// The shape of each layer.
    pub fn shape(&self) -> LayerShape {
        let Layers { heads, queries, keys, key_features, value_features, count: _ } = *self;
        LayerShape { heads, queries, keys, key_features, value_features }
    }

    /// Whether the layers of a workload have these shapes.
    pub(crate) fn are_those_of(layers: &[Layers], workload: &Workload) -> bool {
        let mut rest = workload.layers();
        let taken = layers.iter().all(|group| {
            let count = group.count as usize;
            let Some((these, others)) = rest.split_at_checked(count) else { return false };
            rest = others;
            these.iter().all(|layer| layer.shape() == group.shape())
        });
        taken && rest.is_empty()
    }
}

/// Names of the models, with the shapes of their attention.
pub fn models() -> BTreeMap<String, Vec<Layers>> {
    serde_json::from_str(SHAPES).expect("a file of this crate; a test reads it")
}

/// The dense attention of a model, if its shapes are known.
///
/// ```
/// use vitcod_baselines::shapes;
///
/// let workload = shapes::dense("deit-tiny").expect("a model of the paper");
/// assert_eq!(workload.layers().len(), 12);
/// ```
pub fn dense(model: &str) -> Option<Workload> {
    let groups = models().remove(model)?;
    let layers = groups
        .iter()
        .flat_map(|group| std::iter::repeat_n(Layer::dense(group.shape()), group.count as usize));
    Some(Workload::new(layers.collect()).expect("shapes are valid; a test reads each"))
}

/// The dense attention of DeiT-Tiny.
#[cfg(test)]
pub(crate) fn deit_tiny() -> Workload {
    dense("deit-tiny").unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_a_workload() {
        let layers: Vec<(String, usize)> = models()
            .into_keys()
            .map(|model| {
                let workload = dense(&model).unwrap();
                assert!(Layers::are_those_of(&models()[&model], &workload));
                (model, workload.layers().len())
            })
            .collect();
        let expected = [
            ("deit-base", 12),
            ("deit-small", 12),
            ("deit-tiny", 12),
            ("levit-128", 14),
            ("levit-192", 14),
            ("levit-256", 14),
        ];
        assert_eq!(layers, expected.map(|(model, layers)| (model.to_owned(), layers)));
        assert!(dense("vgg").is_none());
    }

    #[test]
    fn heads_of_64_features_have_as_many_multiplications_as_the_models_say() {
        // 2 x 197^2 x 64 for each head and layer.
        let products = |model| {
            dense(model).unwrap().layers().iter().map(|layer| layer.shape().products()).sum::<u64>()
        };
        assert_eq!(products("deit-tiny"), 178_831_872);
        assert_eq!(products("deit-base"), 4 * 178_831_872);
    }

    #[test]
    fn other_layers_are_not_those_of_a_model() {
        let tiny = models().remove("deit-tiny").unwrap();
        let shorter = Workload::new(deit_tiny().layers()[1..].to_vec()).unwrap();
        let longer = Workload::new([deit_tiny().layers(), deit_tiny().layers()].concat()).unwrap();
        for other in [shorter, longer, dense("deit-small").unwrap()] {
            assert!(!Layers::are_those_of(&tiny, &other));
        }
    }
}
