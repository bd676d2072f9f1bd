"""Every way in which SRS's users write a stream's name leads to the same stream (compat.md, "Stream key")."""
import pytest

from lib import compare
from lib.rtmp import Closed, Refused


@pytest.fixture(scope="module")
def own_vhosts(shared_world):
    """A proxy and an origin where every name with a dot is a vhost of its own, as the Go proxy has it."""
    proxy = shared_world.proxy(play_wait="500ms")
    shared_world.origin([proxy])
    return proxy


#: (app, stream, tcUrl; HOST stands for the server's address) that all name __defaultVhost__/live/STREAM.
DEFAULT_FORMS = [
    ("live", "STREAM", "rtmp://HOST/live"),
    ("live", "STREAM", "rtmp://127.0.0.1/live"),
    ("live", "STREAM", "rtmp://[::1]:1935/live"),
    ("live", "STREAM", "rtmp://localhost/live"),
    ("live", "STREAM?token=abc", "rtmp://HOST/live"),
    ("live", "STREAM?token=abc&vhost=__defaultVhost__", "rtmp://HOST/live"),
    ("live?token=abc", "STREAM", "rtmp://HOST/live?token=abc"),
    ("live?vhost=__defaultVhost__", "STREAM", "rtmp://HOST/live?vhost=__defaultVhost__"),
    ("live/_definst_", "STREAM", "rtmp://HOST/live/_definst_"),
    ("live...vhost...__defaultVhost__", "STREAM", "rtmp://HOST/live...vhost...__defaultVhost__"),
    ("live/", "STREAM", "rtmp://HOST/live/"),
]

#: Forms of the stream example.com/live/STREAM.
VHOST_FORMS = [
    ("live", "STREAM", "rtmp://example.com/live"),
    ("live", "STREAM", "rtmp://EXAMPLE.com:1935/live"),
    ("live", "STREAM?vhost=example.com", "rtmp://HOST/live"),
    ("live", "STREAM?domain=example.com", "rtmp://HOST/live"),
    ("live?vhost=example.com", "STREAM", "rtmp://HOST/live?vhost=example.com"),
    ("live?domain=example.com&k=v", "STREAM", "rtmp://HOST/live?domain=example.com&k=v"),
    ("live...vhost...example.com", "STREAM", "rtmp://HOST/live...vhost...example.com"),
]


def _fill(form, stream, server):
    app, name, tc_url = form
    return {"app": app, "name": name.replace("STREAM", stream), "tc_url": tc_url.replace("HOST", server)}


def _ids(forms):
    return [f"{tc_url} {name}" for _, name, tc_url in forms]


@pytest.mark.parametrize("form", DEFAULT_FORMS, ids=_ids(DEFAULT_FORMS))
def test_forms_of_a_default_vhost_stream(own_vhosts, world, tags, form, request):
    """Published plainly, played in that form, and the other way round."""
    _publish_and_play(own_vhosts, world, tags, DEFAULT_FORMS[0], form, DEFAULT_FORMS.index(form))


@pytest.mark.parametrize("form", VHOST_FORMS, ids=_ids(VHOST_FORMS))
def test_forms_of_a_vhost_stream(own_vhosts, world, tags, form):
    """The same for a stream of a vhost."""
    _publish_and_play(own_vhosts, world, tags, VHOST_FORMS[0], form, VHOST_FORMS.index(form))


def _publish_and_play(server, world, tags, plain, form, number):
    for turn, (published, played) in enumerate([(plain, form), (form, plain)]):
        stream = f"form{number}x{turn}"
        world.publisher(server.rtmp, **_fill(published, stream, server.rtmp)).put_all(tags)
        player = world.player(server.rtmp, **_fill(played, stream, server.rtmp))
        player.await_packet(compare.last_frame(tags))
        compare.assert_delivered(player.media(), tags)


def test_stream_of_another_vhost_is_another_stream(own_vhosts, world, tags):
    """example.com/live/x is not __defaultVhost__/live/x."""
    world.publisher(own_vhosts.rtmp, name="apart", tc_url="rtmp://example.com/live").put_all(tags)
    with pytest.raises(Refused) as refusal:
        world.player(own_vhosts.rtmp, name="apart")
    assert refusal.value.code == "NetStream.Play.StreamNotFound"


def test_run_knows_only_the_default_vhost(world, tags):
    """Under `sluice run` every host is the default vhost, as with stock SRS."""
    cluster = world.run(origins=1)
    world.publisher(cluster.rtmp, name="one", tc_url="rtmp://video.example.com/live").put_all(tags)
    player = world.player(cluster.rtmp, name="one")
    player.await_packet(compare.last_frame(tags))


def test_listed_vhosts(world, tags):
    """PROXY_VHOSTS lists ours; any other host is the default one."""
    proxy = world.proxy(vhosts="ours.example.com", play_wait="500ms")
    world.origin([proxy])
    world.publisher(proxy.rtmp, name="a", tc_url="rtmp://stranger.example.com/live").put_all(tags)
    world.player(proxy.rtmp, name="a").await_packet(compare.last_frame(tags))
    with pytest.raises(Refused):
        world.player(proxy.rtmp, name="a", tc_url="rtmp://ours.example.com/live")


def test_nested_apps(own_vhosts, world, tags):
    """The last segment is the stream, all before it the app: /a/b/c as app a/b, or as app a with stream b/c."""
    world.publisher(own_vhosts.rtmp, app="studio/one", name="cam").put_all(tags)
    for app, name in (("studio/one", "cam"), ("studio", "one/cam")):
        player = world.player(own_vhosts.rtmp, app=app, name=name)
        player.await_packet(compare.last_frame(tags))


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../b", "..", ".", "a\0b", "a\r\nSet-Cookie: x", "a\x1b[2J", "", "x" * 65536,
                                  "{tag}", "%2e%2e/%2e%2e", "%00", "a\\b"],
                         ids=lambda n: repr(n)[:24])
@pytest.mark.parametrize("verb", ["publish", "play"])
def test_bad_names_are_refused(own_vhosts, world, name, verb):
    """Row 10: such a name never becomes a key: the client is refused or closed, and the log stays one line per event."""
    connection = world.connection(own_vhosts.rtmp)
    connection.connect("live")
    with pytest.raises((Refused, Closed, OSError)):
        if verb == "publish":
            connection.publish(name, fmle=False)
        else:
            connection.play(name)
    raw = "\n".join(own_vhosts.lines)
    assert "\x1b" not in raw and "\0" not in raw
    assert not any(line.startswith("Set-Cookie") for line in own_vhosts.lines)


@pytest.mark.parametrize("app", ["../live", "live/../../x", "a\0b", "live\r\nx", "x" * 65536], ids=lambda n: repr(n)[:24])
def test_bad_apps_are_refused(own_vhosts, world, app):
    """Row 10 for the app and the tcUrl."""
    connection = world.connection(own_vhosts.rtmp)
    with pytest.raises((Refused, Closed, OSError)):
        connection.connect(app, f"rtmp://{own_vhosts.rtmp}/{app}")
        connection.publish("x")
