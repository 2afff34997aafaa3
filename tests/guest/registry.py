"""What a case of drops is, and how the cases are run."""

import os

from network import MARKER_PORT, RIGHT4, RIGHT_IFINDEX, send_datagram

CASES = {}

# The kernel that runs: (6, 12).
KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
# Functions that have other names on 7.x.
RENAMED = {"__udp4_lib_rcv": "udp_rcv", "__udp6_lib_rcv": "udpv6_rcv"}


def function_here(name):
    """What the function is called on the kernel that runs."""
    return RENAMED.get(name, name) if KERNEL >= (7, 0) else name


def case(function, reason, newer=None, newest=None, **facts):
    """Registers a case with what its drops look like in a listener:

    tag           in the payload; empty where there is no room for one
    function      that dropped it, without the compiler's suffixes and the module
    reason        as kernels since 5.18 name it
    count         how many drops have all of tag, function, reason, original_len
    ifindex       of the input interface, None for what was generated locally
    link          "ethernet", or "raw" where the bytes start with the IP header
    original_len  where the tag alone does not tell the drop
    src, dst, proto, dport, ethertype, protocol, inner_src, inner_dst
                  what the bytes say, where they say it

    `newer` holds what is different on kernels from 6.12 on, `newest` from 7.0 on.
    """

    def register(make):
        name = make.__name__.replace("_", "-")
        usual = {"tag": f"[{name}]", "count": 1, "ifindex": RIGHT_IFINDEX, "link": "ethernet"}
        make.facts = {"case": name, "function": function, "reason": reason} | usual | facts
        make.changes = {(6, 12): newer or {}, (7, 0): newest or {}}
        make.tag = make.facts["tag"].encode()
        CASES[name] = make
        return make

    return register


def expected(name):
    """The facts of a case on the kernel that runs."""
    make = CASES[name]
    facts = make.facts | {"function": function_here(make.facts["function"])}
    for since, changes in make.changes.items():
        facts |= changes if KERNEL >= since else {}
    return facts


def run(names=()):
    """Makes the drops of these cases (of all, without names), in the order of the
    file, and returns their facts."""
    unknown = set(names) - set(CASES)
    if unknown:
        raise SystemExit(f"drops.py: no such case: {' '.join(sorted(unknown))}")
    chosen = [name for name in CASES if name in names or not names]
    for name in chosen:
        CASES[name]()
    return [expected(name) for name in chosen]


def of_case(case, packets):
    """The packets of a file that are drops of this case, given by its facts."""
    return [
        packet
        for packet in packets
        if case["tag"].encode() in packet["data"]
        and packet["function"] == case["function"]
        and packet["reason"] == case["reason"]
        and case.get("original_len") in (None, packet["original_len"])
    ]


def marker(text):
    """One UDP packet from left to right's closed discard port, dropped with
    NO_SOCKET: tells a listener how far it has come."""
    send_datagram(text.encode(), RIGHT4, MARKER_PORT)
