#!/usr/bin/env bash
# Runs `haproxy -c` over deploy/haproxy/ with every release that a file is for.
# Any warning fails, unless `explained` below lists it with its reason.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

# Warnings that are right to be there, as extended regular expressions, each
# with its reason. None today.
explained=(
)

passed=0 failed=0 skipped=0

# check LINE FILE
check() {
    local haproxy output line unexplained="" status=0
    if ! haproxy=$(haproxy_of "$1"); then
        skipped=$((skipped + 1))
        say "skipped: $2 with HAProxy $1, which is not here (tests/tools/get-haproxy.sh $1)"
        return 0
    fi
    # From another folder, as an operator would: relative names must still work.
    output=$(cd / && "$haproxy" -c -f "$repo/deploy/haproxy/$2" 2>&1) || status=$?
    while IFS= read -r line; do
        case $line in *"[WARNING]"* | *"[ALERT]"*) ;; *) continue ;; esac
        for reason in ${explained[@]+"${explained[@]}"}; do
            if [[ $line =~ $reason ]]; then continue 2; fi
        done
        unexplained=$unexplained$line$'\n'
    done <<< "$output"
    if [ "$status" -ne 0 ] || [ -n "$unexplained" ]; then
        failed=$((failed + 1))
        say "FAILED: $2 with HAProxy $1, exit code $status:"
        echo "$output" >&2
    else
        passed=$((passed + 1))
    fi
}

for line in $haproxy_lines; do
    case $line in
        2.* | 3.0) check "$line" haproxy-2.x-3.0.cfg ;;
        *) check "$line" haproxy-3.1.cfg ;;
    esac
    check "$line" tracing.cfg
done

# HAProxy reads the files that tls.cfg names.
CERTS=$(mktemp -d)
export CERTS
trap 'rm -r "$CERTS"' EXIT
if has openssl; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -out "$CERTS/bridge-ca.pem" -keyout "$CERTS/key.pem" 2>/dev/null
    cat "$CERTS/bridge-ca.pem" "$CERTS/key.pem" > "$CERTS/haproxy.pem"
    for line in $haproxy_lines; do check "$line" tls.cfg; done
else
    skipped=$((skipped + 1))
    say "skipped: tls.cfg, since openssl is not here"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] || exit 1
if [ "$skipped" -gt 0 ] && in_ci; then die "CI=true: nothing may be skipped."; fi
