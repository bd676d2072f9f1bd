"""An HTTP origin of which a test decides what it answers: as stock SRS (a playlist of his own for each viewer), or by a script."""
import http.server
import itertools
import threading
import types

from .waiting import Signal


class HttpOrigin:
    """Listens on a port of the kernel's. `asked` are the requests (path, headers, peer); `answer(handler)` gives (status, headers, body)."""

    def __init__(self, answer=None):
        self.signal, self.asked = Signal(), []
        self.answer = answer or self.as_srs
        self._contexts = itertools.count(1)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                # A handler lives as long as its connection.
                outer.asked.append(types.SimpleNamespace(path=self.path, headers=self.headers, peer=self.client_address))
                outer.signal.changed()
                status, headers, body = outer.answer(self)
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                if status not in (204, 304):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if status not in (204, 304) and self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = False
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def as_srs(self, request):
        """SRS 6 with hls_ctx: a master playlist that names the viewer, in which his media playlist and its segments do so, too."""
        path, _, query = request.path.partition("?")
        kind = [("Content-Type", "application/vnd.apple.mpegurl")]
        if path.endswith(".m3u8") and "hls_ctx=" not in query:
            context = f"ctx{next(self._contexts)}"
            return 200, kind, (f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\n{path}?hls_ctx={context}\n").encode()
        if path.endswith(".m3u8"):
            name = path.rpartition("/")[2][:-5]
            context = next(p for p in query.split("&") if p.startswith("hls_ctx="))
            return 200, kind, (f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-TARGETDURATION:2\n"
                               f"#EXTINF:2.000, no desc\n{name}-7.ts?{context}\n#EXTINF:2.000, no desc\n{name}-8.ts?{context}\n").encode()
        if path.endswith(".ts"):
            return 200, [("Content-Type", "video/MP2T")], f"{self.port} {path}".encode()
        return 404, [], b"no"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
