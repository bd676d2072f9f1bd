"""Was every packet delivered once, in order, with its timestamp and its bytes? For streams that are still running.

Works on the Entries of lib.live: what was published against what a player saw.
"""
from .live import HEADER, KEY


class Audit:
    """`seen` against `published`, from the first packet seen to the last. Positions are those of the packets among the published ones."""

    def __init__(self, seen, published):
        self.published = [e for e in published if e.role != HEADER]
        self.seen = [e for e in seen if e.role != HEADER]
        place = {(e.digest, e.timestamp): n for n, e in enumerate(self.published)}
        assert len(place) == len(self.published), "two published packets are alike: the test is of no use"
        by_digest = {e.digest: n for n, e in enumerate(self.published)}
        self.foreign, self.retimed, self.doubled, self.disordered = [], [], [], []
        self.places = []
        counted = set()
        for entry in self.seen:
            at = place.get((entry.digest, entry.timestamp), by_digest.get(entry.digest))
            if at is None:
                self.foreign.append(entry)
                continue
            want = self.published[at]
            if (entry.type, entry.timestamp) != (want.type, want.timestamp):
                self.retimed.append((at, entry.timestamp - want.timestamp))
            if at in counted:
                self.doubled.append(at)
                continue
            if self.places and at < self.places[-1]:
                self.disordered.append(at)
            counted.add(at)
            self.places.append(at)
        self.begin = min(self.places, default=0)
        self.lost = [n for n in range(self.begin, max(self.places, default=-1) + 1) if n not in counted]
        known = {(e.type, e.digest) for e in published if e.role == HEADER}
        heads = [(e.type, e.digest) for e in seen if e.role == HEADER and e.type in (8, 9)]
        self.strange_headers = [h for h in heads if h not in known]
        self.headers_again = len(heads) - len(set(heads))

    @property
    def ok(self):
        return not (self.lost or self.doubled or self.disordered or self.retimed or self.foreign or self.strange_headers)

    def gaps(self):
        """The runs of lost packets, as (first, count)."""
        runs = []
        for n in self.lost:
            if runs and runs[-1][0] + runs[-1][1] == n:
                runs[-1][1] += 1
            else:
                runs.append([n, 1])
        return [tuple(run) for run in runs]

    def describe(self):
        out = [f"{len(self.seen)} packets seen, from number {self.begin} of {len(self.published)} published"]
        if self.lost:
            out.append(f"lost {len(self.lost)}: " + ", ".join(f"{count} from {n} ({self._name(n)})" for n, count in self.gaps()[:6]))
        for what, numbers in (("twice", self.doubled), ("out of order", self.disordered)):
            if numbers:
                out.append(f"{what} {len(numbers)}: {numbers[:12]} (first: {self._name(numbers[0])})")
        if self.retimed:
            out.append(f"other timestamp {len(self.retimed)}: first number {self.retimed[0][0]}, by {self.retimed[0][1]} ms; "
                       f"shifts {sorted({s for _, s in self.retimed})[:8]}")
        if self.foreign:
            out.append(f"never published {len(self.foreign)}: {self.foreign[:2]}")
        if self.strange_headers:
            out.append(f"headers never published: {self.strange_headers[:2]}")
        return "; ".join(out)

    def _name(self, n):
        e = self.published[n]
        return f"{'keyframe' if e.role == KEY else {8: 'audio', 9: 'frame', 18: 'data'}.get(e.type, e.type)} at {e.timestamp} ms"


def assert_exact(seen, published, who="viewer", whole=False, until=None):
    """Every packet from the first one seen on: once, in order, original timestamp. `until`: an Entry that must have come.

    The first must be one at which a player may begin: the very first, or a keyframe (of streams without any: any packet).
    """
    audit = Audit(seen, published)
    assert audit.seen, f"{who} saw nothing"
    assert audit.ok, f"{who}: {audit.describe()}"
    first = audit.published[audit.begin]
    has_keys = any(e.role == KEY for e in audit.published)
    keys = [n for n, e in enumerate(audit.published) if e.role == KEY]
    assert not has_keys or audit.begin == 0 or first.role == KEY, f"{who} began with {audit.begin}, {first}: no keyframe"
    if whole:
        assert audit.begin <= (keys[0] if keys else 0), f"{who} began with packet {audit.begin} instead of the first"
    if until is not None:
        assert any(e.digest == until.digest for e in audit.seen), f"{who} did not get to {until}; {audit.describe()}"
    return audit


def assert_nothing_twice(seen, published, who="viewer", shifted=False):
    """For origins that know no numbers: nothing twice or out of order, timestamps monotonic, and what is missing ends at a keyframe.

    `shifted`: timestamps may be moved as a whole. Returns the audit; its `lost` is for the figures.
    """
    audit = Audit(seen, published)
    assert audit.seen, f"{who} saw nothing"
    bad = audit.doubled or audit.disordered or audit.foreign or audit.strange_headers or (audit.retimed and not shifted)
    assert not bad, f"{who}: {audit.describe()}"
    lost = set(audit.lost)
    pictures = [n for n in range(audit.begin, len(audit.published)) if audit.published[n].type == 9]
    for n, then in zip(pictures, pictures[1:]):
        resumed = n in lost and then not in lost
        assert not resumed or audit.published[then].role == KEY, f"{who}: pictures go on without a keyframe; {audit.describe()}"
    last = {}
    for e in audit.seen:
        assert e.timestamp >= last.get(e.type, 0), f"{who}: type {e.type} steps back from {last[e.type]} to {e.timestamp} ms"
        last[e.type] = e.timestamp
    return audit


def same_payloads(seen_tags, published, kind=9):
    """Of a recording by a tool that rewrites timestamps: its packets of one type are a stretch of the published ones, from a
    keyframe on. The number of packets."""
    want = [e.digest for e in published if e.type == kind and e.role != HEADER]
    got = [e.digest for e in seen_tags if e.type == kind and e.role != HEADER]
    assert got, "nothing was recorded"
    assert got[0] in want, "the first recorded packet was never published"
    begin = want.index(got[0])
    if got != want[begin:begin + len(got)]:
        at = next(n for n, (a, b) in enumerate(zip(got, want[begin:] + [None] * len(got))) if a != b)
        where = want.index(got[at]) - begin if got[at] in want else None
        raise AssertionError(f"recorded packet {at} of {len(got)} (type {kind}) is the published one {where}, wanted {at}")
    return len(got)
