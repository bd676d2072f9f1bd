"""Fail-over again and again, and what it looks like on the screen: `pytest -m soak -k failover`."""
import os
import random
import signal
import subprocess

import pytest

from lib import audit, figures, flv, media
from lib.live import Auditor, entries
from lib.nginx import Nginx
from lib.process import descriptors, resident_bytes
from lib.sluice import MEMORY_FACTOR, register, registration
from lib.stage import Stage, resume
from lib.waiting import poll

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("FAILOVER_KILLS", "30"))
FREEZES = int(os.environ.get("FAILOVER_FREEZES", "10"))
RELAYS = {"collapse": "auto", "per-viewer": "per-viewer"}


class Tally:
    """Figures of many blows, as one line."""

    def __init__(self, event, relay):
        self.event, self.relay, self.count = event, relay, 0
        self.detect, self.back, self.stall, self.others = [], [], [], []

    def add(self, stage, blow, back):
        self.count += 1
        self.detect += stage.detection(blow)
        self.back += back
        self.stall += stage.stalls(blow, blow.touched)
        self.others += stage.stalls(blow, blow.others)

    def report(self, stage):
        print(figures.report(self.event, soak=True, relay=self.relay, origins="sluice", blows=self.count, streams=len(stage.streams),
                             detect_ms=self.detect, back_ms=self.back, stall_ms=self.stall, others_stall_ms=self.others))


@pytest.mark.parametrize("relay", RELAYS)
def test_many_kills(world, relay):
    """KILLS origins, one after another, half of them just after a keyframe: no disconnect, every packet once; median, p99 and worst."""
    stage = Stage(world, RELAYS[relay], streams=48, encoders=2, fat=4, encoder_seconds=900)
    tally, rng = Tally("sigkill", relay), random.Random(17)
    for number in range(KILLS):
        victim = rng.choice([i for i in stage.origins if stage.at(i)])
        ours = [s for s in stage.at(victim) if not s.name.startswith("ffmpeg")]
        blow = stage.strike_at_keyframe(rng.choice(ours)) if number % 2 and ours else stage.strike(victim)
        back = stage.await_back(blow)
        stage.await_flowing()
        stage.check()
        tally.add(stage, blow, back)
        stage.restore()
        if number == 2:
            open_early, memory_early = descriptors(stage.proxy.pid), resident_bytes(stage.proxy.pid)
    stage.check_recordings()
    tally.report(stage)
    if KILLS > 3:
        poll(lambda: descriptors(stage.proxy.pid) <= open_early + 10, what="descriptors of lost origins to be closed")
        grown = resident_bytes(stage.proxy.pid) - memory_early
        assert grown < MEMORY_FACTOR * (32 << 20), f"memory grew by {grown >> 20} MiB"


@pytest.mark.parametrize("relay", RELAYS)
def test_many_freezes(world, relay):
    """The same with SIGSTOP; each runs again once its streams are elsewhere."""
    stage = Stage(world, RELAYS[relay], streams=24, encoders=1, fat=2, encoder_seconds=900)
    tally = Tally("sigstop", relay)
    for _ in range(FREEZES):
        victim = stage.busiest()
        blow = stage.strike(victim, number=signal.SIGSTOP)
        try:
            back = stage.await_back(blow, timeout=30)  # a stream moves at most once in 10 s
            stage.await_flowing()
        finally:
            mark = len(stage.proxy.events)
            resume(stage.origins[victim].pid)
        stage.proxy.await_event("origin_back", since=mark, origin=stage.origins[victim].incarnation)
        stage.await_flowing()
        stage.check()
        tally.add(stage, blow, back)
        stage.play_on(11)
    stage.check_recordings()
    tally.report(stage)


def test_random_blows(world):
    """SOAK_MINUTES of random blows to random origins: kills, freezes of any length, stops; every packet once all the while."""
    stage = Stage(world, "auto", streams=24, fat=2, viewers=3)
    rng, minutes = random.Random(23), float(os.environ.get("SOAK_MINUTES", "10"))
    began = stage.now()
    while stage.now() - began < 60 * minutes:
        victim = rng.choice(list(stage.origins))
        how = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        blow = stage.strike(victim, number=how)
        if how == signal.SIGSTOP:
            try:
                stage.play_on(rng.choice([0.3, 1, 1.8, 2.2, 3.5, 6]))
            finally:
                resume(stage.origins[victim].pid)
        else:
            stage.await_back(blow, timeout=30)
            stage.origins[victim].await_exit()
            stage.restore()
        stage.await_flowing(timeout=30)
        stage.check()
        if rng.random() < 0.2:
            for stream in stage.streams:
                stream.forget()
    stage.halt()
    stage.check(whole=False)


# -- a clock on the screen -----------------------------------------------------------------------------------------------


def frame_hashes(path):
    """The MD5 of each decoded picture, with its time in seconds."""
    out = subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-copyts", "-f",
                          "framemd5", "-"], check=True, capture_output=True, text=True).stdout
    base, frames = 1.0, []
    for line in out.splitlines():
        if line.startswith("#tb 0:"):
            above, _, below = line.partition(": ")[2].partition("/")
            base = int(above) / int(below)
        elif line and not line.startswith("#"):
            fields = [field.strip() for field in line.split(",")]
            frames.append((fields[5], int(fields[2]) * base))
    return frames


def sluice_ground(world, relay):
    proxy = world.proxy(relay=relay)
    origins = [world.origin([proxy], server_id=f"o{n}") for n in (1, 2, 3)]

    def kill(name):
        owner = max((e["ts"], n) for n, o in enumerate(origins) for e in o.find("session_start", kind="publish"))[1]
        origins[owner].kill()
    return proxy, kill


def nginx_ground(world, relay):
    proxy = world.proxy()
    origins = [world.nginx() for _ in range(3)]
    for n, origin in enumerate(origins):
        register(proxy.api, registration(origin.port, server=f"n{n}")).raise_for_status()

    def kill(name):
        next(o for o in origins if o.alive and f"publish: name='{name}'" in o.output).kill()
    return proxy, kill


@pytest.mark.parametrize("ground,relay", [(sluice_ground, "auto"), (sluice_ground, "per-viewer"), (nginx_ground, "per-viewer")],
                         ids=["collapse", "per-viewer", "nginx"])
def test_recording_of_a_clock(world, ground, relay):
    """A picture with a running clock is published by ffmpeg and recorded by ffmpeg while two origins die under it. Decoded again, the
    recording shows every picture there was, none twice, each at its time. (nginx: none twice, and how many are missing is reported.)"""
    if ground is nginx_ground and not Nginx.available():
        pytest.skip("libnginx-mod-rtmp is not installed")
    clip = media.clip(seconds=20, gop_seconds=2.0, size="640x360", video_kbps=800, tone=700)
    proxy, kill = ground(world, relay)
    url, path = f"rtmp://{proxy.rtmp}/live/clock", os.path.join(world.folder, "clock.flv")
    witness = world.hold(Auditor(proxy.rtmp, "live", "clock", wait=False))
    encoder = world.ffmpeg_publish(clip, url)
    recorder = world.ffmpeg("-analyzeduration", "500k", "-i", url, "-c", "copy", "-flush_packets", "1", "-f", "flv", path)
    stalls = []
    for at in (6000, 12000):
        witness.wait(lambda: witness.seen and witness.seen[-1].timestamp >= at, timeout=30, what=f"{at} ms of the clock")
        struck = Stage.now()
        kill("clock")
        witness.wait(lambda: witness.seen[-1].timestamp >= at + 3000, timeout=30, what="the clock to go on")
        stalls.append(witness.stall(struck))
    assert encoder.await_exit(60) == 0, encoder.tail()
    published = entries(media.as_ffmpeg_publishes(clip))
    last = [e for e in published if e.type == 9 and e.role != "header"][-2]
    witness.wait(lambda: any(e.digest == last.digest for e in witness.seen), what="the last picture")
    poll(lambda: last.digest in {flv.digest(t.payload) for t in flv.read(path)}, what="the last picture to be recorded", every=0.2)
    assert recorder.alive and witness.closed is None
    recorder.kill()  # it has written each packet as it came
    shown, recorded = frame_hashes(clip), frame_hashes(path)
    hashes = [h for h, _ in shown]
    assert len(set(hashes)) == len(hashes), "two pictures of the clock are alike"
    assert recorded and all(h in hashes for h, _ in recorded), "a picture was recorded that was never published"
    places = [hashes.index(h) for h, _ in recorded]
    assert places == sorted(set(places)), "pictures came twice or out of order"
    missing = [n for n in range(places[0], places[-1] + 1) if n not in set(places)]
    times = [t for _, t in recorded]
    steps = [b - a for a, b in zip(times, times[1:])]
    print(figures.report("recording of a clock", soak=True, relay=relay, origins="nginx" if ground is nginx_ground else "sluice", kills=2,
                         pictures=len(recorded), missing_pictures=len(missing), longest_step_ms=round(1000 * max(steps)), stall_ms=stalls))
    assert times == sorted(times)
    if ground is not nginx_ground:
        assert not missing, f"{len(missing)} pictures are missing, from number {missing[0]} on"
        shift = {round(1000 * (t - shown[n][1])) for n, (_, t) in zip(places, recorded)}
        assert max(shift) - min(shift) <= 1, f"pictures are shifted in time: {sorted(shift)}"
        audit.assert_exact(list(witness.seen), published, whole=True)
