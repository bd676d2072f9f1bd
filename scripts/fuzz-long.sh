#!/usr/bin/env bash
# Runs every fuzz target for a while (default 5 minutes each; FUZZ_SECONDS says otherwise), or the named ones. New inputs go to
# build/fuzz-corpus/NAME; a crash leaves its input in build/fuzz-crashes and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh fuzz
mkdir -p build/fuzz-crashes
names=("$@")
[ ${#names[@]} -gt 0 ] || for program in build/fuzz/tests/fuzz/fuzz_*; do
  [ -f "$program" ] && [ -x "$program" ] && names+=("${program##*/fuzz_}")
done
failed=()
for name in "${names[@]}"; do
  echo "=== $name"
  mkdir -p "build/fuzz-corpus/$name"
  "build/fuzz/tests/fuzz/fuzz_$name" -max_total_time="${FUZZ_SECONDS:-300}" -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="build/fuzz-crashes/$name-" "build/fuzz-corpus/$name" "tests/fuzz/corpus/$name" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz-long: failed: ${failed[*]}"; exit 1; }
