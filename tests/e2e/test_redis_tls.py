"""Redis behind TLS: its certificate is checked, and a proxy that cannot trust it says so and works on its own."""
import os

import pytest

from lib import net
from lib.http_live import FlvViewer
from lib.proxies import Fleet
from lib.tls import Authority
from lib.waiting import poll


@pytest.fixture
def authority(world):
    return Authority(os.path.join(world.folder, "certificates"))


def redis_up(proxy):
    return proxy.metrics().total("sluice_redis_up")


def works_alone(world, proxy, name):
    """By the rules for a Redis that is away: its origins serve what is published through it."""
    world.origin([proxy], server_id="own")
    publisher = world.publisher(proxy.rtmp, name=name)
    player = world.player(proxy.rtmp, name=name)
    proxy.await_event("session_start", kind="play")
    return publisher, player


def test_publish_through_one_play_through_another(world, authority, stream):
    """What one proxy knows the other knows; that is still so when Redis has been away."""
    store = world.redis(authority=authority, password="secret")
    fleet = Fleet(world, store.settings(), count=2, origins=2)
    live = fleet.publish(stream, via=0)
    flv = world.hold(FlvViewer(fleet.proxies[1].http, f"/live/{stream}.flv"))
    live.await_flowing()
    flv.await_seen(live.publisher.last_sent())
    for proxy in fleet.proxies:
        poll(lambda: redis_up(proxy) == 1, what="Redis")
    assert store.client.get(f"srs-proxy-url:__defaultVhost__/live/{stream}")

    store.kill()
    for proxy in fleet.proxies:
        proxy.await_event("redis_unavailable")
        poll(lambda: redis_up(proxy) == 0, what="a figure that says so")
    live.await_flowing()
    world.redis(authority=authority, password="secret", port=store.port)
    for proxy in fleet.proxies:
        poll(lambda: redis_up(proxy) == 1, what="Redis again")
    fleet.publish(stream + "2", via=1).await_flowing()
    live.await_flowing()
    live.check()


def test_a_certificate_of_another_authority(world, authority, stream):
    """It is told in log and metrics, nothing is said to that server, and the proxy goes on as without Redis."""
    store = world.redis(authority=authority, password="secret-of-redis")
    other = Authority(os.path.join(world.folder, "others"), "another")
    proxy = world.proxy(**{**store.settings(), "redis_ca": other.path})
    said = proxy.await_event("redis_unavailable", reason="tls_failed", timeout=60)  # of a slow start the first may be "timeout"
    assert said["level"] in ("warn", "error") and said["peer"] == store.address, said
    assert "certificate" in said["text"], said
    assert redis_up(proxy) == 0
    works_alone(world, proxy, stream)
    assert store.client.keys() == [] and "secret" not in proxy.output
    # Beside it, with the right one.
    good = world.proxy(**store.settings())
    poll(lambda: store.client.exists("sluice-proxies"), what="a proxy that has made itself known")
    assert redis_up(good) == 1 and redis_up(proxy) == 0


@pytest.mark.parametrize("subject", ["IP:127.0.0.2", "DNS:redis.example"])
def test_a_certificate_of_another_host(world, authority, subject):
    store = world.redis(authority=authority, subject=subject)
    proxy = world.proxy(**store.settings())
    said = proxy.await_event("redis_unavailable", reason="tls_failed", timeout=60)
    assert "mismatch" in said["text"], said
    assert redis_up(proxy) == 0


def test_a_name_is_checked_as_a_name(world, authority, stream):
    store = world.redis(authority=authority, subject="DNS:localhost")
    proxy = world.proxy(**{**store.settings(), "redis_host": "localhost"})
    poll(lambda: store.client.exists("sluice-proxies"), what="a proxy that has made itself known")
    assert redis_up(proxy) == 1


def test_one_side_without_tls(world, authority, stream):
    """Neither a proxy that speaks TLS to a plain Redis nor one that speaks none to the other hangs: both say what is wrong, and work."""
    plain, secured = world.redis(), world.redis(authority=authority)
    strict = world.proxy(**{**plain.settings(), "redis_tls": "on", "redis_ca": authority.path})
    assert strict.await_event("redis_unavailable")["peer"] == plain.address
    works_alone(world, strict, stream)
    trusting = world.proxy(load_balancer_type="redis", redis_host=net.LOOPBACK, redis_port=secured.port)
    assert trusting.await_event("redis_unavailable")["peer"] == secured.address
    works_alone(world, trusting, stream)
    assert redis_up(strict) == redis_up(trusting) == 0


def test_a_file_that_holds_no_certificate(world, authority):
    """The proxy says which one it is."""
    store = world.redis(authority=authority)
    path = os.path.join(world.folder, "no.pem")
    with open(path, "w") as file:
        file.write("no certificate")
    proxy = world.proxy(**{**store.settings(), "redis_ca": path})
    said = proxy.await_event("redis_unavailable")
    assert path in said["text"], said
    assert redis_up(proxy) == 0
