"""The register call (rows 29 and 30), versions and metrics."""
import json
import socket

import pytest
import requests

from lib import compare, net
from lib.clients import Publisher
from lib.rtmp import Refused
from lib.sluice import Metrics, get, metrics, register, registration
from lib.waiting import poll


@pytest.fixture(scope="module")
def proxy(shared_world):
    return shared_world.proxy(play_wait="500ms")


@pytest.fixture(scope="module")
def guarded(shared_world):
    """A proxy that wants a token."""
    return shared_world.proxy(env={"PROXY_HTTP_API_AUTH_ENABLED": "on", "PROXY_HTTP_API_AUTH_TYPE": "bearer",
                                   "PROXY_HTTP_API_AUTH_TOKEN": "right"})


def unused_port():
    return net.free_port()


def test_success_answer(proxy):
    """compat.md: 200 and {"code":0,"pid":"<the proxy's pid as a string>"}."""
    answer = register(proxy.api, registration(unused_port(), server="ok"))
    assert answer.status_code == 200
    assert answer.json() == {"code": 0, "pid": str(proxy.pid)}
    assert answer.headers["Content-Type"].startswith("application/json")


def test_as_srs_sends_it(proxy):
    """The very body of the documentation, with the fields that SRS adds, is taken."""
    body = {"device_id": "origin2", "ip": "10.78.122.184", "server": "vid-46p14mm", "service": "z2s3w865", "pid": "42583",
            "rtmp": ["19352"], "http": ["8082"], "api": ["19853"], "srt": ["10082"], "rtc": ["udp://0.0.0.0:8001"],
            "summaries": {"code": 0, "data": {"self": {"cpu_percent": 0.1}, "system": {}}}}
    assert register(proxy.api, body).status_code == 200


@pytest.mark.parametrize("field", ["ip", "server", "service", "pid", "rtmp"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_missing_field(proxy, field, how):
    """400 naming the field, and no success JSON after it."""
    body = registration(unused_port())
    if how == "missing":
        del body[field]
    else:
        body[field] = [] if field == "rtmp" else ""
    answer = register(proxy.api, body)
    assert answer.status_code == 400
    assert f"empty {field}" in answer.text
    assert '"code":0' not in answer.text.replace(" ", "")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"ip":', b'"x"', b"[" * 100000, b'{"a":' * 50000],
                         ids=["empty", "cut", "array", "null", "not utf-8", "cut member", "string", "deep arrays", "deep objects"])
def test_bad_json(proxy, raw):
    assert register(proxy.api, None, raw=raw).status_code == 400


@pytest.mark.parametrize("field,value", [("rtmp", ["0"]), ("rtmp", ["65536"]), ("rtmp", ["x"]), ("rtmp", [{}]), ("rtmp", ["1935"] * 1000),
                                         ("ip", "not an address"), ("ip", {}), ("server", "a/b"), ("server", "a\nb"),
                                         ("server", "x" * 10000), ("service", "{x}"), ("pid", "1\0")])
def test_bad_value(proxy, field, value):
    """Values of the wrong kind or size: 400, naming the field."""
    body = registration(unused_port())
    body[field] = value
    answer = register(proxy.api, body)
    assert answer.status_code == 400, answer.text
    assert field in answer.text


@pytest.mark.parametrize("ip", ["0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::", "fe80::1", "ff02::1", "::ffff:169.254.1.1"])
def test_forbidden_address(proxy, ip):
    """Row 29: link-local, multicast and unspecified addresses are refused, and nobody is registered."""
    answer = register(proxy.api, registration(unused_port(), server="forbidden", ip=ip))
    assert 400 <= answer.status_code < 500, answer.text
    assert not [e for e in proxy.events if "forbidden" in str(e.get("origin", ""))]


def test_forbidden_address_in_an_endpoint(proxy):
    """Row 29: a concrete address in an endpoint beats `ip`, so it is judged as well."""
    body = registration(0, server="forbidden", rtmp=[f"169.254.169.254:{unused_port()}"])
    assert 400 <= register(proxy.api, body).status_code < 500


def test_address_outside_the_allowed_networks(world):
    """Row 29: PROXY_ORIGIN_NETWORKS; loopback stays allowed."""
    proxy = world.proxy(origin_networks="10.0.0.0/8")
    assert register(proxy.api, registration(1935, ip="10.1.2.3")).status_code == 200
    assert 400 <= register(proxy.api, registration(1935, ip="192.0.2.1")).status_code < 500
    assert register(proxy.api, registration(unused_port(), ip="127.0.0.1")).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}, {"Authorization": "Bearer"}])
def test_without_the_token(guarded, headers):
    """Row 29: 401 with WWW-Authenticate: Bearer."""
    answer = register(guarded.api, registration(unused_port()), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not guarded.find("origin_added")


def test_with_the_token(guarded, world, tags):
    """An origin that knows the token registers and serves; the token is in no log."""
    world.origin([guarded], server_id="knows", register_token="right")
    Publisher(guarded.rtmp, "live", "s").put_all(tags[:10]).close()
    assert "right" not in [str(v) for e in guarded.events for v in e.values()]


def test_versions_stay_open(guarded):
    """/api/v1/versions needs no token."""
    assert get(guarded.api, "/api/v1/versions").status_code == 200
    assert get(guarded.http_api, "/api/v1/versions").status_code == 200


def test_body_over_a_mebibyte(proxy):
    """413, and the connection's other end is not left waiting."""
    body = registration(unused_port())
    body["summaries"] = "x" * ((1 << 20) + 1)
    try:
        status = register(proxy.api, body).status_code
    except requests.ConnectionError:  # it may close while we still send: then ask in small pieces
        status = announced_length((1 << 20) + 1, proxy.api)
    assert status == 413
    assert announced_length(1 << 40, proxy.api) == 413


def announced_length(length, api):
    """The status that a POST gets for its Content-Length alone."""
    with net.connect(api) as sock:
        sock.sendall(f"POST /api/v1/srs/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {length}\r\n\r\n".encode() + b"{")
        answer = sock.recv(4096)
    return int(answer.split()[1])


def test_body_just_under_a_mebibyte(proxy):
    body = registration(unused_port(), server="large")
    body["summaries"] = {"pad": "x" * ((1 << 20) - 2000)}
    assert len(json.dumps(body)) < 1 << 20
    assert register(proxy.api, body).status_code == 200


def test_other_methods_and_paths(proxy):
    """405 with Allow for a known path, 404 for an unknown one."""
    answer = get(proxy.api, "/api/v1/srs/register")
    assert answer.status_code == 405 and "POST" in answer.headers["Allow"]
    assert get(proxy.api, "/nothing/here").status_code == 404
    assert get(proxy.api, "/api/v1/srs/..%2f..%2fetc/passwd").status_code == 404


def test_slow_request_is_closed(proxy):
    """A client that never finishes its headers does not stay, nor does he stop others."""
    slow = [net.connect(proxy.api) for _ in range(20)]
    try:
        for sock in slow:
            sock.sendall(b"POST /api/v1/srs/register HTTP/1.1\r\nHost:")
        assert register(proxy.api, registration(unused_port(), server="quick")).status_code == 200
        for sock in slow:
            sock.settimeout(15)
            while sock.recv(4096):
                pass
    except ConnectionResetError:
        pass
    except socket.timeout:
        pytest.fail("a request that is never finished is kept open")
    finally:
        for sock in slow:
            sock.close()


def test_restarted_origin_voids_its_old_incarnation(world, tags):
    """Row 30: a new service or pid at the same address: the old mappings are void at once, the old incarnation is refused from then on."""
    proxy = world.proxy(play_wait="500ms")
    nginx = world.nginx()
    old = registration(nginx.port, server="srs", service="first", pid="100")
    new = registration(nginx.port, server="srs", service="second", pid="200")
    assert register(proxy.api, old).status_code == 200
    publisher = world.publisher(proxy.rtmp, name="s").put_all(tags[:30])
    assert register(proxy.api, new).status_code == 200
    proxy.await_event("origin_void", origin="srs-first-100")
    late = register(proxy.api, old)
    assert 400 <= late.status_code < 500, "the voided incarnation was taken again"
    publisher.close()
    world.publisher_again(proxy.rtmp, name="s").put_all(tags[:30]).close()
    proxy.await_event("session_start", origin="srs-second-200", kind="publish")


def test_origin_restarted_elsewhere(world, tags):
    """Row 30: the same server id at another port, the old one dead: the new one takes over, and no publish fails or ends."""
    proxy = world.proxy(play_wait="500ms")
    first = world.origin([proxy], server_id="moving")
    publisher = world.publisher(proxy.rtmp, name="s").put_all(tags[:30])
    player = world.player(proxy.rtmp, name="s")
    player.await_packet(compare.last_frame(tags[:30]))
    first.kill()
    second = world.origin([proxy], server_id="moving", wait=False)
    proxy.await_event("origin_added", origin=lambda o: o.endswith(f"-{second.pid}"))
    for number in range(5):
        Publisher(proxy.rtmp, "live", f"after{number}").put_all(tags[:5]).close()
    publisher.put_all(tags[30:])
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)


def test_origin_that_stops_is_not_picked(world, tags):
    """An origin that ended is never picked again, without waiting for its TTL (300 s)."""
    proxy = world.proxy()
    first, second = world.origin([proxy], server_id="a"), world.origin([proxy], server_id="b")
    first.kill()
    for number in range(10):
        Publisher(proxy.rtmp, "live", f"s{number}").put_all(tags[:5]).close()
    starts = proxy.await_event("session_start", kind="publish", count=10)
    assert all(e["origin"].startswith("b-") for e in starts)
    assert second.alive


def test_no_origin_at_all(world):
    """A publisher gets a status that says so, in a few seconds."""
    proxy = world.proxy()
    with pytest.raises(Refused) as refusal:
        world.publisher(proxy.rtmp, name="s")
    assert refusal.value.code.startswith("NetStream.Publish."), refusal.value


def test_origin_registers_with_several_proxies(world, tags):
    """--register may be given more than once: what is published through one proxy is played through the other after a restart of neither."""
    first, second = world.proxy(), world.proxy()
    world.origin([first, second])
    Publisher(first.rtmp, "live", "a").put_all(tags[:5]).close()
    Publisher(second.rtmp, "live", "b").put_all(tags[:5]).close()


def test_origin_outlives_its_proxy(world, tags):
    """The proxy goes and comes back on its port: the origin registers again by itself."""
    proxy = world.proxy()
    world.origin([proxy])
    ports = ["--rtmp-server", proxy.rtmp, "--system-api", proxy.api, "--http-api", "127.0.0.1:0", "--http-server", "127.0.0.1:0",
             "--webrtc-server", "127.0.0.1:0", "--srt-server", "127.0.0.1:0"]
    proxy.stop()
    again = world.proxy(ports=ports)
    again.await_event("origin_added")
    Publisher(again.rtmp, "live", "s").put_all(tags[:5]).close()


# -- versions and metrics ----------------------------------------------------------------------------------------


def test_versions_of_a_proxy(proxy):
    """compat.md: {signature, version} on 11985 and 12025."""
    for address in (proxy.api, proxy.http_api):
        answer = get(address, "/api/v1/versions")
        assert answer.status_code == 200
        body = answer.json()
        assert body["signature"].startswith("Sluice") and body["version"].count(".") == 2


def test_versions_on_the_http_port(proxy):
    """compat.md: {code, pid, data{major, minor, revision, version}} on 18080."""
    body = get(proxy.ready_event["http"], "/api/v1/versions").json()
    assert body["code"] == 0 and body["pid"] == str(proxy.pid)
    version = body["data"]
    assert version["version"] == f"{version['major']}.{version['minor']}.{version['revision']}"


def test_versions_of_an_origin(world):
    """{code, server, service, pid, data{major, minor, revision, version}}, by which a proxy knows the incarnation."""
    origin = world.origin(server_id="named")
    body = get(origin.api, "/api/v1/versions").json()
    assert body["code"] == 0 and body["server"] == "named" and body["pid"] == str(origin.pid) and body["service"]
    version = body["data"]
    assert version["version"] == f"{version['major']}.{version['minor']}.{version['revision']}"


def test_metrics_are_prometheus_text(world, stream, tags):
    """Every line parses; sessions, bytes, refusals, origins and streams are counted right; no label names a stream."""
    cluster = world.run(origins=2, origin={"second_publisher": "refuse"})
    publisher = world.publisher(cluster.rtmp, name=stream).put_all(tags)
    player = world.player(cluster.rtmp, name=stream)
    player.await_packet(compare.last_frame(tags))
    assert get(cluster.api, "/metrics").headers["Content-Type"].startswith("text/plain")

    # Of the control thread these are a snapshot, some 100 ms old; an origin that was held up is not alive for a moment.
    poll(lambda: cluster.metrics().total("sluice_streams") == 1, what="one stream")
    poll(lambda: cluster.metrics().total("sluice_origins", state="alive") == 2, what="two origins")
    figures = cluster.metrics()
    assert figures.total("sluice_sessions", role="proxy", proto="rtmp") == 2
    assert figures.total("sluice_bytes_total", dir="in", proto="rtmp") > sum(len(t.payload) for t in tags)
    assert figures.types["sluice_bytes_total"] == "counter" and figures.types["sluice_sessions"] == "gauge"
    assert not any(stream in str(labels) for _, labels, _ in figures.samples), "a label per stream that nobody asked for"
    per_stream = "".join(get(e["api"], "/metrics?streams=1").text for e in cluster.origin_events)
    assert f"/live/{stream}" in per_stream

    refused = figures.total("sluice_refused_total", proto="rtmp")
    with pytest.raises(Refused):
        world.publisher(cluster.rtmp, name=stream)
    poll(lambda: cluster.metrics().total("sluice_refused_total", proto="rtmp") > refused, what="a counted refusal")
    for event in cluster.origin_events:
        assert isinstance(metrics(event["api"]), Metrics)
    publisher.close()


def test_sessions_of_origins_are_counted(cluster, world, stream, tags):
    """Per role: the origins' own /metrics count publishers and pulls."""
    publisher = world.publisher(cluster.rtmp, name=stream).put_all(tags)
    world.player(cluster.rtmp, name=stream).await_packet(compare.last_frame(tags))
    total = sum(metrics(e["api"]).total("sluice_sessions", role="origin") for e in cluster.origin_events)
    assert total >= 2
    publisher.close()
