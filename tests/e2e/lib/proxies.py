"""Several proxies that share one Redis, with origins that know only some of them."""
from . import audit
from .figures import wall
from .live import Auditor, Content, LivePublisher
from .sluice import cluster_state
from .waiting import poll

KEY = "__defaultVhost__/live/{}"


def everybody_knows(proxies, origins, timeout=20):
    """Waits until each proxy takes all `origins` for alive."""
    ids = {o.incarnation for o in origins}
    for proxy in proxies:
        poll(lambda: {o["id"] for o in cluster_state(proxy.api)["origins"].values() if o["state"] == "alive"} >= ids, timeout,
             f"{proxy.name} to know all origins")


class Fleet:
    """`count` proxies on what `settings` describe; each origin registers with one of them alone, as behind a balancer. Streams are published through one proxy and watched through all."""

    def __init__(self, world, settings, count=2, origins=2, origin=None, env=None, **options):
        self.world, self.settings, self.options, self.env = world, settings, options, env
        self.proxies, self.origins, self.streams = [], {}, []
        for _ in range(count):
            self.start_proxy()
        for n in range(origins):
            self.start_origin(f"o{n + 1}", n % count, **(origin or {}))
        everybody_knows(self.proxies, self.origins.values())

    def start_proxy(self):
        proxy = self.world.proxy(env=self.env, **{**self.settings, **self.options})
        proxy.name = f"proxy{len(self.proxies)}"
        self.proxies.append(proxy)
        return proxy

    def start_origin(self, server_id, at, **options):
        mark = len(self.proxies[at].events)
        origin = self.world.origin([self.proxies[at]], server_id=server_id, wait=False, **options)
        added = self.proxies[at].await_event("origin_added", since=mark, origin=lambda o: o.startswith(server_id + "-"))
        origin.incarnation = added["origin"]
        self.origins[server_id] = origin
        return origin

    def publish(self, name, via=0, viewers=None, **content):
        """A stream through proxy `via`, with a viewer at each proxy (or at those in `viewers`)."""
        stream = Live(self, name, via, range(len(self.proxies)) if viewers is None else viewers, content)
        self.streams.append(stream)
        return stream

    def owner(self, name):
        """The server id of the origin that accepted it last."""
        said = [(wall(e), server_id) for server_id, origin in self.origins.items()
                for e in origin.find("session_start", kind="publish", stream=KEY.format(name))]
        return max(said)[1] if said else None

    def await_flowing(self, timeout=30):
        for stream in self.streams:
            stream.await_flowing(timeout)

    def check(self):
        """Nobody was disconnected, and every viewer has every packet once."""
        for stream in self.streams:
            stream.check()


class Live:
    def __init__(self, fleet, name, via, viewers, content):
        self.name, self.via = name, via
        world = fleet.world
        self.publisher = world.hold(LivePublisher(fleet.proxies[via].rtmp, "live", name, Content(name, **content)))
        self.viewers = [world.hold(Auditor(fleet.proxies[p].rtmp, "live", name, wait=False)) for p in viewers]
        self.fleet, self.late = fleet, set()
        for viewer in self.viewers:  # each has its pull
            viewer.await_status("NetStream.Play.Start")
        self.publisher.go()

    def join(self, proxy):
        """One more viewer, who is not there from the beginning."""
        viewer = self.fleet.world.hold(Auditor(self.fleet.proxies[proxy].rtmp, "live", self.name, wait=False))
        self.late.add(viewer)
        self.viewers.append(viewer)

    def await_flowing(self, timeout=30):
        for viewer in self.viewers:  # who begins at a keyframe after the one sent last never gets that one
            viewer.await_count(1, timeout)
        target = len(self.publisher.sent) + 1
        poll(lambda: len(self.publisher.sent) > target or self.publisher.closed, timeout, f"{self.name} to be sent")
        assert self.publisher.closed is None, f"the publisher of {self.name} was disconnected: {self.publisher.closed}"
        entry = self.publisher.last_sent()
        for viewer in self.viewers:
            viewer.await_seen(entry, timeout)

    def check(self):
        assert self.publisher.closed is None, f"the publisher of {self.name} was disconnected: {self.publisher.closed}"
        for number, viewer in enumerate(self.viewers):
            who = f"viewer {number} of {self.name}"
            assert viewer.closed is None, f"{who} was disconnected: {viewer.closed}"
            seen = list(viewer.seen)
            audit.assert_exact(seen, self.publisher.published(), who, whole=viewer not in self.late)
