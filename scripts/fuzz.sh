#!/usr/bin/env bash
# Fuzzes what reads input from outside.
#
#   scripts/fuzz.sh [TARGET...]     without any: all of fuzz/fuzz_targets
#
#   SPORE_FUZZ_SECONDS=900          how long each runs
#
# Each begins with the corpus in fuzz/corpus/TARGET, and leaves there the smallest one that reaches all code that was
# reached. What crashes, takes more memory than its target allows (1 GiB in any case), or longer than 10 seconds, ends its target
# and is kept in fuzz/artifacts/TARGET; the others still run. fuzz/dictionaries/TARGET.dict, if there is one, has words to try.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH=$PWD/target/cargo-fuzz/bin:$PATH
# cargo-fuzz passes flags that only nightly compilers take without this.
export RUSTC_BOOTSTRAP=1

seconds=${SPORE_FUZZ_SECONDS:-900}
targets=("$@")
if ((${#targets[@]} == 0)); then
  for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

# Debian's compiler comes without the sanitizers' libraries. Panics and overflows are found all the same, and what memory is taken
# is counted by the targets themselves (fuzz/src/memory.rs).
sanitizer=none
if compgen -G "$(rustc --print target-libdir)/librustc*_rt.asan.a" >/dev/null; then sanitizer=address; fi
build=(--sanitizer "$sanitizer" --target-dir "$PWD/target/fuzz")
limits=(-rss_limit_mb=1024 -timeout=10)
# Of what is freed it keeps 256 MiB from being used again, which counts as memory taken.
export ASAN_OPTIONS=quarantine_size_mb=16
export LSAN_OPTIONS=suppressions=$PWD/fuzz/leaks.supp:print_suppressions=0

# All before the first runs, so that what does not build is heard of now.
cargo fuzz build "${build[@]}"

failed=()
for target in "${targets[@]}"; do
  echo "== fuzz $target: $seconds s"
  kept=fuzz/corpus/$target found=target/fuzz/found/$target merged=target/fuzz/merged/$target
  rm -rf "$found" "$merged"
  mkdir -p "$kept" "$found" "$merged"
  words=()
  if [[ -e fuzz/dictionaries/$target.dict ]]; then words=(-dict="fuzz/dictionaries/$target.dict"); fi
  # What is found goes to the first folder.
  cargo fuzz run "${build[@]}" "$target" "$found" "$kept" -- \
    "${limits[@]}" "${words[@]}" -max_total_time="$seconds" -print_final_stats=1 || failed+=("$target")
  if cargo fuzz run "${build[@]}" "$target" "$merged" "$found" "$kept" -- "${limits[@]}" -set_cover_merge=1 -use_counters=0 \
    2>/dev/null; then
    rm -rf "$kept"
    mv "$merged" "$kept"
  fi
done

for target in "${targets[@]}"; do
  echo "fuzz/corpus/$target: $(find "fuzz/corpus/$target" -type f | wc -l) files"
done
if ((${#failed[@]})); then
  echo "fuzz: FAILED: ${failed[*]} (fuzz/artifacts)"
  exit 1
fi
echo "fuzz: ok"
