#!/usr/bin/env python3
"""WebRTC relay: CPU of a Sluice proxy per datagram, beside a bare recvfrom/sendto relay in turn; prints a table.

usage: bench/rtc.py [--build build/release] [--rounds 3] [--sessions 100,5000] [--seconds 5]

scattered: one datagram at a time to each session, in turn; burst: frames of 10 datagrams, which the clients' sockets take one by one, or joined
(UDP_GRO): what the kernel does to take them apart for a client on this machine it does on the relay's time, which between machines a network
card would do, and the client's host. The figure is microseconds of the relay's CPU per
datagram that arrived, from the origin to clients, over the whole load; the ratio is that of a round, the median of all rounds is shown.
"""
import argparse
import hashlib
import hmac
import http.client
import http.server
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driver.servers import Server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATAGRAMS_PER_SECOND = 20_000
PASSWORD = "p" * 24


def sdp(ufrag, port):
    return "".join(line + "\r\n" for line in (
        "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{PASSWORD}", "a=fingerprint:sha-256 00:11", "a=setup:passive", f"a=candidate:1 1 udp 1 127.0.0.1 {port} typ host"))


def check(username):
    """A binding request (RFC 8489) with MESSAGE-INTEGRITY and FINGERPRINT."""
    name = username.encode()
    attributes = struct.pack(">HH", 6, len(name)) + name + bytes(-len(name) % 4)

    def head(size):
        return struct.pack(">HHI", 1, size, 0x2112A442) + b"transaction0"

    mac = hmac.new(PASSWORD.encode(), head(len(attributes) + 24) + attributes, hashlib.sha1).digest()
    attributes += struct.pack(">HH", 8, 20) + mac
    crc = zlib.crc32(head(len(attributes) + 8) + attributes) ^ 0x5354554E
    return head(len(attributes) + 8) + attributes + struct.pack(">HHI", 0x8028, 4, crc)


class Api(http.server.BaseHTTPRequestHandler):
    """Of the origin: agrees to everything. `media` is its port."""
    protocol_version = "HTTP/1.1"
    media = 0

    def do_POST(self):
        offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
        ufrag = next(line[12:] for line in offer.splitlines() if line.startswith("a=ice-ufrag:"))
        self.answer(201, sdp("o" + ufrag, self.media).encode())

    def do_GET(self):
        self.answer(200, b'{"code":0}')

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/sdp")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def post(url, body, kind):
    return urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind}), timeout=30).read().decode()


def sluice(build, folder, sessions, media):
    """(server, where media goes, file of checks): a proxy with `sessions` sessions, which have not connected yet."""
    Api.media = media
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    any_port = [word for name in ("rtmp-server", "http-server", "http-api", "webrtc-server", "srt-server", "system-api")
                for word in (f"--{name}", "127.0.0.1:0")]
    reading, writing = os.pipe()
    server = Server([f"{build}/sluice", "proxy", *any_port, "--shards", "1", "--ready-fd", str(writing)], folder, pass_fds=(writing,))
    os.close(writing)
    with os.fdopen(reading) as lines:
        at = next(event for event in map(json.loads, lines) if event["phase"] == "ready")
    rtmp = socket.create_server(("127.0.0.1", 0))
    body = {"ip": "127.0.0.1", "server": "b", "service": "s", "pid": "1", "rtmp": [str(rtmp.getsockname()[1])],
            "api": [str(api.server_address[1])], "rtc": [f"udp://0.0.0.0:{media}"]}
    post(f"http://{at['system_api']}/api/v1/srs/register", json.dumps(body).encode(), "application/json")
    checks = os.path.join(folder, "checks")
    # On one connection, and soon: a session whose client does not check within 30 s is over.
    connection = http.client.HTTPConnection(*at["http_api"].split(":"), timeout=30)
    with open(checks, "wb") as out:
        for n in range(sessions):
            ufrag = f"client{n}"
            # Spread over addresses: one of them may have 1,000 sessions.
            connection.request("POST", f"/rtc/v1/whip/?app=live&stream=s{n}", sdp(ufrag, 9).encode(),
                               {"Content-Type": "application/sdp", "X-Forwarded-For": f"203.0.113.{n // 500}"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201, answer.status
            data = check(f"o{ufrag}:{ufrag}")
            out.write(struct.pack(">I", len(data)) + data)
    connection.close()
    return server, at["webrtc"], checks


def bare(build, folder, sessions, media):
    server = Server([f"{build}/bench/udp_relay", f"127.0.0.1:{media}"], folder)
    return server, f"127.0.0.1:{json.loads(server.process.stdout.readline())['port']}", None


def measure(relay, build, sessions, per_frame, joined, seconds):
    """Microseconds of CPU per datagram that arrived."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        media = probe.getsockname()[1]
        probe.close()
        server, to, checks = relay(build, folder, sessions, media)
        try:
            rate = DATAGRAMS_PER_SECOND / per_frame / sessions
            load = subprocess.Popen([f"{build}/bench/rtc_load", "--to", to, "--origin-port", str(media), "--sessions", str(sessions), "--frame",
                                     str(per_frame), "--joined", str(joined), "--rate", str(rate), "--seconds", str(seconds), *(["--checks", checks] if checks else [])],
                                    stdout=subprocess.PIPE, text=True)
            load.stdout.readline()
            before = server.cpu_seconds()
            figures = json.loads(load.stdout.readline())
            cost = server.cpu_seconds() - before
            load.wait()
        finally:
            server.stop()
    lost = 1 - figures["received"] / figures["sent"]
    if lost > 0.05:
        raise RuntimeError(f"{lost:.0%} of the datagrams were lost: the machine is too busy")
    return cost / figures["received"] * 1e6


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", default="100,5000")
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    print(f"{'case':36} {'bare µs':>9} {'sluice µs':>9} {'ratio':>6}  goal")
    for sessions in map(int, arguments.sessions.split(",")):
        for name, per_frame, joined, goal in (("scattered", 1, 0, 1.2), ("burst of 10", 10, 0, 0.5), ("burst of 10, joined", 10, 1, 0.5)):
            pairs = [[measure(relay, arguments.build, sessions, per_frame, joined, arguments.seconds) for relay in (bare, sluice)]
                     for _ in range(arguments.rounds)]
            bare_us, sluice_us = (statistics.median(column) for column in zip(*pairs))
            ratio = statistics.median(s / b for b, s in pairs)
            print(f"{f'{name}, {sessions} sessions':36} {bare_us:9.2f} {sluice_us:9.2f} {ratio:6.2f}  {goal}", flush=True)


if __name__ == "__main__":
    main()
