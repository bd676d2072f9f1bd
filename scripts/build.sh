#!/usr/bin/env bash
# Configures a preset of CMakePresets.json and builds it, or only the named targets:
#   scripts/build.sh PRESET [TARGET ...]
# JOBS bounds how many compilers run at once (default: one for each processor).
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
targets=()
[ $# -eq 0 ] || targets=(--target "$@")
cmake --preset "$preset" >"/tmp/sluice-configure-$preset.$$" 2>&1 || {
  cat "/tmp/sluice-configure-$preset.$$"
  exit 1
}
rm -f "/tmp/sluice-configure-$preset.$$"
cmake --build --preset "$preset" -j "${JOBS:-$(nproc)}" "${targets[@]}"
