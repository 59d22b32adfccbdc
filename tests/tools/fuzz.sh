#!/usr/bin/env bash
# `make fuzz`: runs each fuzz target of tests/fuzz for FUZZ_SECONDS (60 unless
# set). With a nightly Rust the address sanitizer watches too.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

if ! cargo fuzz --version >/dev/null 2>&1; then
    say "installing cargo-fuzz into .cache/cargo"
    cargo install --quiet --locked --root "$cache/cargo" cargo-fuzz || die "cargo-fuzz could not be installed (is the network there?)"
    PATH=$cache/cargo/bin:$PATH
fi
toolchain=() sanitizer=none
if cargo +nightly --version >/dev/null 2>&1; then
    toolchain=(+nightly) sanitizer=address
else
    say "no nightly Rust (rustup toolchain install nightly): fuzzing without the address sanitizer"
fi

for target in $(cargo fuzz list --fuzz-dir tests/fuzz); do
    say "$target, ${FUZZ_SECONDS:=60} s"
    # What earlier runs have found worth keeping; git ignores the files by their names.
    found=tests/fuzz/found/$target.tar.xz
    if [ -e "$found" ] && has xz; then tar -C "tests/fuzz/corpus/$target" --skip-old-files -xJf "$found"; fi
    cargo ${toolchain[@]+"${toolchain[@]}"} fuzz run --fuzz-dir tests/fuzz --sanitizer "$sanitizer" "$target" -- \
        -max_total_time="$FUZZ_SECONDS" -max_len=4096 -print_final_stats=1
done
