"""The side of a proxy that takes over, by hand: packets on its PROXY_UPGRADE_SOCKET."""
import os
import socket


class Taker:
    def __init__(self, path, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.sockets = []  # (name, descriptor)

    def say(self, kind, **fields):
        text = f"sluice-handover 1 {kind}\n" + "".join(f"{k} {v}\n" for k, v in fields.items()) + "\n"
        self.sock.send(text.encode())
        return self

    def send(self, data):
        self.sock.send(data)
        return self

    def hear(self):
        """(kind, [(key, value)…], body) of the next packet; None when the other end has closed."""
        data, descriptors, _, _ = socket.recv_fds(self.sock, 1 << 17, 64)
        if not data:
            return None
        head, _, body = data.partition(b"\n\n")
        first, *lines = head.decode().split("\n")
        kind = first.split(" ")[2]
        fields = [tuple(line.split(" ", 1)) for line in lines if line]
        self.sockets += zip((v for k, v in fields if k == "name"), descriptors)
        return kind, fields, body

    def begin(self):
        """As far as a new process that has all sockets; the state."""
        self.say("hello", pid=os.getpid(), version="9.9.9")
        state = b""
        while (packet := self.hear()) and packet[0] != "end":
            state += packet[2] if packet[0] == "state" else b""
        assert packet, "the proxy hung up"
        return state

    def close(self):
        for _, descriptor in self.sockets:
            os.close(descriptor)
        self.sock.close()
