# Everything is a script in scripts/; this file gives them names. `make` alone lists them.

# Where rustup puts cargo, also in a shell that was started before it did.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
export ENGINE ?= auto
PREFIX ?= /usr/local
PROGRAMS := $(or $(TANDEM_BIN_DIR),$(or $(CARGO_TARGET_DIR),target)/release)
SCRIPTS := $(shell grep -lrE '^\#!/(usr/bin/env bash|bin/sh)' scripts deploy tests .ci)

.DEFAULT_GOAL := help
# Cargo uses all processors by itself, and what a target needs stands in its order.
.NOTPARALLEL:
.PHONY: help demo-1 demo-1-down demo-1-status demo-2 demo-2-down demo-2-status demo-3 demo-3-down demo-3-status reload images build test check fmt lint shellcheck deny docs doc-tests \
    nextest bench soak fuzz bench-micro install uninstall

help: ## this list
	@echo 'Tandem: high availability for the stateless layer. Targets:'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s%s\n", $$1, $$2 }' Makefile
	@echo 'ENGINE=docker|podman|netns chooses what the demo runs in; without it, what is there.'

demo-1: ## build and start demo 1: lbd and healthd before three nginx
	@scripts/demo up 1

demo-1-status: ## what demo 1 is doing
	@scripts/demo status

demo-1-down: ## stop demo 1 and remove its containers; images stay
	@scripts/demo down 1

demo-2: ## build and start demo 2: two load balancers behind one virtual address
	@scripts/demo up 2

demo-2-status: ## what demo 2 is doing, and who holds the virtual address
	@scripts/demo status

demo-2-down: ## stop demo 2 and remove its containers; images stay
	@scripts/demo down 2

demo-3: ## build and start demo 3: a router that spreads over three load balancers (ROUTER=bird or frr)
	@scripts/demo up 3

demo-3-status: ## what demo 3 is doing, and whom the router sends to
	@scripts/demo status

demo-3-down: ## stop demo 3 and remove it
	@scripts/demo down 3

reload: ## take edited files in compose/ into use, in the demo that runs
	@scripts/demo reload

build: ## the programs as they ship, in target/release
	@scripts/prerequisites build
	@scripts/build

images: build ## the demos' images (ENGINE=docker or podman)
	@scripts/images $(if $(filter auto,$(ENGINE)),docker,$(ENGINE))

test: ## everything that has to hold, from formatting to demos under attack
	@scripts/prerequisites test
	@$(MAKE) --no-print-directory lint deny docs build doc-tests nextest

check: ## a quick look while working: does it compile, do the quick lints hold
	cargo check --workspace --all-targets --locked
	cargo fmt --all --check

fmt: ## format the sources
	cargo fmt --all

lint: ## formatting and lints
	@scripts/prerequisites lint
	@$(MAKE) --no-print-directory shellcheck
	@scripts/musts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --manifest-path tests/micro/Cargo.toml --target-dir target/micro --locked -- -D warnings
	cargo fetch --manifest-path tests/fuzz/Cargo.toml --locked --quiet

shellcheck:
	shellcheck --external-sources $(SCRIPTS)

deny: ## the policy for dependencies: licences, sources, duplicates, advisories
	@scripts/prerequisites lint
	@scripts/deny

docs: ## the API documentation, without a warning
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

doc-tests:
	cargo test --workspace --doc --locked --quiet

# The end-to-end tests attack the programs that ship.
nextest:
	@TANDEM_BIN_DIR=$(abspath $(PROGRAMS)) scripts/nextest

bench: ## lbd's processor time beside HAProxy, nginx and a bare relay (ARGS='--help' for its options)
	@scripts/prerequisites bench
	@scripts/bench $(ARGS)

bench-micro: ## instructions of the pure crates' hot functions, compared with what they were
	@scripts/prerequisites micro
	@scripts/bench-micro

fuzz: ## search for bytes that break what has to hold for any, each target for FUZZ_SECONDS (60)
	@scripts/prerequisites fuzz
	@scripts/fuzz

soak: build ## five minutes of mixed work under faults (SOAK_SECONDS)
	@scripts/prerequisites test
	@TANDEM_BIN_DIR=$(abspath $(PROGRAMS)) scripts/soak

# As root, who need not have a Rust toolchain: `make build && sudo make install`.
install: ## programs, their pages and completions, units and an example configuration, after `make build` (PREFIX, DESTDIR)
	@test -x $(PROGRAMS)/lbd || { echo 'error: nothing is built yet: run make build first, as yourself' >&2; exit 1; }
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/install $(abspath $(PROGRAMS))

uninstall: ## remove what `make install` has put there; configurations stay (PREFIX, DESTDIR)
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/uninstall
