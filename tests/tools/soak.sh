#!/usr/bin/env bash
# `make soak`: the bridge at a steady rate for SOAK_SECONDS (1800), between
# HAProxy 3.2 and two decision services of which one is restarted every minute.
# Prints what was seen every 10 s, and a verdict: no ACK lost, no request
# without a verdict, memory and open files as flat at the end as in the middle.
#
# SOAK_RATE (2000) decisions a second come by SPOP alone, from `spop-bridge
# bench`, which misses every ACK that does not come. SOAK_HTTP_RATE (100) HTTP
# requests a second go through HAProxy, which counts those without a verdict.
# SOAK_BRIDGE and SOAK_SERVICE are programs to use instead of release builds.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

seconds=${SOAK_SECONDS:-1800} rate=${SOAK_RATE:-2000} http_rate=${SOAK_HTTP_RATE:-100}
[ "$seconds" -ge 12 ] || die "SOAK_SECONDS is $seconds; thirds of less than 12 s tell nothing."
# Shorter runs have everything in proportion.
every=$((seconds / 12 < 10 ? seconds / 12 : 10)) restart_every=$((seconds / 4 < 60 ? seconds / 4 : 60))

target=${CARGO_TARGET_DIR:-$repo/target}
bridge=${SOAK_BRIDGE:-$target/release/spop-bridge} service=${SOAK_SERVICE:-$target/release/examples/decision_service}
if [ -z "${SOAK_BRIDGE:-}" ]; then cargo build --release --bin spop-bridge; fi
if [ -z "${SOAK_SERVICE:-}" ]; then cargo build --release --example decision_service; fi
haproxy=$(haproxy_of 3.2 || "$tools/get-haproxy.sh" 3.2) || die "HAProxy 3.2 is missing: set HAPROXY_3_2 to its program."
has curl || die "curl is missing, which makes HTTP requests."

work=$(mktemp -d)
started=()
# shellcheck disable=SC2317,SC2329 # called by the trap
clean_up() {
    touch "$work/over"
    for pid in ${started[@]+"${started[@]}"} $(cat "$work"/service-*.pid 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# until_true COMMAND...: within 10 s.
until_true() {
    for _ in $(seq 100); do if "$@"; then return; fi; sleep 0.1; done
    tail -n 20 "$work"/*.log >&2
    die "not within 10 s: $*"
}

# Runs service NUMBER again and again, always at the address of its first time.
supervise() {
    local listen=127.0.0.1:0
    while [ ! -e "$work/over" ]; do
        "$service" --listen "$listen" >> "$work/service-$1.log" 2>&1 &
        echo $! > "$work/service-$1.pid"
        wait $! || sleep 0.2            # somebody else may have its port for a moment
        listen=$(address_of "$1")
    done
}
address_of() { sed -n 's/^listening on //p' "$work/service-$1.log" | head -n 1; }
has_address() { [ -n "$(address_of "$1")" ]; }
restarts() { echo $(($(cat "$work"/service-*.log | grep -c '^listening on ') - 2)); }

for number in 0 1; do
    touch "$work/service-$number.log"
    supervise "$number" &
    started+=($!)
    until_true has_address "$number"
done

cat > "$work/bridge.yaml" <<END
listeners: [{ name: main, bind: "unix:$work/spop.sock" }]
backends: { decisions: { endpoints: ["http://$(address_of 0)", "http://$(address_of 1)"] } }
# Longer than any stall of a busy machine: this is about what gets lost.
routes: [{ messages: ["*"], backend: decisions, timeout: 2s }]
log: { format: json }
END
"$bridge" run --config "$work/bridge.yaml" > "$work/bridge.log" 2>&1 &
bridge_pid=$!
started+=("$bridge_pid")
until_true test -S "$work/spop.sock"

cat > "$work/spoe.cfg" <<END
[bridge]
spoe-agent bridge
    messages check-request
    option var-prefix br
    timeout processing 5s
    use-backend spop-bridge
spoe-message check-request
    args ip=src method=method path=path
    event on-frontend-http-request
END
# Requests with a verdict and those without meet different backends, which HAProxy counts.
cat > "$work/haproxy.cfg" <<END
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend fe
    bind unix@$work/http.sock
    filter spoe engine bridge config $work/spoe.cfg
    use_backend verdict if { var(txn.br.allow) -m bool }
    default_backend no-verdict
frontend statistics
    bind unix@$work/stats.sock
    stats enable
    stats uri /
backend verdict
    http-request return status 200
backend no-verdict
    http-request return status 503
backend spop-bridge
    mode spop
    option spop-check
    server s1 unix@$work/spop.sock check inter 1s
END
"$haproxy" -db -q -f "$work/haproxy.cfg" > "$work/haproxy.log" 2>&1 &
started+=($!)
until_true test -S "$work/http.sock"

# counted BACKEND: the requests that HAProxy has sent there.
counted() {
    curl -s --unix-socket "$work/stats.sock" "http://localhost/;csv" |
        awk -F, -v name="$1" '/^#/ { for (i = 1; i <= NF; i++) if ($i == "stot") column = i } $1 == name && $2 == "BACKEND" { print $column }'
}
memory() { awk '/^VmRSS:/ { print $2 }' "/proc/$bridge_pid/status"; }
files() { find "/proc/$bridge_pid/fd" -mindepth 1 2>/dev/null | wc -l; }

say "$rate decisions/s and $http_rate HTTP requests/s for $seconds s, a service restarted every $restart_every s"
"$bridge" bench --agent "unix:$work/spop.sock" --rate "$rate" --duration "${seconds}s" --expect txn.allow=bool:true \
    --pid $bridge_pid --quiet > "$work/bench.txt" 2> "$work/bench.log" &
bench_pid=$!
# One after the other on one connection, by the clock.
curl --no-progress-meter --unix-socket "$work/http.sock" --rate "$http_rate/s" -o /dev/null \
    "http://localhost/[1-$((seconds * http_rate))]" 2> "$work/curl.log" &
curl_pid=$!
started+=("$bench_pid" "$curl_pid")

begin=$SECONDS next_restart=$restart_every number=0
printf '%8s %10s %6s %12s %12s %10s\n' seconds 'RSS KiB' files verdict 'no verdict' restarts
while elapsed=$((SECONDS - begin)); [ "$elapsed" -lt "$seconds" ]; do
    kill -0 $bridge_pid 2>/dev/null || { tail -n 20 "$work/bridge.log" >&2; die "the bridge has ended."; }
    row="$elapsed $(memory) $(files) $(counted verdict) $(counted no-verdict) $(restarts)"
    # shellcheck disable=SC2086 # columns
    printf '%8s %10s %6s %12s %12s %10s\n' $row
    echo "$row" >> "$work/rows"
    if [ "$elapsed" -ge "$next_restart" ]; then
        kill "$(cat "$work/service-$number.pid")"
        number=$((1 - number)) next_restart=$((next_restart + restart_every))
    fi
    sleep "$every"
done

bench_status=0
wait $bench_pid || bench_status=$?
kill $curl_pid 2>/dev/null || true
wait $curl_pid 2>/dev/null || true
without=$(counted no-verdict) with=$(counted verdict) restarted=$(restarts)
kill $bridge_pid
bridge_status=0
wait $bridge_pid || bridge_status=$?
echo
cat "$work/bench.txt"
echo
echo "HAProxy      $with requests with a verdict, $without without; $(grep -c . "$work/curl.log" || true) failed below HTTP"
echo "services     $restarted restarts"
echo "bridge       exit code $bridge_status; $(sed -n 's/.*"totals":"\([^"]*\)".*/\1/p' "$work/bridge.log" | tail -n 1)"
echo

failures=0
# judge WHAT CONDITION: a line of the verdict.
judge() {
    if [ "$2" = true ]; then echo "ok           $1"; else failures=$((failures + 1)); echo "FAILED       $1"; fi
}
# Means of the second and the last third of a column, how they compare, and whether that is flat: 5 % and LEEWAY more at most.
flat() {
    local middle last is_flat
    read -r middle last is_flat < <(awk -v column="$1" -v leeway="$3" '{ value[NR] = $column } END {
        third = int(NR / 3)
        for (i = third + 1; i <= 2 * third; i++) middle += value[i] / third
        for (i = NR - third + 1; i <= NR; i++) last += value[i] / third
        printf "%.0f %.0f %s\n", middle, last, last <= middle * 1.05 + leeway ? "true" : "false" }' "$work/rows")
    judge "$2: $middle in the second third, $last in the last, on average" "$is_flat"
}
true_if() { if "$@"; then echo true; else echo false; fi; }
sed 's/^/bench: /' "$work/bench.log" >&2
judge "every one of the bench's NOTIFYs has its ACK, with the verdict (exit code $bench_status)" "$(true_if [ $bench_status = 0 ])"
judge "requests without a verdict at HAProxy: $without" "$(true_if [ "$without" = 0 ])"
judge "services were restarted: $restarted" "$(true_if [ "$restarted" -gt 0 ])"
flat 2 "RSS in KiB" 256
flat 3 "open files" 4
judge "the bridge stopped in order" "$(true_if [ $bridge_status = 0 ])"
[ "$failures" = 0 ]
