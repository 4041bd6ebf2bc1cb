#!/usr/bin/env bash
# The checks, then every test of the workspace, then a summary that names what failed and what was skipped.
#
# One profile for all tests: dev, in which dependencies are optimised (root Cargo.toml). The end-to-end tests
# run the `spore` of that same build, with its debug assertions and overflow checks, so nothing is compiled for
# them apart; the agent inside is the release build in every profile (crates/spore/build.rs).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

log=target/test.log
mkdir -p target
: >"$log"

scripts/check.sh 2>&1 | tee -a "$log"
checks=${PIPESTATUS[0]}

# What scripts/install-deps.sh --tests has left for tests; what is not there is skipped by name.
if [[ -e target/test-guest/complete ]]; then
  export SPORE_TEST_KERNEL=$PWD/target/test-guest/vmlinuz SPORE_TEST_MODULES=$PWD/target/test-guest/modules
fi
if [[ -e target/qemu-7.2/complete ]]; then
  export SPORE_TEST_QEMU=$PWD/target/qemu-7.2/qemu-system-x86_64
fi

# --show-output: a test that passes has its output shown after the run, each line from its own column 0, so that
# `skipped: NAME: why` is seen and found. (--nocapture would put it behind the harness's "test NAME ... ".)
cargo test --workspace --locked --no-fail-fast -- --show-output </dev/null 2>&1 | tee -a "$log"
tests=${PIPESTATUS[0]}

echo
echo "== summary after $((SECONDS / 60)) min $((SECONDS % 60)) s (all output: $log)"
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d ignored\n", passed, failed, ignored }' "$log"
grep -E '^(skipped: |failed checks: )' "$log" | sort -u
sed -nE 's/^test (.*) \.\.\. ignored(, (.*))?$/skipped: \1: ignored \3/p' "$log" | sort -u
sed -nE 's/^test (.*) \.\.\. FAILED$/failed: \1/p' "$log" | sort -u

if ((checks || tests)); then
  echo "make test: FAILED"
  exit 1
fi
echo "make test: ok"
