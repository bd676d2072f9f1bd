"""WebRTC's requests through a proxy: what pages may read, who is asked, what is undone, offers that the origin makes. The origin and the
clients are scripts (lib/rtc_script)."""
import contextlib
import json
import os
import socket
import threading

import pytest
import requests

from lib.fake_origin import FakeOrigin
from lib.rtc_script import RtcClient, RtcScript, attribute, candidates, description
from lib.sluice import UNHURRIED, cluster_state, ports, register, registration
from lib.waiting import poll

PAGE = {"Origin": "https://page.example"}
SLOW = {"play_wait": "1s", **UNHURRIED}


class Ground:
    """A proxy and one origin by script."""

    def __init__(self, world, stream, **options):
        self.world, self.stream = world, stream
        self.proxy = world.proxy(**{**SLOW, **options})
        self.origin = world.hold(RtcScript()).register(self.proxy)

    def client(self, kind="whip", stream=None):
        return self.world.hold(RtcClient(self.proxy.http_api, stream or self.stream, kind))

    def answer(self, **by_method):
        """What the origin answers to these methods; else as SRS."""
        def choose(handler):
            return by_method.get(handler.command, self.origin.as_srs)(handler)
        self.origin.answer = choose

    def asked(self, method):
        """(target, headers) of such requests at the origin."""
        return [r[1:] for r in list(self.origin.http.requests) if r[0] == method]

    def await_asked(self, method):
        self.origin.http.signal.wait(lambda: self.asked(method), what=f"{method} at the origin")
        return self.asked(method)[-1]


@pytest.fixture
def ground(world, stream):
    return Ground(world, stream)


# -- what a page may read

def assert_readable(answer):
    assert answer.headers["Access-Control-Allow-Origin"] == "*", answer.headers
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Location", "WWW-Authenticate", "Accept-Patch", "Accept-Post", "Link", "ETag"} <= set(exposed)
    assert "," not in answer.headers["Access-Control-Allow-Origin"], "once"


def test_a_page_may_read_every_answer(world, stream):
    """A browser shows a page nothing of an answer without CORS: also where the proxy refuses before it looks at the call."""
    proxy = world.proxy(env={"PROXY_HTTP_API_AUTH_ENABLED": "on", "PROXY_HTTP_API_AUTH_TYPE": "bearer", "PROXY_HTTP_API_AUTH_TOKEN": "secret"},
                        **SLOW)
    client = world.hold(RtcClient(proxy.http_api, stream, "whip"))
    without = client.post(headers=PAGE)
    assert without.status_code == 401 and without.headers["WWW-Authenticate"] == "Bearer"
    assert_readable(without)
    token = {**PAGE, "Authorization": "Bearer secret"}
    api = f"http://{proxy.http_api}/rtc/v1/"
    for method, path, status in (("PUT", "whip/", 405), ("GET", "play/", 405), ("POST", "resource/1", 405), ("POST", "nothing", 404), ("GET", "whip", 204),
                                 ("OPTIONS", "whip", 204), ("DELETE", "whip/?session=a:b", 404), ("POST", "whip/", 415)):
        answer = requests.request(method, api + path, headers=token, timeout=10)
        assert answer.status_code == status, (method, path, answer.text)
        assert_readable(answer)
    assert_readable(client.post(headers=token))  # 503: no origin


def test_what_stands_at_a_path(ground):
    """OPTIONS and Allow tell what each path takes, each method once."""
    api = f"http://{ground.proxy.http_api}/rtc/v1/"
    fragment = "application/trickle-ice-sdpfrag"
    for path, allowed, accept_post, accept_patch in (
            ("whip/", "GET, HEAD, POST, DELETE, PATCH, OPTIONS", "application/sdp", fragment),
            ("whep", "GET, HEAD, POST, DELETE, PATCH, OPTIONS", "application/sdp", f"{fragment}, application/sdp"),
            ("publish/", "POST, OPTIONS", "application/json", None), ("play", "POST, OPTIONS", "application/json", None),
            ("resource/x", "GET, HEAD, DELETE, PATCH, OPTIONS", None, f"{fragment}, application/sdp")):
        told = requests.options(api + path, timeout=10)
        assert told.status_code == 204 and told.headers["Allow"] == allowed, path
        assert told.headers.get("Accept-Post") == accept_post and told.headers.get("Accept-Patch") == accept_patch, path
        assert told.headers["Access-Control-Allow-Methods"] == allowed.removeprefix("GET, HEAD, ")
        refused = requests.put(api + path, timeout=10)
        assert refused.status_code == 405
        assert sorted(refused.headers["Allow"].split(", ")) == sorted(allowed.split(", ")), path


# -- who is asked

def test_a_publish_finds_the_one_origin_that_serves_webrtc(world, stream):
    """However many others there are: they are not tried one after the other."""
    proxy = world.proxy(**SLOW)
    for number in range(12):
        other = world.hold(FakeOrigin())
        register(proxy.api, registration(other.port, server=f"n{number}")).raise_for_status()
    world.hold(RtcScript()).register(proxy)
    assert [world.hold(RtcClient(proxy.http_api, f"{stream}{n}", "whip")).post().status_code for n in range(12)] == [201] * 12
    assert proxy.find("session_refused") == []


# -- where media goes

def test_a_client_that_came_by_ipv6_gets_an_address_that_is_served(world, stream):
    """Media is served by IPv4 alone, the API by both: the client is told an IPv4 address of the interface that it reached."""
    proxy = world.proxy(ports=ports(http_api="[::]:0", webrtc_server="0.0.0.0:0"), **SLOW)
    world.hold(RtcScript()).register(proxy)
    api, media = (int(proxy.ready_event[k].rpartition(":")[2]) for k in ("http_api", "webrtc"))
    client = world.hold(RtcClient(f"[::1]:{api}", stream, "whip")).begin()
    assert candidates(client.answer) == [("127.0.0.1", media, "udp")]
    client.await_checked().exchange()


# -- what is undone

def hang_up(ground, client, body=None, path=None, content_type="application/sdp"):
    """Asks, hangs up once the origin has been asked, and returns when the proxy knows."""
    body = (client.offer() if body is None else body).encode()
    host, port = ground.proxy.http_api.rsplit(":", 1)
    with contextlib.closing(socket.create_connection((host, int(port)), 10)) as asking:
        path = path or client.url.partition(ground.proxy.http_api)[2]
        asking.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nAuthorization: Bearer mine\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        ground.await_asked("POST")
    # Asked later, so answered when what came before has been seen.
    assert requests.get(f"http://{ground.proxy.http_api}/api/v1/versions", timeout=10).status_code == 200


class Hold:
    """Answers of the origin that wait for `go`."""

    def __init__(self, answer):
        self.go, self._answer = threading.Event(), answer

    def __call__(self, handler):
        assert self.go.wait(30)
        return self._answer(handler)


def assert_nothing_is_left(ground):
    assert ground.proxy.metrics().total("sluice_sessions", proto="rtc") == 0
    assert ground.proxy.find("session_start") == []
    poll(lambda: not cluster_state(ground.proxy.api)["streams"].get(f"__defaultVhost__/live/{ground.stream}", {}).get("publisher"), what="nobody")


def test_what_the_origin_made_for_a_client_that_hung_up_is_deleted(ground):
    hold = Hold(ground.origin.as_srs)
    ground.answer(POST=hold)
    hang_up(ground, ground.client())
    hold.go.set()
    target, headers = ground.await_asked("DELETE")
    session = next(iter(ground.origin.passwords))
    assert target.startswith("/rtc/v1/whip/?action=delete&token=") and target.endswith(f"&session={session}")
    assert headers["authorization"] == "Bearer mine" and "content-type" not in headers and int(headers.get("content-length", 0)) == 0
    undone = ground.proxy.await_event("rtc_undone")
    assert (undone["reason"], undone["outcome"]) == ("client_gone", "deleted")
    assert ground.proxy.metrics().total("sluice_rtc_undone_total", reason="client_gone", outcome="deleted") == 1
    assert_nothing_is_left(ground)
    assert ground.client().begin(), "the stream is free"


def test_a_refusal_that_comes_when_the_client_has_hung_up(ground):
    hold = Hold(lambda handler: handler.reply(403, b"no"))
    ground.answer(POST=hold)
    hang_up(ground, ground.client())
    hold.go.set()
    ground.answer()
    assert ground.client(stream=ground.stream + "2").begin()
    assert ground.asked("DELETE") == [] and ground.proxy.find("rtc_undone") == []


def test_the_older_calls_name_nothing_to_delete(ground):
    """It is said, and no more: the origin ends the session when no check comes."""
    hold = Hold(ground.origin.as_srs)
    ground.answer(POST=hold)
    client = ground.client()
    body = json.dumps({"sdp": client.offer(), "streamurl": f"webrtc://a/live/{ground.stream}"})
    hang_up(ground, client, body, "/rtc/v1/publish/", "application/json")
    hold.go.set()
    assert ground.proxy.await_event("rtc_undone")["outcome"] == "no_resource"
    assert_nothing_is_left(ground)


@pytest.mark.parametrize("body", [b"", b"<html>", b"v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", b"v=0\r\n" + b"a=x\r\n" * 20000],
                         ids=["none", "html", "no_credentials", "too_long"])
def test_what_the_origin_made_with_an_answer_of_no_use_is_deleted(ground, body):
    ground.answer(POST=lambda handler: handler.reply(201, body, [("Content-Type", "application/sdp"), ("Location", "https://origin/sessions/7?x=1")]))
    refused = ground.client().post()
    assert refused.status_code == 502 and "origin server's answer" in refused.json()["error"]
    assert ground.await_asked("DELETE")[0] == "/sessions/7?x=1"
    undone = ground.proxy.await_event("rtc_undone")
    assert (undone["reason"], undone["outcome"]) == ("bad_answer", "deleted")
    assert_nothing_is_left(ground)


# -- PATCH

def patch(client, body, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    return requests.patch(f"http://{client.api}{client.location}", data=body, headers=headers, timeout=10)


def test_a_patch_of_another_type_is_refused(ground):
    """RFC 9725 §4.3; RFC 5789 §2.2: 415 says what is taken. Nothing of it reaches the origin."""
    fragment = "application/trickle-ice-sdpfrag"
    publisher = ground.client().begin()
    viewer = ground.client("whep").begin()
    for client, content_type, taken in ((publisher, "application/json", fragment), (publisher, None, fragment), (publisher, "application/sdp", fragment),
                                        (viewer, "text/plain", f"{fragment}, application/sdp")):
        refused = patch(client, client.offer(), content_type)
        assert refused.status_code == 415 and refused.headers["Accept-Patch"] == taken, (content_type, refused.text)
        assert_readable(refused)
    assert patch(publisher, "hello", fragment).status_code == 400
    assert patch(viewer, "v=0\r\n", "application/sdp").status_code == 400
    assert ground.asked("PATCH") == []
    # What the origin makes of the right type is its affair.
    assert patch(publisher, "a=ice-ufrag:abcd\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", fragment).status_code == 405


def test_a_publisher_with_a_path_of_ours_answers_no_offer(ground):
    ground.origin.answer = ground.origin.with_own_paths
    publisher = ground.client().begin()
    assert publisher.location.startswith("/rtc/v1/resource/")
    assert patch(publisher, publisher.offer(), "application/sdp").status_code == 415
    assert ground.asked("PATCH") == []


# -- offers of the origin

class Offering:
    """An origin that answers a player's offer with one of its own, and is answered by PATCH."""

    def __init__(self, ground, status, location="/own/7?x=1"):
        self.origin, self.status, self.location = ground.origin, status, location
        self.ufrag, self.password = "theirs", os.urandom(12).hex()
        self.answers = []
        ground.answer(POST=self.offer, PATCH=self.take)

    def offer(self, handler):
        if "whip" in handler.path:
            return self.origin.as_srs(handler)
        sdp = description(self.ufrag, self.password, [f"0 1 udp 2130706431 10.9.8.7 {self.origin.udp.address[1]} typ host"])
        headers = [("Location", self.location)] if self.location else []
        return handler.reply(self.status, sdp.encode(), [("Content-Type", "application/sdp"), *headers])

    def take(self, handler):
        if handler.path != self.location:
            return handler.reply(404)
        self.answers.append(handler.body.decode())
        self.origin.passwords[f"{self.ufrag}:{attribute(self.answers[-1], 'ice-ufrag')}"] = self.password
        return handler.reply(204)


@pytest.mark.parametrize("status", [406, 201])
def test_an_offer_of_the_origin_is_answered_through_the_proxy(ground, status):
    """It names the proxy's addresses and a Location of the proxy; the answer goes to the origin without the player's addresses, and his checks
    are known by the name that he has in it."""
    ground.client().begin()
    offering = Offering(ground, status)
    player = ground.client("whep")
    offered = player.post()
    host, port = ground.proxy.ready_event["webrtc"].split(":")
    assert offered.status_code == status and offered.headers["Content-Type"] == "application/sdp"
    assert candidates(offered.text) == [(host, int(port), "udp")] and "10.9.8.7" not in offered.text
    assert offered.headers["Location"].startswith("/rtc/v1/resource/")

    player.take(offered.text, offered.headers["Location"])
    answerer = ground.client("whep")  # as a browser with a connection of its own for it
    answered = patch(player, answerer.offer(), "application/sdp; charset=utf-8")
    assert answered.status_code == 204, answered.text
    assert len(offering.answers) == 1 and "192.168.77.1" not in offering.answers[0] and ".local" not in offering.answers[0]
    answerer.take(offered.text, player.location)
    answerer.await_checked().exchange()
    assert answerer.delete().status_code == 200
    assert ground.asked("DELETE")[-1][0] == offering.location
    assert ground.proxy.await_event("session_end", kind="play")["reason"] == "deleted"


def test_an_offer_that_names_no_session_is_a_refusal(ground):
    ground.client().begin()
    Offering(ground, 406, location=None)
    refused = ground.client("whep").post()
    assert refused.status_code == 406 and "offer of its own" in refused.json()["error"] and "candidate" not in refused.text
    assert ground.proxy.metrics().total("sluice_sessions", proto="rtc") == 1
