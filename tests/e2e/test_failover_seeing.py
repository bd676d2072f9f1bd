"""What an operator sees of a fail-over: the cluster's page, a stream's history, log lines, metrics; and who may see it."""
import json

import pytest
import requests

from lib.figures import wall
from lib.process import run_tool
from lib.sluice import BINARY, UNHURRIED, cluster_state, get
from lib.stage import Stage
from lib.waiting import poll


@pytest.fixture(scope="module")
def struck(shared_world):
    """A stage of which one origin was killed, and is not back."""
    stage = Stage(shared_world, origins=3, streams=6, viewers=2, proxy=UNHURRIED)
    blow = stage.strike(stage.busiest())
    stage.await_back(blow)
    stage.await_flowing()
    stage.check()
    return stage, blow


def key(name):
    return f"__defaultVhost__/live/{name}"


def test_cluster_page(struck):
    """Proxies; origins with pid, load, incarnation, state and last answer; streams with owner, epoch, publisher, viewers, retained bytes."""
    stage, blow = struck
    state = cluster_state(stage.proxy.api)
    (proxy,) = state["proxies"]
    assert proxy["pid"] == str(stage.proxy.pid) and proxy["sessions"] == 6 + 12
    (victim,) = blow.victims
    for server_id, origin in state["origins"].items():
        process = stage.origins[server_id]
        assert origin["id"] == process.incarnation and origin["pid"] == str(process.pid)
        assert origin["sluice"] is True and origin["rtmp"] == [process.rtmp]
        assert origin["state"] == ("dead" if server_id == victim else "alive")
        if server_id != victim:
            assert origin["last_answer_ms"] < 10_000
    living = [o for i, o in state["origins"].items() if i != victim]
    assert poll(lambda: sum(o["load"] for i, o in cluster_state(stage.proxy.api)["origins"].items() if i != victim) == 6, what="loads") and living
    assert set(state["streams"]) == {key(s.name) for s in stage.streams}
    for stream in stage.streams:
        line = state["streams"][key(stream.name)]
        owner = stage.owner(stream.name)
        assert line["owner"] == stage.origins[owner].incarnation and owner != victim
        assert line["epoch"] and line["publisher"] and line["viewers"] == 2 and line["degraded"] is False
        assert line["retained_bytes"] > 1000
    assert state["degraded"] == 0 and state["published"] == 6 and state["mass_silence"] is False


def test_page_of_many_streams(struck):
    """start and count give a part; what is no number is refused."""
    stage, _ = struck
    part = get(stage.proxy.api, "/api/v1/sluice/cluster?start=2&count=3").json()
    assert [s["name"] for s in part["streams"]] == [key(f"s{n:02}") for n in (2, 3, 4)] and part["total"] == 6
    assert get(stage.proxy.api, "/api/v1/sluice/cluster?count=x").status_code == 400


def test_one_log_line_for_each_change_of_owner(struck):
    stage, blow = struck
    for stream in stage.streams:
        lines = [e for e in stage.proxy.events[blow.mark:] if e["event"] == "owner_changed" and e["stream"] == key(stream.name)]
        assert len(lines) == (1 if stream in blow.touched else 0), lines
        for line in lines:
            assert line["origin"] == stage.origins[stage.owner(stream.name)].incarnation
            assert line["previous"] in blow.ids and line["epoch"] and line["reason"]


def test_explain(struck):
    """`sluice explain STREAM` and its API: the history of owners, with times and reasons."""
    stage, blow = struck
    stream = blow.touched[0]
    answer = get(stage.proxy.api, f"/api/v1/sluice/explain?stream=live/{stream.name}")
    assert answer.status_code == 200, answer.text
    events = answer.json()["events"]
    origins = [e["origin"] for e in events if e["origin"]]
    assert origins[0] in blow.ids and origins[-1] == stage.origins[stage.owner(stream.name)].incarnation
    assert [e["at_ms"] for e in events] == sorted(e["at_ms"] for e in events)
    assert any(e["reason"] for e in events)
    owners = [e for e in events if e["origin"] == origins[-1]]
    assert abs(owners[0]["at_ms"] / 1000 - blow.wall) < 10
    code, text = run_tool([BINARY, "explain", f"live/{stream.name}", "--api", stage.proxy.api])
    assert code == 0, text
    for incarnation in (origins[0], origins[-1]):
        assert incarnation in text, text
    assert get(stage.proxy.api, "/api/v1/sluice/explain?stream=live/nobody").status_code == 404
    code, text = run_tool([BINARY, "explain", "live/nobody", "--api", stage.proxy.api])
    assert code != 0 and "nobody" in text


def test_metrics(struck):
    """sluice_failover_total{reason}, sluice_failover_seconds as a histogram, degraded streams, states of the origins."""
    stage, blow = struck
    metrics = stage.proxy.metrics()
    assert metrics.types["sluice_failover_total"] == "counter" and metrics.types["sluice_failover_seconds"] == "histogram"
    assert metrics.total("sluice_failover_total") >= len(blow.touched)
    assert all(labels.get("reason") for labels, _ in metrics.named("sluice_failover_total"))
    assert metrics.total("sluice_failover_seconds_count") >= len(blow.touched)
    buckets = [(float(labels["le"]), value) for labels, value in metrics.named("sluice_failover_seconds_bucket")]
    assert buckets == sorted(buckets) and buckets[-1][0] == float("inf")
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert buckets[-1][1] == metrics.total("sluice_failover_seconds_count")
    assert metrics.total("sluice_degraded_streams") == 0
    assert metrics.total("sluice_origins", state="alive") == 2 and metrics.total("sluice_origins", state="dead") == 1


def test_degraded_while_nobody_is_there(world):
    """The only origin is killed: the stream is counted as degraded until another is there."""
    stage = Stage(world, origins=1, streams=2, viewers=1)
    blow = stage.strike("o1")
    poll(lambda: stage.proxy.metrics().total("sluice_degraded_streams") == 2, what="degraded streams")
    state = cluster_state(stage.proxy.api)
    assert all(s["degraded"] for s in state["streams"].values()) and state["degraded"] == 2
    stage.restore()
    back = stage.await_back(blow)
    stage.await_flowing()
    stage.check()
    assert back and poll(lambda: stage.proxy.metrics().total("sluice_degraded_streams") == 0, what="nothing degraded")


PATHS = [("GET", "/api/v1/sluice/cluster"), ("GET", "/api/v1/sluice/explain?stream=live/s"), ("POST", "/api/v1/sluice/origins/o1/drain"),
         ("DELETE", "/api/v1/sluice/origins/o1/drain")]


@pytest.mark.parametrize("method,path", PATHS)
def test_token(world, method, path):
    """With a token set, all of /api/v1/sluice/* wants it; without one, loopback is let in."""
    token = "s3cret-token"
    proxy = world.proxy(env={"PROXY_HTTP_API_AUTH_ENABLED": "on", "PROXY_HTTP_API_AUTH_TYPE": "bearer", "PROXY_HTTP_API_AUTH_TOKEN": token})
    for head in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.request(method, f"http://{proxy.api}{path}", headers=head, timeout=10)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
        json.loads(answer.text)
    answer = requests.request(method, f"http://{proxy.api}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code in (200, 404), answer.text
    open_proxy = world.proxy()
    assert requests.request(method, f"http://{open_proxy.api}{path}", timeout=10).status_code in (200, 404)


def test_events_have_times(struck):
    """Log lines of the fail-over stand in the order in which things happen: lost, then the new owner."""
    stage, blow = struck
    lost = next(e for e in stage.proxy.events[blow.mark:] if e["event"] in ("origin_lost", "origin_dead"))
    owners = [e for e in stage.proxy.events[blow.mark:] if e["event"] == "owner_changed"]
    assert owners and wall(lost) <= wall(owners[0]) + 0.002
