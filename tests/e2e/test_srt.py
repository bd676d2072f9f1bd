"""SRT through the proxy, between real libsrt callers and listeners."""
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lib import media, net, srt
from lib.process import run_tool
from lib.sluice import UNHURRIED, cluster_state, drain, get, ports
from lib.srt_origin import Stock
from lib.waiting import poll


@pytest.fixture
def stock(world):
    made = []

    def make(proxy, *arguments, **options):
        made.append(Stock(proxy, *arguments, **options))
        return made[-1]

    yield make
    for origin in made:
        origin.close()


def proxy_of(world, **options):
    proxy = world.proxy(**{**UNHURRIED, **options})
    proxy.srt = net.reachable(proxy.ready_event["srt"])
    return proxy


@pytest.mark.parametrize("passphrase", [None, "correct horse battery"])
def test_publish_and_play(world, stock, passphrase):
    """Every message arrives as it was sent, both ways, encrypted or not; logs, metrics and status pages know the sessions."""
    proxy = proxy_of(world)
    origin = stock(proxy, passphrase=passphrase)
    count = 400
    publisher = srt.publish(proxy.srt, "cam", count, passphrase=passphrase)
    assert origin.srt.received("live/cam", count) == []
    player = srt.call(proxy.srt, "#!::r=live/cam,m=request", passphrase=passphrase)
    assert srt.receive(player, "cam", count) == count

    start = proxy.await_event("session_start", proto="srt", kind="publish")
    assert start["stream"] == "__defaultVhost__/live/cam" and start["origin"].startswith("o1-")
    proxy.await_event("session_start", proto="srt", kind="play")
    assert proxy.metrics().total("sluice_sessions", proto="srt") == 2
    state = cluster_state(proxy.api)
    assert state["streams"]["__defaultVhost__/live/cam"]["viewers"] == 1, state
    explained = get(proxy.api, "/api/v1/sluice/explain?stream=__defaultVhost__/live/cam").text
    assert "published" in explained

    player.close()
    publisher.close()
    ended = proxy.await_event("session_end", proto="srt", kind="publish")
    assert ended["reason"] == "client_closed" and ended["bytes_in"] > count * srt.MESSAGE
    proxy.await_event("session_end", proto="srt", kind="play", reason="client_closed")
    figures = proxy.metrics()
    assert figures.total("sluice_sessions", proto="srt") == 0
    assert figures.total("sluice_bytes_total", proto="srt", dir="in") > count * srt.MESSAGE
    assert figures.total("sluice_bytes_total", proto="srt", dir="out") > count * srt.MESSAGE


@pytest.mark.parametrize("told, used", [(None, 16), (32, 32)])
def test_callers_are_told_the_length_of_key(world, stock, told, used):
    """A caller with a passphrase and no length of key takes the one that the proxy is told to advertise."""
    proxy = proxy_of(world, **({"srt_pbkeylen": told} if told else {}))
    secret = "correct horse battery"
    origin = stock(proxy, passphrase=secret)
    publisher = srt.publish(proxy.srt, "cam", 100, passphrase=secret)
    assert publisher.key_bytes == used
    assert origin.srt.received("live/cam", 100) == []
    player = srt.call(proxy.srt, "#!::r=live/cam,m=request", passphrase=secret)
    assert srt.receive(player, "cam", 100) == 100
    publisher.close()
    player.close()


def test_a_publisher_after_one_by_rtmp(world, stock, tags):
    """The stream's owner serves no SRT: while somebody publishes there another by SRT is refused, and once nobody does he gets one that does."""
    proxy = proxy_of(world)
    world.origin([proxy], server_id="plain")
    encoder = world.publisher(proxy.rtmp, name="cam")
    encoder.put_all(tags[:5])
    origin = stock(proxy, "with-srt")
    with pytest.raises(srt.Refused) as refusal:
        srt.call(proxy.srt, "#!::r=live/cam,m=publish")
    assert refusal.value.reason == 1409
    told = proxy.await_event("session_refused", proto="srt", reason="already_published")
    assert "published at the origin server plain-" in told["text"] and "serves no SRT" in told["text"]
    encoder.close()
    proxy.await_event("session_end", kind="publish")

    def accepted():
        # The origin's next heartbeat tells that he has left.
        try:
            return srt.call(proxy.srt, "#!::r=live/cam,m=publish")
        except srt.Refused as again:
            assert again.reason in (1409, 1503), again  # 1503: that he has left was told too late for this call
            return None

    caller = poll(accepted, what="the publish by SRT", every=0.2)
    assert proxy.await_event("session_start", proto="srt")["origin"].startswith("with-srt-")
    assert proxy.find("owner_changed")[-1]["reason"] == "transport"
    assert caller.send(srt.message(0, "cam"))
    assert origin.srt.received("live/cam", 1) == []
    caller.close()


def test_srt_live_transmit_and_ffmpeg(world, stock, tmp_path):
    """The programs that people use: srt-live-transmit as the origin's listener, ffmpeg as the caller."""
    proxy = proxy_of(world)
    port = net.free_port(kind=socket.SOCK_DGRAM)
    out = tmp_path / "out.ts"
    with open(out, "wb") as file:
        listener = subprocess.Popen(["srt-live-transmit", "-q", f"srt://127.0.0.1:{port}?mode=listener&latency=1000", "file://con"], stdout=file,
                                    stderr=subprocess.DEVNULL)
    try:
        raw = world.hold(srt.RawCaller(("127.0.0.1", port)))
        poll(raw.answered, what="the listener")
        stock(proxy, srt_at=f"udp://127.0.0.1:{port}")
        made = media.clip(seconds=12)
        host, at = proxy.srt
        caller = world.ffmpeg("-re", "-i", made, "-c", "copy", "-f", "mpegts",
                              f"srt://{host}:{at}?streamid=#!::r=live/ff,m=publish&latency=1000000&pkt_size=1316")
        assert caller.await_exit(60) == 0, caller.tail()
        # What the listener has not shown yet when the caller leaves is lost: that is its latency.
        poll(lambda: pictures(out) >= 100, what="100 of 300 pictures at the listener", every=0.2)
    finally:
        listener.kill()
        listener.wait()


def pictures(path):
    code, text = run_tool(["ffprobe", "-v", "error", "-select_streams", "v", "-count_packets", "-show_entries", "stream=nb_read_packets",
                           "-of", "csv=p=0", str(path)])
    counts = [word for word in text.replace(",", " ").split() if word.isdigit()]
    return int(counts[0]) if code == 0 and counts else 0


def test_twenty_sessions_over_three_origins(world, stock):
    """Each gets what is his, though origins give out socket ids on their own."""
    proxy = proxy_of(world)
    origins = [stock(proxy, f"o{i}") for i in range(3)]
    names, count = [f"cam{i}" for i in range(10)], 150
    publishers = {}

    def publish(name):
        publishers[name] = srt.publish(proxy.srt, name, count, pace=0.005)

    threads = [threading.Thread(target=publish, args=(name,)) for name in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    holders = {}
    for name in names:
        at = poll(lambda n=name: [o for o in origins if f"live/{n}" in o.srt.published], what=f"{name} at an origin")
        assert len(at) == 1
        assert at[0].srt.received(f"live/{name}", count) == []
        holders[name] = at[0].server
    assert len(set(holders.values())) == 3, holders
    got = {}

    def play(name):
        player = srt.call(proxy.srt, f"#!::r=live/{name},m=request")
        got[name] = srt.receive(player, name, count)
        player.close()

    threads = [threading.Thread(target=play, args=(name,)) for name in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == {name: count for name in names}
    assert proxy.metrics().total("sluice_srt_dropped_total") == 0


def test_ipv6(world, stock):
    """A caller by IPv6, an origin with an IPv6 address, and a caller by IPv4 at the same port."""
    proxy = proxy_of(world, ports=ports(srt_server="[::]:0"))
    origin = stock(proxy, host="::1")
    publisher = srt.publish(("::1", proxy.srt[1]), "six", 100)
    assert origin.srt.received("live/six", 100) == []
    player = srt.call(("127.0.0.1", proxy.srt[1]), "live/six")
    assert srt.receive(player, "six", 100) == 100
    publisher.close()
    player.close()


def test_loss_and_reordering(world, stock):
    """A caller whose network loses 5 % and reorders 5 %: SRT repairs it, through the proxy as without."""
    proxy = proxy_of(world)
    origin = stock(proxy, too_late_drop=False)
    network = srt.BadNetwork(proxy.srt, loss=0.05, reorder=0.05)
    # What is lost at the very end nobody asks for again: a listener hears of a gap by what comes after it.
    publisher = srt.publish(network.address, "lossy", 850, latency=3000, too_late_drop=False)
    assert origin.srt.received("live/lossy", 800, timeout=60) == []
    assert network.lost > 20
    publisher.close()
    network.close()


def test_silent_origin(world, stock):
    """Row 28: an origin that does not answer handshakes. Others notice nothing, and its own callers are told in time."""
    proxy = proxy_of(world)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(20)
        stock(proxy, "silent", srt_at="udp://127.0.0.1:%d" % silent.getsockname()[1])
        callers, reasons = [], []

        def knock(i):
            try:
                srt.call(proxy.srt, f"#!::r=live/mute{i},m=publish", connect_timeout=20000)
            except srt.Refused as e:
                reasons.append(e.reason)

        for i in range(5):
            callers.append(threading.Thread(target=knock, args=(i,)))
            callers[-1].start()
        proxy.signal.wait(lambda: silent.recv(2048), what="an induction at the silent origin")
        good = stock(proxy, "good")
        publisher = srt.publish(proxy.srt, "loud", 200, connect_timeout=3000)  # libsrt's default
        for c in callers:
            c.join()
        assert good.srt.received("live/loud", 200) == []
        # Those who came for streams of the silent one were told, or taken to the other one once it was there.
        assert set(reasons) <= {1503}, reasons
        publisher.close()


def test_refusals(world, stock):
    """Callers hear why: no such stream, a bad stream id, a bad mode, an origin's own reason; each is counted and logged."""
    proxy = proxy_of(world, play_wait="300ms")
    stock(proxy, passphrase="correct horse battery")

    def reason(stream_id, **options):
        with pytest.raises(srt.Refused) as e:
            srt.call(proxy.srt, stream_id, connect_timeout=3000, **options)  # libsrt's default: who is refused hears it before
        return e.value.reason

    assert reason("#!::r=live/nobody,m=request") == 1404
    assert reason("#!::r=live/../x,m=publish") == 1400
    assert reason("") == 1400
    assert reason("#!::r=live/x,m=bidirectional") == 1405
    assert reason("#!::r=live/x,m=publish", passphrase="wrong horse battery") == 10  # SRT_REJ_BADSECRET, of the origin
    refused = proxy.await_event("session_refused", proto="srt", reason="origin_refused")
    figures = proxy.metrics()
    for why in ("stream_not_found", "bad_stream_name", "no_stream_id", "bad_mode", "origin_refused"):
        # More than one, if libsrt asked again before it was answered.
        assert figures.total("sluice_refused_total", proto="srt", reason=why) >= 1, why
    assert refused["status"] == 10 and refused["session"]


def test_origin_dies(world, stock):
    """Both sides are told at once when the origin is gone, and a caller who comes back is at the next owner."""
    proxy = proxy_of(world)
    origins = {o.server: o for o in (stock(proxy, "o1"), stock(proxy, "o2"))}
    publisher = srt.publish(proxy.srt, "moving", 50)
    first = proxy.await_event("session_start", proto="srt", kind="publish")["origin"].split("-")[0]
    origins[first].srt.received("live/moving", 50)
    player = srt.call(proxy.srt, "live/moving")
    assert srt.receive(player, "moving", 50) == 50

    origins[first].rtmp.close()  # its process is gone, says the control thread's next question
    poll(lambda: not publisher.connected and not player.connected, what="the end of both sessions")
    proxy.await_event("session_end", proto="srt", kind="publish")
    again = srt.publish(proxy.srt, "moving", 50)
    second = proxy.await_event("session_start", count=3, proto="srt")[2]["origin"].split("-")[0]
    assert second != first
    assert origins[second].srt.received("live/moving", 50) == []
    again.close()


def test_origin_port_closed(world, stock):
    """The kernel says that nobody listens there any more: the session ends with the next datagram."""
    proxy = proxy_of(world)
    origin = stock(proxy)
    publisher = srt.publish(proxy.srt, "gone", 20)
    origin.srt.received("live/gone", 20)
    origin.srt.close()
    poll(lambda: not publisher.send(srt.message(0)) or not publisher.connected, what="the end of the session")
    assert proxy.await_event("session_end", proto="srt")["reason"] in ("origin_closed", "origin_gone")


def test_drain(world, stock):
    """A drained origin's publisher is sent away, and comes back at another one."""
    proxy = proxy_of(world)
    stock(proxy, "o1"), stock(proxy, "o2")
    publisher = srt.publish(proxy.srt, "drained", 20)
    first = proxy.await_event("session_start", proto="srt")["origin"].split("-")[0]
    answer = drain(proxy.api, first)
    assert answer.status_code == 200, answer.text
    assert proxy.await_event("session_end", proto="srt")["reason"] == "origin_drained"
    poll(lambda: not publisher.connected, what="the end of the session")
    again = srt.publish(proxy.srt, "drained", 20)
    starts = proxy.await_event("session_start", count=2, proto="srt")
    assert starts[1]["origin"].split("-")[0] != first
    again.close()


def test_proxy_stops(world, stock):
    """SIGTERM: who is connected is told when the grace is over; who comes is refused."""
    proxy = proxy_of(world, grace_quit_timeout="1s")
    origin = stock(proxy)
    publisher = srt.publish(proxy.srt, "last", 20)
    origin.srt.received("live/last", 20)
    proxy.stop()
    assert proxy.await_event("session_end", proto="srt")["reason"] == "shutdown"
    poll(lambda: not publisher.connected, what="the end of the session")


def test_malformed_datagrams(world, stock):
    """Rows 25 to 27, with a session beside that notices nothing."""
    proxy = proxy_of(world)
    origin = stock(proxy)
    bystander = srt.publish(proxy.srt, "calm", 50)
    raw = srt.RawCaller(proxy.srt)
    # No cookie, no answer, no state.
    conclusion = srt.HELLO + srt.stream_id_extension("#!::r=live/x,m=publish")
    assert raw.ask(srt.handshake(0xFFFFFFFF, 5, 5, 12345, extensions=conclusion), timeout=0.3) is None
    # An answer is never longer than what it answers.
    induction = srt.handshake()
    assert len(raw.ask(induction)) == len(induction)
    cookie = raw.cookie()
    rogue, version = 1004, 1008

    def refused(extensions, extension=1, **options):
        answer = raw.ask(srt.handshake(0xFFFFFFFF, options.pop("version", 5), extension, cookie, extensions=extensions, **options))
        assert answer and len(answer) <= 64
        return srt.request_of(answer)

    assert refused(conclusion, version=4) == version
    assert refused(srt.stream_id_extension("live/x")) == rogue
    assert refused(srt.HELLO) == 2400
    assert refused(conclusion + b"\0\3\1\0") == rogue
    assert refused(conclusion + b"\0\3\0\x40" + bytes(256), extension=3) == 2400
    assert refused(conclusion, mss=60) == rogue
    assert refused(conclusion, window=0) == rogue
    for _ in range(1000):  # more than one address may ask in a second
        raw.sock.send(induction)
    poll(lambda: proxy.metrics().total("sluice_srt_dropped_total", reason="too_many_inductions") > 0, what="the limit of an address")
    for junk in (b"", b"\0", os.urandom(15), os.urandom(64), b"\x80\0" + bytes(20), induction[:40], induction + bytes(1500)):
        raw.sock.send(junk)
    for index in range(50, 100):
        assert bystander.send(srt.message(index, "calm"))
        time.sleep(0.002)
    assert origin.srt.received("live/calm", 100) == []
    # The junk may have gone to another shard than the bystander's messages; of one sender it is read in its order.
    poll(lambda: proxy.metrics().total("sluice_srt_dropped_total", reason="too_short") >= 2, what="the junk")
    assert proxy.metrics().total("sluice_srt_dropped_total", reason="bad_cookie") == 1
    assert len(origin.srt.accepted) == 1
    raw.close()
    bystander.close()


def test_flood(world, stock):
    """Row 25: a flood of inductions and conclusions from many addresses costs no memory and no session anything."""
    proxy = proxy_of(world)
    origin = stock(proxy)
    bystander = srt.publish(proxy.srt, "calm", 20)

    def resident():
        with open(f"/proc/{proxy.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    before = resident()
    flood = world.start([sys.executable, srt.__file__, *map(str, proxy.srt)], "flood", setup=lambda: os.nice(10))
    flood.await_line("begins")
    for index in range(20, 320):
        assert bystander.send(srt.message(index, "calm"))
        time.sleep(0.005)
    assert origin.srt.received("live/calm", 320) == []
    poll(lambda: proxy.metrics().total("sluice_srt_dropped_total", reason="bad_cookie") > 5000, what="much of the flood", every=0.2)
    flood.kill()
    assert resident() - before < 16 * 1024
    figures = proxy.metrics()
    assert figures.total("sluice_sessions", proto="srt") == 1
    assert len(origin.srt.accepted) == 1
    bystander.close()


def test_sessions_per_address(world, stock):
    """The limit of one address is told, and another address has its own."""
    proxy = proxy_of(world, srt_sessions_per_address=2)
    stock(proxy)
    held = [srt.publish(proxy.srt, f"mine{i}", 1) for i in range(2)]
    with pytest.raises(srt.Refused) as e:
        srt.publish(proxy.srt, "mine2", 1, connect_timeout=3000)
    assert e.value.reason == 1402
    assert proxy.metrics().total("sluice_refused_total", proto="srt", reason="too_many_of_address") >= 1
    held.pop().close()
    proxy.await_event("session_end", proto="srt")
    held.append(srt.publish(proxy.srt, "mine3", 1))
    for caller in held:
        caller.close()


def test_second_proxy_on_the_same_port(world):
    """Row 37 for UDP: a shared port is for one process."""
    first = world.proxy()
    second = world.sluice("proxy", *ports(srt_server=first.ready_event["srt"]))
    assert second.await_exit() == 1
    assert any("PROXY_SRT_SERVER" in line and first.ready_event["srt"] in line for line in second.lines), second.tail()
