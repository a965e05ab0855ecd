#!/usr/bin/env bash
# Seeds the corpora from files of the repository. `fuzz/seed.sh`, then `cargo fuzz run TARGET`.
set -euo pipefail
cd "$(dirname "$0")/.."

vitcod() { cargo run --quiet --release --locked -- "$@"; }

# Copies files into the corpus of a target under names that do not meet.
seed() {
    local target=$1 file
    shift
    mkdir -p "fuzz/corpus/$target"
    for file in "$@"; do cp "$file" "fuzz/corpus/$target/${file//\//_}"; done
}

seed ir_text tests/ir/*/*.vir
seed tasks tests/ir/{tiled,scheduled}/*.vir tests/ir/pass/schedule.vir
seed asm tests/asm/*.s tests/run/*.s examples/kernel/*.s
seed onnx tests/models/*.onnx
seed npy examples/digits/masks90.npy examples/digits/test_labels.npy tests/models/*.in.npy
seed machine isa/machines/*.toml

# Assembled programs; their words are instructions.
mkdir -p fuzz/corpus/program fuzz/corpus/instr
for source in tests/run/*.s examples/kernel/*.s; do
    program="fuzz/corpus/program/$(basename "$source" .s).vitcod"
    vitcod asm "$source" -o "$program"
    cp "$program" fuzz/corpus/instr
done
