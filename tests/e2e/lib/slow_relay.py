"""A TCP relay in a process of its own that holds back what the server answers for so many milliseconds.

usage: slow_relay.py PORT-OF-THE-SERVER MILLISECONDS; prints its port. A line on stdin is another number of milliseconds.
"""
import asyncio
import sys


class Relay:
    def __init__(self, port, delay_ms):
        self.port, self.delay = port, delay_ms / 1000

    async def serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.copy(reader, up_writer, False), self.copy(up_reader, writer, True), return_exceptions=True)

    async def copy(self, reader, writer, late):
        queue = asyncio.Queue()

        async def deliver():
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()
        task = asyncio.ensure_future(deliver())
        while True:
            data = await reader.read(65536)
            await queue.put((asyncio.get_running_loop().time() + (self.delay if late else 0), data))
            if not data:
                break
        await task


async def main(port, delay_ms):
    relay = Relay(port, delay_ms)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()

    def told():
        line = sys.stdin.readline()
        if line:
            relay.delay = int(line) / 1000
        else:
            loop.remove_reader(sys.stdin)
    loop.add_reader(sys.stdin, told)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
