"""Was every packet delivered, once, in order, with its timestamp and its bytes?"""
from . import flv


def media(packets_or_tags):
    """(type, timestamp, digest) and whether it is a sequence header, of tags or messages that carry media."""
    out = []
    for item in packets_or_tags:
        if flv.is_media(item.type):
            mark = item.digest if hasattr(item, "digest") else flv.digest(item.payload)
            out.append((flv.Packet(item.type, item.timestamp, mark), flv.is_sequence_header(item.type, item.payload)))
    return out


def frames(items):
    """The packets without the sequence headers, which a late viewer gets again, at another time."""
    return [packet for packet, header in media(items) if not header]


def headers(items):
    """The (type, digest) of the sequence headers, in order of appearance."""
    return [(packet.type, packet.digest) for packet, header in media(items) if header]


def last_frame(items):
    return frames(items)[-1]


def _first_difference(got, want):
    for at, (left, right) in enumerate(zip(got, want)):
        if left != right:
            return f"at {at}: got {left}, want {right}"
    return f"{len(got)} packets, wanted {len(want)}"


def assert_delivered(got, published, whole=False, until_end=True, who="player"):
    """`got` (messages or tags) is what was `published`, from a keyframe on (`whole`: from the first), nothing left out.

    Sequence headers are compared apart: each that came must be one that was published, and the first frame of a type comes after its header.
    """
    want, have = frames(published), frames(got)
    assert have, f"{who} got no frame"
    assert have[0] in want, f"{who} began with {have[0]}, which nobody published"
    begin = want.index(have[0])
    keyframes = [want.index(p) for m, p in _with_packets(published) if flv.is_keyframe(m.type, m.payload)]
    assert begin == 0 or begin in keyframes, f"{who} began in the middle of a GOP, with packet {begin}: {have[0]}"
    if whole and keyframes:  # audio before the first keyframe is of no use to anybody
        assert begin <= keyframes[0], f"{who} began with packet {begin} instead of the first"
    rest = want[begin:] if until_end else want[begin:begin + len(have)]
    assert have == rest, f"{who} differs from what was published, {_first_difference(have, rest)}"
    unknown = set(headers(got)) - set(headers(published))
    assert not unknown, f"{who} got sequence headers that nobody published: {unknown}"
    _headers_first(got, published, who)


def _with_packets(items):
    return [(m, p) for m, (p, _) in zip([i for i in items if flv.is_media(i.type)], media(items))]


def _headers_first(got, published, who):
    needed = {kind for kind, _ in headers(published)}
    seen = set()
    for packet, header in media(got):
        if header:
            seen.add(packet.type)
        else:
            assert packet.type not in needed or packet.type in seen, f"{who} got a frame of type {packet.type} before its header"


def await_payload(player, tag, times=1, timeout=None):
    """Waits until a payload came so many times, whatever its timestamp."""
    mark = tag.packet if isinstance(tag, flv.Tag) else tag
    player.wait(lambda: sum(m.digest == mark.digest for m in player.media()) >= times, timeout, f"the payload of {mark}")


def assert_continued(got, *runs, who="player"):
    """`got` is what was published in several runs of a publisher: every frame of each from the first keyframe on, each run shifted in
    time as a whole."""
    first = runs[0]
    begin = next(i for i, m in enumerate(first) if flv.is_keyframe(m.type, m.payload))
    have = frames(got)
    if frames(first)[0][0::2] != have[0][0::2]:  # audio before the first keyframe is of no use to anybody
        runs = [first[begin:], *runs[1:]]
    want = [p for run in runs for p in frames(run)]
    assert [p[0::2] for p in have] == [p[0::2] for p in want], f"{who}: {_first_difference([p[0::2] for p in have], [p[0::2] for p in want])}"
    at = 0
    for run in runs:
        count = len(frames(run))
        shifts = {h.timestamp - w.timestamp for h, w in zip(have[at:at + count], want[at:at + count])}
        assert len(shifts) == 1, f"{who}: one run was shifted by {sorted(shifts)} ms"
        at += count
    assert_monotonic(got, who)


def assert_monotonic(items, who="player"):
    """Timestamps of each type never step back."""
    last = {}
    for packet, header in media(items):
        if header:
            continue
        assert packet.timestamp >= last.get(packet.type, 0), f"{who}: type {packet.type} steps back to {packet.timestamp}"
        last[packet.type] = packet.timestamp
