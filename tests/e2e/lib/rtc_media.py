"""WebRTC with media, by aiortc: an origin that takes streams in and hands them out, clients, and a relay under them whose address changes."""
import asyncio
import fractions
import itertools
import socket
import threading
import time

import requests
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.contrib.media import MediaRelay
from av import VideoFrame

from . import net
from .fake_origin import FakeOrigin
from .http_live import HttpOrigin
from .rtc_script import UdpPeer, attribute
from .sluice import register, registration
from .waiting import PATIENCE, Signal

_tokens = itertools.count(1)


def host_address():
    """An address of this host that is not loopback, which aiortc does not use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing
        return probe.getsockname()[0]


class Loop:
    """An event loop on a thread of its own, for all aiortc objects."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine, timeout=PATIENCE):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)


LOOP = Loop()


class MovingPicture(VideoStreamTrack):
    """160x120 at 10 frames a second, each of another grey."""

    def __init__(self):
        super().__init__()
        self.sent, self._begin = 0, time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0, self._begin + self.sent / 10 - time.monotonic()))
        frame = VideoFrame(width=160, height=120, format="yuv420p")
        for plane in frame.planes:
            plane.update(bytes([self.sent * 5 % 256]) * plane.buffer_size)
        frame.pts, frame.time_base = self.sent * 9000, fractions.Fraction(1, 90000)
        self.sent += 1
        return frame


class Counter:
    """Takes the frames of a track and counts them."""

    def __init__(self):
        self.signal, self.frames, self.size = Signal(), 0, None

    async def take(self, track):
        while True:
            try:
                frame = await track.recv()
            except Exception:  # noqa: BLE001  MediaStreamError: its end
                return
            with self.signal:
                self.frames += 1
                self.size = (frame.width, frame.height)
            self.signal.changed()

    def await_more(self, count, timeout=PATIENCE):
        """`count` frames more than there are now."""
        wanted = self.frames + count
        self.signal.wait(lambda: self.frames >= wanted, timeout, f"{wanted} frames (there are {self.frames})")


class MediaOrigin:
    """WHIP and WHEP in the form of SRS; what is published is what is played. `streams`: name → Counter of what came in."""

    def __init__(self, server="m1"):
        self.http, self.rtmp = HttpOrigin(), FakeOrigin()
        self.server, self.streams, self._tracks, self._sessions = server, {}, {}, {}
        self.failed = 0  # sessions that came to nothing, and were closed
        self._relay = MediaRelay()
        self.http.answer = self._answer

    def register(self, *proxies):
        """Without an endpoint for media: that is another one for each session, as the answers say."""
        for proxy in proxies:
            register(proxy.api, registration(self.rtmp.port, server=self.server, api=[str(self.http.port)])).raise_for_status()
        return self

    def _answer(self, handler):
        path, _, query = handler.path.partition("?")
        arguments = dict(p.partition("=")[::2] for p in query.split("&") if p)
        if handler.command == "GET":
            return handler.reply(200, b'{"code":0}', [("Content-Type", "application/json")])
        if handler.command == "DELETE":
            pc = self._sessions.pop(arguments.get("session"), None)
            if pc:
                LOOP.run(pc.close())
            return handler.reply(200 if pc else 404)
        publish = "whip" in path
        if not publish and arguments["stream"] not in self._tracks:
            return handler.reply(404)
        sdp, session = LOOP.run(self._begin(handler.body.decode(), arguments["stream"], publish))
        location = f"{path}?action=delete&token=t{next(_tokens)}&app={arguments['app']}&stream={arguments['stream']}&session={session}"
        return handler.reply(201, sdp.encode(), [("Content-Type", "application/sdp"), ("Location", location)])

    async def _begin(self, offer, stream, publish):
        pc = RTCPeerConnection()

        @pc.on("connectionstatechange")
        async def on_state():
            if pc.connectionState == "failed":
                self.failed += 1
                await pc.close()
        if publish:
            counter = self.streams[stream] = Counter()

            @pc.on("track")
            def on_track(track):
                if track.kind == "video":
                    self._tracks[stream] = track
                    asyncio.ensure_future(counter.take(self._relay.subscribe(track)))
        else:
            pc.addTrack(self._relay.subscribe(self._tracks[stream]))
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        sdp = pc.localDescription.sdp
        session = f"{attribute(sdp, 'ice-ufrag')}:{attribute(offer, 'ice-ufrag')}"
        self._sessions[session] = pc
        return sdp, session

    def close(self):
        for pc in self._sessions.values():
            LOOP.run(pc.close())
        self.http.close()
        self.rtmp.close()


class MediaClient:
    """aiortc as a publisher (whip) or viewer (whep). `via`: an address that takes the place of the answer's candidates; `change`: of what it says
    of itself, the offer as it leaves."""

    def __init__(self, http_api, stream, kind, via=None, change=None):
        self.url = f"http://{http_api}/rtc/v1/{kind}/?app=live&stream={stream}"
        self.counter, self.states, self.signal = Counter(), [], Signal()
        self.track = MovingPicture() if kind == "whip" else None
        self.location = LOOP.run(self._begin(via, change or (lambda offer: offer)), 60)

    async def _begin(self, via, change):
        self.pc = RTCPeerConnection()

        @self.pc.on("connectionstatechange")
        def on_state():
            with self.signal:
                self.states.append(self.pc.connectionState)
            self.signal.changed()

        @self.pc.on("track")
        def on_track(track):
            asyncio.ensure_future(self.counter.take(track))
        if self.track:
            self.pc.addTransceiver(self.track, direction="sendonly")
        else:
            self.pc.addTransceiver("video", direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        post = asyncio.get_event_loop().run_in_executor(None, lambda: requests.post(
            self.url, data=change(self.pc.localDescription.sdp), headers={"Content-Type": "application/sdp"}, timeout=30))
        answer = await post
        assert answer.status_code == 201, (answer.status_code, answer.text)
        sdp = answer.text
        if via:
            sdp = "".join(line + "\r\n" for line in sdp.splitlines() if not line.startswith("a=candidate"))
            sdp = sdp.replace("a=end-of-candidates", f"a=candidate:1 1 udp 2130706431 {via[0]} {via[1]} typ host\r\na=end-of-candidates")
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        return requests.compat.urljoin(self.url, answer.headers["Location"])

    def await_state(self, state, timeout=60):
        self.signal.wait(lambda: state in self.states, timeout, f"{state} (it went {self.states})")
        return self

    def delete(self):
        return requests.delete(self.location, timeout=30)

    def close(self):
        LOOP.run(self.pc.close())


class UdpRelay:
    """Between a client and a proxy: one client, whose address for the proxy changes with move()."""

    def __init__(self, to):
        self.to, self.client = to, None
        self.inside = UdpPeer("0.0.0.0")
        self.inside.on_datagram = self._from_client
        self.outside = []
        self.move(to)

    @property
    def address(self):
        return host_address(), self.inside.address[1]

    def move(self, to=None):
        """From now on the client comes from another port, and may go to another proxy; what was open before is deaf."""
        self.to = to or self.to
        peer = UdpPeer("0.0.0.0")
        peer.on_datagram = lambda data, _: self.client and self.inside.send(data, self.client)
        for old in self.outside:
            old.on_datagram = None
        self.outside.append(peer)

    def _from_client(self, data, peer):
        self.client = peer
        self.outside[-1].send(data, self.to)

    def close(self):
        for peer in (self.inside, *self.outside):
            peer.close()


def media_address(proxy):
    """Where a proxy that serves all addresses takes media."""
    return host_address(), net.split_address(proxy.ready_event["webrtc"])[1]
