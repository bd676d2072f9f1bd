"""A TCP relay in a process of its own: SIGSTOP makes whoever is behind it a ghost, whose connection stands and says nothing.

Prints its port, then relays every connection to the port in argv[1] of 127.0.0.1.
"""
import selectors
import socket
import sys


def main(port):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", port))
                except OSError:
                    client.close()
                    continue
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                continue
            try:
                data = key.fileobj.recv(65536)
                if data:
                    key.data.sendall(data)
                    continue
            except OSError:
                pass
            for sock in (key.fileobj, key.data):
                try:
                    selector.unregister(sock)
                except (KeyError, ValueError):
                    pass
                sock.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
