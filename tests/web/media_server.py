#!/usr/bin/env python3
"""A stand-in for Sluice's HTTP media: the built page of build/web/dist, and for any name a live stream that ffmpeg makes for each request.

usage: tests/web/media_server.py [PORT]     (0, the default: a free one; the URL is printed)

/live/NAME.flv and .ts are endless, /live/NAME.m3u8 and its segments come from one ffmpeg in the background. Special names:
  missing   404      wrong   415      busy   503      html   200 and a web page
  short     the response ends after 6 s of media
"""
import http.server
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIST = os.path.join(ROOT, "build/web/dist")
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src *; media-src * blob:; "
          "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")  # as src/admin/pages.hpp has it
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
         ".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}
PICTURE = ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-re", "-f", "lavfi",
           "-i", "sine=frequency=330", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1",
           "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "600k", "-maxrate", "600k", "-bufsize", "300k", "-c:a", "aac"]
STATUS = {"missing": 404, "wrong": 415, "busy": 503}


class Handler(http.server.BaseHTTPRequestHandler):
    hls_folder = None

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if kind.startswith("text/html"):
            self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def file(self, path):
        try:
            with open(path, "rb") as f:
                self.answer(200, f.read(), TYPES.get(os.path.splitext(path)[1], "application/octet-stream"))
        except OSError:
            self.answer(404)

    def live(self, name, form):
        limit = ["-t", "6"] if name == "short" else []
        process = subprocess.Popen([*PICTURE, *limit, "-f", form, "pipe:1"], stdout=subprocess.PIPE)
        self.send_response(200)
        self.send_header("Content-Type", "video/x-flv" if form == "flv" else "video/mp2t")
        self.end_headers()
        try:
            while data := process.stdout.read1(65536):
                self.wfile.write(data)
        except OSError:
            pass  # the viewer has left
        finally:
            process.kill()
            process.wait()

    def do_GET(self):
        path = self.path.split("?")[0]
        name, extension = os.path.splitext(os.path.basename(path))
        if not path.startswith("/live/"):
            return self.file(DIST + ("/index.html" if path == "/" else path))
        if name in STATUS:
            return self.answer(STATUS[name])
        if name == "html":
            return self.answer(200, b"<p>no media</p>", "text/html")
        if extension == ".flv":
            return self.live(name, "flv")
        if extension == ".ts" and not name.startswith("hls-"):
            return self.live(name, "mpegts")
        return self.file(os.path.join(self.hls_folder, "hls.m3u8" if extension == ".m3u8" else os.path.basename(path)))


def main():
    Handler.hls_folder = tempfile.mkdtemp(prefix="sluice-hls-")
    segmenter = subprocess.Popen([*PICTURE, "-f", "hls", "-hls_time", "2", "-hls_list_size", "5", "-hls_flags", "delete_segments",
                                  "-hls_segment_filename", f"{Handler.hls_folder}/hls-%d.ts", f"{Handler.hls_folder}/hls.m3u8"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0), Handler)
    server.daemon_threads = True
    print("http://127.0.0.1:%d/" % server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        segmenter.kill()
        shutil.rmtree(Handler.hls_folder, ignore_errors=True)


if __name__ == "__main__":
    main()
