"""nginx-rtmp as the origin: any RTMP server works behind the proxy."""
import http.server
import threading

import pytest

from lib import compare, media
from lib.clients import Player, Publisher
from lib.nginx import Nginx
from lib.rtmp import Refused
from lib.sluice import register, registration
from lib.waiting import poll

pytestmark = pytest.mark.skipif(not Nginx.available(), reason="libnginx-mod-rtmp is not installed")


class Hook:
    """The HTTP end of nginx's on_publish: refuses streams whose name begins with `bad`, remembers what it was asked."""

    def __init__(self):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                asked.append(body)
                self.send_response(403 if "name=bad" in body else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def hook():
    made = Hook()
    yield made
    made.close()


@pytest.fixture(scope="module")
def nginx(shared_world, hook):
    return shared_world.nginx(hook.address)


def by_registration(world, nginx, play_wait="20s"):
    proxy = world.proxy(play_wait=play_wait)
    answer = register(proxy.api, registration(nginx.port, server="nginx"))
    assert answer.status_code == 200 and answer.json()["code"] == 0
    return proxy


def by_default_backend(world, nginx, play_wait="20s"):
    return world.proxy(env={"PROXY_DEFAULT_BACKEND_ENABLED": "on", "PROXY_DEFAULT_BACKEND_IP": "127.0.0.1",
                            "PROXY_DEFAULT_BACKEND_RTMP": str(nginx.port), "PROXY_PLAY_WAIT": play_wait})


WAYS = {"params": [by_registration, by_default_backend], "ids": ["registered", "default-backend"]}


@pytest.fixture(scope="module", **WAYS)
def proxy(request, shared_world, nginx):
    """A proxy whose only origin is nginx: told by one call, as `curl -d` makes it, or as default backend."""
    return request.param(shared_world, nginx)


def carried(player):
    """The media of a player, without the empty audio message by which nginx says that a stream is idle."""
    return [m for m in player.media() if m.payload]


def test_publish_and_play(proxy, world, stream, tags):
    """What is published through the proxy is played through it, packet by packet, and is really at nginx."""
    publisher = world.publisher(proxy.rtmp, name=stream)
    player = world.player(proxy.rtmp, name=stream)
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(carried(player), tags, whole=True)
    assert player.data("onMetaData")


def test_publish_through_proxy_play_from_nginx(proxy, nginx, world, stream, tags):
    """The origin's own players see the stream as the encoder sent it."""
    publisher = world.publisher(proxy.rtmp, name=stream)
    player = world.player(nginx.address, name=stream)
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(carried(player), tags, whole=True)


def test_ffmpeg_through_nginx(proxy, world, stream, clip):
    """A real encoder."""
    encoder = world.ffmpeg_publish(clip, f"rtmp://{proxy.rtmp}/live/{stream}")
    player = world.player(proxy.rtmp, name=stream)
    published = media.as_ffmpeg_publishes(clip)
    player.await_packet(compare.last_frame(published))
    compare.assert_delivered(carried(player), published)
    assert encoder.await_exit() == 0


def test_two_players_are_two_clients_of_the_origin(proxy, nginx, world, stream, tags):
    """relay=auto: an origin that is not ours sees every viewer (it may check each)."""
    publisher = world.publisher(proxy.rtmp, name=stream)
    before = len([line for line in nginx.lines if f"play: name='{stream}'" in line])
    for _ in range(2):
        world.player(proxy.rtmp, name=stream)
    publisher.put_all(tags)
    poll(lambda: len([line for line in nginx.lines if f"play: name='{stream}'" in line]) - before == 2, what="two plays at nginx")


@pytest.mark.parametrize("app,name", [("denied", "x"), ("hooked", "bad1")], ids=["deny", "on_publish"])
def test_refused_publish_gets_a_status(proxy, world, hook, app, name):
    """compat.md, wrong no. 14: the origin's no (a close, or an error) reaches the encoder as an onStatus of level error."""
    with pytest.raises(Refused) as refusal:
        publisher = world.publisher(proxy.rtmp, app=app, name=name)  # nginx says Start before it looks at its access list
        publisher.await_status("an error", since=0)
    assert refusal.value.code.startswith("NetStream.Publish."), refusal.value
    if app == "hooked":
        assert any("name=bad1" in body for body in hook.asked)


def test_refused_play_gets_a_status(proxy, world, tags):
    """`deny play`: Play.Failed or what the origin said, not a bare close; the publisher does not notice."""
    publisher = world.publisher(proxy.rtmp, app="noplay", name="x").put_all(tags[:30])
    with pytest.raises(Refused) as refusal:
        world.player(proxy.rtmp, app="noplay", name="x").await_status("an error")
    assert refusal.value.code.startswith("NetStream.Play."), refusal.value
    publisher.put_all(tags[30:])
    assert publisher.closed is None


def test_allowed_publish_asks_the_hook_with_its_parameters(proxy, world, hook, tags):
    """The client's query (a token) reaches the origin's hook."""
    world.publisher(proxy.rtmp, app="hooked", name="good?token=s3cret").put_all(tags[:20])
    assert any("name=good" in body and "token=s3cret" in body for body in hook.asked), hook.asked


def test_each_viewer_is_asked_for_by_his_own_parameters(proxy, world, hook, tags):
    """Per viewer means: the origin's hook sees every viewer's own query."""
    publisher = world.publisher(proxy.rtmp, app="hooked", name="show").put_all(tags[:60])
    players = [world.player(proxy.rtmp, app="hooked", name=f"show?viewer={name}") for name in ("alice", "bob")]
    publisher.put_all(tags[60:])
    for player in players:
        player.await_packet(compare.last_frame(tags))
    for name in ("alice", "bob"):
        assert any(f"viewer={name}" in body and "call=play" in body for body in hook.asked), hook.asked


def test_origin_that_dies_is_not_picked(world, tags):
    """Two origins, one of them gone: every publish succeeds, at once, on the other (compat.md, wrong no. 2)."""
    proxy = world.proxy()
    dead, living = world.nginx(), world.nginx()
    for number, origin in enumerate((dead, living)):
        register(proxy.api, registration(origin.port, server=f"nginx{number}")).raise_for_status()
    dead.kill()
    for number in range(8):
        Publisher(proxy.rtmp, "live", f"s{number}").put_all(tags[:10]).close()


@pytest.mark.parametrize("way", WAYS["params"], ids=WAYS["ids"])
def test_unknown_stream_at_nginx(world, nginx, way):
    """Nobody publishes it: StreamNotFound after play_wait, whatever the origin would have said."""
    proxy = way(world, nginx, play_wait="1s")
    with pytest.raises(Refused) as refusal:
        Player(proxy.rtmp, "live", "nobody")
    assert refusal.value.code == "NetStream.Play.StreamNotFound"


def test_play_unowned_relays_to_the_origin(world, nginx, tags, stream):
    """play_unowned=relay: a stream that was published at the origin itself is played through the proxy."""
    proxy = world.proxy(play_unowned="relay")
    register(proxy.api, registration(nginx.port, server="nginx")).raise_for_status()
    publisher = world.publisher(nginx.address, name=stream)
    player = world.player(proxy.rtmp, name=stream)
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(carried(player), tags, whole=True)


def test_registration_by_all_endpoint_forms(world, nginx, tags):
    """compat.md: `1935`, `0.0.0.0:1935`, `[::]:1935`, `tcp://:1935`, `tcp://0.0.0.0:1935`: all reach the origin at `ip`."""
    port = nginx.port
    for number, form in enumerate([f"{port}", f"0.0.0.0:{port}", f"[::]:{port}", f"127.0.0.1:{port}", f"tcp://:{port}",
                                   f"tcp://0.0.0.0:{port}", f"tcp://127.0.0.1:{port}"]):
        proxy = world.proxy()
        register(proxy.api, registration(0, server="nginx", rtmp=[form])).raise_for_status()
        Publisher(proxy.rtmp, "live", f"form{number}").put_all(tags[:10]).close()
        proxy.stop()
