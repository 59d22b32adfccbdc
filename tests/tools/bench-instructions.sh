#!/usr/bin/env bash
# `make bench-instructions`: what one decision costs the bridge in instructions
# of its own and in calls of the allocator. Unlike times, the figures differ by
# about one per cent from run to run, on whatever machine.
#
# callgrind counts a run of 2,000 decisions and one of 12,000; what start and
# end cost is in both, so that the difference is that of 10,000 decisions. The
# kernel's part of a decision is not counted. About a minute after the build.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

few=2000 many=12000
work=$cache/bench/instructions
target=${CARGO_TARGET_DIR:-$repo/target}
spop=127.0.0.1:19001 service=127.0.0.1:19050
mkdir -p "$work"
has cargo || die "cargo is missing: install Rust 1.89 or later by rustup, https://rustup.rs"
has valgrind || apt_install valgrind libc6-dbg || die "valgrind is missing."
cargo build --release --bin spop-bridge
cargo build --release --manifest-path tests/bench/Cargo.toml --target-dir "$target/bench"
bridge=$target/release/spop-bridge

pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
listens() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }
# wait_for ADDRESS PID
wait_for() {
    for _ in $(seq 600); do
        listens "$1" && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    die "nothing listens on $1; see $work"
}
for address in "$spop" "$service"; do
    if listens "$address"; then die "$address is taken: end what uses it."; fi
done

# Its standard input ends it; a fifo that nobody closes keeps it.
rm -f "$work/input" && mkfifo "$work/input"
"$target/bench/release/spop-bridge-bench" null-service --listen "$service" <>"$work/input" >"$work/service.log" 2>&1 &
pids+=($!)
wait_for "$service" $!

# run PROTOCOL DECISIONS: callgrind's file of it
run() {
    local out=$work/$1-$2.callgrind pid
    cat > "$work/bridge.yaml" <<YAML
workers: 1
listeners: [{ bind: "$spop" }]
backends: { service: { endpoints: ["http://$service"], protocol: $1, connect_timeout: 30s } }
routes: [{ backend: service, timeout: 30s }]
drain: { delay: 0s }
YAML
    valgrind --tool=callgrind --callgrind-out-file="$out" \
        "$bridge" run --config "$work/bridge.yaml" >"$work/bridge.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    wait_for "$spop" "$pid"
    # --timeout: valgrind is some fifty times slower.
    "$bridge" bench --agent "$spop" --connections 4 --in-flight 20 --requests "$2" --warmup 0s --timeout 60s \
        --expect txn.allow=bool:true --quiet >"$work/bench.log" || die "bench failed; see $work/bench.log"
    kill -TERM "$pid"
    wait "$pid" || die "the bridge failed; see $work/bridge.log"
    echo "$out"
}

instructions() { awk '/^(summary|totals):/ { print $2; exit }' "$1"; }

# calls FILE FUNCTION: how often it was called. callgrind names a function once
# and calls it by number from then on.
calls() {
    awk -v wanted="$2" '
        /^c?fn=/ {
            number = $0; sub(/^c?fn=/, "", number); sub(/\).*/, ")", number)
            if (match($0, /\) /)) { name = substr($0, RSTART + 2); sub(/\x27[0-9]+$/, "", name); names[number] = name }
            if (/^cfn=/) callee = number
        }
        /^calls=/ { if (names[callee] == wanted) { split($0, words, /[= ]/); sum += words[2] } }
        END { print sum + 0 }' "$1"
}

# per_decision FEW MANY: with one decimal place
per_decision() { awk -v a="$1" -v b="$2" -v n=$((many - few)) 'BEGIN { printf "%.1f", (b - a) / n }'; }

# top FILE OPTION...: the most expensive functions, in instructions a decision
top() {
    local file=$1; shift
    callgrind_annotate "$@" --threshold=100 "$file" 2>/dev/null |
        sed -nE "s/^ *([0-9,]+) \( *[0-9.]+%\) +([^:]*:)?(.*)/\1 \3/p" |
        awk -v n="$many" -v lines="${TOP:-20}" '
            / PROGRAM TOTALS/ || seen >= lines { next }
            { value = $1; gsub(",", "", value); $1 = ""; sub(/ \[[^\]]*\]$/, ""); printf "%10.0f %s\n", value / n, substr($0, 2, 116); seen++ }'
}

for protocol in decide decide_stream; do
    say "$protocol: $few and $many decisions under callgrind"
    a=$(run "$protocol" "$few") b=$(run "$protocol" "$many")
    echo
    echo "protocol: $protocol, a decision of the bridge"
    printf '%10.0f instructions\n' "$(per_decision "$(instructions "$a")" "$(instructions "$b")")"
    for function in malloc calloc realloc free; do
        printf '%10s calls of %s\n' "$(per_decision "$(calls "$a" $function)" "$(calls "$b" $function)")" "$function"
    done
    echo "  instructions in the function itself:"
    top "$b"
    echo "  instructions in the function and all that it calls:"
    top "$b" --inclusive=yes
done
