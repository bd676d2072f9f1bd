#!/usr/bin/env python3
"""CPU of an SRT relay: streams published by libsrt callers to a libsrt listener, through Sluice, nginx's UDP proxy and a bare relay in turn.

usage: bench/srt.py [--streams 10] [--seconds 15] [--rounds 3] [--json FILE]

Each stream sends what an encoder of 1.5 Mb/s and 25 pictures a second does: six datagrams of 1,316 bytes at once, every 40 ms. A figure is CPU
seconds (user and system) per GB that reached the listener, the median of the rounds. Needs a release build with the benches,
Debian's srt-tools (for libsrt) and libnginx-mod-stream.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "bench")]

from driver.servers import cpu_seconds_of  # noqa: E402
from lib import net, sluice, srt  # noqa: E402
from lib.fake_origin import FakeOrigin  # noqa: E402
from lib.process import Process  # noqa: E402

LATENCY = 2.0  # s, of the listener
FRAME = 6
PICTURES = 25
MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def free_udp_port():
    import socket
    return net.free_port(kind=socket.SOCK_DGRAM)


class Sluice:
    name = "sluice"

    def __init__(self, folder, origin):
        self.rtmp = FakeOrigin()  # what the proxy asks whether the origin lives
        self.process = sluice.Server("proxy", [*sluice.ANY_PORTS, "--shards", "1"], folder).ready()
        self.address = net.split_address(self.process.ready_event["srt"])
        answer = sluice.register(self.process.api, sluice.registration(self.rtmp.port, srt=[origin.endpoint]))
        assert answer.status_code == 200, answer.text

    def close(self):
        self.process.kill()
        self.rtmp.close()


class Nginx:
    name = "nginx"

    def __init__(self, folder, origin):
        port = free_udp_port()
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w") as file:
            file.write(f"daemon off; master_process off; worker_processes 1; load_module {MODULE}; error_log stderr notice; pid {folder}/nginx.pid;\n"
                       "events { worker_connections 1024; }\n"
                       f"stream {{ server {{ listen 127.0.0.1:{port} udp; proxy_pass {origin.host}:{origin.port}; proxy_timeout 10m; }} }}\n")
        self.process = Process(["nginx", "-c", config, "-p", folder, "-e", "stderr"], "nginx")
        self.process.await_line("epoll")
        self.address = ("127.0.0.1", port)

    def close(self):
        self.process.kill()


class Bare:
    name = "bare relay"

    def __init__(self, _, origin):
        self.process = Process([os.path.join(ROOT, "build", "release", "bench", "udp_relay"), f"{origin.host}:{origin.port}"], "udp_relay")
        self.address = ("127.0.0.1", self.process.await_event("ready")["port"])

    def close(self):
        self.process.kill()


def send(address, name, seconds, failures):
    caller = srt.call(address, f"#!::r=live/{name},m=publish", latency=500)
    due = time.monotonic()
    for picture in range(int(seconds * PICTURES)):
        for i in range(FRAME):
            if not caller.send(srt.message(picture * FRAME + i, name)):
                failures.append(name)
                return
        due += 1 / PICTURES
        time.sleep(max(0, due - time.monotonic()))
    time.sleep(LATENCY * 1.2)  # what the listener has not shown when the connection ends is lost
    caller.close()


def measure(make, streams, seconds):
    """CPU seconds per GB, and the share of what was sent that arrived."""
    origin = srt.Origin()
    with tempfile.TemporaryDirectory() as folder:
        relay = make(folder, origin)
        try:
            failures = []
            before = cpu_seconds_of([relay.process.pid])
            threads = [threading.Thread(target=send, args=(relay.address, f"s{i}", seconds, failures)) for i in range(streams)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert not failures, failures
            used = cpu_seconds_of([relay.process.pid]) - before
        finally:
            relay.close()
            origin.close()
    arrived = sum(len(messages) for messages in origin.published.values())
    return used / (arrived * srt.MESSAGE / 1e9), arrived / (streams * int(seconds * PICTURES) * FRAME)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    asked = parser.parse_args()
    figures = {}
    for _ in range(asked.rounds):
        for relay in (Sluice, Nginx, Bare):
            cost, arrived = measure(relay, asked.streams, asked.seconds)
            figures.setdefault(relay.name, []).append(cost)
            print(f"{relay.name:12} {cost:7.2f} CPU s/GB, {100 * arrived:.1f} % arrived", flush=True)
    medians = {name: statistics.median(all_of) for name, all_of in figures.items()}
    print(f"\nsluice / nginx {medians['sluice'] / medians['nginx']:.2f} (goal: 0.5), sluice / bare relay {medians['sluice'] / medians['bare relay']:.2f}")
    if asked.json:
        with open(asked.json, "w") as file:
            json.dump({"bench": "srt", "unit": "CPU s/GB", "medians": medians, "all": figures}, file)


if __name__ == "__main__":
    main()
