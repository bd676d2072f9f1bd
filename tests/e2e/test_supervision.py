"""Processes that die, and what becomes of the rest."""
import os
import signal
import socket

import pytest

from lib import compare, net
from lib.process import children_of, command_line, exists
from lib.clients import Publisher
from lib.sluice import ports
from lib.waiting import poll


def test_command_lines_of_the_children(world):
    """The supervisor's children are `sluice proxy …` and `sluice origin …`; no secret stands on a command line."""
    cluster = world.run(origins=2, env={"PROXY_HTTP_API_AUTH_ENABLED": "on", "PROXY_HTTP_API_AUTH_TYPE": "bearer",
                                        "PROXY_HTTP_API_AUTH_TOKEN": "s3cret-token"})
    lines = [command_line(pid) for pid in children_of(cluster.pid)]
    assert sorted(line[1] for line in lines) == ["origin", "origin", "proxy"]
    assert all(line[0] == "sluice" for line in lines)
    assert not any("s3cret-token" in argument for line in lines for argument in line)
    assert "s3cret-token" not in cluster.output


def test_run_prints_what_to_publish_and_play(world):
    """The URLs that it prints are real: the ports that the kernel chose."""
    cluster = world.run(origins=1)
    cluster.await_line(rf"rtmp://{cluster.rtmp}/live")


def test_variables_move_the_ports(world, tags):
    """The same PROXY_* variables that a proxy takes move the ports of `run`."""
    names = ["RTMP_SERVER", "HTTP_SERVER", "HTTP_API", "WEBRTC_SERVER", "SRT_SERVER", "SYSTEM_API"]
    cluster = world.run(origins=1, ports=["--no-env-file"], env={f"PROXY_{name}": "127.0.0.1:0" for name in names})
    assert not cluster.rtmp.endswith(":1935")
    Publisher(cluster.rtmp, "live", "s").put_all(tags[:5]).close()


def test_media_port_opens_when_origins_are_there(world, tags):
    """The first publish after the ready line succeeds: origins have registered before the media port opened."""
    cluster = world.run(origins=2)
    assert len(cluster.find("origin_added", role="proxy")) == 2
    Publisher(cluster.rtmp, "live", "first").put_all(tags[:5]).close()


def test_killed_origin_comes_back_and_nobody_noticed(world, tags):
    """kill -9 of the origin that holds a stream: it is restarted and registers; encoder and viewer stay connected."""
    cluster = world.run(origins=2)
    publisher = world.publisher(cluster.rtmp, name="cam").put_all(tags[:60])
    start = cluster.await_event("session_start", role="origin", kind="publish")
    player = world.player(cluster.rtmp, name="cam")
    player.await_packet(compare.last_frame(tags[:60]))
    mark = len(cluster.events)
    os.kill(start["pid"], signal.SIGKILL)
    cluster.await_event("child_restarts", since=mark, role="run")
    again = cluster.await_event("ready", since=mark, role="origin")
    assert again["pid"] != start["pid"]
    cluster.await_event("origin_added", since=mark, role="proxy", origin=lambda o: o.endswith(f"-{again['pid']}"))
    publisher.put_all(tags[60:])
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)


def test_streams_of_other_origins_do_not_notice(world, tags):
    """faults.md: the other origins' streams have 0 gaps when one origin is killed."""
    cluster = world.run(origins=2)
    publishers = {f"s{n}": world.publisher(cluster.rtmp, name=f"s{n}") for n in range(8)}
    starts = cluster.await_event("session_start", count=8, role="origin", kind="publish")
    pids = {e["stream"].rsplit("/", 1)[1]: e["pid"] for e in starts}
    victim = starts[0]["pid"]
    others = [name for name, pid in pids.items() if pid != victim]
    assert others, "all streams are at one origin"
    players = {name: world.player(cluster.rtmp, name=name) for name in others}
    for name in publishers:
        publishers[name].put_all(tags[:80])
    for name in others:
        players[name].await_packet(tags[79].packet)
    mark = len(cluster.events)
    os.kill(victim, signal.SIGKILL)
    cluster.await_event("ready", since=mark, role="origin")
    for name in others:
        publishers[name].put_all(tags[80:])
    for name in others:
        players[name].await_packet(compare.last_frame(tags))
        compare.assert_delivered(players[name].media(), tags, whole=True, who=name)


def test_nobody_survives_the_supervisor(world):
    """kill -9 of the supervisor: the kernel ends its children (PR_SET_PDEATHSIG)."""
    cluster = world.run(origins=3)
    children = children_of(cluster.pid)
    assert len(children) == 4
    cluster.kill()
    poll(lambda: not any(exists(pid) for pid in children), what="end of all children")
    # A killed process is a zombie as soon as its first thread has ended; its listeners go with the last one.
    poll(lambda: not net.accepts(cluster.rtmp), what="end of the listener")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(world, tags, number):
    """SIGTERM and Ctrl-C end everything within the grace time, with exit code 0, also while streams run."""
    cluster = world.run(origins=2, grace_quit_timeout="2s", force_quit_timeout="4s")
    children = children_of(cluster.pid)
    world.publisher(cluster.rtmp, name="s").pace(tags, loops=100)
    player = world.player(cluster.rtmp, name="s")
    player.await_media(20)
    assert cluster.stop(number=number) == 0
    assert not any(exists(pid) for pid in children)
    player.await_close()


def test_proxy_and_origin_alone_stop_on_sigterm(world):
    """Each role by itself: exit code 0."""
    proxy = world.proxy()
    origin = world.origin([proxy])
    assert origin.stop() == 0
    assert proxy.stop() == 0


def test_killed_proxy_is_back_on_the_same_port(world, tags):
    """kill -9 of the proxy under `run`: restarted on the port that clients know, and streams can be published again."""
    cluster = world.run(origins=2)
    mark = len(cluster.events)
    (proxy,) = cluster.children("proxy")
    os.kill(proxy, signal.SIGKILL)
    event = cluster.await_event("ready", since=mark, role="proxy")
    assert event["rtmp"] == cluster.rtmp and event["system_api"] == cluster.api
    publisher = world.publisher(cluster.rtmp, name="s")
    player = world.player(cluster.rtmp, name="s")
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))


def test_child_that_keeps_dying_is_restarted_with_back_off(world):
    """100 ms … 5 s: the delays grow."""
    cluster = world.run(origins=1)
    delays = []
    for _ in range(4):
        mark = len(cluster.events)
        (origin,) = cluster.children("origin")
        os.kill(origin, signal.SIGKILL)
        delays.append(cluster.await_event("child_restarts", since=mark)["delay_ms"])
        cluster.await_event("ready", since=mark, role="origin")
    assert delays[0] <= 200 and delays == sorted(delays) and delays[-1] > delays[0], delays


# -- row 37: a listener that cannot bind -------------------------------------------------------------------------------


def _exits_naming(process, *words):
    assert process.await_exit() == 1, process.tail()
    for word in words:
        assert word in process.output, f"{word!r} is not in:\n{process.output}"


@pytest.mark.parametrize("name", ["rtmp_server", "http_server", "http_api", "system_api"])
def test_busy_port(world, name):
    """Row 37: exit code 1 and a line with the setting's name and the address."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        at = "127.0.0.1:%d" % holder.getsockname()[1]
        _exits_naming(world.sluice("proxy", *ports(**{name: at})), f"PROXY_{name.upper()}", at)


@pytest.mark.parametrize("name", ["webrtc_server", "srt_server"])
def test_busy_udp_port(world, name):
    """Row 37 for the ports that do not serve yet: they are checked all the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        at = "127.0.0.1:%d" % holder.getsockname()[1]
        _exits_naming(world.sluice("proxy", *ports(**{name: at})), f"PROXY_{name.upper()}", at)


def test_second_proxy_on_the_same_port(world):
    """Row 37: SO_REUSEPORT would let it bind; it is refused all the same, and the first goes on."""
    first = world.proxy()
    second = world.sluice("proxy", *ports(rtmp_server=first.rtmp))
    _exits_naming(second, "PROXY_RTMP_SERVER", first.rtmp)
    assert first.alive and net.accepts(first.rtmp)


def test_second_run_on_the_same_port(world):
    """A second `sluice run` says which port is taken and ends; it does not restart its proxy for ever."""
    first = world.run(origins=1)
    second = world.sluice("run", "--origins", "1", *ports(rtmp_server=first.rtmp))
    _exits_naming(second, "PROXY_RTMP_SERVER", first.rtmp)
    assert first.alive


def test_second_origin_on_the_same_port(world):
    """The same for an origin."""
    first = world.origin()
    second = world.sluice("origin", "--rtmp", first.rtmp, "--http", "127.0.0.1:0", "--api", "127.0.0.1:0")
    _exits_naming(second, "SLUICE_ORIGIN_RTMP", first.rtmp)
    assert first.alive
