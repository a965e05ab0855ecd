//! The machine option of the command line.

use std::path::Path;

use anyhow::{anyhow, bail};
use vitcod_isa::machine::{Machine, PRESETS};
use vitcod_support::diagnostics::did_you_mean;

use crate::files::{self, Outputs};

/// The option that names a machine.
#[derive(clap::Args)]
pub(crate) struct MachineArg {
    /// The machine to compile for: a preset (vitcod, vitcod-wide, vitcod-ideal, vitcod-sim) or a
    /// TOML file (its name ends in .toml)
    #[arg(long, value_name = "NAME|FILE.toml", default_value = MachineArg::DEFAULT)]
    machine: String,
}

impl MachineArg {
    /// The default machine.
    pub(crate) const DEFAULT: &str = "vitcod";

    /// Loads the machine.
    pub(crate) fn load(&self) -> anyhow::Result<Machine> {
        load(&self.machine)
    }

    /// Protects the file of the machine from replacement.
    pub(crate) fn keep(&self, files: &mut Outputs) {
        if Machine::preset(&self.machine).is_none() {
            files.keep(Path::new(&self.machine));
        }
    }
}

/// Loads a preset by name, or a TOML file.
pub(crate) fn load(name: &str) -> anyhow::Result<Machine> {
    if let Some(machine) = Machine::preset(name) {
        return Ok(machine);
    }
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") {
        let presets = PRESETS.map(|(preset, _)| preset).join(", ");
        let help = did_you_mean(name, PRESETS.map(|(preset, _)| preset));
        let help = help.map_or(String::new(), |help| format!("{help} "));
        bail!(
            "unknown machine {name:?}; {help}expected a preset ({presets}) or a file that ends in .toml"
        );
    }
    let text = files::read_settings(path)?;
    Machine::from_toml(&text).map_err(|problems| {
        anyhow!("{name} is not a valid machine description\n\n{}", problems.render(name, &text))
    })
}
