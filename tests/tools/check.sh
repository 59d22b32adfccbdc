#!/usr/bin/env bash
# `make check`: format, lints and docs of every feature set; warnings are
# errors. Ends at the first step that fails.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

has cargo || die "cargo is missing: install Rust by rustup, https://rustup.rs"
for component in fmt:rustfmt clippy:clippy; do
    cargo "${component%:*}" --version >/dev/null 2>&1 ||
        die "cargo ${component%:*} is missing: rustup component add ${component#*:} (a distribution has it as a package of that name)"
done

locked=()
if in_ci; then locked=(--locked); fi
step() { say "$*"; "$@"; }

step cargo fmt --check
step cargo clippy ${locked[@]+"${locked[@]}"} --all-targets -- -D warnings
step cargo clippy ${locked[@]+"${locked[@]}"} --no-default-features --all-targets -- -D warnings
step cargo clippy ${locked[@]+"${locked[@]}"} --no-default-features --features service --all-targets -- -D warnings
step cargo clippy ${locked[@]+"${locked[@]}"} --no-default-features --features tls --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc ${locked[@]+"${locked[@]}"} --no-deps
# Workspaces of their own, which the commands above do not see. With the flags of those, so that most of it is compiled already.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
for workspace in fuzz bench; do
    step cargo fmt --manifest-path "tests/$workspace/Cargo.toml" --check
    step cargo check --manifest-path "tests/$workspace/Cargo.toml" --target-dir "${CARGO_TARGET_DIR:-target}"
done
