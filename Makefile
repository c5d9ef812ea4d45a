# Every step of CI is a target of this file: what passes here passes there.
# `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Programs that are built once and outlive `make clean`: the test control plane and node, moto, cargo-deny, cargo-fuzz.
XDG_CACHE_HOME ?= $(HOME)/.cache
AWSIAM_CACHE ?= $(XDG_CACHE_HOME)/awsiam
export AWSIAM_CACHE

# Cargo.lock may follow an edit of Cargo.toml on a desk, never in CI.
LOCKED := $(if $(CI),--locked)

# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 600

CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_CYCLONEDX := $(AWSIAM_CACHE)/tools/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION)/bin/cargo-cyclonedx
CARGO_DENY := $(AWSIAM_CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ := $(AWSIAM_CACHE)/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz

# Where cargo puts what it builds. Programs are run from there rather than by `cargo run -p`, which would choose other
# features for the dependencies and build them once more.
TARGET := $(or $(CARGO_TARGET_DIR),target)

say = @echo "==> $(1)" >&2

# The test programs, several at a time, then the examples in the documentation. $(1): --all, or nothing.
define run-tests
cargo test $(LOCKED) --workspace --no-run --message-format=json-render-diagnostics >$(TARGET)/tests.json; \
$(TARGET)/debug/suite $(1) $(TARGET)/tests.json; \
cargo test $(LOCKED) --quiet --workspace --doc
endef

##@ The two to start with

.PHONY: demo
demo: prerequisites ## show the operator at work on a real API server (KEEP=1 leaves it running)
	@tests/control-plane/build etcd kube-apiserver kubectl helm >/dev/null
	$(call say,building awsiam and the demo)
	cargo build $(LOCKED) --workspace --bins
	KEEP="$(KEEP)" $(TARGET)/debug/demo

.PHONY: login
login: sts control-plane programs ## show logins with AWS identities on a real node, from nothing and back to nothing (root)
	cargo test $(LOCKED) -q -p awsiam-tests --test login_by_operator from_nothing -- --nocapture

.PHONY: test
test: sts control-plane programs ## test every promise about aws-auth on a real API server, and a login on a real node
	$(call say,running the tests)
	$(call run-tests)
	@$(TARGET)/debug/machine --check

##@ What CI blocks on

.PHONY: check
check: test-prerequisites check-fmt check-core-pure check-threat-model clippy check-docs check-crds deny check-chart check-image sbom demo test-all test-kubeadm ## everything that CI blocks on
	$(call say,all checks passed)

.PHONY: check-fmt
check-fmt: ## formatting
	$(call say,formatting)
	cargo fmt --all --check

.PHONY: clippy
clippy: prerequisites ## lints, warnings refused
	$(call say,lints)
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

.PHONY: check-docs
check-docs: prerequisites ## API documentation, warnings refused
	$(call say,documentation)
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --workspace --no-deps

.PHONY: check-core-pure
check-core-pure: ## crates/core has no cluster, clock, environment or logging
	$(call say,purity of the core)
	scripts/check-core-pure

.PHONY: check-threat-model
check-threat-model: ## docs/threat-model.md names tests that are there
	$(call say,threat model)
	scripts/check-threat-model

.PHONY: check-crds
check-crds: programs ## crds/ is what `awsiam crd` prints
	$(call say,drift of crds/)
	diff -u <(for file in crds/*.yaml; do echo ---; cat "$$file"; done) <($(TARGET)/debug/awsiam crd) \
	  || { echo "crds/ is not what the types say: run 'make crds' and commit the result" >&2; exit 1; }

.PHONY: check-chart
check-chart: prerequisites ## the Helm chart lints, renders and refuses, with Helm 3 and 4; what is made from it is up to date
	$(call say,Helm chart)
	scripts/check-chart "$$(tests/control-plane/build helm)/helm" "$$(tests/helm4/build)/helm"

.PHONY: check-image
check-image: programs ## the operator's image, by its Dockerfile (buildah, root)
	$(call say,operator's image)
	scripts/check-image $(TARGET)/image/awsiam

.PHONY: deny
deny: prerequisites $(CARGO_DENY) ## banned crates, licences and sources of dependencies
	$(call say,bans$(comma) licences and sources of dependencies)
	$(CARGO_DENY) --all-features $(LOCKED) check bans licenses sources

.PHONY: deny-advisories
deny-advisories: prerequisites $(CARGO_DENY) ## known vulnerabilities of dependencies (fetches the advisory database)
	$(call say,advisories)
	$(CARGO_DENY) --all-features check advisories

.PHONY: check-no-leftovers
check-no-leftovers: ## nothing is left of earlier tests: processes, mounts, network devices, cgroups, folders
	scripts/check-no-leftovers

.PHONY: check-clean
check-clean: test-prerequisites ## `make check` in a fresh clone with empty caches
	scripts/check-clean

##@ More tests

.PHONY: control-plane
control-plane: prerequisites ## build etcd, kube-apiserver, kubelet and the other test programs (cached)
	@tests/control-plane/build >/dev/null
	@tests/prometheus-operator/crds >/dev/null

.PHONY: sts
sts: test-prerequisites ## install moto and the AWS CLI, which play AWS in the tests, and cfn-lint (cached)
	@tests/sts/build >/dev/null
	@tests/cfn-lint/build >/dev/null

# Some tests run the program itself, so it is built before them, and with the same features.
.PHONY: programs
programs: prerequisites
	$(call say,building awsiam and its tests)
	cargo build $(LOCKED) --workspace --bins --tests
	cargo rustc $(LOCKED) -p awsiam --profile image --bin awsiam -- -C target-feature=+crt-static

.PHONY: oracle
oracle: control-plane ## compare the reader of aws-auth and explain with the authenticator's own
	cargo test $(LOCKED) -p awsiam-tests --test reader_equals_oracle --test explain_equals_oracle

.PHONY: test-all
test-all: sts control-plane programs ## all tests: rollouts, fleets, failover, both Helms and the rest too
	$(call say,running all tests)
	$(call run-tests,--all)
	@$(TARGET)/debug/machine --check

.PHONY: test-kubeadm
test-kubeadm: sts control-plane programs ## a cluster of two nodes made by kubeadm: settings as printed, a join, a restart (root)
	$(call say,two nodes made by kubeadm)
	cargo test $(LOCKED) -q -p awsiam-tests --test kubeadm -- --ignored --nocapture

.PHONY: test-long
test-long: sts control-plane programs ## all tests, the long variants too (a quarter of an hour on a fast computer)
	AWSIAM_LONG=1; export AWSIAM_LONG; $(call run-tests,--all)
	@$(TARGET)/debug/machine --check

.PHONY: test-matrix
test-matrix: prerequisites ## all tests on each version of Kubernetes in docs/compatibility.md (about an hour)
	scripts/test-matrix

.PHONY: fuzz
fuzz: prerequisites $(CARGO_FUZZ) ## fuzz read, merge and verify: FUZZ_SECONDS (600) per target
	PATH="$(dir $(CARGO_FUZZ)):$$PATH" scripts/fuzz $(FUZZ_SECONDS)

.PHONY: bench
bench: prerequisites ## benchmarks of the core
	cargo bench $(LOCKED) -p awsiam-core

.PHONY: bench-latency
bench-latency: control-plane ## latency from a change to aws-auth, memory and start, on a real API server
	cargo build $(LOCKED) --release -p awsiam-tests --bin bench-latency
	cargo build $(LOCKED) --release -p awsiam
	$(TARGET)/release/bench-latency

.PHONY: bench-fleet
bench-fleet: control-plane ## one operator with 1,000 Clusters: convergence, memory, connections, requests at rest, one change
	cargo build $(LOCKED) --release -p awsiam-tests --bin bench-fleet
	cargo build $(LOCKED) --release -p awsiam
	$(TARGET)/release/bench-fleet

##@ Making things

.PHONY: build
build: prerequisites ## the release binary
	cargo build $(LOCKED) --release -p awsiam

.PHONY: crds
crds: prerequisites ## write crds/ from the types
	cargo run $(LOCKED) -p awsiam-api --example write-crds crds

.PHONY: chart-files
chart-files: prerequisites ## write what is made from the chart: its README and kustomize/
	scripts/chart-readme charts/awsiam-operator >$(TARGET)/chart-readme.md
	mv $(TARGET)/chart-readme.md charts/awsiam-operator/README.md
	scripts/render-kustomize "$$(tests/control-plane/build helm)/helm" kustomize

.PHONY: sbom
sbom: prerequisites $(CARGO_CYCLONEDX) ## the binary's dependencies as CycloneDX, in target/sbom
	$(call say,bill of materials)
	scripts/sbom $(CARGO_CYCLONEDX) $(TARGET)/sbom

.PHONY: fmt
fmt: ## format the sources
	cargo fmt --all

.PHONY: clean
clean: ## remove what was built here; the cache of test programs stays
	cargo clean
	rm -rf fuzz/target fuzz/corpus-work
	@echo "test programs stay in $(AWSIAM_CACHE); remove that folder to build them anew"

.PHONY: prerequisites
prerequisites: ## name each tool that is missing, and how to get it
	@scripts/check-tools

.PHONY: test-prerequisites
test-prerequisites:
	@scripts/check-tools --tests

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Tools from crates.io, one folder per version: a new version above is a new install.
$(CARGO_DENY):
	scripts/install-tool cargo-deny $(CARGO_DENY_VERSION)

$(CARGO_FUZZ):
	scripts/install-tool cargo-fuzz $(CARGO_FUZZ_VERSION)

$(CARGO_CYCLONEDX):
	scripts/install-tool cargo-cyclonedx $(CARGO_CYCLONEDX_VERSION)

comma := ,
