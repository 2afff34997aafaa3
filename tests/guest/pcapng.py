"""Reads pcapng: an oracle of its own, which shares no code with the program under test."""

import pathlib
import struct

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
COMMENT, IF_NAME, IF_DESCRIPTION, EPB_FLAGS = 1, 2, 3, 2
ISB_IFDROP, ISB_OSDROP = 5, 7


def options(data):
    while len(data) >= 4:
        code, length = struct.unpack_from("<HH", data)
        if code == 0:
            return
        yield code, data[4 : 4 + length]
        data = data[4 + (length + 3 & ~3) :]


def blocks(data):
    """Type and body of each whole block; a cut last one is left out."""
    start = 0
    while len(data) - start >= 12:
        kind, length = struct.unpack_from("<II", data, start)
        end = start + length
        if length < 12 or end > len(data):
            return
        assert data[end - 4 : end] == data[start + 4 : start + 8], "the lengths of a block differ"
        yield kind, data[start + 8 : end - 4]
        start = end


def read(path):
    """A dictionary: `packets`, `interfaces`, `loss` of interface 0 (None without statistics)."""
    interfaces, packets, loss = [], [], None
    for kind, body in blocks(pathlib.Path(path).read_bytes()):
        if kind == INTERFACE:
            (link,) = struct.unpack_from("<H", body)
            found = dict(options(body[8:]))
            interfaces.append(
                {
                    "link": {1: "ethernet", 101: "raw", 276: "sll2"}.get(link, link),
                    "name": found.get(IF_NAME, b"").decode(),
                    "description": found.get(IF_DESCRIPTION, b"").decode(),
                }
            )
        elif kind == PACKET:
            interface, high, low, captured, original = struct.unpack_from("<IIIII", body)
            rest = list(options(body[20 + (captured + 3 & ~3) :]))
            comments = [value.decode() for code, value in rest if code == COMMENT]
            facts = dict(comment.split(": ", 1) for comment in comments)
            packets.append(
                {
                    "interface": interfaces[interface],
                    "time": high << 32 | low,
                    "data": body[20 : 20 + captured],
                    "original_len": original,
                    "comments": comments,
                    "facts": facts,
                    "pc": int(facts["pc"], 16) if "pc" in facts else None,
                    "function": facts.get("location", "").split("+")[0].split(".")[0],
                    "reason": facts.get("reason"),
                }
            )
        elif kind == STATISTICS and struct.unpack_from("<I", body) == (0,):
            found = dict(options(body[12:]))
            if ISB_IFDROP in found:
                both, queue = (
                    struct.unpack("<Q", found[code])[0] for code in (ISB_IFDROP, ISB_OSDROP)
                )
                loss = {"queue": queue, "socket": both - queue}
    return {"packets": packets, "interfaces": interfaces, "loss": loss}
