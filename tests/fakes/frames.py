"""Frames as bytes, as a peer receives them, and whose frames they are."""

from __future__ import annotations

from fedbench.codec import wire


def encode_frame(*args, **named):
    """Return what a peer receives of a frame."""
    return b"".join(wire.encode_frame(*args, **named))


def told(received=(0, 0, 0), control=0, business=0, consumed=0):
    """Return what a frame tells."""
    return (*received, control, business, consumed)


def decode_frame(data):
    """Return the frame that bytes are."""
    return wire.decode_frame(memoryview(data))


class FakeOwner:
    """Has frames sent, in order, and keeps those that come."""

    def __init__(self):
        self.frames = []
        self.came = []
        self.refused = []

    def next_frame(self):
        return self.frames.pop(0) if self.frames else None

    def frame_came(self, link, data):
        self.came.append(bytes(data))

    def frame_refused(self, link, reason):
        self.refused.append(reason)
