#!/usr/bin/env bash
# Everything that `make test` and `make check` need, put in place once: HAProxy
# 2.6, 2.8, 3.0, 3.2 and 3.4, curl, compilers, Python with grpcio, Go, Node.js,
# Java with Maven, the example services built, Prometheus, an OpenTelemetry
# Collector, Helm and kubectl. What this repository alone needs goes to .cache/; the rest comes
# from apt. Nothing to do takes about a second.
#
# What cannot be had is named with a way out. Outside CI the tests that need it
# are then reported as skipped; with CI=true this script fails.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

missing=()
lacks() { missing+=("$1"); }

# --- tools of the system ------------------------------------------------------

# `go version` names go1.19.8, go1.26 and the like.
go_is_usable() {
    local version
    has go || return 1
    version=$(go version 2>/dev/null | sed -nE 's/.*go([0-9]+)\.([0-9]+).*/\1 \2/p')
    # shellcheck disable=SC2086
    set -- $version
    [ "${1:-0}" -gt 1 ] || { [ "${1:-0}" -eq 1 ] && [ "${2:-0}" -ge 19 ]; }
}
python_is_usable() {
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}
node_is_usable() { has npm && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null; }
# `javac -version` names 17.0.15, 21 and the like.
java_is_usable() {
    local version
    has mvn && has javac || return 1
    version=$(javac -version 2>&1 | sed -nE 's/^javac ([0-9]+).*/\1/p')
    [ "${version:-0}" -ge 17 ]
}
# Headers as well as the program: rustc links with it, build scripts compile.
compiles() { has "$1" && echo '#include <stdlib.h>' | "$1" -x "$2" -fsyntax-only - 2>/dev/null; }

system_tools() {
    local packages=()
    has curl || packages+=(curl)
    has groff || packages+=(groff-base)          # reads our manual pages
    has openssl || packages+=(openssl)
    compiles cc c || packages+=(gcc libc6-dev)
    compiles c++ c++ || packages+=(g++)          # libFuzzer's runtime, in `make check`
    python_is_usable || packages+=(python3 python3-venv)
    go_is_usable || packages+=(golang-go)
    has node || packages+=(nodejs)
    has npm || packages+=(npm)
    java_is_usable || packages+=(default-jdk-headless maven)
    if has apt-get; then
        [ -r /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
        [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
    fi
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || true

    has curl || lacks "curl"
    has groff || lacks "groff"
    has openssl || lacks "openssl"
    compiles cc c || lacks "a C compiler with headers (cc)"
    compiles c++ c++ || lacks "a C++ compiler with headers (c++)"
    python_is_usable || lacks "Python 3.10 or later with venv (python3)"
    go_is_usable || lacks "Go 1.19 or later (go)"
    node_is_usable || lacks "Node.js 18 or later with npm (node, npm)"
    java_is_usable || lacks "a JDK 17 or later and Maven (javac, mvn)"
}

# --- HAProxy ------------------------------------------------------------------

haproxies() {
    local line
    for line in $haproxy_lines; do
        haproxy_of "$line" >/dev/null && continue
        "$tools/get-haproxy.sh" "$line" >/dev/null || lacks "HAProxy $line"
    done
}

# --- Python: .cache/python ----------------------------------------------------

python_side() {
    local venv=$cache/python log
    local requirements=("$repo/examples/python/requirements.txt" "$repo/examples/python/requirements-tracing.txt")
    python_is_usable || return 0
    # A venv dies with the interpreter that it was made from.
    if ! fresh "$venv/.stamp" "${requirements[@]}" || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "installing the Python packages of examples/python"
        log=$cache/python-setup.log
        rm -rf "$venv"
        if ! { python3 -m venv "$venv" &&
               "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]/#/-r}"; } >"$log" 2>&1; then
            tail -n 3 "$log" >&2
            lacks "Python's grpcio, grpcio-tools and opentelemetry-sdk (is the network there? all of pip's words: $log)"
            return 0
        fi
        stamp "$venv/.stamp" "${requirements[@]}"
    fi
    PYTHON=$venv/bin/python "$repo/examples/python/generate.sh" || lacks "the Python example's generated code"
}

# --- Go: .cache/go/decision-service -------------------------------------------

go_side() {
    local log=$cache/go-setup.log
    go_is_usable && [ -x "$cache/python/bin/python" ] || return 0
    mkdir -p "$cache/go"
    if ! (PYTHON=$cache/python/bin/python "$repo/examples/go/generate.sh" &&
          cd "$repo/examples/go" && go build -o "$cache/go/decision-service" .) >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        lacks "the Go example service (is the network there? all of go's words: $log)"
    fi
}

# --- Node.js: examples/node/dist ----------------------------------------------

node_side() {
    local example=$repo/examples/node log=$cache/node-setup.log
    local sources=("$repo/proto/spopbridge/v1/decision.proto" "$example"/{package-lock.json,tsconfig.json,generate.sh} "$example"/src/*.ts)
    node_is_usable || return 0
    if fresh "$example/node_modules/.built" "${sources[@]}"; then return; fi
    say "building examples/node"
    # Without the scripts of packages: none is needed.
    if ! (cd "$example" && npm ci --ignore-scripts --no-audit --no-fund && rm -rf dist && npm run build) >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        lacks "the Node.js example service (is the network there? all of npm's words: $log)"
        return 0
    fi
    stamp "$example/node_modules/.built" "${sources[@]}"
}

# --- Java: examples/java/target -----------------------------------------------

java_side() {
    local example=$repo/examples/java log=$cache/java-setup.log sources
    java_is_usable || return 0
    sources=("$repo/proto/spopbridge/v1/decision.proto" "$example/pom.xml")
    sources+=("$example"/src/*/java/com/example/decisions/*.java)
    if fresh "$example/target/.built" "${sources[@]}"; then return; fi
    say "building examples/java"
    if ! (cd "$example" && mvn -B -ntp package -DskipTests) >"$log" 2>&1; then
        grep '^\[ERROR\]' "$log" | head -n 5 >&2
        lacks "the Java example service (is the network there? all of Maven's words: $log)"
        return 0
    fi
    stamp "$example/target/.built" "${sources[@]}"
}

# --- Prometheus, OpenTelemetry Collector --------------------------------------

observers() {
    "$tools/get-prometheus.sh" >/dev/null || lacks "prometheus and promtool"
    go_is_usable || return 0
    "$tools/get-collector.sh" >/dev/null || lacks "the OpenTelemetry Collector"
}

# --- Helm, kubectl, .cache/deploy ----------------------------------------------

kubernetes_side() {
    local venv=$cache/deploy log=$cache/deploy-setup.log pinned=$repo/tests/deploy/requirements.txt
    python_is_usable || return 0
    "$tools/get-kubernetes-tools.sh" >/dev/null || lacks "Helm 3, Helm 4 and kubectl"
    if ! fresh "$venv/.stamp" "$pinned" || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "installing the Python packages of tests/deploy"
        rm -rf "$venv"
        if ! { python3 -m venv "$venv" &&
               "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$pinned"; } >"$log" 2>&1; then
            tail -n 3 "$log" >&2
            lacks "the Python packages of tests/deploy (is the network there? all of pip's words: $log)"
            return 0
        fi
        stamp "$venv/.stamp" "$pinned"
    fi
}

# Nothing at all goes without it, and it is not for a script to choose how.
has cargo || die "cargo is missing: install Rust 1.89 or later by rustup, https://rustup.rs"
mkdir -p "$cache"
system_tools
haproxies
python_side
go_side
node_side
java_side
observers
kubernetes_side

if [ ${#missing[@]} -gt 0 ]; then
    say "missing, and not to be had by itself here:"
    for thing in "${missing[@]}"; do echo "  - $thing" >&2; done
    if in_ci; then die "CI=true: nothing may be skipped."; fi
    say "going on; what needs them is skipped, by name."
fi
