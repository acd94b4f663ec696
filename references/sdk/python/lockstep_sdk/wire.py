"""Frames of `lockstep/1`: reading requests from one descriptor and writing replies to another.

A broken frame can't be answered, because nobody knows where the next one starts; it ends the process (`Broken`).
"""

import os
import struct

from .errors import BadRequest

MAGIC = b"LKS1"
BODY_SIZE_MAX = 256 << 20
HEADER = struct.Struct("<4sIIBBH")

HELLO, RESET, STEP_MANY, SNAPSHOT, RESTORE, INJECT, DRAWS, PROBE, EXPLAIN, CLOSE = range(1, 11)

OK, ERROR = 0, 1


class Broken(Exception):
    """The stream is no longer a sequence of frames."""


class Channel:
    """Both ends of the talk with the judge; works on plain descriptors, sockets and pipes alike."""

    def __init__(self, source, target):
        self.source = source
        self.target = target

    def read(self):
        """The next request as (sequence, verb, status, reserved, body), or None at the end of the stream."""
        header = self._exactly(HEADER.size)
        if header is None:
            return None
        magic, size, sequence, verb, status, reserved = HEADER.unpack(header)
        if magic != MAGIC:
            raise Broken(f"a frame begins with {magic!r} instead of {MAGIC!r}")
        if size > BODY_SIZE_MAX:
            raise Broken(f"a frame announces {size} bytes, {BODY_SIZE_MAX} are allowed")
        body = self._exactly(size)
        if body is None:
            return None
        return sequence, verb, status, reserved, body

    def write(self, sequence, verb, status, body):
        frame = memoryview(HEADER.pack(MAGIC, len(body), sequence, verb, status, 0) + body)
        while frame:
            frame = frame[os.write(self.target, frame) :]

    def _exactly(self, size):
        # Grown piece by piece: a header that lies about its size must not make this side allocate it.
        parts = []
        missing = size
        while missing:
            part = os.read(self.source, min(missing, 1 << 20))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Cursor:
    """Walks through the binary body of a request; every read is checked against its end."""

    def __init__(self, body):
        self.body = memoryview(body)
        self.at = 0

    def take(self, layout, what):
        end = self.at + layout.size
        if end > len(self.body):
            raise BadRequest(f"the body ends before {what}")
        values = layout.unpack_from(self.body, self.at)
        self.at = end
        return values

    def number(self, what):
        return self.take(_U32, what)[0]

    def bytes(self, size, what):
        end = self.at + size
        if end > len(self.body):
            raise BadRequest(f"the body ends before {what}")
        part = self.body[self.at : end]
        self.at = end
        return part

    def numbers(self, count, what):
        return list(struct.unpack(f"<{count}I", self.bytes(4 * count, what)))

    def left(self):
        return len(self.body) - self.at


_U32 = struct.Struct("<I")
