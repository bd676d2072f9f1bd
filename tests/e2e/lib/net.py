"""Ports, raw sockets and what the kernel says of them."""
import os
import random
import re
import socket
import subprocess

from .waiting import PATIENCE

LOOPBACK = "127.0.0.1"


_given = set()


def free_port(host=LOOPBACK, kind=socket.SOCK_STREAM):
    """A port nobody listens on, below the ephemeral range so that no outgoing connection takes it.

    Only for programs that cannot say which port the kernel gave them (nginx); everything of ours listens on port 0. Test runs that
    are beside each other choose from ranges of their own.
    """
    first = 20000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 6 * 2000
    for _ in range(200):
        port = random.randrange(first, first + 2000)
        if (kind, port) in _given:  # whoever got it may not have bound it yet
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            _given.add((kind, port))
            return port
    raise RuntimeError("no free port")


def split_address(text):
    """("127.0.0.1", 1935) of "127.0.0.1:1935" or "[::1]:1935"."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def reachable(address):
    """Where a client connects to reach a listener at `address`: wildcards become loopback."""
    host, port = split_address(address) if isinstance(address, str) else address
    return {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}.get(host, host), port


def connect(address, timeout=PATIENCE, source=None, receive_buffer=None):
    """A connected TCP socket with Nagle off. `source` binds the local address, `receive_buffer` caps SO_RCVBUF."""
    host, port = reachable(address)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def accepts(address):
    """Whether somebody accepts TCP connections at `address`."""
    try:
        connect(address, timeout=1.0).close()
    except OSError:
        return False
    return True


def kernel_tcp_bytes(*ports):
    """Memory that the kernel holds for the TCP connections to these ports, at both ends: what waits to be read, what waits to be taken,
    and what was set aside for more (ss(8), skmem: r, w and f)."""
    any_end = " or ".join(f"sport = :{port} or dport = :{port}" for port in ports)
    listed = subprocess.run(["ss", "-tnmH", any_end], capture_output=True, text=True, check=True).stdout
    fields = [dict(re.findall(r"(r|w|f)(\d+)", part)) for part in re.findall(r"skmem:\((.*?)\)", listed)]
    assert fields, f"ss says nothing of the memory of {any_end}"
    return sum(int(value) for one in fields for value in one.values())
