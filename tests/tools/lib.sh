# Shared by the scripts beside it; sourced, never run. Works with bash 3.2, so
# that a script can still say on macOS what it cannot do there.
# shellcheck shell=bash

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(cd "$tools/../.." && pwd -P)
cache=$repo/.cache
# Names what speaks; a script may set its own.
me=$(basename "$0" .sh)

# The tests look for these, in this order: the user's own, then the fetched.
# shellcheck disable=SC2034
haproxy_lines="2.6 2.8 3.0 3.2 3.4"

say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# In CI nothing may be skipped: what is missing there is a failure.
in_ci() { [ "${CI:-}" = true ] || [ "${CI:-}" = 1 ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif ! has sudo; then return 1
    elif [ -t 0 ]; then sudo "$@"
    else sudo -n "$@"               # nobody there to type a password
    fi
}

# apt_install PACKAGE...: false, with the reason said, when that cannot be done.
apt_install() {
    if ! has apt-get; then
        say "no apt-get here, so install these yourself: $*"
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! has sudo; then
        say "neither root nor sudo, so have these installed: $*"
        return 1
    fi
    say "installing with apt-get: $*"
    local log=$cache/apt.log
    mkdir -p "$cache"
    # Some unrelated source of the machine may be broken: install decides.
    as_root apt-get -qq -o DPkg::Lock::Timeout=120 update >"$log" 2>&1 ||
        say "apt-get update had errors; trying with the lists that are there"
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
            --no-install-recommends install "$@" >>"$log" 2>&1 </dev/null; then
        tail -n 3 "$log" >&2
        say "apt-get could not install: $* (is the network there? all of its words: $log)"
        return 1
    fi
}

# The HAProxy of a line: the user's own, else the fetched one; false if neither.
haproxy_of() {
    local variable path
    variable=HAPROXY_$(echo "$1" | tr . _)
    path=${!variable:-$cache/haproxy/$1/haproxy}
    [ -x "$path" ] && echo "$path"
}

# fresh STAMP FILE...: true when the stamp was left by `stamp` for just this content.
content_of() { cat "$@" | cksum; }
fresh() { local stamp=$1; shift; [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(content_of "$@")" ]; }
stamp() { local stamp=$1; shift; content_of "$@" > "$stamp"; }
