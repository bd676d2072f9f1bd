"""Medians, the table, and the JSON file."""

import json
import os
import platform
import statistics
import subprocess


class Row:
    """One case of one bench: a figure per round, and the median."""

    def __init__(self, bench, case, unit, goal="", added=False):
        self.bench, self.case, self.unit, self.goal, self.added = bench, case, unit, goal, added
        self.values = []
        self.notes = {}
        self.missing = None  # why there is no value
        self.base = None     # the Row it is compared to

    def median(self):
        return statistics.median(self.values) if self.values else None

    def _pairs(self):
        """With the base's figures, round by round: what disturbs the machine for a while disturbs both."""
        if self.base is None or self.base is self:
            return []
        return list(zip(self.values, self.base.values))

    def ratio(self):
        ratios = [v / b for v, b in self._pairs() if b > 0]
        return statistics.median(ratios) if ratios and not self.added else None

    def difference(self):
        differences = [v - b for v, b in self._pairs()]
        return statistics.median(differences) if differences and self.added else None

    def compared(self):
        """To the base, as text."""
        if self.ratio() is not None:
            return f"{self.ratio():.2f} ×"
        return f"{self.difference():+.3f}" if self.difference() is not None else ""


def number(value):
    if value is None:
        return ""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows):
    head = ("bench", "case", "median", "unit", "rounds", "compared", "to", "goal")
    lines = [head]
    for row in rows:
        compared = row.compared()
        lines.append((row.bench, row.case, number(row.median()) if row.missing is None else f"– ({row.missing})", row.unit,
                      " ".join(number(v) for v in row.values), compared,
                      row.base.case if compared else "", row.goal))
        for name, value in row.notes.items():
            lines.append(("", f"· {name}", number(value) if isinstance(value, (int, float)) else value, "", "", "", "", ""))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    out = []
    for n, line in enumerate(lines):
        out.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
        if n == 0:
            out.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(out)


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "")
    here = os.path.dirname(os.path.abspath(__file__))
    commit = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"kernel": platform.release(), "cpus": len(os.sched_getaffinity(0)), "cpu": model, "commit": commit.stdout.strip()}


def write_json(path, rows):
    data = {"machine": machine(), "rows": [
        {"bench": r.bench, "case": r.case, "unit": r.unit, "median": r.median(), "rounds": r.values, "ratio": r.ratio(), "difference": r.difference(),
         "to": r.base.case if r.base else None, "goal": r.goal, "notes": r.notes, "missing": r.missing} for r in rows]}
    with open(path, "w") as f:
        json.dump(data, f, indent=1)
