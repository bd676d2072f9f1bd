"""WebRTC through a proxy, byte by byte: signalling, and where datagrams go. The origin and the clients are scripts (lib/rtc_script); real
media is in test_rtc_media."""
import itertools
import os
import random
import threading

import pytest
import requests

from lib.rtc_script import RtcClient, RtcScript, UdpPeer, attribute, candidates, is_stun
from lib.sluice import UNHURRIED, cluster_state, ports
from lib.waiting import poll


class Ground:
    """A proxy and one origin by script, whose stream live/STREAM is published through the proxy by WHIP."""

    def __init__(self, world, stream, publish=True, **options):
        self.world, self.stream = world, stream
        # The script answers probes when it gets to run.
        self.proxy = world.proxy(**{"play_wait": "1s", **UNHURRIED, **options})
        self.origin = world.hold(RtcScript()).register(self.proxy)
        self.publisher = self.client("whip").begin().await_checked() if publish else None

    def client(self, kind="whep", stream=None):
        return self.world.hold(RtcClient(self.proxy.http_api, stream or self.stream, kind))

    def dropped(self, reason):
        return self.proxy.metrics().total("sluice_rtc_dropped_total", reason=reason)

    def await_dropped(self, reason, count):
        return poll(lambda: self.dropped(reason) >= count, what=f"{count} dropped for {reason}")


    def await_forgotten(self, client):
        """Until its address is a stranger's: the shards hear of a session's end some time after the log."""
        before = self.dropped("unknown_address")

        def forgotten():
            client.peer.send(b"\x80late", client.media)
            return self.dropped("unknown_address") > before
        poll(forgotten, what="a dropped datagram of one whose session has ended")


@pytest.fixture
def ground(world, stream):
    return Ground(world, stream)


# -- signalling

def test_a_session_begins_and_ends(ground):
    """201 with this proxy's addresses; media both ways over it; DELETE ends it, here and at the origin."""
    client = ground.client()
    answer = client.post()
    assert answer.status_code == 201 and answer.headers["Content-Type"] == "application/sdp"
    assert answer.headers["Link"] == '<stun:stun.example>; rel="ice-server"' and answer.headers["ETag"] == '"e1"'
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and "Location" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Location"].startswith("/rtc/v1/whep/?action=delete&token=")
    host, port = ground.proxy.ready_event["webrtc"].split(":")
    assert candidates(answer.text) == [(host, int(port), "udp")]
    client.take(answer.text, answer.headers["Location"])

    start = ground.proxy.await_event("session_start", proto="rtc", kind="play")
    assert start["stream"].endswith("/live/" + ground.stream) and start["origin"].startswith("r1-")
    client.await_checked().exchange()
    ground.publisher.exchange()
    assert ground.proxy.metrics().total("sluice_sessions", proto="rtc") == 2
    streams = cluster_state(ground.proxy.api)["streams"]
    seen = streams["__defaultVhost__/live/" + ground.stream]
    assert seen["viewers"] == 1 and seen["publisher"]

    gone = client.delete()
    assert gone.status_code == 200 and gone.text == "ok"
    assert ("DELETE", client.location) in [r[:2] for r in ground.origin.http.requests]
    end = ground.proxy.await_event("session_end", session=start["session"])
    assert end["reason"] == "deleted" and end["bytes_in"] > 0 and end["bytes_out"] > 0
    ground.await_forgotten(client)
    assert client.delete().status_code == 200, "once more: that is the origin's affair"
    ground.publisher.exchange()
    ground.publisher.delete()
    poll(lambda: not cluster_state(ground.proxy.api)["streams"].get("__defaultVhost__/live/" + ground.stream, {}).get("publisher"),
         what="end of the publish")


def test_what_the_client_says_reaches_the_origin(ground):
    """Query, Authorization and other headers; the offer but for the client's addresses."""
    client = ground.client()
    client.begin(more="&token=a%20b", headers={"Authorization": "Bearer t", "User-Agent": "u/1"})
    method, target, headers = [r for r in ground.origin.http.requests if r[0] == "POST"][-1]  # probes come in between
    assert (method, target) == ("POST", f"/rtc/v1/whep/?app=live&stream={ground.stream}&token=a%20b")
    assert headers["authorization"] == "Bearer t" and headers["user-agent"] == "u/1" and headers["content-type"] == "application/sdp"
    assert headers["x-real-ip"] == "127.0.0.1"
    offer = ground.origin.offers[-1]
    assert "192.168.77.1" not in offer and ".local" not in offer
    assert attribute(offer, "ice-ufrag") == client.ufrag and attribute(offer, "ice-pwd") == client.password


@pytest.mark.parametrize("status", [401, 403, 404, 406, 500, 307])
def test_refusals_pass(ground, status):
    def refuse(handler):
        if handler.command == "GET":
            return ground.origin.as_srs(handler)
        return handler.reply(status, b"no, said the origin", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/x"), ("Location", "http://a.b/c")])
    ground.origin.answer = refuse
    answer = ground.client().post(allow_redirects=False)
    assert (answer.status_code, answer.text) == (status, "no, said the origin")
    assert answer.headers["WWW-Authenticate"] == "Bearer" and answer.headers["Content-Type"] == "text/x"
    assert answer.headers["Location"] == "http://a.b/c"
    assert ground.proxy.await_event("session_refused", reason="origin_refused")["status"] == status
    # A publish that was refused holds nothing.
    other = ground.client("whip", stream=ground.stream + "2")
    assert other.post(allow_redirects=False).status_code == status
    poll(lambda: not cluster_state(ground.proxy.api)["streams"].get(f"__defaultVhost__/live/{ground.stream}2", {}).get("publisher"), what="nobody")


def test_what_is_no_offer_is_refused(ground):
    client = ground.client()
    asked = len(ground.origin.http.requests)
    good = client.offer()
    cases = [(415, dict(headers={"Content-Type": "application/json"})), (400, dict(body="")), (400, dict(body="hello")),
             (406, dict(body=client.offer(protocol="RTP/AVP"))), (400, dict(body=good.replace("a=ice-ufrag", "a=x"))),
             (400, dict(body=good.replace("a=ice-pwd:", "a=ice-pwd:s\r\na=x:"))), (400, dict(body=good.replace("a=fingerprint", "a=x"))),
             (413, dict(body=good + "a=x\r\n" * 20000)), (400, dict(body=good.replace("s=-", "s=\0")))]
    for status, options in cases:
        answer = client.post(**options)
        assert answer.status_code == status, (options, answer.text)
        assert answer.headers["Access-Control-Allow-Origin"] == "*" and answer.json()["code"] == status
    assert requests.post(f"http://{ground.proxy.http_api}/rtc/v1/whep/", data=good, headers={"Content-Type": "application/sdp"},
                         timeout=10).status_code == 400
    posts = [r for r in ground.origin.http.requests[asked:] if r[0] == "POST"]
    assert posts == []


def test_a_play_whose_stream_does_not_come_is_404(world, stream):
    assert Ground(world, stream, publish=False).client().post().status_code == 404


def test_a_play_waits_for_its_stream(world, stream):
    ground = Ground(world, stream, publish=False, play_wait="20s")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(ground.client().post().status_code))
    waiting.start()
    poll(lambda: cluster_state(ground.proxy.api)["waiting"] >= 1, what="the waiting viewer")
    ground.client("whip").begin()
    waiting.join(60)
    assert answers == [201]


def test_the_older_calls(ground):
    client = ground.client()
    answer = requests.post(f"http://{ground.proxy.http_api}/rtc/v1/play/", timeout=10,
                           json={"sdp": client.offer(), "streamurl": f"webrtc://a:1985/live/{ground.stream}?token=x", "tid": "7"})
    body = answer.json()
    assert answer.status_code == 200 and body["code"] == 0 and body["server"] == "r1"
    client.take(body["sdp"])
    assert body["sessionid"] == client.username
    client.await_checked().exchange()
    other = ground.client("whip", stream=ground.stream + "2")
    answer = requests.post(f"http://{ground.proxy.http_api}/rtc/v1/publish/", timeout=10,
                           json={"sdp": other.offer(), "streamurl": f"webrtc://a/live/{other.stream}"})
    other.take(answer.json()["sdp"]).await_checked().exchange()
    ground.proxy.await_event("session_start", proto="rtc", kind="publish", count=2)


def test_advertised_addresses(world, stream):
    ground = Ground(world, stream, publish=False, advertise="203.0.113.7,2001:db8::7")
    client = ground.client("whip").begin()
    port = int(ground.proxy.ready_event["webrtc"].rpartition(":")[2])
    assert candidates(client.answer) == [("203.0.113.7", port, "udp"), ("2001:db8::7", port, "udp")]


def test_without_advertised_addresses_the_one_that_was_reached_counts(world, stream):
    proxy = world.proxy(ports=ports(http_api="[::]:0", webrtc_server="[::]:0"), **UNHURRIED)
    world.hold(RtcScript()).register(proxy)
    api, media = (int(proxy.ready_event[k].rpartition(":")[2]) for k in ("http_api", "webrtc"))
    for host, expected in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
        client = world.hold(RtcClient(f"{host}:{api}", stream + expected[-1], "whip")).begin()
        assert candidates(client.answer) == [(expected, media, "udp")]
        if expected == "127.0.0.1":
            client.await_checked().exchange()
        else:
            client.peers.append(UdpPeer("::1"))
            client.await_checked(client.peers[-1]).exchange(client.peers[-1])
    wanted = world.hold(RtcClient(f"127.0.0.1:{api}", stream + "e", "whip")).begin(more="&eip=198.51.100.4")
    assert candidates(wanted.answer) == [("198.51.100.4", media, "udp")]


def test_an_ice_restart(ground):
    """PATCH with new credentials: the answer's are the origin's new ones, with this proxy's addresses; checks with both names are known."""
    client = ground.client().begin().await_checked()

    def restart(handler):
        if handler.command != "PATCH":
            return ground.origin.as_srs(handler)
        fragment = handler.body.decode()
        assert "192.168.77.1" not in fragment and handler.headers["If-Match"] == "*"
        ground.origin.passwords[f"newo:{attribute(fragment, 'ice-ufrag')}"] = "p" * 24
        body = f"a=ice-ufrag:newo\r\na=ice-pwd:{'p' * 24}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:0 1 udp 1 10.9.8.7 1 typ host\r\n"
        return handler.reply(200, body.encode(), [("Content-Type", "application/trickle-ice-sdpfrag"), ("ETag", '"e2"')])
    ground.origin.answer = restart
    fragment = ("a=ice-ufrag:newc\r\na=ice-pwd:" + "c" * 24 + "\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
                "a=candidate:1 1 udp 1 192.168.77.1 5 typ host\r\n")
    answer = requests.patch(f"http://{ground.proxy.http_api}{client.location}", data=fragment, timeout=10,
                            headers={"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"})
    assert answer.status_code == 200 and answer.headers["ETag"] == '"e2"'
    assert candidates(answer.text)[0][:2] == client.media and "10.9.8.7" not in answer.text
    client.exchange()
    client.username, client.key = "newo:newc", b"p" * 24
    client.await_checked(client.another()).exchange(client.peers[-1])


def test_names_before_many_ice_restarts_end_with_the_session(ground):
    """A session keeps a few names; none of those that it ever had finds it, or its media, once it is deleted."""
    ground.origin.answer = ground.origin.with_own_paths
    client = ground.client().begin().await_checked()
    names = [(client.username, client.key)]
    for _ in range(5):
        client.restart()
        names.append((client.username, client.key))
    client.await_checked().exchange()
    assert client.delete().status_code == 200
    ground.proxy.await_event("session_end", kind="play", reason="deleted")
    ground.await_forgotten(client)
    ground.publisher.exchange()  # its last checks are at the origin
    checks = ground.origin.udp.count(is_stun)
    looked_up = ground.dropped("unknown_name")
    for username, key in names:
        client.check(username=username, key=key)
    client.peer.send(b"\x80later", client.media)
    client.check()  # of one peer everything is looked at in its order
    ground.await_dropped("unknown_name", looked_up + len(names) + 1)
    assert ground.origin.udp.count(is_stun) == checks
    assert ground.origin.udp.count(lambda d: d == b"\x80later") == 0


def test_a_location_of_another_form(ground):
    """Absolute, and with a path that is none of this proxy's: the client gets one that is; DELETE goes to the origin's own."""
    def answer(handler):
        if handler.command == "POST":
            sdp, _ = ground.origin.agree(handler.body.decode())
            return handler.reply(201, sdp.encode(), [("Content-Type", "application/sdp"), ("Location", "https://origin.example/sessions/7?x=1")])
        return ground.origin.as_srs(handler)
    ground.origin.answer = answer
    client = ground.client().begin()
    assert client.location.startswith("/rtc/v1/resource/")
    client.await_checked()
    assert client.delete().status_code == 200
    assert [r[:2] for r in ground.origin.http.requests if r[0] == "DELETE"] == [("DELETE", "/sessions/7?x=1")]
    ground.proxy.await_event("session_end", reason="deleted")


def test_who_only_knows_a_sessions_name_ends_nothing(ground):
    """It stands in every check. The origin knows no such path; the proxy does not take that for the session's end."""
    ground.origin.answer = ground.origin.with_own_paths
    client = ground.client().begin().await_checked()
    forged = requests.delete(f"http://{ground.proxy.http_api}/rtc/v1/whep/?action=delete&token=x&session={client.username}", timeout=30)
    assert forged.status_code == 404
    client.exchange()
    assert client.delete().status_code == 200
    ground.proxy.await_event("session_end", kind="play", reason="deleted")


def test_the_token_of_the_api_is_wanted(world, stream):
    proxy = world.proxy(env={"PROXY_HTTP_API_AUTH_ENABLED": "on", "PROXY_HTTP_API_AUTH_TYPE": "bearer", "PROXY_HTTP_API_AUTH_TOKEN": "secret"})
    client = world.hold(RtcClient(proxy.http_api, stream, "whip"))
    assert client.post().status_code == 401
    assert requests.options(client.url, timeout=10).status_code == 204
    assert client.post(headers={"Authorization": "Bearer secret"}).status_code == 503  # no origin


# -- media

def test_an_address_that_has_not_checked_is_ignored(ground):
    """Rows 19 and 21: DTLS before ICE, checks with a wrong password or name."""
    client = ground.client().begin()
    ground.publisher.exchange()  # its last checks are at the origin
    checks = ground.origin.udp.count(is_stun)
    hello = b"\x16\xfe\xfd" + bytes(60)
    client.peer.send(hello, client.media)
    ground.await_dropped("unknown_address", 1)
    client.check(key=b"wrong" * 5)
    ground.await_dropped("bad_integrity", 1)
    client.check(username="nobody:atall")
    ground.await_dropped("unknown_name", 1)
    assert ground.origin.udp.count(is_stun) == checks
    assert ground.origin.udp.count(lambda d: d == hello) == 0
    client.await_checked().exchange()
    stranger = client.another()
    client.check(stranger, key=b"wrong" * 5)
    stranger.send(b"\x80from elsewhere", client.media)
    ground.await_dropped("bad_integrity", 2)
    client.exchange()
    assert stranger.got == []


class Caught:
    """In place of a peer: the datagram is sent by whom the test wants."""

    def send(self, data, _):
        self.data = data


def test_forged_and_copied_checks_move_nothing(ground):
    """Those with a wrong password may have the client's own address; those with the right one may be copies from elsewhere."""
    client = ground.client().begin().await_checked(nominate=True)
    client.exchange()
    ground.publisher.exchange()  # the last checks of both are at the origin
    checks = ground.origin.udp.count(is_stun)
    for n in range(1, 21):
        client.check(key=b"wrong" * 5, nominate=True)
        ground.await_dropped("bad_integrity", n)
    assert ground.origin.udp.count(is_stun) == checks
    caught = Caught()
    transaction = client.check(caught, nominate=True)
    client.peer.send(caught.data, client.media)
    client.peer.signal.wait(lambda: any(d[8:20] == transaction for d, _ in client.peer.got), what="an answer")
    thief = client.another()
    thief.send(caught.data, client.media)
    ground.await_dropped("replayed", 1)
    mark = b"\x80" + os.urandom(40)
    ground.origin.put(client.username, mark)
    client.peer.await_data(mark)
    assert thief.got == []
    client.await_checked(thief, nominate=True).exchange(thief)


def test_a_client_that_changes_its_address_goes_on(ground):
    """Row 24: from its next check on, to and fro; the old address still counts for a while."""
    client = ground.client().begin().await_checked()
    client.exchange()
    for _ in range(6):  # to other shards, too
        moved = client.another()
        client.await_checked(moved, nominate=True)
        client.exchange(moved)
    assert len({peer for _, peer in ground.origin.udp.got}) == 2, "to the origin the client is where it was (and so is the publisher)"
    old = b"\x80" + os.urandom(20)
    client.peer.send(old, client.media)
    ground.origin.udp.await_data(old)
    client.await_checked(moved, nominate=True).exchange(moved)


def test_a_client_that_says_nothing_of_its_move_is_followed(ground):
    """A NAT gives it another port: no USE-CANDIDATE, as aiortc checks."""
    client = ground.client().begin().await_checked()
    client.exchange()
    for _ in range(3):
        moved = client.another()
        client.await_checked(moved)

        def follows():
            moved.send(b"\x80" + os.urandom(40), client.media)  # one may be dropped on the way from shard to shard
            return moved.count(lambda d: d[:1] == b"\x80") > 0
        poll(follows, what="media at the new address")


def test_each_address_gets_the_answers_to_its_own_checks(ground):
    client = ground.client().begin().await_checked(nominate=True)
    second = client.another()
    client.await_checked(second)
    data = client.await_checked(nominate=True).exchange()
    assert data not in [d for d, _ in second.got]


def test_a_session_from_the_address_of_another(ground):
    """A client that comes back from the same address is not sent to its old session."""
    first = ground.client().begin().await_checked()
    second = ground.client().begin()
    second.peer.close()
    second.peers = [first.peer]
    second.peer = first.peer
    second.await_checked()
    marks = len(ground.origin.udp.got)
    second.exchange()
    sources = {peer for data, peer in ground.origin.udp.got[marks:] if data[:1] == b"\x80"}
    first_sources = {peer for data, peer in ground.origin.udp.got[:marks] if data[:1] == b"\x00"}
    assert len(sources) == 1 and sources < first_sources and len(first_sources) == 3


def malformed():
    """Rows 18 to 20, and what random brings."""
    good = bytes.fromhex("000100482112a442") + os.urandom(12)
    name = b"\x00\x06\x00\x09nobody:at\x00\x00\x00"
    yield from (good[:n] for n in range(1, 20))
    yield b"\x00\x01\x00\x02" + good[4:] + b"\x00\x06"
    yield b"\x00\x01\x00\x0d" + good[4:] + name[:13]
    yield b"\x00\x01\x00\x10" + good[4:] + name[:-1]
    yield b"\x00\x01\x00\x08" + good[4:] + b"\x00\x06\xff\xffaaaa"
    yield b"\x00\x01\x00\x08" + good[4:] + b"\x80\x28\x00\x04\x00\x00\x00\x00"
    yield b"\x00\x01\x05\xdc" + good[4:] + name + bytes(1484)
    yield b"\xff" * 1400
    random_bytes = random.Random(7)
    for _ in range(500):
        yield bytes([random_bytes.randrange(4)]) + random_bytes.randbytes(random_bytes.randrange(200))


def test_malformed_and_spoofed_floods_disturb_nobody(ground):
    """A live session answers all the time; nothing is ever sent to who has no right; memory stays where it is."""
    client = ground.client().begin().await_checked()
    strangers = [UdpPeer() for _ in range(8)]
    messages = list(malformed())
    checks = RtcClient(ground.proxy.http_api, ground.stream)
    names = (f"spoof{n}:name{n}" for n in itertools.count())
    before = ground.proxy.metrics().total("process_resident_memory_bytes")
    for turn in range(20):
        for n, message in enumerate(messages):
            strangers[n % 8].send(message, client.media)
            if n % 5 == 0:
                checks.check(strangers[n % 8], username=next(names), key=b"k" * 22, to=client.media)
        client.exchange()
    ground.await_dropped("bad_stun", 1000)
    client.await_checked().exchange()
    assert sum(len(s.got) for s in strangers) == 0
    assert ground.proxy.metrics().total("process_resident_memory_bytes") - before < 64 << 20
    for peer in (*strangers, *checks.peers):
        peer.close()


def test_the_origins_death_ends_its_sessions(ground):
    client = ground.client().begin().await_checked()
    client.exchange()
    ground.origin.close()
    client.peer.send(b"\x80to nobody", client.media)
    for event in ground.proxy.await_event("session_end", count=2, proto="rtc"):
        assert event["reason"] in ("origin_gone", "origin_unreachable")
    poll(lambda: ground.proxy.metrics().total("sluice_sessions", proto="rtc") == 0, what="no sessions")
    # A reconnecting client reaches the next one.
    next_origin = ground.world.hold(RtcScript("r2")).register(ground.proxy)
    again = ground.client("whip").begin().await_checked()
    again.exchange()
    assert ground.client().begin().await_checked() and next_origin.offers


def test_limits(world, stream):
    ground = Ground(world, stream, max_sessions=3)
    for _ in range(2):
        ground.client().begin()
    refused = ground.client().post()
    assert refused.status_code == 503
    assert ground.proxy.metrics().total("sluice_refused_total", proto="rtc", reason="too_many_sessions") == 1


def test_an_origin_without_webrtc_is_passed_over_by_publishers(world, stream):
    """A publish goes to an origin that has an API; a play of a stream that lives elsewhere is told so."""
    ground = Ground(world, stream, publish=False)
    world.origin([ground.proxy], server_id="o1")
    for n in range(8):
        ground.client("whip", stream=f"{stream}{n}").begin()
    assert len(ground.origin.offers) == 8
    publisher = None
    for n in range(20):  # until one is placed at the origin that has none
        publisher = world.publisher(ground.proxy.rtmp, "live", f"rtmp{n}")
        event = ground.proxy.await_event("session_start", kind="publish", stream=lambda s, n=n: s.endswith(f"/rtmp{n}"))
        if event["origin"].startswith("o1-"):
            break
    assert publisher
    assert ground.client(stream=f"rtmp{n}").post().status_code == 502


def test_many_sessions(ground):
    """Fifty viewers at once: each hears what is its own."""
    clients = [ground.client().begin() for _ in range(50)]
    for client in clients:
        client.await_checked()
    for turn in range(3):
        for client in clients:
            client.exchange()
    assert len({peer for _, peer in ground.origin.udp.got}) == 51
    assert ground.proxy.metrics().total("sluice_bytes_total", proto="rtc", dir="out") > 50 * 3 * 41
