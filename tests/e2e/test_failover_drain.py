"""Planned moves: an origin that is drained, a proxy that is told to stop."""
import signal
import time

import pytest

from lib import audit, figures
from lib.clients import Publisher
from lib.live import Auditor, Content, LivePublisher
from lib.rtmp import Closed, Refused
from lib.sluice import UNHURRIED, cluster_state, drain
from lib.stage import LOST, Blow, Stage
from lib.waiting import poll


def moved_away(stage, victim):
    poll(lambda: not stage.at(victim), what=f"streams to leave {victim}")


@pytest.mark.parametrize("relay", ["auto", "per-viewer"])
def test_drain(world, relay):
    """All streams of a drained origin move, make before break: no disconnect, every packet once. It gets nothing new, until the drain is
    undone."""
    stage = Stage(world, relay, origins=3, streams=12, encoders=1, viewers=2, proxy=UNHURRIED)
    victim = stage.busiest()
    count = len(stage.at(victim))
    assert count
    blow = Blow(stage, [victim])
    answer = drain(stage.proxy.api, victim)
    assert answer.status_code == 200, answer.text
    assert answer.json()["to_move"] == count and answer.json()["draining"] is True
    moved_away(stage, victim)
    took = time.monotonic() - blow.at
    stage.await_flowing()
    stage.check()
    poll(lambda: stage.origins[victim].metrics().total("sluice_streams") == 0, what="the drained origin to hold no publisher")
    state = poll(lambda: (s := cluster_state(stage.proxy.api))["origins"][victim]["to_move"] == 0 and s, what="to_move 0")["origins"][victim]
    assert state["draining"] is True and state["state"] == "alive" and state["move_refused"] == []
    assert not [e for e in stage.proxy.events[blow.mark:] if e["event"] in LOST]
    figures.report("drain", relay=relay, origins="sluice", streams=count, all_moved_ms=[took], stall_ms=stage.stalls(blow, blow.touched),
                   others_stall_ms=stage.stalls(blow, blow.others))
    for n in range(12):
        stage.add(f"new{n}", viewers=0)
    assert not stage.at(victim), "a draining origin got a new stream"
    answer = drain(stage.proxy.api, victim, on=False)
    assert answer.status_code == 200 and answer.json()["draining"] is False
    for n in range(24):
        stage.add(f"again{n}", viewers=0)
    poll(lambda: stage.at(victim), what="something new at the origin, after its drain was undone")
    stage.await_flowing()
    stage.check()
    stage.check_recordings()


def test_drain_lasts_over_a_restart(world):
    """The server id is drained, not the process: its next incarnation gets nothing either."""
    stage = Stage(world, origins=2, streams=4, viewers=1)
    assert drain(stage.proxy.api, "o1").status_code == 200
    moved_away(stage, "o1")
    stage.strike("o1")
    stage.start_origin("o1")
    for n in range(8):
        stage.add(f"new{n}", viewers=0)
    assert not stage.at("o1")
    assert cluster_state(stage.proxy.api)["origins"]["o1"]["draining"] is True
    stage.check()


def test_drain_of_an_unknown_origin(world):
    proxy = world.proxy()
    answer = drain(proxy.api, "nobody")
    assert answer.status_code == 404 and "nobody" in answer.text


def test_drain_without_another_origin(world):
    """Nobody else is there: the streams stay and go on, and the drain says why. Once another origin is there a new drain moves them."""
    stage = Stage(world, origins=1, streams=2, viewers=1)
    answer = drain(stage.proxy.api, "o1")
    assert answer.status_code == 200 and answer.json()["to_move"] == 2
    refused = poll(lambda: cluster_state(stage.proxy.api)["origins"]["o1"]["move_refused"], what="what could not be moved")
    assert all("no_origin" in text for text in refused), refused
    stage.await_flowing()
    stage.check()
    stage.start_origin("o2")
    drain(stage.proxy.api, "o1", on=False)
    drain(stage.proxy.api, "o1")
    moved_away(stage, "o1")
    stage.await_flowing()
    stage.check()


def test_refusal_by_the_new_owner(world):
    """The other origin takes one publisher and has him already, which the proxy does not know yet: it refuses, the stream stays where it is
    without a gap, and the cluster's page says so."""
    stage = Stage(world, origins=1, streams=2, viewers=2, proxy=UNHURRIED)
    full = world.origin([stage.proxy], server_id="o2", capacity=1, register_interval="60s")
    full.incarnation = stage.proxy.await_event("origin_added", origin=lambda o: o.startswith("o2-"))["origin"]
    stage.origins["o2"] = full
    world.hold(Publisher(full.rtmp, "live", "direct"))
    mark = len(stage.proxy.events)
    assert drain(stage.proxy.api, "o1").status_code == 200
    refused = poll(lambda: (r := cluster_state(stage.proxy.api)["origins"]["o1"]["move_refused"]) and len(r) >= 2 and r, what="refusals")
    assert {text.partition(":")[0].rpartition("/")[2] for text in refused} == {"s00", "s01"}, refused
    stage.await_flowing()
    stage.check()
    assert set(stage.owners()[s.name] for s in stage.streams) == {"o1"}
    assert not [e for e in stage.proxy.events[mark:] if e["event"] in LOST]


def test_proxy_that_stops_asks_encoders_to_reconnect(world):
    """SIGTERM of a proxy: an encoder that announces it (Enhanced RTMP's capsEx) is asked to reconnect; others, and viewers, stay until the
    grace time is over; nobody new is let in."""
    proxy = world.proxy(grace_quit_timeout="12s", force_quit_timeout="25s")
    world.origin([proxy])
    able = world.hold(LivePublisher(proxy.rtmp, "live", "able", connect={"capsEx": 1, "fourCcList": ["*"]}))
    plain = world.hold(LivePublisher(proxy.rtmp, "live", "plain"))
    viewers = {p: world.hold(Auditor(proxy.rtmp, "live", p.name)) for p in (able, plain)}
    able.go(), plain.go()
    for viewer in viewers.values():
        viewer.await_count(20)
    began = time.monotonic()
    proxy.send_signal(signal.SIGTERM)
    request = able.await_status("NetConnection.Connect.ReconnectRequest")
    assert request.get("level") == "status", request
    asked = len(able.sent)
    poll(lambda: len(able.sent) > asked + 20 and len(plain.sent) > 20, what="media after the request")
    assert able.closed is None and plain.closed is None and not [s for s in plain.statuses() if "Reconnect" in s.get("code", "")]
    viewers[able].await_seen(able.sent[asked + 10])
    with pytest.raises((Refused, Closed, OSError)):
        Publisher(proxy.rtmp, "live", "new", timeout=5)
    able.freeze().close()  # as asked
    plain.await_close(40)
    assert time.monotonic() - began > 11, "closed before the grace time was over"
    assert proxy.await_exit() == 0
    sent = plain.published()
    audit.assert_exact([e for e in viewers[plain].seen], sent, whole=True)


def test_proxy_that_stops_ends_with_its_last_session(world):
    """When everybody has left, the grace time is not waited for."""
    proxy = world.proxy(grace_quit_timeout="60s", force_quit_timeout="90s")
    world.origin([proxy])
    publisher = world.hold(LivePublisher(proxy.rtmp, "live", "s", Content("s"))).go()
    poll(lambda: len(publisher.sent) > 10, what="media")
    proxy.send_signal(signal.SIGTERM)
    proxy.await_event("stopping")
    assert publisher.closed is None
    publisher.freeze().close()
    assert proxy.await_exit(20) == 0
