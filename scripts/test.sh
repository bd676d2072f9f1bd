#!/usr/bin/env bash
# The test suite: `make test` runs all steps, scripts/test.sh STEP... runs some. Steps go on after one has failed; a table at the
# end says which did, and how long each took.
#   tidy     layers, file lengths and the like (tests/tidy)
#   web      unit tests of the player page (web/)
#   unit     unit tests, scenarios and fuzz corpora under AddressSanitizer and UBSan
#   threads  the tests labelled `threaded`, under ThreadSanitizer
#   sim      20,000 schedules of faults (SIM_SEEDS) in the simulator, and the mutants of the core that it must find (tests/sim)
#   e2e      the release build with real clients and servers (tests/e2e)
set -uo pipefail
cd "$(dirname "$0")/.." || exit

# Only what may share a core well: tests measure no time, but they do have deadlines.
test_jobs=2

step_tidy() { python3 tests/tidy/check.py --self-test && python3 tests/tidy/check.py; }

step_web() { scripts/build-web.sh --test; }

step_unit() {
  scripts/build.sh asan && ctest --test-dir build/asan -j "$test_jobs" --output-on-failure --no-tests=error
}

step_threads() {
  cmake --preset tsan >/dev/null || return 1
  # A test's name is that of its program.
  local programs
  programs=$(ctest --test-dir build/tsan -N -L threaded | sed -n 's/^ *Test *#[0-9]*: //p')
  [ -n "$programs" ] || { echo "no test is labelled threaded"; return 1; }
  # shellcheck disable=SC2086  # one word for each program
  scripts/build.sh tsan $programs &&
    ctest --test-dir build/tsan -L threaded -j "$test_jobs" --output-on-failure --no-tests=error
}

step_sim() {
  scripts/build.sh release sluice_sim sim_mutants &&
    build/release/tests/sim/sluice_sim --seeds 1 "${SIM_SEEDS:-20000}" --jobs "$test_jobs" &&
    ctest --test-dir build/release -L sim_mutant -j "$test_jobs" --output-on-failure --no-tests=error
}

step_e2e() {
  scripts/build.sh release sluice rtmp_load hls_tool ts_mux_tool && scripts/build-web.sh --packages &&
    /usr/bin/python3 -m pytest tests/e2e -q -n "$test_jobs" --dist loadfile --junitxml=build/e2e.xml || return 1  # 5, "no tests", is a failure too
  # A test that was left out has not passed: install-deps.sh brings all that they need.
  grep -q 'skipped="0"' build/e2e.xml || { echo "end-to-end tests were skipped, see above"; return 1; }
}

summary=()
failed=0
for step in "${@:-tidy web unit threads sim e2e}"; do
  for name in $step; do
    declare -F "step_$name" >/dev/null || { echo "test.sh: unknown step $name" >&2; exit 2; }
    echo "=== $name"
    began=$SECONDS
    if "step_$name"; then outcome=passed; else outcome=FAILED failed=1; fi
    summary+=("$(printf '%-8s %-7s %4d s' "$name" "$outcome" $((SECONDS - began)))")
  done
done

echo "=== summary"
printf '%s\n' "${summary[@]}"
exit $failed
