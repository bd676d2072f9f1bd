"""What an operator sees when he mistypes; the unit tests of src/app go through every setting."""
import os

import pytest

from lib.process import run_tool
from lib.sluice import ANY_PORTS, BINARY


def refused(world, *arguments, **options):
    """Everything that the program wrote before it ended with 1."""
    process = world.sluice(*arguments, **options)
    assert process.await_exit() == 1, process.tail()
    return process.output


@pytest.mark.parametrize("role", ["proxy", "origin", "run"])
def test_unknown_flag(world, role):
    assert "--no-such-flag" in refused(world, role, "--no-such-flag", "1")


def test_unknown_subcommand(world):
    assert "poxy" in refused(world, "poxy")


@pytest.mark.parametrize("flag,value,key", [("--rtmp-server", "99999", "PROXY_RTMP_SERVER"),
                                            ("--play-wait", "soon", "PROXY_PLAY_WAIT"),
                                            ("--relay", "sideways", "PROXY_RELAY"),
                                            ("--redis-cluster", "redis", "PROXY_REDIS_CLUSTER"),
                                            ("--load-balancer-type", "mesh", "PROXY_LOAD_BALANCER_TYPE")])
def test_bad_value_names_its_key(world, flag, value, key):
    ports = [] if flag in ANY_PORTS else ANY_PORTS
    output = refused(world, "proxy", *ports, flag, value)
    assert key in output and value in output


def test_bad_variable_names_its_key(world):
    output = refused(world, "proxy", env={"PROXY_ORIGIN_SERVER_TTL": "for ever"})
    assert "PROXY_ORIGIN_SERVER_TTL" in output


def test_unknown_yaml_key(world):
    path = os.path.join(world.folder, "sluice.yaml")
    with open(path, "w") as file:
        file.write("rtmp_server: 127.0.0.1:0\nplay_wiat: 1s\n")
    output = refused(world, "proxy", "--config", path)
    assert "play_wiat" in output and "play_wait" in output, "the typo is named and the right key suggested"


def test_precedence(world):
    """Flag over environment over .env over YAML over default: each wins over all below it."""
    with open(os.path.join(world.folder, "sluice.yaml"), "w") as file:
        file.write("rtmp_server: bad-yaml\nhttp_api: bad-yaml\nsystem_api: bad-yaml\nlog_level: debug\n")
    with open(os.path.join(world.folder, ".env"), "w") as file:
        file.write("# comment\nexport PROXY_RTMP_SERVER='bad-dotenv'\nPROXY_HTTP_API=\"bad-dotenv\"\nPROXY_SYSTEM_API=127.0.0.1:0\n")
    env = {"PROXY_RTMP_SERVER": "bad-environment", "PROXY_HTTP_API": "127.0.0.1:0", "PROXY_HTTP_SERVER": "127.0.0.1:0",
           "PROXY_WEBRTC_SERVER": "127.0.0.1:0", "PROXY_SRT_SERVER": "127.0.0.1:0"}
    proxy = world.proxy(ports=["--config", "sluice.yaml", "--rtmp-server", "127.0.0.1:0"], env=env)
    assert proxy.rtmp.startswith("127.0.0.1:")


def test_dotenv_never_overrides_the_environment(world):
    with open(os.path.join(world.folder, ".env"), "w") as file:
        file.write("PROXY_PLAY_WAIT=nonsense\n")
    assert world.proxy(env={"PROXY_PLAY_WAIT": "1s"}).alive
    assert "PROXY_PLAY_WAIT" in refused(world, "proxy", *ANY_PORTS)


def test_unknown_variable_is_only_warned_about(world):
    """Kubernetes injects the likes of PROXY_SERVICE_HOST; a typo is named, and the proxy starts."""
    proxy = world.proxy(env={"PROXY_SERVICE_HOST": "10.0.0.1", "PROXY_REDIS_PORT": "tcp://10.0.0.1:6379", "PROXY_PLAY_WIAT": "1s"})
    assert "PROXY_PLAY_WIAT" in proxy.output


def test_empty_variable_counts_as_unset(world):
    assert world.proxy(env={"PROXY_PLAY_WAIT": "", "PROXY_RELAY": ""}).alive


@pytest.mark.parametrize("arguments", [["--help"], ["proxy", "--help"], ["origin", "--help"], ["run", "--help"]])
def test_help(arguments):
    code, output = run_tool([BINARY, *arguments])
    assert code == 0 and "Usage" in output
    if arguments[0] == "proxy":
        assert "--rtmp-server" in output and "11935" in output


def test_version():
    code, output = run_tool([BINARY, "version"])
    assert code == 0 and output.startswith("sluice ") and output.count(".") == 2


def test_text_log_is_for_people(world):
    """Without --log-format json the lines are no JSON, and name what happened."""
    process = world.sluice("origin", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0")
    process.await_line(r"ready")
    assert not process.events


def test_token_is_wanted_when_auth_is_on(world):
    output = refused(world, "proxy", *ANY_PORTS, env={"PROXY_HTTP_API_AUTH_ENABLED": "on"})
    assert "PROXY_HTTP_API_AUTH_TOKEN" in output and "PROXY_HTTP_API_AUTH_TYPE" in output
