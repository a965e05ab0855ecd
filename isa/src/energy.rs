//! The energy model: the number of events times the energy of each. `docs/energy.md` and the
//! machine's text state the sources of the energies.
//!
//! The events are those that [`Cost`] counts. What registers, buses and buffers take is part of the
//! event that uses them; leakage, clock and control are part of the energy of a cycle. On machines
//! without banks a cycle has the registers and what becomes of sums, too.

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::machine;

/// Numbers of events that cost energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Multiplications.
    pub macs: u64,
    /// Products that are shifted by the exponent of a minifloat.
    pub shifted: u64,
    /// Sums that become int8 or int16.
    pub requantised: u64,
    /// Reciprocals of row sums.
    pub reciprocals: u64,
    /// Roots of LayerNorm.
    pub roots: u64,
    /// Bytes read from the scratchpad: through ports, or whole words of banks.
    pub sram_read_bytes: u64,
    /// Bytes written to it.
    pub sram_written_bytes: u64,
    /// Bytes on the DRAM channel, in whole bursts.
    pub dram_burst_bytes: u64,
    /// Scores and elements in the softmax units and the vector unit.
    pub elements: u64,
    /// Elapsed cycles.
    pub cycles: u64,
}

impl Events {
    /// Adds the events of an instruction, except cycles, which elapse for a run rather than for an
    /// instruction. Counters saturate.
    pub fn count(&mut self, cost: &Cost) {
        for (counter, amount) in [
            (&mut self.macs, cost.macs),
            (&mut self.shifted, cost.shifted),
            (&mut self.requantised, cost.requantised),
            (&mut self.reciprocals, cost.reciprocals),
            (&mut self.roots, cost.roots),
            (&mut self.sram_read_bytes, cost.sram.read_bytes()),
            (&mut self.sram_written_bytes, cost.sram.written_bytes()),
            (&mut self.dram_burst_bytes, cost.burst_bytes),
            (&mut self.elements, cost.elements),
        ] {
            *counter = counter.saturating_add(amount);
        }
    }
}

/// Energy by the kind of event, in pJ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// The total.
    pub total_pj: f64,
    /// Multiplications, with the shifts of products.
    pub mac_pj: f64,
    /// What becomes of sums: requantisation, reciprocals, roots.
    pub result_pj: f64,
    /// Reads from the scratchpad.
    pub sram_read_pj: f64,
    /// Writes to the scratchpad.
    pub sram_write_pj: f64,
    /// Transfers from and to DRAM.
    pub dram_pj: f64,
    /// Softmax and vector units.
    pub element_pj: f64,
    /// Cycles.
    pub static_pj: f64,
}

impl Energy {
    /// The energy of events on a machine.
    pub fn of(events: &Events, each: &machine::Energy) -> Energy {
        let mut energy = Energy {
            total_pj: 0.0,
            mac_pj: events.macs as f64 * each.mac_pj + events.shifted as f64 * each.shift_pj,
            result_pj: events.requantised as f64 * each.requantise_pj
                + events.reciprocals as f64 * each.reciprocal_pj
                + events.roots as f64 * each.root_pj,
            sram_read_pj: events.sram_read_bytes as f64 * each.sram_read_pj_per_byte,
            sram_write_pj: events.sram_written_bytes as f64 * each.sram_write_pj_per_byte,
            dram_pj: events.dram_burst_bytes as f64 * each.dram_pj_per_byte,
            element_pj: events.elements as f64 * each.element_pj,
            static_pj: events.cycles as f64 * each.static_pj_per_cycle,
        };
        energy.total_pj = energy.chip_pj() + energy.dram_pj;
        energy
    }

    /// The energy of the chip: all but DRAM.
    pub fn chip_pj(&self) -> f64 {
        let scratchpad_pj = self.sram_read_pj + self.sram_write_pj;
        self.mac_pj + self.result_pj + scratchpad_pj + self.element_pj + self.static_pj
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::cost;
    use crate::instr::table::{Add, Decode, LayerNorm, Matmul, SddmmList, Spmm, SpmmList};
    use crate::instr::{Engine, Entries, LineSet, Op, Shift, Width};
    use crate::machine::Machine;

    fn energy(op: &Op, preset: &str) -> (Energy, u64) {
        let machine = Machine::preset(preset).unwrap();
        let cost = cost(op, &machine);
        let mut events = Events { cycles: cost.cycles, ..Events::default() };
        events.count(&cost);
        (Energy::of(&events, machine.energy.as_ref().unwrap()), cost.cycles)
    }

    fn projection() -> Op {
        Matmul {
            engine: Engine::Denser,
            out: Width::I8,
            lines: LineSet { first: 0, count: 64 },
            m: 192,
            n: 192,
            k: 192,
            a_stride: 192,
            b_stride: 192,
            dst_stride: 192,
            ..Matmul::ZERO
        }
        .into()
    }

    /// The calibration: with every MAC at work, 323.9 mW at 500 MHz.
    #[test]
    fn a_machine_at_full_load_takes_the_power_of_the_paper() {
        for preset in ["vitcod", "vitcod-ideal"] {
            let (energy, cycles) = energy(&projection(), preset);
            let per_cycle = energy.total_pj / cycles as f64;
            assert!(
                (per_cycle / (323.9e-3 / 500e6 * 1e12) - 1.0).abs() < 0.01,
                "{preset}: {per_cycle} pJ per cycle"
            );
        }
    }

    #[test]
    fn energy_is_the_sum_of_its_events() {
        let (product, cycles) = energy(&projection(), "vitcod-ideal");
        assert_eq!(product.mac_pj, (192u64.pow(3)) as f64 * 0.152);
        // Each line reads 8 bytes of its weights per cycle, all of them 8 bytes of one activation;
        // 192 channels have 12 bytes.
        assert_eq!(product.sram_read_pj, (cycles * (64 + 1) * 8 + 192 * 12) as f64 * 0.634);
        assert_eq!(product.sram_write_pj, (192 * 192) as f64 * 0.634);
        assert_eq!((product.dram_pj, product.element_pj, product.result_pj), (0.0, 0.0, 0.0));
        assert_eq!(product.static_pj, cycles as f64 * 240.0);
        let add = Add {
            m: 3,
            n: 20,
            a_stride: 40,
            b_stride: 40,
            dst_stride: 40,
            shift: Shift(0),
            ..Add::ZERO
        };
        assert_eq!(energy(&add.into(), "vitcod-ideal").0.element_pj, 60.0 * 1.62);
    }

    /// What becomes of sums, by instruction.
    #[test]
    fn results_are_counted() {
        let machine = Machine::preset("vitcod").unwrap();
        let counts = |op: Op| {
            let cost = cost(&op, &machine);
            (cost.requantised, cost.reciprocals, cost.roots)
        };
        let lines = LineSet { first: 0, count: 64 };
        let product = Spmm { lines, m: 3, n: 5, d: 7, ..Spmm::ZERO };
        assert_eq!(counts(Spmm { out: Width::I8, ..product }.into()), (21, 3, 0));
        assert_eq!(counts(Spmm { out: Width::I32, ..product }.into()), (0, 0, 0));
        let Op::Matmul(projection) = projection() else { unreachable!("it is one") };
        assert_eq!(counts(Matmul { out: Width::I32, ..projection }.into()), (0, 0, 0));
        let decode = Decode { lines, m: 2, d: 8, heads_in: 2, heads_out: 3, ..Decode::ZERO };
        assert_eq!(counts(decode.into()), (48, 0, 0));
        assert_eq!(counts(LayerNorm { m: 4, n: 8, ..LayerNorm::ZERO }.into()), (0, 0, 4));
        let scores = SddmmList { lines, entries: Entries(9), d: 8, ..SddmmList::ZERO };
        assert_eq!(counts(scores.into()), (9, 0, 0));
        let list = SpmmList { lines, queries: 4, d: 8, ..SpmmList::ZERO };
        assert_eq!(counts(list.into()), (32, 4, 0));
        let [mut events, each] = [1, 2].map(|_| Events::default());
        (events.requantised, events.reciprocals, events.roots) = (10, 20, 30);
        let energies = machine.energy.as_ref().unwrap();
        let expected =
            10.0 * energies.requantise_pj + 20.0 * energies.reciprocal_pj + 30.0 * energies.root_pj;
        assert_eq!(Energy::of(&events, energies).result_pj, expected);
        assert_eq!(Energy::of(&each, energies).total_pj, 0.0);
    }

    #[test]
    fn banks_are_charged_by_the_word() {
        let machine = Machine::preset("vitcod").unwrap();
        let each = machine.energy.as_ref().unwrap();
        let (product, cycles) = energy(&projection(), "vitcod");
        assert_eq!(product.mac_pj, (192u64.pow(3)) as f64 * 0.488);
        assert_eq!(product.result_pj, (192 * 192) as f64 * each.requantise_pj);
        let words = |energy_pj: f64, pj_per_byte: f64| energy_pj / (64.0 * pj_per_byte);
        // A held word of weights serves 16 rows, 128 cycles of a line: half a word per cycle of all
        // lines. A word of activations serves all lines for 8 cycles. Results leave as bytes.
        let read = words(product.sram_read_pj, each.sram_read_pj_per_byte) / cycles as f64;
        assert!((0.5 + 0.125..0.66).contains(&read), "{read} words per cycle");
        let written = words(product.sram_write_pj, each.sram_write_pj_per_byte).round();
        assert_eq!(written, (192 * 192 / 64) as f64);
    }
}
