# Every target that needs something installed installs it first (scripts/install-deps.sh); where all is
# present, that takes a blink and no privileges.

SHELL := /bin/bash
# Where rustup puts cargo, and where Debian puts mkfs.ext4: a non-login shell has neither.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help demo build test soak check bench install-deps

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## show what Spore does, from nothing
	scripts/demo.sh

build: install-deps ## target/release/spore: one executable, the guest's agent inside
	cargo build --release --locked --package spore

test: ## all checks and tests; names at its end what it skipped
	scripts/install-deps.sh --tests
	scripts/test.sh

soak: ## 200 kills of push and pull at random moments (a SPORE_TEST_SEED that is printed repeats them)
	scripts/install-deps.sh --tests
	SPORE_TEST_KILLS=100 cargo test --locked --package spore --test killed_anywhere -- --nocapture transfers

check: ## the checks alone: format, lints, documentation, licences
	scripts/check.sh

bench: build ## measure
	bench/run

install-deps: ## install what building and running need (Debian 12)
	scripts/install-deps.sh
