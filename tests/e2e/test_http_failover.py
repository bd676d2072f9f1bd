"""HTTP viewers when their origin dies: of ours every packet once; of other origins nobody is disconnected and nothing comes twice."""
import signal

import pytest

from lib import audit, tscheck
from lib.http_live import FlvViewer, TsViewer
from lib.live import Content, LivePublisher
from lib.sluice import register, registration
from lib.waiting import poll
from test_http import check_ts, read_ts

STREAMS = 4


class Ground:
    """A proxy, two origins, and streams with FLV and TS viewers on it."""

    def __init__(self, world, stock, relay="auto", count=STREAMS):
        self.world, self.stock = world, stock
        self.proxy = world.proxy(relay=relay)
        self.origins = {}
        for name in ("o1", "o2"):
            self.origins[name] = world.origin([] if stock else [self.proxy], server_id=name)
            if stock:
                self.introduce(name)
        self.streams = {}
        for n in range(count):
            name = f"s{n}"
            # Whose viewers may miss the replay find all of it in the GOP, which origins keep.
            content = Content(name, gop_seconds=15) if stock else Content(name)
            publisher = world.hold(LivePublisher(self.proxy.rtmp, "live", name, content)).go()
            publisher.await_sent_more(3)
            viewers = [world.hold(kind(self.proxy.http, f"/live/{name}.{end}?token=t"))
                       for kind, end in ((FlvViewer, "flv"), (TsViewer, "ts"))]
            assert [v.status for v in viewers] == [200, 200]
            self.streams[name] = (publisher, *viewers)
        self.await_flowing()

    def introduce(self, name):
        """Without the object `sluice`: for the proxy it is any origin that speaks RTMP and HTTP."""
        origin = self.origins[name]
        rtmp, http = (address.rpartition(":")[2] for address in (origin.rtmp, origin.http))
        register(self.proxy.api, registration(rtmp, server=name, http=[http])).raise_for_status()

    def await_flowing(self):
        """Until everybody has something that was sent after now."""
        for publisher, flv, ts in self.streams.values():
            size, sent = len(ts.data), len(publisher.sent)
            flv.wait(lambda: {e.digest for e in publisher.sent[sent:]} & {e.digest for e in flv.seen[-20:]}, what="what is sent now")
            ts.await_bytes(size + 2000)

    def owned(self, name):
        return [e for e in self.origins[name].find("session_start", kind="publish")]

    def busiest(self):
        return max(self.origins, key=lambda o: len(self.owned(o)))

    def kill_busiest(self, number=signal.SIGKILL):
        victim = self.busiest()
        touched = [e["stream"].rpartition("/")[2] for e in self.owned(victim)]
        assert touched
        self.origins[victim].send_signal(number)
        return touched

    def end(self):
        for publisher, flv, _ in self.streams.values():
            flv.await_seen(publisher.freeze().last_sent())

    def gaps(self):
        return self.proxy.metrics().total("sluice_viewer_gaps_total")


def check_disconnects(ground):
    for name, (publisher, flv, ts) in ground.streams.items():
        assert (publisher.closed, flv.closed, ts.closed) == (None, None, None), name


@pytest.mark.parametrize("relay", ["auto", "collapse"])
def test_sigkill_of_one_of_ours(world, relay):
    ground = Ground(world, stock=False, relay=relay)
    ground.kill_busiest()
    ground.await_flowing()
    ground.await_flowing()
    ground.end()
    check_disconnects(ground)
    for name, (publisher, flv, ts) in ground.streams.items():
        audit.assert_exact(flv.seen, publisher.published(), name)
        assert check_ts(ts, publisher.published()) > 20


def test_sigkill_of_another_origin(world):
    ground = Ground(world, stock=True)
    starts = {n: sum(1 for e in o.find("session_start", kind="play")) for n, o in ground.origins.items()}
    assert sum(starts.values()) == 2 * STREAMS, "an origin of others sees every viewer"
    assert all(e["proto"].startswith("http-") for o in ground.origins.values() for e in o.find("session_start", kind="play"))
    touched = ground.kill_busiest()
    ground.await_flowing()
    ground.await_flowing()
    ground.end()
    check_disconnects(ground)
    assert ground.gaps() == 0, "the replay was not found again"
    for name, (publisher, flv, ts) in ground.streams.items():
        if name not in touched:
            audit.assert_exact(flv.seen, publisher.published(), name)
            assert check_ts(ts, publisher.published()) > 20
            continue
        audit.assert_nothing_twice(flv.seen, publisher.published(), name)
        # The next origin's TS begins with its tables at a packet's bound: a reader that looks for no continuity goes on.
        data = read_ts(ts)
        assert all(data[at] == 0x47 for at in range(0, len(data), tscheck.PACKET)), "packets are out of step"


def test_a_stream_that_another_origin_ends(world):
    """It lives: its viewers are not held."""
    ground = Ground(world, stock=True, count=1)
    publisher, flv, ts = ground.streams["s0"]
    owner = ground.origins[ground.busiest()]
    publisher.freeze().close()
    owner.await_event("session_end", kind="publish")
    poll(lambda: flv.closed or owner.find("session_end", kind="play"), timeout=40, what="an end")
    for viewer in (flv, ts):
        viewer.await_close(40)
