"""Whose connection is it? The client's true address, told by prefix or PROXY protocol, believed only from those we trust."""
import ipaddress
import struct

import pytest

from lib import compare
from lib.http_live import FlvViewer, HttpOrigin, HttpViewer
from lib.rtmp import Closed, Refused
from lib.sluice import get, register, registration


def prefix(address):
    """SRS's 0xF3 prefix: length, then the address."""
    packed = ipaddress.ip_address(address).packed
    return b"\xf3" + struct.pack(">H", len(packed)) + packed


def proxy_v1(source, port):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {'::1' if ':' in source else '127.0.0.1'} {port} 1935\r\n".encode()


def proxy_v2(source, port, command=1):
    packed = ipaddress.ip_address(source).packed
    family = 0x21 if len(packed) == 16 else 0x11
    body = packed + (bytes(15) + b"\1" if len(packed) == 16 else bytes([127, 0, 0, 1])) + struct.pack(">HH", port, 1935)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


def peer_of(process, stream, role):
    return process.await_event("session_start", stream=lambda s: s and s.endswith("/" + stream), role=role)["peer"]


def test_client_address_reaches_the_origin(cluster, world, stream, tags):
    """The origin's log names the client (127.0.0.2), not the proxy through which he came."""
    publisher = world.publisher(cluster.rtmp, name=stream, source="127.0.0.2")
    publisher.put_all(tags[:20])
    assert peer_of(cluster, stream, "proxy").startswith("127.0.0.2:")
    assert peer_of(cluster, stream, "origin").startswith("127.0.0.2")


def test_prefix_from_a_trusted_network(world, tags):
    """0xF3 from loopback, which is trusted by default: the address in it counts, IPv4 and IPv6, and goes on to the origin."""
    proxy = world.proxy()
    origin = world.origin([proxy])
    for number, address in enumerate(["203.0.113.7", "2001:db8::7"]):
        world.publisher(proxy.rtmp, name=f"s{number}", prefix=prefix(address)).put_all(tags[:5])
        assert address in peer_of(proxy, f"s{number}", "proxy")
        assert address in peer_of(origin, f"s{number}", "origin")


def test_prefix_from_others_is_not_believed(world, tags):
    """From a network that is not trusted the prefix is taken off or refused, but its address never counts."""
    proxy = world.proxy(trusted_networks="10.0.0.0/8")
    world.origin([proxy], trusted_networks="127.0.0.0/8")
    try:
        world.publisher(proxy.rtmp, name="s", prefix=prefix("203.0.113.7")).put_all(tags[:5])
        assert peer_of(proxy, "s", "proxy").startswith("127.0.0.1")
    except (Closed, Refused, OSError):
        pass
    assert "203.0.113.7" not in proxy.output


@pytest.mark.parametrize("raw", [b"\xf3\0\0", b"\xf3\xff\xff" + bytes(100), b"\xf3\0\3abc", b"\xf3\0"],
                         ids=["empty", "64 KiB", "three bytes", "cut"])
def test_broken_prefix(world, tags, raw):
    """A prefix of a length that no address has: closed or ignored, and the server goes on."""
    proxy = world.proxy()
    world.origin([proxy])
    connection = world.connection(proxy.rtmp, handshake=False)
    connection.send_raw(raw)
    connection.await_close()
    world.publisher(proxy.rtmp, name="s").put_all(tags[:5])


@pytest.mark.parametrize("header", [proxy_v1, proxy_v2], ids=["v1", "v2"])
@pytest.mark.parametrize("source", ["198.51.100.9", "2001:db8::9"], ids=["ipv4", "ipv6"])
def test_proxy_protocol(world, tags, header, source):
    """PROXY protocol from a load balancer that we trust: its client's address is in both logs; the stream plays."""
    proxy = world.proxy(proxy_protocol="on")
    origin = world.origin([proxy])
    publisher = world.publisher(proxy.rtmp, name="s", prefix=header(source, 4711))
    publisher.put_all(tags)
    assert source in peer_of(proxy, "s", "proxy") and peer_of(proxy, "s", "proxy").endswith(":4711")
    assert source in peer_of(origin, "s", "origin")
    player = world.player(proxy.rtmp, name="s", prefix=header(source, 4712))
    player.await_packet(compare.last_frame(tags))


def test_proxy_protocol_local_command(world, tags):
    """Version 2, LOCAL (a health check of the balancer itself): the socket's own address counts."""
    proxy = world.proxy(proxy_protocol="on")
    world.origin([proxy])
    world.publisher(proxy.rtmp, name="s", prefix=proxy_v2("198.51.100.9", 1, command=0)).put_all(tags[:5])
    assert peer_of(proxy, "s", "proxy").startswith("127.0.0.1:")


@pytest.mark.parametrize("options", [{"proxy_protocol": "off"}, {"proxy_protocol": "on", "trusted_networks": "10.0.0.0/8"}],
                         ids=["off", "not trusted"])
@pytest.mark.parametrize("header", [proxy_v1, proxy_v2], ids=["v1", "v2"])
def test_proxy_protocol_from_others(world, options, header):
    """Switched off, or from anybody: it is no RTMP, and is closed; the address in it never counts."""
    proxy = world.proxy(handshake_timeout="1s", **options)
    world.origin([proxy])
    with pytest.raises((Closed, Refused, OSError)):
        world.publisher(proxy.rtmp, name="s", prefix=header("198.51.100.9", 4711), timeout=8)
    assert "198.51.100.9" not in proxy.output


@pytest.mark.parametrize("header", [proxy_v1, proxy_v2], ids=["v1", "v2"])
@pytest.mark.parametrize("source", ["198.51.100.9", "2001:db8::9"], ids=["ipv4", "ipv6"])
def test_proxy_protocol_of_http_players(world, tags, header, source):
    """The HTTP port, too: the client's address is in the log; who comes without a header is served as well."""
    proxy = world.proxy(proxy_protocol="on")
    world.origin([proxy])
    publisher = world.publisher(proxy.rtmp, name="s")
    publisher.put_all(tags)
    for prefix, named in ((header(source, 4711), lambda peer: source in peer and peer.endswith(":4711")),
                          (b"", lambda peer: peer.startswith("127.0.0.1:"))):
        viewer = world.hold(FlvViewer(proxy.http, "/live/s.flv", prefix=prefix))
        assert viewer.status == 200
        viewer.await_count(5)
        proxy.await_event("session_start", proto="http-flv", peer=named)


@pytest.mark.parametrize("header, told", [(proxy_v1("198.51.100.9", 4711), "198.51.100.9"), (proxy_v2("198.51.100.9", 1, command=0), "127.0.0.1")],
                         ids=["proxy", "local"])
def test_proxy_protocol_reaches_the_origins_of_http(world, stream, header, told):
    """What the balancer says counts for X-Forwarded-For and X-Real-IP; what its client says of himself does not."""
    proxy, origin = world.proxy(proxy_protocol="on"), HttpOrigin()
    origin.answer = lambda handler: handler.reply(200, b"#EXTM3U\n", [("Content-Type", "application/vnd.apple.mpegurl")])
    nginx = world.nginx()
    register(proxy.api, registration(nginx.port, server="nginx", http=[str(origin.port)])).raise_for_status()
    world.publisher(proxy.rtmp, "live", stream)
    said = [("X-Forwarded-For", "203.0.113.7"), ("X-Real-IP", "203.0.113.7")]
    viewer = world.hold(HttpViewer(proxy.http, f"/live/{stream}.m3u8", headers=said, prefix=header))
    assert viewer.status == 200
    _, _, headers = origin.await_requests(1)
    if told == "127.0.0.1":  # trusted: what it says goes on
        assert headers["x-forwarded-for"] == "203.0.113.7, 127.0.0.1" and headers["x-real-ip"] == "203.0.113.7"
    else:
        assert headers["x-forwarded-for"] == headers["x-real-ip"] == told
    origin.close()


@pytest.mark.parametrize("options, reason", [({"proxy_protocol": "off"}, "bad_request"),
                                             ({"proxy_protocol": "on", "trusted_networks": "10.0.0.0/8"}, "untrusted_proxy_protocol")],
                         ids=["off", "not trusted"])
@pytest.mark.parametrize("header", [proxy_v1, proxy_v2], ids=["v1", "v2"])
def test_proxy_protocol_on_http_from_others(world, options, reason, header):
    """Switched off, or from anybody: 400 and a close, on every port; the address in it never counts."""
    proxy = world.proxy(**options)
    for number, at in enumerate([proxy.http, proxy.http_api], 1):
        viewer = world.hold(HttpViewer(at, "/live/s.flv", prefix=header("198.51.100.9", 4711)))
        assert viewer.status == 400
        viewer.await_close()
        assert proxy.metrics().total("sluice_refused_total", proto="http", reason=reason) == number
    assert "198.51.100.9" not in proxy.output


def test_proxy_protocol_of_the_apis(world):
    """The HTTP API takes the header, and needs none; the system API takes none."""
    proxy = world.proxy(proxy_protocol="on")
    header = proxy_v1("198.51.100.9", 4711)
    assert world.hold(HttpViewer(proxy.http_api, "/nowhere", prefix=header)).status == 404
    proxy.await_event("request_refused", peer="198.51.100.9:4711")
    for at in (proxy.http_api, proxy.api):
        assert get(at, "/api/v1/versions").status_code == 200
    assert world.hold(HttpViewer(proxy.api, "/api/v1/versions", prefix=header)).status == 400


def test_prefix_to_foreign_origins_is_configurable(world, tags):
    """client_address_prefix=auto sends none to nginx, which would not understand it; `on` does."""
    nginx = world.nginx()
    proxy = world.proxy()
    register(proxy.api, registration(nginx.port, server="nginx")).raise_for_status()
    world.publisher(proxy.rtmp, name="s").put_all(tags[:5])
    strict = world.proxy(client_address_prefix="on")
    register(strict.api, registration(nginx.port, server="nginx")).raise_for_status()
    with pytest.raises((Refused, Closed)):
        world.publisher(strict.rtmp, name="t")
