"""nginx-rtmp as origins, registered by one call each: nobody is disconnected, nothing comes twice, time never steps back."""
import signal
import time

import pytest

from lib import audit, figures
from lib.live import Auditor, LivePublisher
from lib.nginx import Nginx
from lib.sluice import cluster_state, drain, register, registration
from lib.stage import Stream, resume
from lib.waiting import poll

pytestmark = pytest.mark.skipif(not Nginx.available(), reason="libnginx-mod-rtmp is not installed")

STREAMS, VIEWERS = 6, 2


class Ground:
    """A proxy, two nginx that it was told of once, and streams that run."""

    def __init__(self, world):
        self.world = world
        self.proxy = world.proxy()
        self.origins = {}
        self.streams = []
        for name in ("n1", "n2"):
            self.origins[name] = world.nginx()
            register(self.proxy.api, registration(self.origins[name].port, server=name)).raise_for_status()
        for n in range(STREAMS):
            name = f"s{n}"
            stream = Stream(name, world.hold(LivePublisher(self.proxy.rtmp, "live", name)))
            stream.viewers = [world.hold(Auditor(self.proxy.rtmp, "live", name)) for _ in range(VIEWERS)]
            stream.publisher.go()
            self.streams.append(stream)
        self.await_flowing()

    def publishes(self, origin, name):
        """How often nginx was asked to publish the stream."""
        return len([line for line in self.origins[origin].lines if f"publish: name='{name}'" in line])

    def busiest(self):
        return max(self.origins, key=lambda o: sum(self.publishes(o, s.name) for s in self.streams))

    def await_flowing(self):
        """Every viewer gets a picture that was sent after now."""
        for stream in self.streams:
            begin = time.monotonic()
            for viewer in stream.viewers:
                viewer.wait(lambda: viewer.seen and viewer.seen[-1].at > begin and any(
                    e.type == 9 and e.at > begin for e in viewer.seen[-20:]), what=f"pictures at a viewer of {stream.name}")

    def check(self):
        lost = []
        for stream in self.streams:
            assert stream.alive(), f"publisher of {stream.name}: {stream.publisher.closed}"
            for n, viewer in enumerate(stream.viewers):
                who = f"viewer {n} of {stream.name}"
                assert viewer.closed is None, f"{who}: {viewer.closed}"
                assert not viewer.farewells(), f"{who} was told {viewer.farewells()}"
                assert not viewer.marks, f"{who} got the marks of Sluice servers"
                seen = list(viewer.seen)
                found = audit.assert_nothing_twice(seen, stream.published(), who, shifted=True)
                assert found.begin <= 2, f"{who} missed the beginning: {found.describe()}"
                lost.append(len(found.lost))
        return lost


@pytest.fixture(scope="module")
def ground(shared_world):
    return Ground(shared_world)


def strike(ground, victim, number, event):
    touched = [s for s in ground.streams if ground.publishes(victim, s.name)]
    (other,) = [o for o in ground.origins if o != victim]
    before = {s.name: ground.publishes(other, s.name) for s in touched}
    at = time.monotonic()
    ground.origins[victim].send_signal(number)
    took = []
    for stream in touched:
        poll(lambda: ground.publishes(other, stream.name) > before[stream.name] or not stream.alive(), what=f"publish of {stream.name}")
        assert stream.alive(), f"publisher of {stream.name}: {stream.publisher.closed}"
        took.append(time.monotonic() - at)
    ground.await_flowing()
    lost = ground.check()
    stalls = [v.stall(at) for s in touched for v in s.viewers]
    calm = [v.stall(at) for s in ground.streams if s not in touched for v in s.viewers]
    figures.report(event, relay="per-viewer", origins="nginx", streams=len(ground.streams), touched=len(touched), back_ms=took,
                   stall_ms=stalls, others_stall_ms=calm, lost_packets_worst=max(lost))
    assert touched and max(stalls) < 2 * figures.BOUND
    return touched


def test_killed(ground):
    """kill -9 of the one with more streams; then it comes back on its port, and the other is killed: the streams go back."""
    victim = ground.busiest()
    (other,) = [o for o in ground.origins if o != victim]
    strike(ground, victim, signal.SIGKILL, "sigkill")
    mark = len(ground.proxy.events)
    ground.origins[victim] = ground.world.nginx(port=ground.origins[victim].port)
    ground.proxy.await_event("origin_back", since=mark, origin=lambda o: o.startswith(victim + "-"))
    strike(ground, other, signal.SIGKILL, "sigkill")


def test_drained(world):
    """All streams of a drained nginx move: no disconnect, nothing twice; those of the other do not notice."""
    ground = Ground(world)
    victim = ground.busiest()
    (other,) = [o for o in ground.origins if o != victim]
    touched = [s for s in ground.streams if ground.publishes(victim, s.name)]
    at = time.monotonic()
    answer = drain(ground.proxy.api, victim)
    assert answer.status_code == 200 and answer.json()["to_move"] == len(touched)
    for stream in touched:
        poll(lambda: ground.publishes(other, stream.name), what=f"publish of {stream.name} at the other")
    poll(lambda: cluster_state(ground.proxy.api)["origins"][victim]["to_move"] == 0, what="end of the drain")
    ground.await_flowing()
    lost = ground.check()
    figures.report("drain", relay="per-viewer", origins="nginx", streams=len(touched), lost_packets_worst=max(lost),
                   stall_ms=[v.stall(at) for s in touched for v in s.viewers])
    assert ground.origins[victim].alive


def test_frozen(world):
    """SIGSTOP: given up after its silence; when it runs again, what it still had to say reaches nobody."""
    ground = Ground(world)
    victim = ground.busiest()
    try:
        strike(ground, victim, signal.SIGSTOP, "sigstop")
    finally:
        mark = len(ground.proxy.events)
        resume(ground.origins[victim].pid)
    ground.proxy.await_event("origin_back", since=mark, origin=lambda o: o.startswith(victim + "-"))
    ground.await_flowing()
    ground.check()
