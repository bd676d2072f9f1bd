"""WebRTC without media: an origin by script, and clients that speak as much ICE as a test wants."""
import itertools
import json
import os
import re
import socket
import threading

import requests
from aioice import stun

from . import net
from .fake_origin import FakeOrigin
from .http_live import HttpOrigin
from .sluice import register, registration
from .waiting import PATIENCE, Signal, Timeout

_names = itertools.count(1)


def fingerprint():
    return "sha-256 " + ":".join(f"{b:02X}" for b in os.urandom(32))


def description(ufrag, password, candidates=(), direction="sendonly", protocol="UDP/TLS/RTP/SAVPF", more=()):
    """An offer or answer with one section of video."""
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0", f"m=video 9 {protocol} 96", "c=IN IP4 0.0.0.0", "a=mid:0",
             f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}", f"a=fingerprint:{fingerprint()}", "a=setup:actpass", "a=rtcp-mux",
             f"a={direction}", "a=rtpmap:96 VP8/90000", *[f"a=candidate:{c}" for c in candidates], *more]
    return "".join(line + "\r\n" for line in lines)


def ice_fragment(ufrag, password):
    """Of an ICE restart (RFC 8840)."""
    return f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n".encode()


def attribute(sdp, name):
    """The first value of a=NAME:value."""
    return re.search(rf"^a={name}:(.*?)\r?$", sdp, re.MULTILINE).group(1)


def candidates(sdp):
    """(address, port, transport) of each."""
    return [(m[1], int(m[2]), m[0]) for m in re.findall(r"^a=candidate:\S+ 1 (\S+) \d+ (\S+) (\d+) typ", sdp, re.MULTILINE)]


class UdpPeer:
    """A UDP socket whose datagrams are kept: `got` is [(bytes, peer)]. `on_datagram(data, peer)` is called on its thread."""

    def __init__(self, host=net.LOOPBACK, port=0):
        self.signal, self.got, self.on_datagram, self.closed = Signal(), [], None, False
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((host, port))
        self.address = self.sock.getsockname()[:2]
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(65536)
            except OSError:
                return
            if not data and peer[:2] == self.address:
                return  # close()
            with self.signal:
                self.got.append((data, peer[:2]))
            if self.on_datagram:
                self.on_datagram(data, peer[:2])
            self.signal.changed()

    def send(self, data, to):
        try:
            self.sock.sendto(data, to)
        except OSError:
            if not self.closed:
                raise

    def await_data(self, data, timeout=PATIENCE):
        """The peer that sent exactly these bytes."""
        return self.signal.wait(lambda: next((p for d, p in self.got if d == data), None), timeout, f"{data[:40]!r}")

    def count(self, predicate=lambda data: True):
        with self.signal:
            return sum(1 for d, _ in self.got if predicate(d))

    def close(self):
        try:
            self.closed = True
            self.sock.sendto(b"", self.address)  # a close alone would leave the thread in recvfrom
        except OSError:
            pass
        self.sock.close()


def is_stun(data):
    return len(data) >= 20 and data[0] < 2 and data[4:8] == b"\x21\x12\xa4\x42"


class RtcScript:
    """An origin that stands on no WebRTC library. As SRS: 201, Location with token and session, one UDP port for all; it answers
    checks that are made with the session's password, and sends every other datagram back to where it came from. `answer(handler)` may be replaced.
    What a test gives it for a session (`put`) goes to where the last good check came from."""

    def __init__(self, server="r1"):
        self.http, self.rtmp, self.udp = HttpOrigin(), FakeOrigin(), UdpPeer()
        self.http.answer = lambda handler: self.answer(handler)
        self.udp.on_datagram = self._on_datagram
        self.server = server
        self.answer = self.as_srs
        self.passwords = {}  # by username of checks
        self.clients = {}    # by the same: where the last good check came from
        self.offers = []
        self.resources = set()  # of with_own_paths
        self.echo = True

    def register(self, proxy, **more):
        body = registration(self.rtmp.port, server=self.server, api=[str(self.http.port)],
                            rtc=[f"udp://0.0.0.0:{self.udp.address[1]}"])
        body.update(more)
        register(proxy.api, body).raise_for_status()
        return self

    def as_srs(self, handler):
        path, _, query = handler.path.partition("?")
        if handler.command == "GET":
            return handler.reply(200, b'{"code":0}', [("Content-Type", "application/json")])
        if handler.command == "DELETE":
            return handler.reply(200, b"ok")
        if handler.command != "POST":
            return handler.reply(405)
        if path.rstrip("/") in ("/rtc/v1/publish", "/rtc/v1/play"):
            asked = json.loads(handler.body)
            sdp, session = self.agree(asked["sdp"])
            body = {"code": 0, "server": self.server, "sdp": sdp, "sessionid": session}
            return handler.reply(200, json.dumps(body).encode(), [("Content-Type", "application/json")])
        sdp, session = self.agree(handler.body.decode())
        arguments = "&".join(p for p in query.split("&") if p.startswith(("app=", "stream=")))
        headers = [("Content-Type", "application/sdp"), ("Location", f"{path}?action=delete&token=t{next(_names)}&{arguments}&session={session}"),
                   ("Link", '<stun:stun.example>; rel="ice-server"'), ("ETag", '"e1"'), ("Access-Control-Allow-Origin", "http://origin")]
        return handler.reply(201, sdp.encode(), headers)

    def with_own_paths(self, handler):
        """Each session has a path that says nothing to anybody else. What is none gets 404; PATCH restarts ICE."""
        if handler.command == "GET":
            return self.as_srs(handler)
        if handler.command == "POST":
            sdp, _ = self.agree(handler.body.decode())
            path = f"/sessions/{next(_names)}?x=1"
            self.resources.add(path)
            return handler.reply(201, sdp.encode(), [("Content-Type", "application/sdp"), ("Location", "https://origin.example" + path)])
        if handler.path not in self.resources:
            return handler.reply(404)
        if handler.command == "DELETE":
            self.resources.remove(handler.path)
            return handler.reply(200)
        ufrag, password = f"orig{next(_names)}", os.urandom(12).hex()
        self.passwords[f"{ufrag}:{attribute(handler.body.decode(), 'ice-ufrag')}"] = password
        return handler.reply(200, ice_fragment(ufrag, password), [("Content-Type", "application/trickle-ice-sdpfrag")])

    def agree(self, offer):
        """(answer, username of the client's checks)"""
        self.offers.append(offer)
        ufrag, password = f"orig{next(_names)}", os.urandom(12).hex()
        session = f"{ufrag}:{attribute(offer, 'ice-ufrag')}"
        self.passwords[session] = password
        port = self.udp.address[1]
        own = [f"0 1 udp 2130706431 10.9.8.7 {port} typ host generation 0", f"1 1 tcp 2130706431 10.9.8.7 {port} typ host tcptype passive"]
        return description(ufrag, password, own, "recvonly"), session

    def _on_datagram(self, data, peer):
        if not is_stun(data):
            if self.echo:
                self.udp.send(data, peer)
            return
        message = stun.parse_message(data)
        if message.message_class != stun.Class.REQUEST:
            return
        username = message.attributes.get("USERNAME")
        try:
            stun.parse_message(data, integrity_key=self.passwords[username].encode())
            message.attributes["MESSAGE-INTEGRITY"]
        except (KeyError, ValueError):
            return
        with self.udp.signal:
            self.clients[username] = peer
        answer = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.RESPONSE, transaction_id=message.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = peer
        answer.add_message_integrity(self.passwords[username].encode())
        self.udp.send(bytes(answer), peer)

    def put(self, username, data):
        """Sends to that session's client; the address."""
        with self.udp.signal:
            to = self.clients[username]
        self.udp.send(data, to)
        return to

    def close(self):
        for part in (self.http, self.rtmp, self.udp):
            part.close()


class RtcClient:
    """One session: asks for it (`begin`), and then sends what a test wants from as many addresses as it wants."""

    def __init__(self, http_api, stream, kind="whip", app="live"):
        self.api, self.stream, self.kind, self.app = http_api, stream, kind, app
        self.ufrag, self.password = f"clnt{next(_names)}", os.urandom(12).hex()
        self.peer = UdpPeer()
        self.peers = [self.peer]
        self.answer = None

    def offer(self, **options):
        return description(self.ufrag, self.password, ["1 1 udp 2113937151 192.168.77.1 55930 typ host",
                                                       "2 1 udp 2113937151 aaaaaaaa-8805-4cf5-a7d1-4fb3d0fd66ff.local 55930 typ host"], **options)

    @property
    def url(self):
        return f"http://{self.api}/rtc/v1/{self.kind}/?app={self.app}&stream={self.stream}"

    def post(self, body=None, more="", headers=None, **options):
        head = {"Content-Type": "application/sdp", **(headers or {})}
        return requests.post(self.url + more, data=self.offer() if body is None else body, headers=head, timeout=30, **options)

    def begin(self, **options):
        """self, with an answer of 201."""
        answer = self.post(**options)
        assert answer.status_code == 201, (answer.status_code, answer.text)
        return self.take(answer.text, answer.headers["Location"])

    def take(self, sdp, location=None):
        self.answer, self.location = sdp, location
        self.username = f"{attribute(sdp, 'ice-ufrag')}:{self.ufrag}"
        self.key = attribute(sdp, "ice-pwd").encode()
        self.media = candidates(sdp)[0][:2]
        return self

    def another(self):
        """Another address of the same client."""
        self.peers.append(UdpPeer())
        return self.peers[-1]

    def check(self, peer=None, nominate=False, key=None, username=None, to=None):
        """Sends a check; its transaction."""
        message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        message.attributes["USERNAME"] = username or self.username
        message.attributes["PRIORITY"] = 1845494271
        message.attributes["ICE-CONTROLLING"] = 7
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(key or self.key)
        (peer or self.peer).send(bytes(message), to or self.media)
        return message.transaction_id

    def await_checked(self, peer=None, timeout=PATIENCE, **options):
        """Checks until an answer comes, as agents do."""
        peer = peer or self.peer
        transactions = []

        def answered():
            return any(is_stun(d) and d[0] == 1 and d[8:20] in transactions for d, _ in peer.got)

        for _ in range(int(timeout / 0.25)):
            transactions.append(self.check(peer, **options))
            try:
                peer.signal.wait(answered, 0.25)
                return self
            except Timeout:
                continue
        raise AssertionError(f"no answer to checks of {self.username}")

    def exchange(self, peer=None, data=None, timeout=PATIENCE):
        """Sends a packet of media until its echo comes (a datagram may be lost); the packet."""
        peer = peer or self.peer
        data = data or b"\x80" + os.urandom(40)
        for _ in range(int(timeout / 0.5)):
            peer.send(data, self.media)
            try:
                peer.await_data(data, 0.5)
                return data
            except Timeout:
                continue
        raise AssertionError(f"no echo of {self.username}'s media")

    def restart(self):
        """An ICE restart; self, with the new credentials."""
        self.ufrag = f"clnt{next(_names)}"
        answer = requests.patch(f"http://{self.api}{self.location}", data=ice_fragment(self.ufrag, os.urandom(12).hex()), timeout=30,
                                headers={"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"})
        assert answer.status_code == 200, (answer.status_code, answer.text)
        self.username = f"{attribute(answer.text, 'ice-ufrag')}:{self.ufrag}"
        self.key = attribute(answer.text, "ice-pwd").encode()
        return self

    def delete(self, **options):
        return requests.delete(f"http://{self.api}{self.location}", timeout=30, **options)

    def close(self):
        for peer in self.peers:
            peer.close()
