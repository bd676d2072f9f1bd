"""A strict reader of media playlists over time (RFC 8216 §4, §6.2): give it every version of one stream's playlist, in order.

Each `check(text)` returns the playlist and raises `Violation` where the version itself, or what became of the one before, is not
allowed. Written apart from the product.
"""
import re
from typing import NamedTuple, Optional

INTEGER = re.compile(r"\d{1,20}$")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$")
ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",\s][^",]*)(?:,|$)')
ONCE = ("#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-ENDLIST")


class Violation(AssertionError):
    pass


class Segment(NamedTuple):
    number: int
    discontinuity: int
    uri: str
    duration: float
    map: Optional[str]
    gap: bool
    date: Optional[str]


class Playlist(NamedTuple):
    target: int
    version: int
    sequence: int
    discontinuity_sequence: int
    segments: list
    ended: bool
    fractions: bool

    @property
    def duration(self):
        return sum(s.duration for s in self.segments)


def demand(condition, what):
    if not condition:
        raise Violation(what)


def attributes(text):
    """§4.2: NAME=value, comma-separated, no blanks, no name twice."""
    found, at = {}, 0
    while at < len(text):
        match = ATTRIBUTE.match(text, at)
        demand(match, f"broken attribute list: {text!r}")
        demand(match.group(1) not in found, f"attribute twice: {text!r}")
        found[match.group(1)] = match.group(2)
        at = match.end()
    return found


def _integer(text, what):
    demand(INTEGER.match(text), f"{what} is no decimal integer: {text!r}")
    return int(text)


def _uri(text):
    demand(text and re.match(r"[!-~]+$", text) and '"' not in text, f"no URI: {text!r}")
    return text


def parse(text):
    """One media playlist, strictly."""
    demand(text.endswith("\n"), "the last line has no end")
    demand("\r" not in text.replace("\r\n", "\n"), "a bare CR")
    demand(not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text), "control characters")
    lines = text.replace("\r\n", "\n").split("\n")[:-1]
    demand(lines and lines[0] == "#EXTM3U", "the first line is not #EXTM3U")
    once, segments = {}, []
    pending, current_map, discontinuity, fractions = {}, None, None, False
    for line in lines[1:]:
        demand("#EXT-X-ENDLIST" not in once or not line, "something behind EXT-X-ENDLIST")
        name, _, value = line.partition(":")
        if not line or (line.startswith("#") and not line.startswith("#EXT")):
            continue
        if name in ONCE:
            demand(name not in once, f"{name} twice")
            demand(name == "#EXT-X-ENDLIST" or not (segments or pending), f"{name} behind a segment's tags")
            once[name] = 0 if name == "#EXT-X-ENDLIST" else _integer(value, name)
            continue
        demand(not name.startswith("#EXT-X-STREAM-INF"), "a master playlist")
        if discontinuity is None:
            discontinuity = once.get("#EXT-X-DISCONTINUITY-SEQUENCE", 0)
        if line.startswith("#"):
            demand(name not in pending, f"{name} twice for one segment")
            pending[name] = value
            if name == "#EXT-X-DISCONTINUITY":
                discontinuity += 1
            elif name == "#EXT-X-MAP":
                current_map = _uri(attributes(value).get("URI", "").strip('"'))
            elif name == "#EXT-X-PROGRAM-DATE-TIME":
                demand(DATE.match(value), f"no date: {value!r}")
            continue
        demand("#EXTINF" in pending, f"{line}: no EXTINF")
        match = re.match(r"(\d+(?:\.\d+)?),", pending["#EXTINF"])
        demand(match, f"EXTINF: {pending['#EXTINF']!r}")
        fractions = fractions or "." in match.group(1)
        number = once.get("#EXT-X-MEDIA-SEQUENCE", 0) + len(segments)
        segments.append(Segment(number, discontinuity, _uri(line), float(match.group(1)), current_map, "#EXT-X-GAP" in pending,
                                pending.get("#EXT-X-PROGRAM-DATE-TIME")))
        pending = {}
    demand(not pending, f"tags without a segment: {sorted(pending)}")
    demand("#EXT-X-TARGETDURATION" in once, "no EXT-X-TARGETDURATION")
    p = Playlist(once["#EXT-X-TARGETDURATION"], once.get("#EXT-X-VERSION", 1), once.get("#EXT-X-MEDIA-SEQUENCE", 0),
                 once.get("#EXT-X-DISCONTINUITY-SEQUENCE", 0), segments, "#EXT-X-ENDLIST" in once, fractions)
    _check_alone(p)
    return p


def _check_alone(p):
    for s in p.segments:
        # §4.3.3.1; halves are rounded up.
        demand(int(s.duration + 0.5) <= p.target, f"{s.uri} lasts {s.duration}, target duration {p.target}")
        demand(s.duration > 0, f"{s.uri} lasts no time")
    demand(len({s.uri for s in p.segments}) == len(p.segments), "a URI twice")
    # §7.
    demand(p.version >= 3 or not p.fractions, "fractions before version 3")
    demand(p.version >= 6 or not any(s.map for s in p.segments), "EXT-X-MAP before version 6")
    for a, b in zip(p.segments, p.segments[1:]):
        demand(a.gap or b.gap or a.map == b.map or a.discontinuity != b.discontinuity,
               f"{b.uri}: another EXT-X-MAP without a discontinuity")


class Checker:
    """The versions of one playlist, oldest first. Not `strict`: it may begin anew, as for a publisher whom another proxy has brought."""

    def __init__(self, strict=True):
        self.strict = strict
        self.known = {}  # number → Segment, as first seen
        self.last = None

    def check(self, text):
        p = parse(text)
        before, self.last = self.last, p
        for s in p.segments:
            first = self.known.setdefault(s.number, s)
            # §6.2.1: a segment's URI, tags and place do not change.
            demand(first == s, f"number {s.number} has changed: {first} → {s}")
        uris = {}
        for number, s in self.known.items():
            demand(uris.setdefault(s.uri, number) == number, f"{s.uri} has two numbers")
        if before is None:
            return p
        demand(p.target == before.target, f"target duration {before.target} → {p.target}")
        demand(p.sequence >= before.sequence, f"media sequence {before.sequence} → {p.sequence}")
        demand(p.discontinuity_sequence >= before.discontinuity_sequence,
               f"discontinuity sequence {before.discontinuity_sequence} → {p.discontinuity_sequence}")
        demand(p.version >= before.version, f"version {before.version} → {p.version}")
        if before.segments:
            demand(p.segments and p.segments[-1].number >= before.segments[-1].number, "the newest segment was taken back")
            self._check_removal(before, p)
        demand(not before.ended or text and p == before, "a change behind EXT-X-ENDLIST")
        return p

    def _check_removal(self, before, p):
        """§6.2.2: nothing is removed while the playlist would get shorter than three target durations."""
        removed = [s for s in before.segments if s.number < p.sequence]
        if removed and (self.strict or p.sequence <= before.segments[-1].number):
            demand(p.duration >= 3 * p.target, f"{len(removed)} segments removed, {p.duration} s left")


def self_test():
    """Every kind of fault is found; the clean sequence passes. Returns the number of faults tried."""
    def text(sequence, segments, target=2, dsn=5, tail=""):
        body = "".join(f"{tags}#EXTINF:{duration},\n{uri}\n" for uri, duration, tags in segments)
        return (f"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n"
                f"#EXT-X-DISCONTINUITY-SEQUENCE:{dsn}\n{body}{tail}")

    def run(first, count, cut=None):
        return [(f"s{n}.ts", "2.000", "#EXT-X-DISCONTINUITY\n" if n == cut and n != first else "")
                for n in range(first, first + count)]

    clean = [text(7, run(7, 3)), text(7, run(7, 4, 10)), text(8, run(8, 4, 10)), text(10, run(10, 4, 10), dsn=6),
             text(10, run(10, 4, 10), dsn=6, tail="#EXT-X-ENDLIST\n")]
    checker = Checker()
    for version in clean:
        checker.check(version)
    base, long = text(7, run(7, 3)), text(7, run(7, 4))
    sequences = [
        ["no playlist\n"], [base[:-1]], [base.replace("#EXTM3U\n", "#EXTM3U\n#EXT-X-VERSION:3\n")],
        [base.replace("s8.ts", "s7.ts")], [base.replace("s8.ts", 's8".ts')], [base.replace("s8.ts", "s 8.ts")],
        [base.replace("2.000,\ns9", "2.500,\ns9")], [base.replace("2.000,\ns9", "-1,\ns9")], [base.replace("#EXTINF:2.000,\ns9", "s9")],
        [base.replace("#EXT-X-TARGETDURATION:2\n", "")], [base + "#EXT-X-ENDLIST\n#EXTINF:2.0,\nx.ts\n"], [base + "#EXT-X-GAP\n"],
        [base.replace("VERSION:6", "VERSION:2")], [text(7, [("a", "2.0", '#EXT-X-MAP:URI="i"\n'), ("b", "2.0", '#EXT-X-MAP:URI="j"\n')])],
        [text(7, [("a", "2.0", '#EXT-X-MAP:URI="i\n')])], [text(7, [("a", "2.0", "#EXT-X-PROGRAM-DATE-TIME:today\n")])],
        [base.replace("SEQUENCE:7", "SEQUENCE:x")], [base.replace("s8.ts\n", "s8.ts\n#EXT-X-TARGETDURATION:2\n")],
        [base, base.replace("s8.ts", "t8.ts")], [base, text(8, run(7, 3))], [base, text(6, run(6, 4))],
        [base, text(7, run(7, 3), dsn=4)], [base, base.replace("TARGETDURATION:2", "TARGETDURATION:3")],
        [base, text(7, run(7, 2))], [base, text(8, run(8, 2))], [base, text(7, run(7, 4, 8))],
        [text(7, run(7, 4, 8)), text(8, run(8, 4), dsn=5)], [base + "#EXT-X-ENDLIST\n", long], [base, text(7, [])],
        [base, base.replace("2.000,\ns8", "1.900,\ns8")], [base.replace("s8.ts\n", "s8.ts\r")], [base.replace("s8", "s8\x01")],
    ]
    for sequence in sequences:
        checker = Checker()
        try:
            for version in sequence:
                checker.check(version)
        except Violation:
            continue
        raise AssertionError(f"not found: {sequence}")
    return len(sequences)


if __name__ == "__main__":
    print(f"{self_test()} faults found")
