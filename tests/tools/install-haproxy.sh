#!/usr/bin/env bash
# For `make demo`: the distribution's HAProxy, unless one is installed already.
# Always ends well: without HAProxy the demo plays HAProxy's part itself.
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

# Debian puts it in /usr/sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/usr/local/sbin
if has haproxy; then
    say "using $(command -v haproxy), $(haproxy -v | head -n 1 | cut -d' ' -f1-3)"
    exit 0
fi

without() {
    say "$*"
    say "the demo goes on without HAProxy and plays its part itself; for the real one install HAProxy 2.6 or later and run it again."
    exit 0
}
has apt-get || without "HAProxy is not installed, and there is no apt-get here to install it with."

# The package would start its service, which nobody asked for: Debian's hook
# for that is policy-rc.d, where 101 means "not allowed".
policy=/usr/sbin/policy-rc.d
mine=
if [ ! -e "$policy" ] && printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null 2>&1; then
    as_root chmod 755 "$policy"
    mine=1
fi
forget_policy() { [ -z "$mine" ] || as_root rm -f "$policy"; }
trap forget_policy EXIT

apt_install haproxy || without "HAProxy could not be installed."
# Nor at the next boot.
if has systemctl; then
    as_root systemctl disable haproxy.service >/dev/null 2>&1 || true
fi
say "installed $(haproxy -v | head -n 1 | cut -d' ' -f1-3); its service is neither started nor enabled."
