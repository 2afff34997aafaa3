#!/usr/bin/python3
"""Reads what the C dwdump wrote and says whether the cases of drops.py are in it.

    alerts.py CAPTURE           one JSON line an alert
    alerts.py CAPTURE FACTS     checks the drops that `drops.py run >FACTS` made

An oracle of its own: it shares no code with the program under test. tshark 4.0
reads these files too, but does not know the drop reason.
"""

import json
import pathlib
import struct
import sys

PACKET_ALERT = 5
NLA_TYPE_MASK = 0x3FFF

# include/uapi/linux/net_dropmon.h
NAMES = {
    2: ("pc", "number"),
    3: ("symbol", "text"),
    4: ("in_port", "nest"),
    5: ("timestamp", "number"),
    6: ("protocol", "number"),
    7: ("payload", "hex"),
    10: ("original_len", "number"),
    14: ("origin", "number"),
    15: ("trap_group", "text"),
    16: ("trap", "text"),
    22: ("cookie", "hex"),
    23: ("reason", "text"),
}
IN_PORT_NAMES = {0: ("ifindex", "number"), 1: ("ifname", "text")}


def attributes(data, names):
    """Netlink attributes, in the byte order of this machine as in the guest's."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        value = data[4:length]
        name, form = names.get(kind & NLA_TYPE_MASK, (None, None))
        if form == "number":
            found[name] = int.from_bytes(value, sys.byteorder)
        elif form == "text":
            found[name] = value.rstrip(b"\0").decode()
        elif form == "hex":
            found[name] = value.hex()
        elif form == "nest":
            found |= attributes(value, IN_PORT_NAMES)
        data = data[max(4, length + 3 & ~3) :]
    return found


def alerts(path):
    """The alerts of a capture, as dictionaries. `function` is the symbol without
    its offset, the compiler's suffix and the module."""
    data = pathlib.Path(path).read_bytes()
    family = None
    data = data[24:]  # The pcap header.
    while len(data) >= 16:
        (captured,) = struct.unpack_from("=I", data, 8)
        record, data = data[32 : 16 + captured], data[16 + captured :]
        while len(record) >= 20:
            length, kind = struct.unpack_from("=IH", record)
            body, record = record[16:length], record[max(16, length + 3 & ~3) :]
            # The answer about the families comes first and names the one of NET_DM.
            if b"NET_DM\0" in body:
                family = family or struct.unpack("=H", body[body.index(b"NET_DM\0") + 12 :][:2])[0]
            elif body[0] == PACKET_ALERT and kind > 0x10:
                alert = attributes(body[4:], NAMES)
                alert["function"] = alert.get("symbol", "").split("+")[0].split(".")[0]
                yield alert


def matches(facts, alert):
    """Whether an alert is one of the drops that a case counts."""
    return facts["tag"].encode() in bytes.fromhex(alert.get("payload", "")) and all(
        alert.get(fact) == facts[fact]
        for fact in ("function", "reason", "original_len")
        if fact in facts
    )


def main(arguments):
    match arguments:
        case [capture]:
            for alert in alerts(capture):
                print(json.dumps(alert))
        case [capture, facts_file]:
            check(list(alerts(capture)), pathlib.Path(facts_file))
        case _:
            sys.exit(__doc__.split("\n\n")[1])


def check(found, facts_file):
    """Prints a line a case, and exits with 1 when one of them has not made its drops."""
    failed = 0
    for line in facts_file.read_text().splitlines():
        facts = json.loads(line)
        mine = [alert for alert in found if matches(facts, alert)]
        problem = ""
        if len(mine) != facts["count"]:
            problem = f"{len(mine)} drops instead of {facts['count']}"
        elif any(alert.get("ifindex") != facts["ifindex"] for alert in mine):
            problem = f"ifindex {mine[0].get('ifindex')} instead of {facts['ifindex']}"
        failed += bool(problem)
        columns = f"{facts['case']:<20}  {facts['function']:<24}  {facts['reason']:<15}"
        print(f"{columns}  {problem or 'ok'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
