"""Ports, raw sockets and what the kernel says of them."""
import random
import socket

LOOPBACK = "127.0.0.1"


def free_port(host=LOOPBACK, kind=socket.SOCK_STREAM):
    """A port nobody listens on, below the ephemeral range so that no outgoing connection takes it.

    Only for programs that cannot say which port the kernel gave them (nginx); everything of ours listens on port 0.
    """
    for _ in range(200):
        port = random.randint(20000, 32000)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
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


def connect(address, timeout=5.0, source=None, receive_buffer=None):
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


def kernel_tcp_bytes():
    """Memory that all TCP sockets of this machine hold, by /proc/net/sockstat (pages of 4 KiB)."""
    with open("/proc/net/sockstat") as stat:
        for line in stat:
            if line.startswith("TCP:"):
                words = line.split()
                return int(words[words.index("mem") + 1]) * 4096
    raise RuntimeError("no TCP line in /proc/net/sockstat")
