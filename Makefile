# Every target that needs something installed installs it first (scripts/install-deps.sh); where all is
# present, that takes a blink and no privileges.

SHELL := /bin/bash
# Where rustup puts cargo, and where Debian puts mkfs.ext4: a non-login shell has neither.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help demo build test test-recipes test-dist soak soak-kills soak-write-errors check fuzz bench dist hub install-deps

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## show what Spore does, from nothing
	scripts/demo.sh

build: install-deps ## target/release/spore: one executable, the guest's agent inside
	cargo build --release --locked --package spore

test: ## all checks and tests; names at its end what it skipped
	scripts/install-deps.sh --tests
	scripts/test.sh

test-recipes: ## every recipe baked, pushed, pulled, forked, used; and what that cost
	scripts/install-deps.sh --tests
	scripts/test-recipes.sh

soak: soak-kills soak-write-errors ## all of the following, for hours (SPORE_TEST_SEED=... SPORE_TEST_FROM=... go on where it says)

soak-kills: ## 600 kills at random moments: everything that can be killed, in turns
	scripts/install-deps.sh --tests
	SPORE_TEST_KILLS=$${SPORE_TEST_KILLS:-600} cargo test --locked --package spore --test killed_anywhere -- \
	  --ignored --exact soak --nocapture

soak-write-errors: ## each write of a push and a pull fails, in turn, and 50 of a bake
	scripts/install-deps.sh --tests
	SPORE_TEST_FAULTS=$${SPORE_TEST_FAULTS:-all} cargo test --locked --package spore --test write_errors -- \
	  --nocapture --test-threads=1

check: ## the checks alone: format, lints, documentation, licences
	scripts/check.sh

.PHONY: soak-endurance
soak: soak-endurance
soak-endurance: ## 10,000 forks and kills, then a hundred execs at once for ten minutes: nothing is left of them
	scripts/install-deps.sh --tests
	SPORE_TEST_FORKS=$${SPORE_TEST_FORKS:-10000} SPORE_TEST_SECONDS=$${SPORE_TEST_SECONDS:-600} \
	  cargo test --locked --package spore --test endurance -- --nocapture --test-threads=1

fuzz: ## every parser, 15 minutes each (TARGETS="a b": only those; SPORE_FUZZ_SECONDS=60: shorter)
	scripts/install-deps.sh --fuzz
	scripts/fuzz.sh $(TARGETS)

bench: install-deps ## measure target/release-lto/spore, the executable that `make dist` gives out
	scripts/install-deps.sh --tests
	cargo build --profile release-lto --locked --package spore
	bench/run

hub: build ## bake all recipes and publish them: make hub HUB=/srv/hub, oci://..., s3://... or an alias (RECIPES="a b": only those)
	scripts/hub.sh "$(HUB)" $(RECIPES)

dist: install-deps ## target/dist: the executable, a .deb, a tarball, SHA256SUMS
	scripts/dist.sh

test-dist: install-deps ## make dist twice, and its .deb in a clean Debian 12: installed, used, upgraded, removed (root, minutes)
	scripts/test-dist.sh

install-deps: ## install what building and running need (Debian 12)
	scripts/install-deps.sh
