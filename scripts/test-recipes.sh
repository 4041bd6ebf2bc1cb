#!/usr/bin/env bash
# Takes every recipe all the way, one after the other: baked from nothing, pushed, pulled, forked, used. Ends with what
# that cost. SPORE_TEST_RECIPES names those to run, with commas between; by default all are.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

log=target/test-recipes.log
export SPORE_TEST_RECIPES=${SPORE_TEST_RECIPES:-all}

# One at a time, since they are measured; in the profile of all tests, so that nothing is compiled for them apart: what
# works on a snapshot's bytes is optimised in it.
cargo test --package spore --locked --test recipes -- --test-threads=1 --show-output </dev/null 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

echo
grep -E '^skipped: ' "$log" | sort -u
sed -nE 's/^test (.*) \.\.\. FAILED$/failed: \1/p' "$log" | sort -u
echo '| recipe | bake | pack | memory part | first answer of a fork |'
echo '|---|---|---|---|---|'
sed -n 's/^recipe: //p' "$log" | sort
exit "$status"
