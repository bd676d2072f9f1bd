"""The benches: each is a list of cases that are run in turn, round by round. A case starts its own servers and returns
{figure name: value}; the first figure is the one that is compared."""

import json
import os
import subprocess
import time

from .load import Load
from .servers import Rig, Unavailable, kernel_tcp_bytes

MERGED = ("--merge", "350ms")


class Scale:
    """How big and how long; --quick is for seeing that everything runs."""

    def __init__(self, quick):
        self.settle = 1 if quick else 2
        self.window = 2 if quick else 7
        self.players = 50 if quick else 500
        self.publishers = 20 if quick else 200
        self.visits = 200 if quick else 3000
        self.visits_alone = 20 if quick else 200
        self.idle = 200 if quick else 2000
        self.playing = 100 if quick else 1000
        self.stalled = 100 if quick else 1000
        self.latency_streams = 5 if quick else 20
        self.latency_window = 3 if quick else 8


def sluice_relay(rig, origin_options, *proxy_options):
    return rig.sluice_proxy(origin_options, proxy_options)[0]


def relay_maker(kind):
    """A function (rig, origin options) -> the relay server, in front of a Sluice origin of its own."""
    def make(rig, origin_options=()):
        if kind == "collapse" or kind == "per-viewer":
            return sluice_relay(rig, origin_options, "--relay", kind)
        if kind == "collapse, merge":
            return sluice_relay(rig, origin_options, "--relay", "collapse", *MERGED)
        origin = rig.sluice_origin(options=origin_options)
        if kind == "direct":
            return origin
        if kind == "copy relay":
            return rig.copy_relay(origin)
        return rig.haproxy(origin, splice=kind == "HAProxy, splice")
    return make


def cpu_per_gb(scale, server, counted, others):
    """CPU seconds of `server` per GB (10^9 bytes) that the `counted` load moved in the window."""
    time.sleep(scale.settle)
    first, cpu = counted.mark(), server.cpu_seconds()
    time.sleep(scale.window)
    last, cpu = counted.mark(), server.cpu_seconds() - cpu
    for load in (counted, *others):
        lost = load.mark()["lost"]
        if lost:
            raise RuntimeError(f"{lost} connections were lost while measuring")
    server.check_alive()
    moved = last["bytes"] - first["bytes"]
    return {"CPU s/GB": cpu / (moved / 1e9), "Gb/s": moved * 8 / 1e9 / (last["t"] - first["t"])}


def play_case(maker, origin_options):
    def run(build, scale):
        with Rig(build) as rig:
            server = maker(rig, origin_options)
            with Load(build, "publish", server) as publisher:
                publisher.ready()
                with Load(build, "play", server, "-n", scale.players, "-m", 1) as players:
                    players.ready()
                    return cpu_per_gb(scale, server, players, [publisher])
    return run


def publish_case(maker, origin_options=(), warm_up=0):
    def run(build, scale):
        with Rig(build) as rig:
            server = maker(rig, origin_options)
            with Load(build, "publish", server, "-n", scale.publishers) as publishers:
                publishers.ready()
                time.sleep(warm_up)
                return cpu_per_gb(scale, server, publishers, [])
    return run


def setup_case(maker, visits, at_once, origin_options=()):
    def run(build, scale):
        count = visits(scale)
        with Rig(build) as rig:
            server = maker(rig, origin_options)
            with Load(build, "publish", server) as publisher:
                publisher.ready()
                time.sleep(2.5)  # a whole GOP is cached
                cpu = server.cpu_seconds()
                with Load(build, "setup", server, "-r", count, "-c", at_once, "-m", 1) as visitors:
                    line = visitors.final(120)
                cpu = server.cpu_seconds() - cpu
            if line["failed"]:
                raise RuntimeError(f"{line['failed']} of {count} visits failed")
            figures = {"p50 ms": line["first_frame_p50_ms"], "p99 ms": line["first_frame_p99_ms"], "visits/s": line["per_second"]}
            per_visit = {"CPU us/connect": cpu * 1e6 / count}
            return per_visit | figures if at_once > 1 else figures | per_visit
    return run


def latency_case(maker, stalled):
    def run(build, scale):
        streams = scale.latency_streams
        with Rig(build) as rig:
            server = maker(rig, ())
            with Load(build, "publish", server, "-n", streams) as publishers:
                publishers.ready()
                with Load(build, "play", server, "-n", streams) as players:
                    players.ready()
                    if stalled:
                        with Load(build, "play", server, "-n", scale.stalled, "-m", streams, "-b", 4096, "--stall") as stuck:
                            stuck.ready()
                            return measure_latency(scale, players)
                    return measure_latency(scale, players)

    def measure_latency(scale, players):
        time.sleep(scale.settle)
        players.reset()
        time.sleep(scale.latency_window)
        line = players.mark()
        if line["lost"]:
            raise RuntimeError(f"{line['lost']} players were lost while measuring")
        return {"p50 ms": line["latency_p50_ms"], "p99 ms": line["latency_p99_ms"], "p99.9 ms": line["latency_p999_ms"],
                "max ms": line["latency_max_ms"], "messages": line["latency_count"]}
    return run


def memory_case(maker, idle):
    def run(build, scale):
        count = scale.idle if idle else scale.playing
        with Rig(build) as rig:
            server = maker(rig, ())
            with Load(build, "publish", server, *(["--sleepy"] if idle else [])) as publisher:
                publisher.ready()
                with Load(build, "play", server, "-n", 20, "-m", 1) as first:  # what is paid once
                    first.ready()
                    time.sleep(RETENTION_FULL_S)
                    resident, kernel = server.resident_bytes(), kernel_tcp_bytes()
                    with Load(build, "play", server, "-n", count, "-m", 1) as players:
                        players.ready()
                        time.sleep(scale.settle)
                        if players.mark()["lost"]:
                            raise RuntimeError("players were lost while measuring")
                        return {"KB/connection": (server.resident_bytes() - resident) / count / 1000,
                                "kernel TCP KB/connection, all ends": (kernel_tcp_bytes() - kernel) / count / 1000}
    return run


RETENTION_FULL_S = 6  # 4 s and a GOP: before that a proxy's memory still grows

RELAYS_PLAY = ("HAProxy", "HAProxy, splice", "copy relay", "collapse", "collapse, merge", "per-viewer")
RELAYS_PUBLISH = ("HAProxy", "HAProxy, splice", "copy relay", "collapse")
RELAYS = ("HAProxy", "collapse", "per-viewer")


class Bench:
    def __init__(self, unit, base, cases, goals=None):
        self.unit, self.base, self.cases, self.goals = unit, base, cases, goals or {}


def all_benches():
    origin = relay_maker("direct")
    nginx = lambda rig, options=(): rig.nginx()  # noqa: E731
    setup_64 = lambda kind: setup_case(relay_maker(kind), lambda s: s.visits, 64)  # noqa: E731
    setup_1 = lambda kind: setup_case(relay_maker(kind), lambda s: s.visits_alone, 1)  # noqa: E731
    return {
        "relay-play": Bench("CPU s/GB", "HAProxy", {k: play_case(relay_maker(k), MERGED) for k in RELAYS_PLAY},
                            {"collapse": "≤ 0.4 ×", "per-viewer": "≤ 0.7 ×"}),
        "relay-publish": Bench("CPU s/GB", "HAProxy", {k: publish_case(relay_maker(k), warm_up=RETENTION_FULL_S) for k in RELAYS_PUBLISH},
                               {"collapse": "≤ 1.0 ×"}),
        "fan-out": Bench("CPU s/GB", "nginx-rtmp",
                         {"nginx-rtmp": play_case(nginx, ()), "origin, merge 350 ms": play_case(origin, MERGED),
                          "origin, merge 0": play_case(origin, ())},
                         {"origin, merge 350 ms": "≤ 0.12 ×"}),
        "ingest": Bench("CPU s/GB", "nginx-rtmp", {"nginx-rtmp": publish_case(nginx), "origin": publish_case(origin)},
                        {"origin": "≤ 0.9 ×"}),
        "setup-64": Bench("CPU µs/connect", "HAProxy", {k: setup_64(k) for k in RELAYS}, {"collapse": "≤ 1.2 ×", "per-viewer": "≤ 1.2 ×"}),
        "setup-1": Bench("ms p50", "HAProxy", {k: setup_1(k) for k in ("direct", *RELAYS)},
                         {"collapse": "≤ 5 ms", "per-viewer": "≤ 5 ms"}),
        "latency": Bench("ms p50", "direct", {k: latency_case(relay_maker(k), False) for k in ("direct", *RELAYS)},
                         {"collapse": "≤ 1 ms", "per-viewer": "≤ 1 ms"}),
        "latency-stalled": Bench("ms p50", "direct", {k: latency_case(relay_maker(k), True) for k in ("direct", "collapse", "per-viewer")},
                                 {"collapse": "≤ 1 ms", "per-viewer": "≤ 1 ms"}),
        "memory-idle": Bench("KB/connection", "HAProxy", {k: memory_case(relay_maker(k), True) for k in RELAYS},
                             {"collapse": "≤ 4 KB", "per-viewer": "≤ 4 KB"}),
        "memory-playing": Bench("KB/connection", "HAProxy", {k: memory_case(relay_maker(k), False) for k in RELAYS},
                                {"collapse": "≤ 8 KB", "per-viewer": "≤ 8 KB"}),
    }


def micro_figures(build, quick):
    """{name: (value, unit)} of bench/micro, the parsers and placement without any socket."""
    program = os.path.join(build, "bench", "micro")
    if not os.path.exists(program):
        raise Unavailable("bench/micro is not built (no Google Benchmark?)")
    argv = [program, "--benchmark_format=json", f"--benchmark_min_time={0.05 if quick else 0.5}"]
    data = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
    figures = {}
    for entry in data["benchmarks"]:
        if "bytes_per_second" in entry:
            figures[entry["name"]] = (entry["bytes_per_second"] / 1e6, "MB/CPU s")
        elif "items_per_second" in entry:
            figures[entry["name"]] = (entry["items_per_second"], "1/CPU s")
        else:
            figures[entry["name"]] = (entry["cpu_time"], entry["time_unit"])
    return figures
