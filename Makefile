# Everything a contributor needs by one word each. The work is done by CMake (CMakePresets.json) and the scripts in scripts/.
.PHONY: help build run test web unit threads sim e2e bench soak fuzz-long format tidy deps clean

help:
	@echo "make build      release build: build/release/sluice"
	@echo "make run        a whole cluster on this machine and the URL of its player (ARGS='--origins 2'; ARGS=--demo: with a test picture)"
	@echo "make test       all tests: tidy, unit under ASan, threads under TSan, the simulator, end to end (web, unit, threads, sim, e2e: one of them)"
	@echo "make soak       what takes minutes to hours: SIM_SEEDS (200000) schedules of the simulator, and end-to-end tests"
	@echo "make bench      figures beside those of other servers (ARGS: see bench/README.md)"
	@echo "make fuzz-long  every fuzz target for FUZZ_SECONDS (300)"
	@echo "make format     clang-format over all sources"
	@echo "make tidy       clang-tidy over all sources, and the layer check"
	@echo "make deps       install what is missing (Debian 12; needs root or sudo)"

deps:
	@scripts/install-deps.sh

build:
	@scripts/install-deps.sh build
	@scripts/build.sh release sluice

run: build
	@case '$(ARGS)' in *--demo*) scripts/install-deps.sh demo;; esac
	build/release/sluice run $(ARGS)

test:
	@scripts/install-deps.sh build test
	@scripts/test.sh

web unit threads sim e2e:
	@scripts/install-deps.sh build test
	@scripts/test.sh $@

soak: SIM_FROM ?= 1
soak: SIM_SEEDS ?= 200000
soak:
	@scripts/install-deps.sh build test
	@scripts/build.sh release sluice rtmp_load sluice_sim
	build/release/tests/sim/sluice_sim --seeds $(SIM_FROM) $(SIM_SEEDS) --jobs $$(nproc)
	/usr/bin/python3 -m pytest tests/e2e -q -m soak $(ARGS)

bench:
	@scripts/install-deps.sh build bench
	@scripts/build.sh release
	/usr/bin/python3 bench/run.py $(ARGS)

fuzz-long:
	@scripts/install-deps.sh build test
	@scripts/fuzz-long.sh $(ARGS)

format:
	@scripts/install-deps.sh develop
	@git ls-files -co --exclude-standard -- '*.cpp' '*.hpp' | xargs clang-format-19 -i

tidy:
	@scripts/install-deps.sh build develop
	@python3 tests/tidy/check.py
	@scripts/build.sh tidy

clean:
	rm -rf build
