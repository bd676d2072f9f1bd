"""Figures of fail-over: measured by tests, never judged by them; `bench/failover.py` makes a table of them."""
import calendar
import json
import os
import time

from . import media

PATH = os.path.join(media.ROOT, "build", "failover-figures.json")

#: What any step of a fail-over may take in a test, in seconds: many times the goals, which are for the figures.
BOUND = 10.0


def wall(event):
    """The `ts` of a log event in seconds since 1970."""
    text = event["ts"]
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(text[19:-1] or 0)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def summary(values):
    """Count, median, p99 and worst of seconds, in ms."""
    if not values:
        return {"count": 0}
    ms = [1000 * v for v in values]
    return {"count": len(ms), "median": round(quantile(ms, 0.5)), "p99": round(quantile(ms, 0.99)), "worst": round(max(ms))}


def report(event, **fields):
    """Appends one line. `event` names the row of the table that it belongs to. Fields that are lists of seconds are summed up."""
    line = {"event": event, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cpus": os.cpu_count()}
    for name, value in fields.items():
        line[name] = summary(value) if isinstance(value, list) else value
    os.makedirs(os.path.dirname(PATH), exist_ok=True)
    with open(PATH, "a") as file:
        file.write(json.dumps(line) + "\n")
    return line
