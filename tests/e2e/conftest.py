"""Fixtures of the end-to-end tests. Every process belongs to a `world`, which ends it and quotes it when a test fails."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lib import media  # noqa: E402
from lib.clients import Player, Publisher  # noqa: E402
from lib.nginx import Nginx  # noqa: E402
from lib.process import Process  # noqa: E402
from lib.redis import Redis  # noqa: E402
from lib.rtmp import Connection, Refused  # noqa: E402
from lib.sluice import ANY_PORTS, BINARY, Cluster, Server, flags  # noqa: E402
from lib.waiting import poll  # noqa: E402

_worlds = []


def pytest_configure(config):
    if not os.path.exists(BINARY):
        pytest.exit(f"{BINARY} is not there: build it first, or name another in SLUICE_BIN", returncode=2)


class World:
    """What a test started: processes and connections, ended in reverse order."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.processes = []
        self._connections = []
        _worlds.append(self)

    # -- processes -----------------------------------------------------------------------------------------------

    def own(self, process):
        self.processes.append(process)
        return process

    def start(self, arguments, name=None, **options):
        """Any program."""
        return self.own(Process(arguments, name or os.path.basename(str(arguments[0])), **options))

    def run(self, origins=2, **options):
        """`sluice run`, ready."""
        return self.own(Cluster(self.folder, origins=origins, **options)).ready()

    def proxy(self, env=None, setup=None, ports=None, **options):
        """`sluice proxy`, ready."""
        return self.own(Server("proxy", [*(ports or ANY_PORTS), *flags(options)], self.folder, env, setup)).ready()

    def origin(self, proxies=(), server_id="o1", env=None, setup=None, rtmp="127.0.0.1:0", wait=True, **options):
        """`sluice origin`, ready and (by default) registered with `proxies`."""
        arguments = ["--rtmp", rtmp, "--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--server-id", server_id, *flags(options)]
        for proxy in proxies:
            arguments += ["--register", f"http://{proxy.api}/api/v1/srs/register"]
        origin = self.own(Server("origin", arguments, self.folder, env, setup, name=server_id)).ready()
        for proxy in proxies if wait else ():
            proxy.await_event("origin_added", origin=lambda o: o.startswith(server_id + "-"))
        return origin

    def sluice(self, *arguments, **options):
        """The bare program, with arguments as given."""
        return self.own(Process([BINARY, *arguments], "sluice", cwd=self.folder, **options))

    def nginx(self, hook=None, port=None):
        return self.own(Nginx(os.path.join(self.folder, f"nginx{len(self.processes)}"), hook, port))

    def redis(self, port=None, password=None, options=(), name="redis", **more):
        folder = os.path.join(self.folder, f"{name}{len(self.processes)}")
        return self.own(Redis(folder, port, password, options, name, **more))

    def ffmpeg(self, *arguments):
        return self.start(["ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", *arguments], "ffmpeg")

    def ffmpeg_publish(self, path, url, *more):
        return self.ffmpeg("-re", *more, "-i", path, "-c", "copy", "-f", "flv", url)

    # -- connections ---------------------------------------------------------------------------------------------

    def hold(self, connection):
        self._connections.append(connection)
        return connection

    def connection(self, address, **options):
        return self.hold(Connection(address, **options))

    def player(self, address, app="live", name="s", **options):
        return self.hold(Player(address, app, name, **options))

    def publisher(self, address, app="live", name="s", **options):
        return self.hold(Publisher(address, app, name, **options))

    def publisher_again(self, address, app="live", name="s", **options):
        """A publisher, as an encoder that tries again until its old connection is forgotten."""
        def attempt():
            try:
                return self.publisher(address, app, name, **options)
            except Refused as refusal:
                assert refusal.code == "NetStream.Publish.BadName"
                return None
        return poll(attempt, what="publish", every=0.05)

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self):
        """Ends everything; an AssertionError when somebody did not end as he should."""
        for connection in reversed(self._connections):
            connection.close()
        troubles = []
        for process in reversed(self.processes):
            if process.alive and not isinstance(process, (Server, Cluster)):
                process.kill()  # ffmpeg, for one, wants to be asked twice; how a tool ends is not our question
            elif process.alive:
                try:
                    process.stop(timeout=40)
                except AssertionError as error:
                    troubles.append(str(error))
            process.await_exit()
            if process.complaint():
                troubles.append(f"{process.name}: {process.complaint()}")
            elif process.returncode is not None and process.returncode < 0 and -process.returncode in (4, 6, 7, 8, 11):
                troubles.append(f"{process.name} died of signal {-process.returncode}\n{process.tail()}")
        assert not troubles, "\n".join(troubles)

    def report(self):
        return "\n".join(process.tail() for process in self.processes)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    _worlds.remove(made)
    made.close()


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    """A world that lasts for all tests of a file."""
    made = World(tmp_path_factory.mktemp("shared"))
    yield made
    _worlds.remove(made)
    made.close()


@pytest.fixture(scope="module")
def cluster(shared_world):
    """`sluice run --origins 2`, shared by the tests of a file. Each of them uses stream names of its own."""
    return shared_world.run(origins=2, play_wait="20s")  # for encoders that take their time to start


@pytest.fixture(params=["origin", "proxy"])
def server(request, pair):
    """Where viewers go, of the `pair` (proxy, origin) that the file has; publishers go to the proxy."""
    return pair[request.param == "origin"]


@pytest.fixture
def stream(request):
    """A stream name of the test's own."""
    return "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]


@pytest.fixture(scope="session")
def clip():
    """Path of a short clip: 3 s, a keyframe each second."""
    return media.clip()


@pytest.fixture(scope="session")
def tags(clip):
    return list(media.tags(clip))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.passed = report.passed
    if report.failed:
        for world in _worlds:
            report.sections.append((f"processes in {world.folder}", world.report()))
