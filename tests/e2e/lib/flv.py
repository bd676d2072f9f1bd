"""FLV files: reading tags, and what a tag says of itself (Adobe's FLV 10.1 spec; Enhanced RTMP v2 for FourCC)."""
import hashlib
import struct
from typing import NamedTuple

AUDIO, VIDEO, DATA = 8, 9, 18


class Packet(NamedTuple):
    """What two ends compare: FLV tag or RTMP message type, timestamp in ms, SHA-1 of the payload."""
    type: int
    timestamp: int
    digest: str


class Tag(NamedTuple):
    type: int
    timestamp: int
    payload: bytes

    @property
    def packet(self):
        return Packet(self.type, self.timestamp, digest(self.payload))


def digest(payload):
    return hashlib.sha1(payload).hexdigest()


def parse(data):
    """The tags of an FLV file; a last, cut tag (a recorder that was stopped) is left out."""
    if data[:3] != b"FLV":
        raise ValueError("not an FLV file")
    at = struct.unpack_from(">I", data, 5)[0] + 4
    tags = []
    while at + 11 <= len(data):
        kind = data[at] & 0x1F
        size = int.from_bytes(data[at + 1:at + 4], "big")
        timestamp = int.from_bytes(data[at + 4:at + 7], "big") | data[at + 7] << 24
        if at + 11 + size + 4 > len(data):
            break
        tags.append(Tag(kind, timestamp, bytes(data[at + 11:at + 11 + size])))
        at += 11 + size + 4
    return tags


def read(path):
    with open(path, "rb") as file:
        return parse(file.read())


def _extended_packet_type(payload, multitrack):
    """The packet type of a FourCC payload; that of the tracks inside where it is a multitrack one."""
    kind = payload[0] & 0x0F
    return payload[1] & 0x0F if kind == multitrack else kind


def is_sequence_header(kind, payload):
    """Whether the payload configures a decoder: AVC, AAC, or a FourCC codec's SequenceStart."""
    if len(payload) < 2:
        return False
    if kind == VIDEO:
        if payload[0] & 0x80:
            return _extended_packet_type(payload, 6) == 0
        return payload[0] & 0x0F in (7, 12) and payload[1] == 0
    if kind == AUDIO:
        if payload[0] >> 4 == 9:
            return _extended_packet_type(payload, 5) == 0
        return payload[0] >> 4 == 10 and payload[1] == 0
    return False


def is_keyframe(kind, payload):
    """Whether a decoder can start here. An end of sequence, which ffmpeg marks as a key frame, is none."""
    if kind != VIDEO or len(payload) < 2 or payload[0] >> 4 & 7 != 1:
        return False
    if payload[0] & 0x80:
        return _extended_packet_type(payload, 6) not in (0, 2, 4)
    return payload[0] & 0x0F not in (7, 12) or payload[1] == 1


def is_media(kind):
    return kind in (AUDIO, VIDEO)
