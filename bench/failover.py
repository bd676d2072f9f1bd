#!/usr/bin/env python3
"""Figures of fail-over as a table: reads what tests/e2e wrote to build/failover-figures.json.

usage: bench/failover.py            print the table
       bench/failover.py --write    put it into docs/failover.md
       bench/failover.py FILE ...   read these instead

The newest line of each row counts, one of a soak test before one of `make test`. A figure is median / p99 / worst, in ms.
"""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIGURES = os.path.join(ROOT, "build", "failover-figures.json")
PAGE = os.path.join(ROOT, "docs", "failover.md")
BEGIN, END = "<!-- table: figures -->", "<!-- end -->"

#: (event in the file, kind of origin, the row's title, the goal)
ROWS = [
    ("sigkill", "sluice", "kill -9", "detect ≤ 200 ms, stall ≤ 1 s"),
    ("sigkill, GOPs of 10 s", "sluice", "the same, keyframes every 10 s", "as above"),
    ("sigkill", "nginx", "kill -9, nginx-rtmp", "at worst resumed at the next keyframe"),
    ("sigterm", "sluice", "SIGTERM", "as kill -9"),
    ("two in a row", "sluice", "the next owner killed as well", "as kill -9"),
    ("all but one", "sluice", "three of four killed at once", "as kill -9"),
    ("single origin, sigkill", "sluice", "kill -9 of the only one, under `run`", "goes on at its next incarnation"),
    ("sigstop", "sluice", "SIGSTOP", "detect ≤ 2 s, published again ≤ 3 s"),
    ("sigstop", "nginx", "SIGSTOP, nginx-rtmp", "detect ≤ 2 s, published again ≤ 3 s"),
    ("blackhole", "sluice", "network swallows all RTMP, heartbeats arrive", "as SIGSTOP"),
    ("storm", "sluice", "kill -9 of an origin with all streams", "published again p99 ≤ 2 s, stall p99 ≤ 5 s"),
    ("storm, small", "sluice", "the same, fewer", "as above"),
    ("half silent", "sluice", "half of the origins SIGSTOPped", "nothing moves"),
    ("ghost publisher", "sluice", "encoder back, its old connection a ghost", "published again ≤ 3 s"),
    ("drain", "sluice", "drain", "no disconnect"),
    ("drain", "nginx", "drain, nginx-rtmp", "no disconnect, nothing twice"),
    ("retention at its limit", "sluice", "SIGSTOP, retention of 200 kB at 2 Mb/s", "goes on at a keyframe"),
    ("recording of a clock", "sluice", "recording of a clock, two kills", "no picture missing"),
    ("recording of a clock", "nginx", "recording of a clock, two kills, nginx-rtmp", "no picture twice"),
]


def load(paths):
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines += [json.loads(line) for line in file if line.strip()]
    for line in lines:
        if line.get("relay") == "auto":
            line["relay"] = "collapse"
    return lines


def newest(lines, event, origins):
    """relay → the line that counts."""
    chosen = {}
    for line in lines:
        if (line["event"], line.get("origins")) == (event, origins):
            relay = line.get("relay", "")
            rank = (bool(line.get("soak")), line["at"])
            if relay not in chosen or rank >= (bool(chosen[relay].get("soak")), chosen[relay]["at"]):
                chosen[relay] = line
    return dict(sorted(chosen.items()))


def figure(value):
    if not value or not value.get("count"):
        return "–"
    if value["count"] == 1 or value["median"] == value["worst"]:
        return f"{value['worst']}"
    return f"{value['median']} / {value['p99']} / {value['worst']}"


def amount(line):
    out = []
    if line.get("blows"):
        out.append(f"{line['blows']} times")
    if line.get("streams"):
        out.append(f"{line['streams']} streams")
    if line.get("viewers"):
        out.append(f"{line['viewers']} viewers")
    return ", ".join(out)


def remark(line):
    out = []
    if "lost_packets_worst" in line:
        out.append(f"{line['lost_packets_worst']} packets missing at worst")
    if "missing_pictures" in line:
        out.append(f"{line['missing_pictures']} of {line['pictures'] + line['missing_pictures']} pictures missing")
    if "all_moved_ms" in line:
        out.append(f"all moved after {figure(line['all_moved_ms'])}")
    return "; ".join(out)


def table(lines):
    out = ["| what happens | goal | relay | how much | detected | published again | viewers' longest pause | others' longest pause | |",
           "|---|---|---|---|---|---|---|---|---|"]
    for event, origins, title, goal in ROWS:
        for relay, line in newest(lines, event, origins).items():
            cells = [title, goal, relay, amount(line), *(figure(line.get(k)) for k in ("detect_ms", "back_ms", "stall_ms", "others_stall_ms")),
                     remark(line)]
            out.append("| " + " | ".join(cells) + " |")
            title = goal = ""
    return "\n".join(out) + "\n"


def main(arguments):
    write = "--write" in arguments
    made = table(load([a for a in arguments if a != "--write"] or [FIGURES]))
    if not write:
        print(made, end="")
        return
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(f"{head}{BEGIN}\n\n{made}\n{END}{tail}")


if __name__ == "__main__":
    main(sys.argv[1:])
