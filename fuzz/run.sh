#!/usr/bin/env bash
# Fuzzes a target, or all of them one after the other, with the stable toolchain:
#     fuzz/run.sh TARGET|all SECONDS [OPTION OF LIBFUZZER]...
# The corpus of a target grows in fuzz/corpus/TARGET; an input that fails is kept in
# fuzz/artifacts/TARGET. VITCOD_FUZZ_PROFILE=smoke builds in less time what runs slower.
set -euo pipefail

usage="usage: fuzz/run.sh TARGET|all SECONDS [OPTION OF LIBFUZZER]..."
target=${1:?$usage}
seconds=${2:?$usage}
shift 2
cd "$(dirname "$0")"

profile=${VITCOD_FUZZ_PROFILE:-release}
host=$(rustc -vV | sed -n 's/^host: //p')

# What cargo-fuzz passes, without the address sanitizer, which needs a nightly toolchain.
flags="--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$option"
done
RUSTFLAGS="$flags" cargo build --locked --profile "$profile" --target "$host"

program=target/$host/$profile/fuzz

if [ "$target" = all ]; then target=$(VITCOD_FUZZ_TARGET=list "$program"); fi
for target in $target; do
    echo "fuzzing $target for $seconds s"
    mkdir -p "corpus/$target" "artifacts/$target"
    VITCOD_FUZZ_TARGET=$target VITCOD_FUZZ_SEEDS=corpus/$target \
        "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="artifacts/$target/" "$@" \
        "corpus/$target"
done
