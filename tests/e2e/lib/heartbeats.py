"""An HTTP server between an origin and its proxy, through which heartbeats pass with another RTMP address in them."""
import http.server
import json
import threading

import requests


class Heartbeats:
    """`address` is what the origin registers at; proxies hear that its RTMP is at `rtmp`. `count`: how many have passed."""

    def __init__(self, proxy_api, rtmp):
        outer, self.count = self, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                body["rtmp"] = [rtmp]
                answer = requests.post(f"http://{proxy_api}{self.path}", json=body, timeout=10)
                outer.count += 1
                self.send_response(answer.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = False  # an origin keeps its connection
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
