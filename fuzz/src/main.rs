//! All fuzz targets in one program: `VITCOD_FUZZ_TARGET` names the one that runs (`list` prints
//! them), and `VITCOD_FUZZ_SEEDS` a folder that its seeds are written into first. `fuzz/run.sh`
//! sets both.

#![no_main]

use std::env;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vitcod_testing::fuzz::{TARGETS, Target};

const NAME: &str = "VITCOD_FUZZ_TARGET";

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var(NAME).unwrap_or_default();
    let names = TARGETS.map(|target| target.name).join(", ");
    Target::named(&name)
        .unwrap_or_else(|| panic!("{NAME} is {name:?}: expected one of {names}"))
});

fuzz_target!(
    init: {
        if env::var(NAME).is_ok_and(|name| name == "list") {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            std::process::exit(0);
        }
        if let Some(folder) = env::var_os("VITCOD_FUZZ_SEEDS") {
            TARGET.write_seeds(Path::new(&folder)).expect("seeds can be written");
        }
    },
    |bytes: &[u8]| (TARGET.check)(bytes)
);
