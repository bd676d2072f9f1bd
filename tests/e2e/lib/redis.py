"""Redis servers of the tests' own: one, a master with Sentinels, a Cluster; and what stands in them."""
import os
import signal
import subprocess

import redis

from . import net
from .process import Process
from .waiting import PATIENCE, poll


class Redis(Process):
    """A redis-server that keeps nothing on disk. `password`: of the default user; more options as redis-server takes them. `authority`: an
    Authority (lib/tls) whose certificate for `subject` it shows; it then speaks TLS alone."""

    def __init__(self, folder, port=None, password=None, options=(), name="redis", authority=None, subject=f"IP:{net.LOOPBACK}"):
        self.port, self.password, self.authority = port or net.free_port(), password, authority
        self.address = f"{net.LOOPBACK}:{self.port}"
        os.makedirs(folder, exist_ok=True)
        if authority:
            certificate, key = authority.certify(subject)
            ports = ["--port", 0, "--tls-port", self.port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authority.path,
                     "--tls-auth-clients", "no"]
        else:
            ports = ["--port", self.port]
        arguments = ["redis-server", *ports, "--bind", net.LOOPBACK, "--dir", folder, "--save", "", "--appendonly", "no",
                     "--repl-diskless-sync-delay", "0", *options]
        if password:
            arguments += ["--requirepass", password]
        super().__init__(arguments, name)
        self.await_line("Ready to accept connections")

    @property
    def client(self):
        options = {"ssl": True, "ssl_ca_certs": self.authority.path, "ssl_check_hostname": False} if self.authority else {}
        return redis.Redis(net.LOOPBACK, self.port, password=self.password, decode_responses=True, socket_timeout=PATIENCE, **options)

    def freeze(self):
        self.send_signal(signal.SIGSTOP)

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def settings(self):
        """How a proxy is told of it."""
        out = {"load_balancer_type": "redis", "redis_host": net.LOOPBACK, "redis_port": self.port}
        if self.authority:
            out |= {"redis_tls": "on", "redis_ca": self.authority.path}
        return {**out, "redis_password": self.password} if self.password else out


class Guarded:
    """A master with `replicas`, watched by three Sentinels, which take it for dead after 500 ms."""

    NAME = "live"

    def __init__(self, world, replicas=1):
        self.world = world
        self.servers = [world.redis(name="master")]
        self.servers += [world.redis(name=f"replica{n}", options=["--replicaof", net.LOOPBACK, self.servers[0].port]) for n in range(replicas)]
        for replica in self.servers[1:]:
            poll(lambda: replica.client.info("replication")["master_link_status"] == "up", what="a replica in step")
        self.sentinels = [self._sentinel(n) for n in range(3)]
        for sentinel in self.sentinels:
            client = redis.Redis(net.LOOPBACK, sentinel.port, decode_responses=True)
            poll(lambda: client.sentinel_master(self.NAME)["num-other-sentinels"] == 2 and client.sentinel_master(self.NAME)["num-slaves"] == replicas,
                 what="Sentinels that know each other")

    def _sentinel(self, number):
        port = net.free_port()
        folder = os.path.join(self.world.folder, f"sentinel{number}")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "sentinel.conf")
        with open(path, "w") as file:
            file.write(f"port {port}\nbind {net.LOOPBACK}\ndir {folder}\n"
                       f"sentinel monitor {self.NAME} {net.LOOPBACK} {self.servers[0].port} 2\n"
                       f"sentinel down-after-milliseconds {self.NAME} 500\nsentinel failover-timeout {self.NAME} 3000\n")
        process = self.world.start(["redis-sentinel", path], f"sentinel{number}")
        process.port = port
        process.await_line("Sentinel ID is")
        return process

    @property
    def master(self):
        """The server that the Sentinels name now."""
        host, port = redis.Redis(net.LOOPBACK, self.sentinels[0].port).sentinel_get_master_addr_by_name(self.NAME)
        return next(s for s in self.servers if s.port == port)

    def settings(self):
        return {"load_balancer_type": "redis", "redis_sentinels": ",".join(f"{net.LOOPBACK}:{s.port}" for s in self.sentinels),
                "redis_sentinel_master": self.NAME}


class Sharded:
    """A Redis Cluster of three masters with a replica each."""

    def __init__(self, world):
        self.servers = [world.redis(name=f"node{n}", options=["--cluster-enabled", "yes", "--cluster-port", net.free_port(),
                                                              "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]) for n in range(6)]
        addresses = [s.address for s in self.servers]
        made = subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"], capture_output=True,
                              text=True, timeout=60)
        assert made.returncode == 0, made.stdout + made.stderr
        for server in self.servers:
            poll(lambda: self._in_order(server), what="a Cluster in order")

    @staticmethod
    def _in_order(server):
        nodes = server.client.execute_command("CLUSTER NODES").values()
        return (server.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" and
                sum("slave" in node["flags"] for node in nodes) == 3)

    def master_of(self, key):
        """The living server that has this key's slot."""
        for server in self.servers:
            if server.alive:
                slot = server.client.execute_command("CLUSTER KEYSLOT", key)
                for first, last, master, *_ in server.client.execute_command("CLUSTER SLOTS"):
                    if first <= slot <= last:
                        return next(s for s in self.servers if s.port == master[1])
        raise AssertionError(f"nobody has the slot of {key}")

    @property
    def client(self):
        server = next(s for s in self.servers if s.alive)
        return redis.RedisCluster(net.LOOPBACK, server.port, decode_responses=True)

    def settings(self):
        return {"load_balancer_type": "redis", "redis_cluster": ",".join(s.address for s in self.servers[:3])}
