"""AMF0 (Adobe's "Action Message Format -- AMF 0", 2007), as much as RTMP commands need."""
import struct


class Ecma(dict):
    """An ECMA array (marker 8): written with its count, otherwise a dict."""


class Undefined:
    def __eq__(self, other):
        return isinstance(other, Undefined)

    def __repr__(self):
        return "undefined"


UNDEFINED = Undefined()


def _text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def _members(value):
    return b"".join(_text(k) + encode(v) for k, v in value.items()) + b"\0\0\x09"


def encode(*values):
    """The bytes of `values` in a row."""
    out = []
    for value in values:
        if value is None:
            out.append(b"\x05")
        elif isinstance(value, Undefined):
            out.append(b"\x06")
        elif isinstance(value, bool):
            out.append(b"\x01" + bytes([value]))
        elif isinstance(value, (int, float)):
            out.append(b"\0" + struct.pack(">d", value))
        elif isinstance(value, (str, bytes)):
            raw = value.encode() if isinstance(value, str) else value
            out.append(b"\x02" + _text(raw) if len(raw) < 65536 else b"\x0c" + struct.pack(">I", len(raw)) + raw)
        elif isinstance(value, Ecma):
            out.append(b"\x08" + struct.pack(">I", len(value)) + _members(value))
        elif isinstance(value, dict):
            out.append(b"\x03" + _members(value))
        elif isinstance(value, (list, tuple)):
            out.append(b"\x0a" + struct.pack(">I", len(value)) + encode(*value))
        else:
            raise TypeError(f"no AMF0 for {value!r}")
    return b"".join(out)


class _Reader:
    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0]

    def text(self, form=">H"):
        size = self.take(form)
        raw = self.data[self.at:self.at + size]
        if len(raw) < size:
            raise ValueError("AMF0 string is cut")
        self.at += size
        return raw.decode("utf-8", "replace")

    def members(self, into):
        while True:
            key = self.text()
            if key == "" and self.data[self.at:self.at + 1] == b"\x09":
                self.at += 1
                return into
            into[key] = self.value()

    def value(self):
        marker = self.take(">B")
        if marker == 0:
            return self.take(">d")
        if marker == 1:
            return self.take(">B") != 0
        if marker == 2:
            return self.text()
        if marker == 3:
            return self.members({})
        if marker == 5:
            return None
        if marker == 6:
            return UNDEFINED
        if marker == 8:
            self.take(">I")
            return self.members(Ecma())
        if marker == 10:
            return [self.value() for _ in range(self.take(">I"))]
        if marker == 11:
            value = self.take(">d")
            self.take(">h")
            return value
        if marker in (12, 15):
            return self.text(">I")
        raise ValueError(f"AMF0 marker {marker}")


def decode(data):
    """The list of values in `data`."""
    reader = _Reader(data)
    values = []
    while reader.at < len(reader.data):
        values.append(reader.value())
    return values
