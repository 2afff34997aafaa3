#!/usr/bin/env python3
"""Captures with `dwdump --source ebpf --kernel-filter` on the kernel that runs this: in a guest, or on the
machine itself.

    ebpf_filter.py CHECK DWDUMP OUTDIR     as root; makes drops in a network namespace of its own

The checks: `same`, beside a dwdump that filters alone, which has to keep the same packets and to reject as many;
`flood`, which a dwdump that reads nothing has to lose nothing of, because the kernel rejects it. All counts
together have to be what the tracepoint fired, by perf's count.
"""

import collections
import contextlib
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import network
import pcapng
from tracepoint import Capture, counted, counted_exactly, inside_new_namespace

TAG = f"{os.getpid():06}"
INSIDE = f"dwdump-{TAG}-f"
MARK = f"FILTER:{TAG}:".encode()
# A SYN has no room for the mark.
TCP_PORT = 20000 + os.getpid() % 10000
# By the bytes, because nft's `vlan id` is for Ethernet devices alone.
RULES = """
table netdev t {
    chain ingress { type filter hook ingress device "lo" priority 0; @ll,96,16 0x8100 @ll,112,16 9 drop; }
}
"""
FILTERS = [
    "udp port 9",
    "not udp",
    "ip6 and udp dst port 10",
    "len > 1000 and not tcp",
    "tcp[tcpflags] & tcp-syn != 0",
    "reason NO_SOCKET and src host 127.0.0.1",
    "not reason NO_SOCKET",
    "reason *HANDLED_PROTO or vlan 8",
    # A rule drops it while the tag that the kernel took off is still known.
    "vlan 9 and udp",
    "udp port 9 and not vlan 9",
    "iface 1 and protocol 0x0800 and dport 9",
    "udp[8:4] = 0x46494c54",
    "udp[7000:4] = 0x78787878",
    "ether proto 0x88b5 or (udp and location ip_rcv*)",
]
# With call stacks, which stand in front of the frame in the programs' records.
FILTERS_BESIDE_STACK = ["udp port 9", "vlan 9 and udp", "udp[7000:4] = 0x78787878"]


def send(family, address, payload):
    with socket.socket(family, socket.SOCK_DGRAM) as one, contextlib.suppress(ConnectionRefusedError):
        one.sendto(payload, address)


def make_drops():
    for number in range(5):
        payload = MARK + b"%d:" % number
        for port in (9, 10):
            send(socket.AF_INET, ("127.0.0.1", port), payload)
            send(socket.AF_INET6, ("::1", port), payload)
        send(socket.AF_INET, ("127.0.0.1", 9), payload + b"x" * 8000)
        with socket.socket() as one, contextlib.suppress(ConnectionRefusedError):
            one.connect(("127.0.0.1", TCP_PORT))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind(("lo", 0))
            addresses = {"src": "127.0.0.1", "dst": "127.0.0.1"}
            bad = network.udp(payload, bad_sum=0x5555, **addresses)
            bad = network.ipv4(17, bad, **addresses)
            tagged = [(0x8100, struct.pack("!HH", vlan, 0x0800) + bad) for vlan in (7, 9)]
            for kind, data in ((0x0800, bad), *tagged, (0x88B5, payload)):
                wire.send(bytes(12) + struct.pack("!H", kind) + data)
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.send(payload)
        one.close()
        other.close()
    time.sleep(0.1)


def ours(file):
    """How often each packet of this run was captured."""
    packets = pcapng.read(file)["packets"]
    port = TCP_PORT.to_bytes(2, "big")
    marked = [packet for packet in packets if MARK in packet["data"] or packet["data"][36:38] == port]
    return collections.Counter(
        (
            packet["data"],
            packet["original_len"],
            packet["pc"],
            packet["reason"],
            packet["interface"]["link"],
            packet["facts"].get("stack"),
        )
        for packet in marked
    )


def check_same(dwdump, out):
    files = out / "alone.pcapng", out / "kernel.pcapng"
    for text, *options in [*([text] for text in FILTERS), *([text, "--stack"] for text in FILTERS_BESIDE_STACK)]:

        def both(text=text, options=options):
            alone = Capture(dwdump, files[0], *options, text)
            kernel = Capture(dwdump, files[1], "--kernel-filter", *options, text)
            line = kernel.process.stderr.readline()
            assert "filtering in the kernel: " in line, line
            make_drops()
            ended = kernel.end()
            return ended, counted(alone.end()[0])

        sums, plain = counted_exactly(text, both)
        kept, plainly_kept = ours(files[1]), ours(files[0])
        assert kept == plainly_kept, f"{text}: {kept - plainly_kept} {plainly_kept - kept}"
        # The other one ran a little longer.
        for name in ("captured", "rejected"):
            assert sums[name] <= plain[name], f"{text}: {sums} {plain}"
        assert all(bool(packet[-1]) == ("--stack" in options) for packet in kept), kept
        assert sums["captured"] >= sum(kept.values()) > 0 and sums["rejected"] > 0, sums
        assert sums["no packets"] >= 5 and sums["lost"] == 0, sums


def check_flood(dwdump, out):
    count = 20000

    def flood():
        capture = Capture(dwdump, out / "flood.pcapng", "-b", "1", "--kernel-filter", "udp port 7")
        capture.process.send_signal(signal.SIGSTOP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))
            sent = 0
            while sent < count:
                with contextlib.suppress(ConnectionRefusedError):
                    one.send(b"f" * 1000)
                    sent += 1
        capture.process.send_signal(signal.SIGCONT)
        return capture.end(), None

    sums, _ = counted_exactly("flood", flood)
    assert sums["rejected"] >= count and sums["lost"] == 0, sums


CHECKS = {"same": check_same, "flood": check_flood}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    check, dwdump, out = sys.argv[1:]
    with inside_new_namespace(INSIDE):
        subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
        CHECKS[check](dwdump, pathlib.Path(out))
    print("all is well")


if __name__ == "__main__":
    main()
