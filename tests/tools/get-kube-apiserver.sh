#!/usr/bin/env bash
# Puts what a Kubernetes API server takes into .cache/kubernetes/: `kube-apiserver`,
# built from the Go modules of kube-apiserver/; `etcd`, from Debian's package; and
# `crds/`, the CustomResourceDefinitions of the Prometheus Operator and cert-manager,
# written from their Go types by controller-gen (crds/).
#
# The first time it downloads some hundred megabytes of modules and compiles for
# about eleven minutes of CPU time. PATH_TO/kubernetes is the last line on stdout.
# A second call only prints it.
#
# Exit codes: 0 there, 1 could not be had (the reason is on stderr).
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
dest=$cache/kubernetes
log=$cache/kubernetes.log
# An older Go from 1.21 on fetches the one that go.mod asks for.
export GOTOOLCHAIN=auto GOFLAGS=

# Each part NAME is made by the function of its name, into NAME.new, from the files named.
part() {
    local name=$1
    shift
    if [ -e "$dest/$name" ] && fresh "$dest/$name.stamp" "$@"; then return 0; fi
    rm -rf "$dest/$name.new"
    making=$name
    # Not behind `if` or `||`, where `set -e` does not count.
    ("make_${name//-/_}" "$dest/$name.new") >"$log" 2>&1
    making=
    rm -rf "${dest:?}/$name" && mv "$dest/$name.new" "$dest/$name"
    stamp "$dest/$name.stamp" "$@"
}
making=
explain() {
    [ -n "$making" ] || return 0
    tail -n 5 "$log" >&2
    say "$making cannot be made (is the network there? all that was said: $log)"
}
trap explain EXIT

make_kube_apiserver() {
    local version=k8s.io/component-base/version release major minor
    cd "$tools/kube-apiserver"
    release=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    IFS=. read -r major minor _ <<< "${release#v}"
    say "building kube-apiserver $release, which takes ten minutes and more the first time" 2>&3
    go build -p 2 -trimpath -o "$1" \
        -ldflags="-s -w -X $version.gitVersion=$release -X $version.gitMajor=$major -X $version.gitMinor=$minor" \
        k8s.io/kubernetes/cmd/kube-apiserver
}

make_crds() {
    cd "$tools/crds"
    mkdir "$1"
    go run -trimpath sigs.k8s.io/controller-tools/cmd/controller-gen crd:crdVersions=v1,maxDescLen=0 \
        paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 \
        paths=github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1 output:crd:dir="$1"
}

make_etcd() {
    local work=$dest/.etcd
    if has etcd; then ln -s "$(command -v etcd)" "$1"; return; fi
    rm -rf "$work" && mkdir "$work"
    cd "$work"
    apt-get -qq -o APT::Sandbox::User=root download etcd-server || {
        as_root apt-get -qq -o DPkg::Lock::Timeout=120 update || true
        apt-get -qq -o APT::Sandbox::User=root download etcd-server
    }
    dpkg-deb -x etcd-server_*.deb root
    mv root/usr/bin/etcd "$1"
    rm -rf "$work"
}

has go || die "go is missing: 1.21 or later"
mkdir -p "$dest"
exec 3>&2
itself=$tools/get-kube-apiserver.sh
part etcd "$itself"
part crds "$tools"/crds/go.* "$tools"/crds/*.go "$itself"
part kube-apiserver "$tools"/kube-apiserver/go.*
echo "$dest"
