"""Starts the servers under measurement on free loopback ports and reads what they cost from /proc."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NGINX_RTMP_MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"


class Unavailable(Exception):
    """A peer or program that this machine does not have: the case is left out, and the table says so."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_listening(port, server, seconds=5):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        server.check_alive()
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{server.process.args[0]} does not listen on {port}")


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except FileNotFoundError:
        return []


def cpu_seconds_of(pids):
    """User + system time of all threads of these processes so far: in ns from schedstat, else in ticks of 10 ms from stat (the same time)."""
    total = 0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
                    total += int(f.read().split()[0]) / 1e9
        except FileNotFoundError:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    return total


class Server:
    """One running server: `rtmp` and `http` are where clients go. CPU and memory are those of the process and its children."""

    def __init__(self, argv, folder, rtmp=None, http=None, pass_fds=()):
        self.folders = [folder]  # go with it
        self.rtmp = rtmp
        self.http = http
        self.stderr_path = os.path.join(folder, "stderr")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=open(self.stderr_path, "wb"), pass_fds=pass_fds, cwd=folder)

    def pids(self):
        return [self.process.pid] + children_of(self.process.pid)

    def cpu_seconds(self):
        return cpu_seconds_of(self.pids())

    def resident_bytes(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/statm") as f:
                total += int(f.read().split()[1]) * PAGE_BYTES
        return total

    def check_alive(self):
        if self.process.poll() is not None:
            with open(self.stderr_path, errors="replace") as f:
                tail = f.read()[-2000:]
            raise RuntimeError(f"{self.process.args[0]} died with code {self.process.returncode}: {tail}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if not children_of(self.process.pid) else signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


class Lines:
    """Lines of JSON from a descriptor, with a time limit."""

    def __init__(self, fd):
        self.fd = fd
        self.buffer = b""

    def next(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise TimeoutError("no line")
            data = os.read(self.fd, 65536)
            if not data:
                raise EOFError("the program closed its output")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)


class Rig:
    """The servers of one case; leaving it stops them all."""

    def __init__(self, build):
        self.build = build
        self.servers = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for server in reversed(self.servers):
            server.stop()

    def _start(self, argv, **more):
        folder = tempfile.mkdtemp(prefix="sluice-bench-")
        server = Server(argv, folder, **more)
        self.servers.append(server)
        return server

    def _sluice(self, arguments):
        """A sluice process and the lines of its --ready-fd."""
        program = os.path.join(self.build, "sluice")
        if not os.path.exists(program):
            raise Unavailable("no sluice binary")
        reading, writing = os.pipe()
        server = self._start([program, *arguments, "--ready-fd", str(writing), "--log-format", "json", "--log-level", "warn"],
                             pass_fds=[writing])
        os.close(writing)
        return server, Lines(reading)

    @staticmethod
    def _phase(server, lines, wanted):
        try:
            while True:
                line = lines.next(15)
                if line.get("phase") == wanted:
                    return line
        except (EOFError, TimeoutError) as e:
            server.check_alive()
            raise RuntimeError(f"{server.process.args[1]} is not {wanted}: {e}") from e

    def sluice_origin(self, register=None, options=()):
        arguments = ["origin", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--server-id", f"bench-{len(self.servers)}"]
        if register:
            arguments += ["--register", register]
        server, lines = self._sluice([*arguments, *options])
        ready = self._phase(server, lines, "ready")
        server.rtmp, server.http = ready["rtmp"], ready["http"]
        return server

    def sluice_proxy(self, origin_options=(), options=()):
        """A proxy with one shard and the one origin that registered with it."""
        zero = [x for name in ("rtmp-server", "http-server", "http-api", "webrtc-server", "srt-server", "system-api")
                for x in (f"--{name}", "127.0.0.1:0")]
        proxy, lines = self._sluice(["proxy", *zero, "--shards", "1", "--wait-origins", "1", *options])
        system_api = self._phase(proxy, lines, "api")["system_api"]
        origin = self.sluice_origin(f"http://{system_api}/api/v1/srs/register", origin_options)
        ready = self._phase(proxy, lines, "ready")
        proxy.rtmp, proxy.http = ready["rtmp"], ready["http"]
        return proxy, origin

    def haproxy(self, origin, splice=False):
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise Unavailable("no haproxy")
        rtmp, http = free_port(), free_port()
        folder = tempfile.mkdtemp(prefix="sluice-bench-")
        config = os.path.join(folder, "haproxy.cfg")
        with open(config, "w") as f:
            f.write(f"""global
    nbthread 1
    maxconn 4500
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {"option splice-auto" if splice else ""}
listen rtmp
    bind 127.0.0.1:{rtmp} backlog 4096
    server origin {origin.rtmp}
listen http
    bind 127.0.0.1:{http} backlog 4096
    server origin {origin.http}
""")
        server = Server([program, "-db", "-f", config], folder, rtmp=f"127.0.0.1:{rtmp}", http=f"127.0.0.1:{http}")
        self.servers.append(server)
        wait_listening(http, server)
        return server

    def copy_relay(self, origin, protocol="rtmp"):
        """It copies to one address only: `protocol` says to which of the origin's."""
        program = os.path.join(self.build, "bench", "copy_relay")
        server = self._start([program, getattr(origin, protocol)])
        setattr(server, protocol, f"127.0.0.1:{Lines(server.process.stdout.fileno()).next(5)['port']}")
        return server

    def _nginx(self, head, body, **where):
        """One worker. `head`: directives before all others; `body`: the rtmp or http block."""
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise Unavailable("no nginx")
        folder = tempfile.mkdtemp(prefix="sluice-bench-")
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w") as f:
            f.write(f"""{head}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 9000; }}
{body}
""")
        server = Server([program, "-p", folder, "-e", "stderr", "-c", config], folder, **where)
        self.servers.append(server)
        wait_listening(int(next(iter(where.values())).rpartition(":")[2]), server)
        return server

    def nginx(self):
        if not os.path.exists(NGINX_RTMP_MODULE):
            raise Unavailable("no nginx with libnginx-mod-rtmp")
        port = free_port()
        return self._nginx(f"load_module {NGINX_RTMP_MODULE};", f"""rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        chunk_size 4096;
        application live {{ live on; }}
    }}
}}""", rtmp=f"127.0.0.1:{port}")

    def nginx_cache(self, origin, sendfile=True):
        """A cache in front of the origin's HTTP port, set up as one would for HLS. What the origin calls immutable is
        kept; playlists (no-cache) are asked for each time."""
        port = free_port()
        # The worker may run as another user than the one who made the folder.
        cache = tempfile.mkdtemp(prefix="sluice-bench-cache-")
        os.chmod(cache, 0o777)
        server = self._nginx("", f"""http {{
    access_log off;
    sendfile {"on" if sendfile else "off"};
    tcp_nopush on;
    keepalive_requests 100000000;
    open_file_cache max=1000;
    proxy_cache_path {cache} levels=1:2 keys_zone=hls:10m max_size=1g inactive=10m use_temp_path=off;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://{origin.http};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache hls;
        }}
    }}
}}""", http=f"127.0.0.1:{port}")
        server.folders.append(cache)
        return server


def kernel_tcp_bytes():
    """Memory of all TCP sockets of the network namespace, both ends of a loopback connection included."""
    with open("/proc/net/sockstat") as f:
        for line in f:
            if line.startswith("TCP:"):
                fields = line.split()
                return int(fields[fields.index("mem") + 1]) * PAGE_BYTES
    return 0
