#!/usr/bin/env bash
# Everything that can be judged without running a test. Runs every check even if one fails, fails if any did,
# and says `skipped: NAME: why` for what this machine has no tool for.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

failed=()

# check NAME COMMAND...
check() {
  local name=$1
  shift
  printf '== %s: %s\n' "$name" "$*"
  "$@" || failed+=("$name")
}

# check_with TOOL NAME COMMAND...: TOOL is the command, or cargo's subcommand, that the check needs.
check_with() {
  local tool=$1 name=$2
  shift 2
  if command -v "$tool" >/dev/null && "$tool" --version >/dev/null 2>&1; then
    check "$name" "$@"
  else
    printf 'skipped: %s: not installed\n' "$tool"
  fi
}

check_with rustfmt format cargo fmt --all --check
check_with clippy-driver clippy cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" check rustdoc cargo doc --workspace --no-deps --locked
check_with cargo-deny deny cargo deny --locked check --hide-inclusion-graph bans licenses sources

mapfile -t shell_scripts < <(find .ci scripts bench tests -type f -exec grep -lIm1 '^#!.*sh$' {} + 2>/dev/null)
check_with shellcheck shell shellcheck --severity=warning --external-sources "${shell_scripts[@]}"

if ((${#failed[@]})); then
  printf 'failed checks: %s\n' "${failed[*]}"
  exit 1
fi
