"""Owners claimed and found in a store: in memory, in one Redis, in a Redis Cluster of three masters."""

import json
import os
import shutil
import subprocess
import tempfile
import time

from .servers import Server, Unavailable, free_port, wait_listening


class Redises:
    """Redis servers that keep nothing, for the time of a case."""

    def __init__(self, count, options=()):
        if shutil.which("redis-server") is None:
            raise Unavailable("no redis-server")
        self.servers, self.addresses = [], []
        for _ in range(count):
            port, folder = free_port(), tempfile.mkdtemp(prefix="bench-redis")
            argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no", *options]
            if options:
                argv += ["--cluster-port", str(free_port())]
            server = Server(argv, folder)
            self.servers.append(server)
            wait_listening(port, server)
            self.addresses.append(f"127.0.0.1:{port}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for server in self.servers:
            server.stop()


def cluster():
    made = Redises(3, ("--cluster-enabled", "yes"))
    subprocess.run(["redis-cli", "--cluster", "create", *made.addresses, "--cluster-yes"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    deadline = time.monotonic() + 30
    for address in made.addresses:
        while b"cluster_state:ok" not in subprocess.run(["redis-cli", "-p", address.rpartition(":")[2], "cluster", "info"],
                                                        stdout=subprocess.PIPE, check=True).stdout:
            if time.monotonic() > deadline:
                raise RuntimeError("the Cluster is not in order")
            time.sleep(0.05)
    return made


def claims_case(where):
    def run(build, scale):
        program = os.path.join(build, "bench", "claims")
        if not os.path.exists(program):
            raise Unavailable("bench/claims is not built")
        streams = "2000" if scale.settle == 1 else "50000"

        def measure(addresses, at_once):
            out = subprocess.run([program, where, addresses, streams, at_once], stdout=subprocess.PIPE, check=True, timeout=120).stdout
            figures = json.loads(out)
            if figures["claim"]["failed"] or figures["find"]["failed"]:
                raise RuntimeError(f"steps failed: {figures}")
            return figures

        def report(addresses):
            many, alone = measure(addresses, "256"), measure(addresses, "1")
            return {"claims/s": many["claim"]["per_second"], "finds/s": many["find"]["per_second"], "CPU µs/claim": many["claim"]["cpu_us"],
                    "claim alone p50 µs": alone["claim"]["p50_us"], "p99 µs": alone["claim"]["p99_us"]}
        if where == "memory":
            return report("none")
        with (Redises(1) if where == "redis" else cluster()) as servers:
            return report(",".join(servers.addresses))
    return run
