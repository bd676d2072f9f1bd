"""Many streams over several origins behind one proxy, for as long as origins are killed under them."""
import contextlib
import os
import signal
import threading
import time

from . import audit, media
from .figures import BOUND, wall
from .live import Auditor, Content, LivePublisher, entries
from .waiting import poll

#: How long somebody is waited for; what may take only BOUND is compared with that.
PATIENCE = 3 * BOUND

#: Log events by which a proxy says that it holds an origin for lost.
LOST = ("origin_lost", "origin_dead", "origin_void")


def resume(*pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Stream:
    """One stream: who publishes it, and his viewers."""

    def __init__(self, name, publisher):
        self.name, self.publisher, self.viewers, self.recorders = name, publisher, [], []

    def published(self):
        return self.publisher.published()

    def alive(self):
        return self.publisher.closed is None

    def forget(self):
        """Drops all but the last 200 packets of what was sent, and of what was seen that which comes before those."""
        count = max(0, len(self.publisher.sent) - 200)  # it goes on while we look
        held = {e.digest for e in self.publisher.sent[count:]}
        for viewer in self.viewers:
            first = next((n for n, e in enumerate(viewer.seen) if e.digest in held), len(viewer.seen))
            viewer.forget(first)
        self.publisher.forget(count)


class EncoderPublisher:
    """A real ffmpeg, seen as a publisher. `clip` is what it sends, once, in real time."""

    def __init__(self, process, clip):
        self.process, self._published = process, entries(media.as_ffmpeg_publishes(clip))
        self.sent_at_least = 0

    @property
    def closed(self):
        return None if self.process.alive else f"ffmpeg ended with {self.process.returncode}: {self.process.lines[-3:]}"

    def published(self):
        return self._published


class Blow:
    """What was done to some origins at once, and what it touched."""

    def __init__(self, stage, victims):
        self.victims = victims            # server ids
        self.ids = [stage.origins[v].incarnation for v in victims]
        self.owned = stage.owners()
        self.touched = [s for s in stage.streams if self.owned.get(s.name) in victims]
        self.others = [s for s in stage.streams if s not in self.touched]
        self.mark = len(stage.proxy.events)
        self.at = time.monotonic()
        self.wall = time.time()

    def now(self):
        """The moment of the blow itself, for those that come later than the preparations."""
        self.at, self.wall = time.monotonic(), time.time()


class Stage:
    def __init__(self, world, relay="auto", origins=4, streams=6, viewers=3, encoders=0, fat=0, content=None, proxy=None, origin=None,
                 encoder_seconds=240):
        """`streams` of ours, of which `fat` have large keyframes, and `encoders` real ffmpegs, with `viewers` players each; one of
        an ffmpeg's viewers is an ffmpeg too. `content`: options of lib.live.Content; `proxy`, `origin`: settings."""
        self.world, self.relay, self.origin_options = world, relay, dict(origin or {})
        self.proxy = world.proxy(relay=relay, **(proxy or {}))
        self.origins = {}
        self.ended = []                 # origins that were replaced, for their logs
        self.broken = False
        self.flowed = 0.0
        for n in range(origins):
            self.start_origin(f"o{n + 1}")
        self.streams = []
        for n in range(streams):
            more = {"key_bytes": 150_000, "frame_bytes": 2000} if n < fat else {}
            self.add(f"s{n:02}", viewers, {**(content or {}), **more})
        for n in range(encoders):
            self.add_encoder(f"ffmpeg{n}", viewers, media.clip(seconds=encoder_seconds, rate=15, size="160x90", video_kbps=60, tone=300 + n))
        self.await_flowing()
        for stream in self.streams:
            for _, path in stream.recorders:
                poll(lambda: os.path.exists(path) and os.path.getsize(path) > 5000, PATIENCE, f"recording of {stream.name}")
        for stream in self.streams:  # the origins' logs are read as far
            self.owner(stream.name)

    # -- who is there ----------------------------------------------------------------------------------------------

    def start_origin(self, server_id):
        mark = len(self.proxy.events)
        origin = self.world.origin([self.proxy], server_id=server_id, wait=False, **self.origin_options)
        added = self.proxy.await_event("origin_added", since=mark, origin=lambda o: o.startswith(server_id + "-"))
        origin.incarnation = added["origin"]
        if server_id in self.origins:
            self.ended.append((server_id, self.origins[server_id]))
        self.origins[server_id] = origin
        return origin

    def restore(self):
        """Starts again what was killed, under the same server ids."""
        for server_id in [i for i, o in self.origins.items() if not o.alive]:
            self.start_origin(server_id)

    def add(self, name, viewers=3, content=None, connect=None):
        stream = Stream(name, self.world.hold(LivePublisher(self.proxy.rtmp, "live", name, Content(name, **(content or {})), connect=connect)))
        for _ in range(viewers):
            stream.viewers.append(self.view(name))
        self.streams.append(stream)
        stream.publisher.go()
        return stream

    def add_encoder(self, name, viewers, clip):
        early = [self.view(name, wait=False) for _ in range(viewers - 1)]
        url = f"rtmp://{self.proxy.rtmp}/live/{name}"
        stream = Stream(name, EncoderPublisher(self.world.ffmpeg_publish(clip, url), clip))
        stream.viewers = early
        path = os.path.join(self.world.folder, f"{name}-{self.proxy.pid}.flv")
        recorder = self.world.ffmpeg("-analyzeduration", "500k", "-i", url, "-c", "copy", "-flush_packets", "1", "-f", "flv", path)
        stream.recorders.append((recorder, path))
        self.streams.append(stream)
        return stream

    def view(self, name, **options):
        return self.world.hold(Auditor(self.proxy.rtmp, "live", name, **options))

    def owners(self):
        """Stream → the server id of the origin that accepted it last."""
        latest = {}
        for server_id, origin in [*self.ended, *self.origins.items()]:
            for e in origin.find("session_start", kind="publish"):
                name = e["stream"].rpartition("/")[2]
                latest[name] = max(latest.get(name, (0, "")), (wall(e), server_id))
        return {name: server_id for name, (_, server_id) in latest.items()}

    def owner(self, name):
        """The same of one stream that is published; the origin's log may be a moment behind."""
        return poll(lambda: self.owners().get(name), what=f"an origin that says it has {name}")

    def at(self, server_id):
        """The streams of an origin."""
        owners = self.owners()
        return [s for s in self.streams if owners.get(s.name) == server_id]

    def busiest(self, but=()):
        """The server id of the living origin with the most streams."""
        counts = {i: len(self.at(i)) for i, o in self.origins.items() if o.alive and i not in but}
        return max(counts, key=counts.get)

    # -- blows -----------------------------------------------------------------------------------------------------

    def strike(self, *victims, number=signal.SIGKILL):
        """Sends a signal to origins, by server id."""
        blow = Blow(self, victims)
        pids = [self.origins[v].pid for v in victims]
        blow.now()
        for pid in pids:
            os.kill(pid, number)
        return blow

    def strike_at_keyframe(self, stream):
        """SIGKILL of a stream's origin in the moment in which the next keyframe of it was handed to the kernel."""
        victim = self.owner(stream.name)
        blow = Blow(self, [victim])
        pid, done = self.origins[victim].pid, threading.Event()

        def watch(entry):
            if entry.role == "key" and not done.is_set():
                blow.now()
                os.kill(pid, signal.SIGKILL)
                done.set()
        stream.publisher.on_sent = watch
        try:
            assert done.wait(PATIENCE), "no keyframe came"
        finally:
            stream.publisher.on_sent = None
        return blow

    def await_back(self, blow, timeout=PATIENCE):
        """Waits until each stream that the blow touched is published at a living origin again, within BOUND; seconds from the blow for each."""
        took = []
        for stream in blow.touched:
            key = f"__defaultVhost__/live/{stream.name}"

            def back():
                for origin in self.origins.values():
                    for e in origin.find("session_start", kind="publish", stream=key) if origin.incarnation not in blow.ids else ():
                        if wall(e) >= blow.wall - 0.002:  # log lines are of whole milliseconds
                            return e
                assert stream.alive(), f"the publisher of {stream.name} was disconnected: {stream.publisher.closed}"
                return None
            took.append(wall(poll(back, timeout, f"new owner of {stream.name}")) - blow.wall)
        assert max(took, default=0) < BOUND, took
        return took

    def detection(self, blow):
        """Seconds from the blow until the proxy said that the origins are lost, for each victim of which it said so."""
        out = []
        for incarnation in blow.ids:
            said = [wall(e) for e in self.proxy.events[blow.mark:] if e.get("event") in LOST and e.get("origin") == incarnation]
            if said:
                out.append(max(0.0, min(said) - blow.wall))
        return out

    def stalls(self, blow, streams):
        """The longest pause of each viewer between the blow and the last await_flowing(), in seconds. (Not until now: when a test
        compares thousands of packets its own thread that reads is held up.)"""
        return [v.stall(blow.at, self.flowed) for s in streams for v in s.viewers]

    # -- looking ---------------------------------------------------------------------------------------------------

    def await_flowing(self, timeout=PATIENCE, streams=None):
        """Waits until every viewer has a packet that was sent after now."""
        targets = []
        for stream in streams or self.streams:
            if isinstance(stream.publisher, EncoderPublisher):
                targets.append((stream, [len(v.seen) + 2 for v in stream.viewers]))
            else:
                targets.append((stream, len(stream.publisher.sent) + 1))
        for stream, target in targets:
            assert stream.alive(), f"the publisher of {stream.name} was disconnected: {stream.publisher.closed}"
            if isinstance(target, list):
                for viewer, count in zip(stream.viewers, target):
                    viewer.await_count(count, timeout)
                continue
            poll(lambda: len(stream.publisher.sent) > target or not stream.alive(), timeout, f"{stream.name} to be sent")
            assert stream.alive(), f"the publisher of {stream.name} was disconnected: {stream.publisher.closed}"
            entry = stream.publisher.last_sent()
            for viewer in stream.viewers:
                viewer.await_seen(entry, timeout)
        self.flowed = time.monotonic()

    def play_on(self, seconds):
        """Lets the streams run for so long: until a packet sent then has been seen."""
        stream = next(s for s in self.streams if isinstance(s.publisher, LivePublisher) and s.alive())
        sent = stream.publisher.sent
        until = sent[-1].timestamp + 1000 * seconds
        poll(lambda: sent[-1].timestamp >= until, seconds + PATIENCE, f"{seconds} s of media")

    def disconnects(self):
        """Everybody who lost his connection, with the reason."""
        out = [f"publisher of {s.name}: {s.publisher.closed}" for s in self.streams if not s.alive()]
        out += [f"viewer {n} of {s.name}: {v.closed}" for s in self.streams for n, v in enumerate(s.viewers) if v.closed is not None]
        out += [f"ffmpeg viewer of {s.name}: exit {r.returncode}" for s in self.streams for r, _ in s.recorders if not r.alive]
        return out

    def check(self, streams=None, exact=True, whole=True):
        """Nobody was disconnected, and every viewer has every packet once. The audits."""
        gone = self.disconnects()
        assert not gone, f"{len(gone)} were disconnected: {gone[:8]}"
        audits = []
        for stream in streams or self.streams:
            published = stream.published()
            for n, viewer in enumerate(stream.viewers):
                who = f"viewer {n} of {stream.name}"
                seen = list(viewer.seen)
                # Taken in this order: what a viewer has seen was sent before.
                published = stream.published()
                # An encoder of others begins when it likes, whoever is there.
                from_the_first = whole and isinstance(stream.publisher, LivePublisher)
                audits.append(audit.assert_exact(seen, published, who, whole=from_the_first) if exact
                              else audit.assert_nothing_twice(seen, published, who))
                assert not viewer.farewells(), f"{who} was told {viewer.farewells()}"
                assert not viewer.marks, f"{who} was sent the marks of servers"
        return audits

    def check_recordings(self):
        """What the ffmpeg viewers have written so far: no packet is missing."""
        from . import flv
        for stream in self.streams:
            for _, path in stream.recorders:
                tags = entries(flv.read(path))
                for kind in (8, 9):
                    audit.same_payloads(tags, stream.published(), kind)

    @staticmethod
    def now():
        return time.monotonic()

    def end(self):
        """Takes everything down, for those who share a world with it."""
        for stream in self.streams:
            for viewer in stream.viewers:
                viewer.close()
            if isinstance(stream.publisher, LivePublisher):
                stream.publisher.freeze().close()
            else:
                stream.publisher.process.kill()
            for recorder, _ in stream.recorders:
                recorder.kill()
        for process in [*self.origins.values(), self.proxy]:
            resume(process.pid)
            process.kill()

    def halt(self):
        """Ends the streams of ours, all packets delivered."""
        last = []
        for stream in self.streams:
            if isinstance(stream.publisher, LivePublisher):
                last.append((stream, stream.publisher.freeze().last_sent()))
        for stream, entry in last:
            for viewer in stream.viewers:
                viewer.await_seen(entry)
