#!/usr/bin/env python3
"""Measures Sluice and its peers in turn and prints one table; see README.md.

usage: bench/run.py [--build build/release] [--rounds 3] [--quick] [--json FILE] [--list] [BENCH | BENCH/CASE …]
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driver.benches import Scale, all_benches, micro_figures  # noqa: E402
from driver.report import Row, table, write_json  # noqa: E402
from driver.servers import Unavailable  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_bench(name, bench, only, arguments):
    """All rounds of one bench; the cases take turns within a round."""
    rows = {case: Row(name, case, bench.unit, bench.goals.get(case, ""), bench.added) for case in bench.cases if not only or case in only}
    notes = {case: {} for case in rows}
    for number in range(arguments.rounds):
        for case, row in rows.items():
            if row.missing is not None:
                continue
            try:
                figures = bench.cases[case](arguments.build, Scale(arguments.quick))
            except Unavailable as e:
                row.missing = str(e)
            except Exception as e:  # one case that fails must not cost the others' figures
                row.missing = f"failed: {e}".splitlines()[0]
                say(f"{name}/{case}: {e}")
            else:
                figures = list(figures.items())
                row.values.append(figures[0][1])
                for key, value in figures[1:]:
                    notes[case].setdefault(key, []).append(value)
                say(f"{name}/{case} round {number + 1}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures))
    for case, row in rows.items():
        row.base = rows.get(bench.base)
        row.notes = {key: sorted(values)[len(values) // 2] for key, values in notes[case].items()}
    return list(rows.values())


def run_micro(arguments):
    rows = []
    try:
        for name, (value, unit) in micro_figures(arguments.build, arguments.quick).items():
            row = Row("micro", name, unit)
            row.values.append(value)
            rows.append(row)
    except Unavailable as e:
        row = Row("micro", "", "")
        row.missing = str(e)
        rows.append(row)
    return rows


def main():
    benches = all_benches()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="BENCH[/CASE]", help="which; all without")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--rounds", type=int, default=0, help="3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that all runs, measures nothing")
    parser.add_argument("--json", help="where the JSON goes (BUILD/bench/results.json)")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    if arguments.list:
        for name, bench in benches.items():
            print("\n".join(f"{name}/{case}" for case in bench.cases))
        print("micro")
        return 0
    chosen = {}
    for text in arguments.names or [*benches, "micro"]:
        name, _, case = text.partition("/")
        if name not in benches and name != "micro":
            parser.error(f"no bench {name}")
        if case and case not in benches[name].cases:
            parser.error(f"no case {text}")
        chosen.setdefault(name, []).extend([case] if case else [])
    started = time.monotonic()
    rows = []
    for name, only in chosen.items():
        rows += run_micro(arguments) if name == "micro" else run_bench(name, benches[name], only, arguments)
    print(table(rows))
    path = arguments.json or os.path.join(arguments.build, "bench", "results.json")
    write_json(path, rows)
    say(f"{time.monotonic() - started:.0f} s; JSON in {path}")
    return 1 if any(r.missing and r.missing.startswith("failed") for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
