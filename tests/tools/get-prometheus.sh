#!/usr/bin/env bash
# Puts prometheus and promtool into .cache/prometheus/: those on the PATH if
# both are there, else the ones of Debian's package, unpacked and not installed,
# so that no service starts. They need nothing but the C library.
#
# PATH_TO/prometheus is the last line on stdout. A second call only prints it.
#
# Exit codes: 0 there, 1 could not be had (the reason is on stderr).
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
dest=$cache/prometheus

runs() { "$1/prometheus" --version >/dev/null 2>&1 && "$1/promtool" --version >/dev/null 2>&1; }
give_up() {
    say "$*"
    die "what to do: have prometheus and promtool 2.42 or later on the PATH, https://prometheus.io/download"
}

# Without running them: each start takes a tenth of a second.
if [ -x "$dest/prometheus" ] && [ -x "$dest/promtool" ]; then echo "$dest/prometheus"; exit 0; fi
mkdir -p "$dest"
if has prometheus && has promtool; then
    ln -sf "$(command -v prometheus)" "$(command -v promtool)" "$dest/"
    echo "$dest/prometheus"
    exit 0
fi

for tool in apt-get apt-cache dpkg-deb; do
    has "$tool" || give_up "$tool is missing: this way of getting Prometheus works on Debian and its relatives only"
done
work=$(mktemp -d "$dest/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

download() { (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus) >"$work/log" 2>&1; }
# The machine's list of packages may be empty, or older than what the archive still has.
if ! download; then
    as_root apt-get -qq -o DPkg::Lock::Timeout=120 update >"$work/update.log" 2>&1 || true
    download || give_up "Debian's package prometheus cannot be downloaded (is the network there?): $(tail -n 1 "$work/log")"
fi
dpkg-deb -x "$work"/prometheus_*.deb "$work/root"
mv "$work"/root/usr/bin/prometheus "$work"/root/usr/bin/promtool "$dest/"
runs "$dest" || { rm -f "$dest"/prom*; give_up "Debian's prometheus does not run here"; }
say "$("$dest/prometheus" --version 2>&1 | sed -n 's/^\(prometheus, version [^ ]*\).*/\1/p')"
echo "$dest/prometheus"
