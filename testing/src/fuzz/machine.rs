//! TOML is a machine or an error, and a machine's text is that machine.

use vitcod_isa::machine::Machine;

/// The target.
pub fn check(text: &str) {
    match Machine::from_toml(text) {
        Err(problems) => drop(problems.render("machine.toml", text)),
        Ok(machine) => {
            assert_eq!(Machine::from_toml(&machine.to_toml()).as_ref(), Ok(&machine));
            let _ = (machine.to_string(), machine.digest());
        }
    }
}
