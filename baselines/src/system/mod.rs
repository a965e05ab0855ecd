//! The modelled systems and their resources.
//!
//! A system is a TOML file: a name, a clock, which model it is, and the resources of that model.
//! Presets are files of this crate. They have the resources of ViTCoD, 512 MACs and about 153.6
//! bytes per cycle, except those named `original`, and `authors-2023-06` with 4,096 MACs.

pub(crate) mod text;

use std::fmt;

use serde::{Deserialize, Serialize};
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;

use crate::authors::{self, AuthorsSimulator};
use crate::estimate::{Estimate, EstimateError, Label, Total};
use crate::sanger::{self, Sanger};
use crate::spatten::{self, SpAtten};
use crate::systolic::{self, SystolicArray};
use crate::workload::Workload;

/// Names and texts of the presets.
pub const PRESETS: [(&str, &str); 14] = [
    ("sanger", include_str!("../../systems/sanger.toml")),
    ("sanger-skewed", include_str!("../../systems/sanger-skewed.toml")),
    ("sanger-64x8", include_str!("../../systems/sanger-64x8.toml")),
    ("sanger-64x8-skewed", include_str!("../../systems/sanger-64x8-skewed.toml")),
    ("sanger-original", include_str!("../../systems/sanger-original.toml")),
    ("spatten", include_str!("../../systems/spatten.toml")),
    ("spatten-queries", include_str!("../../systems/spatten-queries.toml")),
    ("spatten-original", include_str!("../../systems/spatten-original.toml")),
    ("systolic", include_str!("../../systems/systolic.toml")),
    ("systolic-weights", include_str!("../../systems/systolic-weights.toml")),
    ("authors-2023-01", include_str!("../../systems/authors-2023-01.toml")),
    ("authors-2023-01-heads", include_str!("../../systems/authors-2023-01-heads.toml")),
    ("authors-2023-06", include_str!("../../systems/authors-2023-06.toml")),
    ("authors-2023-06-heads", include_str!("../../systems/authors-2023-06-heads.toml")),
];

/// A modelled system with its resources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct System {
    name: String,
    clock_mhz: f64,
    #[serde(flatten)]
    model: Model,
}

/// The models, named by the key `system` of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "system", rename_all = "kebab-case")]
enum Model {
    Sanger(Sanger),
    Spatten(SpAtten),
    SystolicArray(SystolicArray),
    AuthorsSimulator(AuthorsSimulator),
}

impl System {
    /// The preset with this name, if there is one.
    ///
    /// ```
    /// use vitcod_baselines::System;
    ///
    /// let sanger = System::preset("sanger").expect("a preset");
    /// assert_eq!((sanger.macs(), sanger.clock_mhz()), (512, 500.0));
    /// assert!(System::preset("unknown").is_none());
    /// ```
    pub fn preset(name: &str) -> Option<System> {
        let (_, text) = PRESETS.iter().find(|(preset, _)| *preset == name)?;
        Some(System::from_toml(text).expect("presets are valid; a test reads each"))
    }

    /// Parses and validates a system.
    ///
    /// # Errors
    /// All problems, with their positions.
    pub fn from_toml(text: &str) -> Result<System, Problems<Diagnostic>> {
        text::read(text)
    }

    /// The text form.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a system is plain data")
    }

    /// The name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The clock, for converting cycles to time.
    pub fn clock_mhz(&self) -> f64 {
        self.clock_mhz
    }

    /// Multiplications per cycle.
    pub fn macs(&self) -> u64 {
        match &self.model {
            Model::Sanger(model) => model.macs(),
            Model::Spatten(model) => model.macs(),
            Model::SystolicArray(model) => model.macs(),
            Model::AuthorsSimulator(model) => model.macs(),
        }
    }

    /// Converts cycles to milliseconds.
    pub fn milliseconds(&self, cycles: u64) -> f64 {
        cycles as f64 / (self.clock_mhz * 1000.0)
    }

    /// Cycles in which the system computes the attention of a workload.
    ///
    /// # Errors
    /// A dot product has more features than SpAtten has multipliers.
    pub fn estimate(&self, workload: &Workload) -> Result<Estimate, EstimateError> {
        let (layers, not_modelled) = match &self.model {
            Model::Sanger(model) => (model.estimate(workload), sanger::NOT_MODELLED),
            Model::Spatten(model) => (model.estimate(workload)?, spatten::NOT_MODELLED),
            Model::SystolicArray(model) => (model.estimate(workload), systolic::NOT_MODELLED),
            Model::AuthorsSimulator(model) => (model.estimate(workload), authors::NOT_MODELLED),
        };
        let total = match &self.model {
            Model::AuthorsSimulator(_) => authors::total(&layers),
            Model::Sanger(_) | Model::Spatten(_) | Model::SystolicArray(_) => {
                Total::of_layers(&layers)
            }
        };
        let resources = self.clone();
        let macs = self.macs();
        Ok(Estimate { label: Label::Modelled, resources, macs, layers, total, not_modelled })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} MACs, {} MHz", self.name, self.macs(), self.clock_mhz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::deit_tiny;

    #[test]
    fn presets_are_valid_and_survive_their_text_form() {
        for (name, _) in PRESETS {
            let system = System::preset(name).unwrap();
            assert_eq!(system.name(), name);
            assert_eq!(System::from_toml(&system.to_toml()).unwrap(), system);
        }
    }

    #[test]
    fn presets_have_the_resources_of_vitcod_or_of_the_original() {
        for (name, _) in PRESETS {
            let system = System::preset(name).unwrap();
            let expected = match name {
                "sanger-original" => (1024, 1000.0),
                "spatten-original" => (1024, 1000.0),
                "authors-2023-06" | "authors-2023-06-heads" => (4096, 500.0),
                _ => (512, 500.0),
            };
            assert_eq!((system.macs(), system.clock_mhz()), expected, "{name}");
        }
    }

    #[test]
    fn an_estimate_is_json_with_stable_keys() {
        let system = System::preset("systolic").unwrap();
        let workload = Workload::new(deit_tiny().layers()[..1].to_vec()).unwrap();
        let json = serde_json::to_string(&system.estimate(&workload).unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"label":"modelled","resources":{"name":"systolic","clock_mhz":500.0,"#.to_owned()
                + r#""system":"systolic-array","rows":16,"columns":32,"#
                + r#""dataflow":"output-stationary","element_bits":8,"bytes_per_cycle":153.6},"#
                + r#""macs":512,"layers":[{"phases":[{"name":"scores","cycles":30030},"#
                + r#"{"name":"outputs","cycles":18954},{"name":"memory","cycles":985}],"#
                + r#""overlapped_cycles":48984,"serial_cycles":49969}],"#
                + r#""total":{"overlapped_cycles":48984,"serial_cycles":49969},"#
                + r#""not_modelled":["softmax","sparsity: pruned entries are computed","#
                + r#""overlap of the drain of a fold with the fill of the next","#
                + r#""limits of the buffers, so every operand is loaded once"]}"#
        );
        assert_eq!(system.to_string(), "systolic: 512 MACs, 500 MHz");
        assert_eq!(system.milliseconds(48_984), 0.097968);
    }
}
