"""Write stacks as Micro-Manager does, after its published description of the format."""

from __future__ import annotations

import json
import struct

SUMMARY = {
    "MicroManagerVersion": "2.0.1",
    "Prefix": "exp",
    "Channels": 1,
    "Slices": 1,
    "Frames": 1,
    "Positions": 1,
    "PixelSize_um": 0.5,
    "z-step_um": -1.5,
    "Interval_ms": 0,
}


def write_stack(path, planes, places, **summary):
    """Write planes (uint16); ``places`` are (channel, z, time, position) of each."""
    head = json.dumps(SUMMARY | summary).encode()
    out = bytearray(b"II*\0" + bytes(4))
    out += struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(head)) + head
    offsets, link = [], 4
    for plane in planes:
        out += bytes(len(out) % 2)
        height, width = plane.shape
        offset = len(out)
        offsets.append(offset)
        struct.pack_into("<I", out, link, offset)
        tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 277: 1, 278: height}
        tags |= {273: offset + 2 + 12 * 11 + 4, 279: 2 * width * height}
        note = json.dumps({"PixelSizeUm": 0.5}).encode() + b"\0"
        after = tags[273] + tags[279]
        entries = [(code, 4, 1, value) for code, value in tags.items()]
        entries += [(296, 4, 1, 3), (51123, 2, len(note), after)]
        out += struct.pack("<H", len(entries))
        for entry in sorted(entries):
            out += struct.pack("<HHII", *entry)
        link = len(out)
        out += bytes(4) + plane.astype("<u2").tobytes() + note
    index = b"".join(
        struct.pack("<5I", *place, offset) for place, offset in zip(places, offsets, strict=True)
    )
    blocks = (
        (12, 3453623, index, len(planes)),
        (20, 347834724, b"[]", 2),
        (28, 84720485, b"{}", 2),
    )
    for at, magic, payload, count in blocks:
        struct.pack_into("<I", out, at, len(out))
        out += struct.pack("<II", magic, count) + payload
    path.write_bytes(out)
    return path
