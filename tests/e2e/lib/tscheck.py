"""A strict reader of MPEG transport streams (ISO/IEC 13818-1), of one programme and from its first packet on.

check(data) gives a Stream, or fails with all that is wrong. demux(data) gives the same Stream with its `errors`.
"""
from dataclasses import dataclass, field

PACKET = 188
WRAP = 1 << 33
H264, HEVC, AAC, MP3, MP3_LOW, PRIVATE, AC3, EAC3 = 0x1B, 0x24, 0x0F, 0x03, 0x04, 0x06, 0x81, 0x87
VIDEO = (H264, HEVC)

PCR_INTERVAL_MAX = 100 * 90
TABLE_INTERVAL_MAX = 500 * 90
LEAD_MAX = 10_000 * 90


@dataclass
class Pes:
    pts: int
    dts: int
    random_access: bool
    payload: bytes


@dataclass
class Stream:
    tracks: dict = field(default_factory=dict)         # PID -> stream type, as in the newest PMT
    descriptors: dict = field(default_factory=dict)    # PID -> bytes
    pes: dict = field(default_factory=dict)            # PID -> [Pes]
    pcrs: list = field(default_factory=list)
    versions: list = field(default_factory=list)       # of the PMT, each change
    discontinuities: int = 0
    errors: list = field(default_factory=list)

    def of(self, *types):
        """The access units of the track with one of these stream types."""
        return [unit for pid, kind in self.tracks.items() if kind in types for unit in self.pes.get(pid, [])]


def crc32(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def behind(a, b):
    """a - b in 33 bits, signed."""
    return (a - b + WRAP // 2) % WRAP - WRAP // 2


class _Reader:
    def __init__(self):
        self.out = Stream()
        self.at = 0
        self.counters = {}
        self.pmt_pid = self.pcr_pid = None
        self.pat = self.pmt = None
        self.pcr = None                 # of the present time base
        self.tables = {}                # table -> PCR or DTS at which it came last
        self.open = {}                  # PID -> (bytearray, random_access) of the PES packet under way
        self.last_dts = {}
        self.fresh_tables = set()       # tables since the last packet of media

    def error(self, text):
        self.out.errors.append(f"packet {self.at}: {text}")

    # -- packets

    def packet(self, p):
        if p[0] != 0x47:
            return self.error("no sync byte")
        if p[1] & 0xA0 or p[3] & 0xC0:
            self.error("transport_error_indicator, priority or scrambling is set")
        pid, start, control, counter = (p[1] & 0x1F) << 8 | p[2], p[1] >> 6 & 1, p[3] >> 4 & 3, p[3] & 15
        if control == 0:
            return self.error("adaptation_field_control 0")
        flags, pcr, payload = 0, None, p[4:]
        if control & 2:
            size = p[4]
            if size > 183 or (control == 2 and size != 183) or (control == 3 and size > 182):
                return self.error(f"adaptation field of {size} bytes")
            flags, pcr = self.adaptation(p[5:5 + size])
            payload = p[5 + size:]
        if control == 2 and start:
            self.error("a start without a payload")
        self.count(pid, control, counter, flags)
        if pid not in (0, self.pmt_pid) and pid not in self.out.tracks and pid != self.pcr_pid:
            return self.error(f"PID {pid:#x} is in no PMT so far")
        if pcr is not None:
            self.clock(pid, pcr, flags)
        if not control & 1:
            return None
        if pid == 0 or pid == self.pmt_pid:
            return self.section(pid, start, payload)
        return self.media(pid, start, flags, payload)

    def adaptation(self, field_):
        if not field_:
            return 0, None
        flags, used, pcr = field_[0], 1, None
        if flags & 0x10:
            if len(field_) < 7:
                self.error("no room for the PCR")
                return flags, None
            value = int.from_bytes(field_[1:7], "big")
            if value >> 9 & 0x3F != 0x3F:
                self.error("reserved bits of the PCR")
            pcr, used = value >> 15, 7
        if flags & 0x2F:
            self.error(f"unexpected adaptation flags {flags:#x}")
        if any(b != 0xFF for b in field_[used:]):
            self.error("stuffing is not 0xFF")
        return flags, pcr

    def count(self, pid, control, counter, flags):
        last = self.counters.get(pid)
        if last is not None:
            expected = (last + 1) & 15 if control & 1 else last
            if counter != expected and not flags & 0x80:
                self.error(f"continuity of PID {pid:#x}: {counter} after {last}")
        self.counters[pid] = counter

    def clock(self, pid, pcr, flags):
        if pid != self.pcr_pid:
            return self.error(f"a PCR on PID {pid:#x}, the PMT says {self.pcr_pid}")
        if flags & 0x80:
            self.out.discontinuities += 1
            self.last_dts.clear()
            self.tables = {name: pcr for name in self.tables}
        elif self.pcr is not None:
            step = behind(pcr, self.pcr)
            if step <= 0:
                self.error(f"PCR goes back or stands: {step}")
            elif step > PCR_INTERVAL_MAX:
                self.error(f"PCR interval of {step / 90:g} ms")
        self.pcr = pcr
        self.out.pcrs.append(pcr)
        for name, since in self.tables.items():
            if since is None:
                self.tables[name] = pcr
            elif behind(pcr, since) > TABLE_INTERVAL_MAX:
                self.error(f"no {name} for {behind(pcr, since) / 90:g} ms")
                self.tables[name] = pcr
        return None

    # -- tables

    def section(self, pid, start, payload):
        name = "PAT" if pid == 0 else "PMT"
        if not start or payload[0] != 0:
            return self.error(f"{name} does not begin its packet")
        length = 3 + ((payload[2] & 0x0F) << 8 | payload[3])
        section = payload[1:1 + length]
        if len(section) != length or length < 12:
            return self.error(f"{name} is cut")
        if any(b != 0xFF for b in payload[1 + length:]):
            self.error(f"{name}: bytes behind the section")
        if crc32(section):
            return self.error(f"{name}: CRC")
        if section[0] != (0 if pid == 0 else 2) or section[1] & 0xF0 != 0xB0 or not section[5] & 1 or section[6:8] != b"\0\0":
            self.error(f"{name}: header")
        self.tables[name] = self.pcr
        self.fresh_tables.add(name)
        body, version = bytes(section[8:-4]), section[5] >> 1 & 31
        if pid == 0:
            return self.read_pat(section, body)
        if self.pmt is not None:
            if (body == self.pmt[1]) != (version == self.pmt[0]):
                self.error(f"PMT version {self.pmt[0]} -> {version}, changed: {body != self.pmt[1]}")
        if self.pmt != (version, body):
            self.out.versions.append(version)
            self.pmt = (version, body)
            self.read_pmt(body)
        return None

    def read_pat(self, section, body):
        if self.pat not in (None, bytes(section)):
            self.error("the PAT changed")
        self.pat = bytes(section)
        if len(body) != 4 or body[:2] == b"\0\0":
            return self.error("PAT: not one programme")
        self.pmt_pid = int.from_bytes(body[2:4], "big") & 0x1FFF
        return None

    def read_pmt(self, body):
        old = self.pcr_pid
        self.pcr_pid = int.from_bytes(body[:2], "big") & 0x1FFF
        if old != self.pcr_pid:
            self.pcr = None
        at = 4 + (int.from_bytes(body[2:4], "big") & 0xFFF)
        self.out.tracks.clear()
        while at + 5 <= len(body):
            pid, size = int.from_bytes(body[at + 1:at + 3], "big") & 0x1FFF, int.from_bytes(body[at + 3:at + 5], "big") & 0xFFF
            self.out.tracks[pid] = body[at]
            self.out.descriptors[pid] = bytes(body[at + 5:at + 5 + size])
            at += 5 + size
        if at != len(body):
            self.error("PMT: lengths do not add up")
        if self.pcr_pid not in self.out.tracks:
            self.error("PMT: no track has the PCR")

    # -- media

    def media(self, pid, start, flags, payload):
        if pid not in self.out.tracks:
            return self.error(f"payload on PID {pid:#x}, which is no track")
        video = self.out.tracks[pid] in VIDEO
        if start:
            self.close(pid)
            self.open[pid] = (bytearray(), bool(flags & 0x40))
            if video and flags & 0x40 and self.fresh_tables != {"PAT", "PMT"}:
                self.error("no tables right before a random access point")
            if self.pcr is None:
                self.error("media before the first PCR")
        elif pid not in self.open:
            return self.error("payload without a start")
        elif flags & 0x40:
            self.error("random_access_indicator within a PES packet")
        self.fresh_tables.clear()
        self.open[pid][0].extend(payload)
        if start:
            self.times(pid, self.open[pid][0])
        return None

    def times(self, pid, data):
        """PTS and DTS against the PCR at which their packet begins."""
        pts, dts, _ = self.pes_header(pid, data)
        if pts is None:
            return
        if behind(pts, dts) < 0:
            self.error(f"PTS {-behind(pts, dts) / 90:g} ms before DTS")
        if self.pcr is not None:
            lead = behind(dts, self.pcr)
            if lead < 0:
                self.error(f"DTS {-lead / 90:g} ms before PCR")
            elif lead > LEAD_MAX:
                self.error(f"DTS {lead / 90:g} ms after PCR")
        last = self.last_dts.get(pid)
        if last is not None and behind(dts, last) < 0:
            self.error(f"DTS goes back by {-behind(dts, last) / 90:g} ms on PID {pid:#x}")
        self.last_dts[pid] = dts

    def pes_header(self, pid, data):
        if len(data) < 9 or data[:3] != b"\0\0\1" or data[6] & 0xC0 != 0x80:
            self.error(f"no PES header on PID {pid:#x}")
            return None, None, 0
        fields, size = data[7] >> 6, 9 + data[8]
        if fields not in (2, 3) or data[7] & 0x3F or data[8] != (5 if fields == 2 else 10) or len(data) < size:
            self.error("PES header flags")
            return None, None, 0
        pts = self.timestamp(data[9:14], fields)
        return pts, pts if fields == 2 else self.timestamp(data[14:19], 1), size

    def timestamp(self, b, prefix):
        if b[0] >> 4 != prefix or not b[0] & b[2] & b[4] & 1:
            self.error("marker bits of a timestamp")
        return (b[0] >> 1 & 7) << 30 | b[1] << 22 | b[2] >> 1 << 15 | b[3] << 7 | b[4] >> 1

    def close(self, pid):
        if pid not in self.open:
            return
        data, random_access = self.open.pop(pid)
        before = len(self.out.errors)
        pts, dts, size = self.pes_header(pid, data)
        del self.out.errors[before:]  # told at its start
        if pts is None:
            return
        kind = self.out.tracks.get(pid)
        length = int.from_bytes(data[4:6], "big")
        if length != len(data) - 6 and (length or kind not in VIDEO):
            self.error(f"PES of {len(data) - 6} bytes says {length}")
        payload = bytes(data[size:])
        self.elementary(kind, payload)
        self.out.pes.setdefault(pid, []).append(Pes(pts, dts, random_access, payload))

    def elementary(self, kind, payload):
        if kind == H264 and payload[:5] != b"\0\0\0\1\x09":
            self.error("H.264 without an access unit delimiter")
        if kind == HEVC and payload[:5] != b"\0\0\0\1\x46":
            self.error("H.265 without an access unit delimiter")
        if kind == AAC and adts_frames(payload) is None:
            self.error("ADTS frames do not fill the PES packet")
        if kind == PRIVATE and opus_packets(payload) is None:
            self.error("Opus packets do not fill the PES packet")


def adts_frames(payload):
    """The raw frames of whole ADTS frames; None if they are not."""
    frames = []
    while payload:
        size = int.from_bytes(payload[3:6], "big") >> 5 & 0x1FFF
        if payload[:2] != b"\xff\xf1" or size < 8 or size > len(payload):
            return None
        frames.append(payload[7:size])
        payload = payload[size:]
    return frames


def opus_packets(payload):
    packets = []
    while payload:
        if payload[:2] != b"\x7f\xe0":
            return None
        at, size = 2, 0
        while at < len(payload) and payload[at] == 255:
            at, size = at + 1, size + 255
        if at >= len(payload) or at + 1 + size + payload[at] > len(payload):
            return None
        size += payload[at]
        packets.append(payload[at + 1:at + 1 + size])
        payload = payload[at + 1 + size:]
    return packets


def demux(data):
    reader = _Reader()
    if not data or len(data) % PACKET:
        reader.error(f"{len(data)} bytes are no whole packets")
    for at in range(0, len(data) - len(data) % PACKET, PACKET):
        reader.at = at // PACKET
        reader.packet(data[at:at + PACKET])
    for pid in list(reader.open):
        reader.close(pid)
    if not reader.out.tracks:
        reader.error("no PMT")
    return reader.out


def check(data):
    stream = demux(data)
    assert not stream.errors, "\n".join(stream.errors[:20])
    return stream
