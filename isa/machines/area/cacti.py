#!/usr/bin/env python3
"""Area, energy and cycle time of on-chip memories by CACTI 7.

Writes `cacti.csv` beside this file. CACTI's source comes with the wheel of `hwcomponents-cacti`
(PyPI); it is unpacked and compiled in a temporary folder with `make` and `g++`. The wheel needs
Python 3.12 only for its own interface, which is not used: this script writes CACTI's input with
the wheel's defaults (memory type "ram", wires "Global_30", 300 K) and reads its output.

    python3 isa/machines/area/cacti.py

Families of transistors: `lstp` (low standby power, the wheel's default: slow, high voltage), `lop`
(low operating power) and `hp` (high performance). CACTI interpolates between its 32 nm and 22 nm.
"""

import csv
import datetime
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "hwcomponents-cacti==1.0.40"
TECHNOLOGY_UM = 0.028
FAMILIES = ["lstp", "lop", "hp"]

# Ports: (read-write, read, write).
PORTS = {"1RW": (1, 0, 0), "1R1W": (0, 1, 1), "2RW": (2, 0, 0)}

# Count, bytes of one macro, bytes of a word, ports.
MEMORIES = [
    (count, 320 // count * 1024, 64, ports) for count in (8, 16, 32, 64) for ports in PORTS
]
MEMORIES += [(64, 5 * 1024, 8, ports) for ports in PORTS]
MEMORIES += [(1, 4096, 64, "1RW"), (1, 4096, 16, "1R1W"), (1, 2048, 64, "1RW")]
# CACTI finds no organisation for 1 KB of 16 words of 64 bytes: too few rows for its arrays.
MEMORIES += [(1, 1024, 64, "1RW"), (1, 1024, 32, "1RW"), (1, 1024, 16, "1R1W")]

COLUMNS = {
    "access_ns": (" Access time (ns)", 1),
    "cycle_ns": (" Random cycle time (ns)", 1),
    "read_pj": (" Dynamic read energy (nJ)", 1000),
    "write_pj": (" Dynamic write energy (nJ)", 1000),
    "leakage_mw": (" Standby leakage per bank(mW)", 1),
    "area_mm2": (" Area (mm2)", 1),
}


def build(folder):
    """Compiles CACTI; returns its folder and the wheel's default input."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    download += ["--python-version", "3.12", "--only-binary=:all:", PACKAGE]
    subprocess.run(download, check=True)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    package = folder / "hwcomponents_cacti"
    cacti = package / "cacti"
    # The wheel's objects need a newer C library than many machines have.
    for stale in [cacti / "cacti", *(cacti / "obj_dbg").glob("*")]:
        stale.unlink()
    subprocess.run(["make", "-j2"], cwd=cacti, check=True, capture_output=True)
    return cacti, (package / "default_cfg.cfg").read_text()


def run(cacti, defaults, size, word, ports, family):
    """CACTI's figures for one macro, or `None` if it finds no organisation."""
    both, read, write = PORTS[ports]
    text = defaults.replace("-exclusive read port 0", f"-exclusive read port {read}")
    text = text.replace("-exclusive write port 0", f"-exclusive write port {write}")
    text = re.sub(r'"itrs-lstp"?', f'"itrs-{family}"', text)
    text += f"""
-size (bytes) {size}
-read-write port {both}
-block size (bytes) {word}
-technology (u) {TECHNOLOGY_UM}
-output/input bus width {word * 8}
-UCA bank 1
-cache type "ram"
-tag size (b) 0
-associativity 1
"""
    source = cacti / "input.cfg"
    source.write_text(text)
    result = cacti / "input.cfg.out"
    result.unlink(missing_ok=True)
    subprocess.run(["./cacti", "-infile", source.name], cwd=cacti, capture_output=True)
    if not result.exists():
        return None
    row = list(csv.DictReader(result.read_text().splitlines()))[-1]
    return {name: float(row[key]) * scale for name, (key, scale) in COLUMNS.items()}


def wire(cacti):
    """Energy in pJ that charges a wire of 1 mm with repeaters, by the run before."""
    command = ["./cacti", "-infile", "input.cfg"]
    text = subprocess.run(command, cwd=cacti, capture_output=True, text=True).stdout
    relaxed = text[text.index("30% Overhead") :]
    return 1000 * float(re.search(r"PowerD - (\S+)", relaxed)[1])


def main():
    target = pathlib.Path(__file__).with_name("cacti.csv")
    with tempfile.TemporaryDirectory() as folder:
        cacti, defaults = build(pathlib.Path(folder))
        with target.open("w") as out:
            today = datetime.date.today().isoformat()
            nm = round(TECHNOLOGY_UM * 1000)
            print(f"# CACTI 7.0 (3DD) of {PACKAGE} (PyPI), {nm} nm, 300 K; {today}, cacti.py", file=out)
            print("# A line is one macro; count is how many of them a machine would have.", file=out)
            print("family,count,bytes,word_bytes,ports," + ",".join(COLUMNS), file=out)
            for family in FAMILIES:
                for count, size, word, ports in MEMORIES:
                    figures = run(cacti, defaults, size, word, ports, family)
                    values = (
                        [f"{figures[name]:.4g}" for name in COLUMNS]
                        if figures
                        else ["none"] * len(COLUMNS)
                    )
                    print(f"{family},{count},{size},{word},{ports}," + ",".join(values), file=out)
                charge = wire(cacti)
                print(f"# {family}: {charge:.4f} pJ charge 1 mm of wire with repeaters", file=out)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
