//! Areas of what a machine consists of.

use serde::{Deserialize, Serialize};

/// Areas of parts, of memories in place, of logic before it is placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// Cells of a memory with one port, per KB.
    pub sram_mm2_per_kb: f64,
    /// What a memory with one port needs per bit of a word, whatever its depth.
    pub sram_column_um2: f64,
    /// Cells of a memory with two ports, per KB.
    pub two_port_sram_mm2_per_kb: f64,
    /// What a memory with two ports needs per bit of a word.
    pub two_port_sram_column_um2: f64,
    /// Buffers of some KB, per KB.
    pub buffer_mm2_per_kb: f64,
    /// A flip-flop.
    pub flip_flop_um2: f64,
    /// A latch.
    pub latch_um2: f64,
    /// A multiplexer of one bit with two inputs.
    pub mux2_um2: f64,
    /// A multiplier of int8 with its adder and pipeline registers.
    pub mac_um2: f64,
    /// A shifter behind a multiplier, for minifloats.
    pub shifter_um2: f64,
    /// A requantiser.
    pub requantiser_um2: f64,
    /// A unit that computes a reciprocal, bit by bit.
    pub divider_um2: f64,
    /// A unit that computes a root of LayerNorm, bit by bit.
    pub root_um2: f64,
    /// A softmax unit, per score per cycle.
    pub softmax_um2: f64,
    /// The vector unit, per element per cycle.
    pub vector_um2: f64,
    /// Control of a line: its queue of indices and its addresses.
    pub line_control_um2: f64,
    /// Control of a unit: its instruction and its counters.
    pub sequencer_um2: f64,
    /// Clock tree, control and test structures, as a share of all other logic.
    pub control_share: f64,
    /// The part of an area of placed logic that its cells cover.
    pub density: f64,
}

impl Area {
    /// Areas in 28 nm, which hold for machines that state none.
    pub fn of_28_nm() -> Area {
        #[derive(Deserialize)]
        struct Text {
            area: Area,
        }
        let text: Result<Text, _> = toml::from_str(TEXT);
        text.expect("the areas are valid; a test reads them").area
    }
}

/// The text of [`Area::of_28_nm`].
const TEXT: &str = include_str!("../../machines/area.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn a_machine_may_state_areas() {
        let silent = Machine::preset("vitcod").unwrap();
        assert_eq!(silent.area, None);
        let text = format!("{}\n{TEXT}", silent.to_toml());
        let machine = Machine::from_toml(&text).unwrap();
        assert_eq!(machine.area, Some(Area::of_28_nm()));
        assert_eq!(Machine::from_toml(&machine.to_toml()).unwrap(), machine);
        assert_ne!(machine.digest(), silent.digest());
    }
}
