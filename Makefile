# `make` lists what there is. Everything is safe to run again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# How the demo starts the bridge. CI passes the binary that the tests have built.
BRIDGE ?= cargo run --release --
# Passed to the demo, for example ARGS=--once.
ARGS ?=
# Seconds for each fuzz target of `make fuzz`.
FUZZ_SECONDS ?= 60
# How long `make soak` lasts.
SOAK_SECONDS ?= 1800
# Seconds for each measurement of `make bench`, and how often each is made.
BENCH_SECONDS ?= 3
BENCH_ROUNDS ?= 5

# In CI, Cargo.lock is what is tested.
LOCKED := $(if $(filter true 1,$(CI)),--locked)

# Setup comes before the tests also under `make -j`.
.NOTPARALLEL:
.PHONY: help demo setup test test-rust test-examples test-configs test-deploy test-image test-kubernetes image package check fuzz soak bench bench-instructions clean-cache

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## HAProxy, the bridge and a decision service on this machine (ARGS=--once ends by itself)
	@tests/tools/install-haproxy.sh
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" $(BRIDGE) demo $(ARGS)

test: setup test-rust test-examples test-configs test-deploy test-image ## Every test; installs what it needs first

setup: ## What the tests need: HAProxy 2.6, 2.8, 3.0, 3.2 and 3.4, Python with grpcio, Go, Node.js, Java, Prometheus, an OpenTelemetry Collector, Helm
	@tests/tools/setup.sh

# What is promised of every service, against services without DecideStream.
UNARY := duties failing_services hostile_peers real_haproxy shutdown unix_socket

# `cargo test` makes tests of examples/rust, but not the service itself, which others test.
test-rust:
	cargo build $(LOCKED) --example decision_service
	cargo test $(LOCKED)
	IT_PROTOCOL=decide cargo test $(LOCKED) --test it -- $(UNARY) --skip stream::
	cargo test $(LOCKED) --no-default-features --lib --examples
	cargo test $(LOCKED) --no-default-features --features service --lib --examples

test-examples:
	@tests/tools/test-examples.sh

test-configs:
	@tests/tools/check-haproxy-configs.sh

test-deploy: ## Helm chart, kustomize and manifests, without a cluster; takes the bridge that test-rust has built
	@tests/tools/test-deploy.sh

test-kubernetes: setup ## deploy/ applied to a real API server, which is built first (ten minutes and more of CPU time)
	@tests/tools/get-kube-apiserver.sh >/dev/null
	@.cache/deploy/bin/python -m unittest discover -v -s tests/kubernetes

test-image: ## The image around the bridge that is built, the chart's pods by runc, the systemd unit (IMAGE=DIR: an OCI layout)
	@tests/tools/test-image.sh

image: ## The image spop-bridge:VERSION, by docker or buildah; minutes, since it compiles in it
	@deploy/docker/build.sh $(ARGS)

package: ## The Debian package, to target/package
	@deploy/debian/build.sh

check: ## Format, lints and docs; warnings are errors
	@tests/tools/check.sh

fuzz: ## Every fuzz target for FUZZ_SECONDS=60 each, best with a nightly Rust
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/tools/fuzz.sh

soak: ## SOAK_SECONDS=1800 at a steady rate while services restart: nothing lost, memory flat
	@SOAK_SECONDS=$(SOAK_SECONDS) tests/tools/soak.sh

bench: ## This bridge against its rivals, about 8 minutes; writes docs/benchmarks.md (quick: BENCH_SECONDS=1 BENCH_ROUNDS=1)
	@BENCH_SECONDS=$(BENCH_SECONDS) BENCH_ROUNDS=$(BENCH_ROUNDS) tests/tools/bench.sh

bench-instructions: ## Instructions and allocations of a decision, counted by callgrind
	@tests/tools/bench-instructions.sh

clean-cache: ## Removes what setup has put into .cache/ and the generated example code
	rm -rf .cache examples/python/gen examples/go/gen examples/go/bin examples/node/{node_modules,dist,src/gen} examples/java/target
