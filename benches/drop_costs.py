#!/usr/bin/env python3
"""What the eBPF programs take for a drop on the machine's own kernel, by the kernel's clock.

    drop_costs.py DWDUMP [RUNS]      as root; a release build

Floods the OUTPUT hook of a network namespace of its own, and prints medians of so many runs (5).
"""

import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent / "tests" / "guest"))
import network
from tracepoint import Capture

NAME = f"dwdump-costs-{os.getpid()}"
COUNT = 100_000
RULES = "table ip t { chain output { type filter hook output priority 0; udp dport 1111 drop; }; }"
CASES = {
    "128 bytes, whole": (128, []),
    "1400 bytes, whole": (1400, []),
    "1400 bytes, 128 of them": (1400, ["-t", "128"]),
    "rejected by `--kernel-filter`": (128, ["--kernel-filter", "tcp port 9"]),
    "counted by `--summary`": (128, ["--summary", "--print"]),
    "with `--stack`": (128, ["--stack"]),
    "with `--stack`, rejected by `--kernel-filter`": (128, ["--stack", "--kernel-filter", "tcp port 9"]),
}


def flood(size):
    payload = b"f" * (size - 28)
    with network.namespace(NAME), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", 1111))
        started = time.monotonic()
        for _ in range(COUNT):
            try:
                sender.send(payload)
            except PermissionError:
                pass
        return COUNT / (time.monotonic() - started)


def measure(dwdump, size, options):
    """Nanoseconds a drop in both programs, and the flood's own rate."""
    is_summary = "--summary" in options
    capture = Capture(dwdump, None if is_summary else "/dev/null", *options)
    before = costs(capture)
    rate = flood(size)
    after = costs(capture)
    text, _, _ = capture.end()
    assert not re.search(r"[1-9]\d* packets? lost", text), text
    runs = after[0][0] - before[0][0]
    assert runs >= COUNT, (before, after)
    return sum(now[1] - then[1] for now, then in zip(after, before, strict=True)) / runs, rate


def costs(capture):
    return list(zip(capture.beside.numbers("run_cnt"), capture.beside.numbers("run_time_ns"), strict=True))


def main():
    dwdump, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    if not hasattr(os, "geteuid") or os.geteuid():
        sys.exit(__doc__)
    network.ip(f"netns add {NAME}\n")
    try:
        network.ip("link set lo up\n", inside=NAME)
        with network.namespace(NAME):
            network.command("nft", "-f", "-", stdin=RULES)
        cases = {}
        with tempfile.TemporaryDirectory():
            for name, (size, options) in CASES.items():
                tried = subprocess.run(
                    [dwdump, "--source", "ebpf", "--duration", "0.1", *options, "-w", "/dev/null"],
                    capture_output=True, text=True,
                )
                if tried.returncode and "--summary" not in options:
                    print(f"left out: {name}: {tried.stderr.splitlines()[0]}")
                else:
                    cases[name] = (size, options)
        found = {name: [] for name in cases}
        alone = []
        for _ in range(runs):
            for name, (size, options) in cases.items():
                found[name].append(measure(dwdump, size, options))
            alone.append(flood(128))
        print(f"Linux {os.uname().release}, {COUNT} drops, medians of {runs}; the flood alone: {statistics.median(alone):.0f} packets/s")
        print("\n| a drop of | ns in the programs | flood, packets/s |\n|---|--:|--:|")
        for name, measured in found.items():
            nanos, rates = zip(*measured, strict=True)
            print(f"| {name} | {statistics.median(nanos):.0f} | {statistics.median(rates):.0f} |")
    finally:
        network.ip(f"netns delete {NAME}\n")


main()
