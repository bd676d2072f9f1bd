"""The benches: each is a list of cases that are run in turn, round by round. A case starts its own servers and returns
{figure name: value}; the first figure is the one that is compared."""

import json
import os
import subprocess
import time

from .claims import claims_case
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
        self.http_players = 30 if quick else 300
        # Neither has a divisor in common with the 20 pictures of a GOP: no two frames are on their way at once.
        self.quiet_streams = 7 if quick else 19
        self.segment_clients = 8 if quick else 32


def relay_pair(kind, protocol="rtmp", proxy_options=()):
    """A function (rig, origin options) -> the relay server, and the Sluice origin of its own that it is in front of.
    `protocol` is the one that is measured."""
    def make(rig, origin_options=()):
        if kind == "collapse" or kind == "per-viewer":
            return rig.sluice_proxy(origin_options, ("--relay", kind, *proxy_options))
        if kind == "collapse, merge":
            return rig.sluice_proxy(origin_options, ("--relay", "collapse", *MERGED, *proxy_options))
        origin = rig.sluice_origin(options=origin_options)
        if kind == "direct":
            return origin, origin
        if kind == "copy relay":
            return rig.copy_relay(origin, protocol), origin
        if kind.startswith("nginx"):
            return rig.nginx_cache(origin, sendfile=kind == "nginx"), origin
        return rig.haproxy(origin, splice=kind == "HAProxy, splice"), origin
    return make


def relay_maker(kind):
    make = relay_pair(kind)
    return lambda rig, origin_options=(): make(rig, origin_options)[0]


def http_relay(kind):
    # Publishers go to the origin itself, so that what the relay does is its players' work alone.
    return relay_pair(kind, "http", ("--play-unowned", "relay"))


def in_window(scale, server, counted, others):
    """What happened in the window: the `counted` load's bytes and messages, the seconds, and the server's CPU seconds."""
    time.sleep(scale.settle)
    counted.reset()
    first, cpu = counted.mark(), server.cpu_seconds()
    time.sleep(scale.window)
    last, cpu = counted.mark(), server.cpu_seconds() - cpu
    for load in (counted, *others):
        lost = load.mark()["lost"]
        if lost:
            raise RuntimeError(f"{lost} connections were lost while measuring")
    server.check_alive()
    moved = {name: last[name] - first[name] for name in ("bytes", "messages", "t")}
    return moved | {"cpu": cpu, "last": last}


def cpu_per_gb(scale, server, counted, others):
    """CPU seconds of `server` per GB (10^9 bytes) that the `counted` load moved in the window."""
    moved = in_window(scale, server, counted, others)
    return {"CPU s/GB": moved["cpu"] / (moved["bytes"] / 1e9), "Gb/s": moved["bytes"] * 8 / 1e9 / moved["t"]}


def play_case(maker, origin_options):
    def run(build, scale):
        with Rig(build) as rig:
            server = maker(rig, origin_options)
            return play(build, scale, server, server, "play", scale.players)
    return run


def http_play_case(pair, mode, players):
    """Players by `mode` (flv, ts; play is RTMP), of a stream that is published to the origin itself."""
    def run(build, scale):
        with Rig(build) as rig:
            server, origin = pair(rig, MERGED)
            return play(build, scale, server, origin, mode, players(scale))
    return run


def play(build, scale, server, publish_to, mode, count):
    with Load(build, "publish", publish_to) as publisher:
        publisher.ready()
        with Load(build, mode, server, "-n", count, "-m", 1) as players:
            players.ready()
            figures = cpu_per_gb(scale, server, players, [publisher])
            line = players.mark()
            if line["messages_lost"] or line["messages_again"]:
                raise RuntimeError(f"{line['messages_lost']} messages were lost, {line['messages_again']} came twice")
            return figures


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
    return run


def quiet_case(pair):
    def run(build, scale):
        streams = scale.quiet_streams
        with Rig(build) as rig:
            server, origin = pair(rig)
            with Load(build, "publish", origin, "-n", streams, "--quiet") as publishers:
                publishers.ready()
                with Load(build, "flv", server, "-n", streams) as players:
                    players.ready()
                    return measure_latency(scale, players)
    return run


def measure_latency(scale, players):
    time.sleep(scale.settle)
    players.reset()
    time.sleep(scale.latency_window)
    line = players.mark()
    if line["lost"]:
        raise RuntimeError(f"{line['lost']} players were lost while measuring")
    return {"p50 ms": line["latency_p50_ms"], "p99 ms": line["latency_p99_ms"], "p99.9 ms": line["latency_p999_ms"],
            "max ms": line["latency_max_ms"], "messages": line["latency_count"]}


def segments_case(pair):
    """Connections that ask for the segments of a live playlist without a pause, all of which the server has had before."""
    def run(build, scale):
        with Rig(build) as rig:
            server, origin = pair(rig)
            with Load(build, "publish", origin) as publisher:
                publisher.ready()
                with Load(build, "hls", server, "-n", scale.segment_clients) as clients:
                    clients.ready()
                    time.sleep(WINDOW_FULL_S)
                    moved = in_window(scale, server, clients, [publisher])
        requests = moved["messages"]
        return {"requests/CPU s": requests / moved["cpu"], "requests/s": requests / moved["t"],
                "KB/request": moved["bytes"] / requests / 1000, "CPU s/GB": moved["cpu"] / (moved["bytes"] / 1e9),
                "p50 ms": moved["last"]["latency_p50_ms"], "p99 ms": moved["last"]["latency_p99_ms"]}
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
WINDOW_FULL_S = 12  # what a playlist shows

RELAYS_PLAY = ("HAProxy", "HAProxy, splice", "copy relay", "collapse", "collapse, merge", "per-viewer")
RELAYS_PUBLISH = ("HAProxy", "HAProxy, splice", "copy relay", "collapse")
RELAYS = ("HAProxy", "collapse", "per-viewer")
RELAYS_HTTP = ("HAProxy", "HAProxy, splice", "copy relay", "collapse", "per-viewer")
RELAYS_SEGMENTS = ("nginx", "nginx, no sendfile", "collapse")


class Bench:
    """`added`: the figure is compared to the base's by its difference, not by its ratio."""

    def __init__(self, unit, base, cases, goals=None, added=False):
        self.unit, self.base, self.cases, self.goals, self.added = unit, base, cases, goals or {}, added


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
        "http-play": Bench("CPU s/GB", "HAProxy", {k: http_play_case(http_relay(k), "flv", lambda s: s.http_players) for k in RELAYS_HTTP},
                           {"collapse": "≤ 0.5 ×", "per-viewer": "≤ 0.8 ×"}),
        "http-fan-out": Bench("CPU s/GB", "RTMP",
                              {name: http_play_case(http_relay("direct"), mode, lambda s: s.players)
                               for name, mode in (("RTMP", "play"), ("HTTP-FLV", "flv"), ("HTTP-TS", "ts"))},
                              {"HTTP-FLV": "≤ 1.0 ×"}),
        "http-quiet": Bench("ms p50", "direct", {k: quiet_case(http_relay(k)) for k in ("direct", *RELAYS)},
                            {"collapse": "≤ + 1 ms", "per-viewer": "≤ + 1 ms"}, added=True),
        "hls-segments": Bench("requests/CPU s", "nginx", {k: segments_case(http_relay(k)) for k in RELAYS_SEGMENTS},
                              {"collapse": "≥ 0.9 ×"}),
        "claims": Bench("claims/s", "memory", {"memory": claims_case("memory"), "Redis": claims_case("redis"), "Cluster": claims_case("cluster")}),
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
