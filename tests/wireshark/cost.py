#!/usr/bin/env python3
"""Measures what the plug-in costs tshark, and fails where that is too much.

    cost.py DWDUMP PLUGIN FOLDER

The same file of 100,000 drops is read with and without the plug-in in turns. What counts is the
shortest processor's time of each: other programs on the machine, which share its caches, can only
make it longer. Where it seems too much, it is measured again.
"""

import pathlib
import resource
import struct
import subprocess
import sys

FIXTURES = pathlib.Path(__file__).parent.parent.parent / "fixtures"
DROPS = 100_000
RUNS, MOST_RUNS = 5, 15
INTERFACE_STATISTICS_BLOCK = 5
ENHANCED_PACKET_BLOCK = 6

# What is done with the file: arguments with the plug-in, and without; and how many times as long it
# may take with it. A filter that looks at the fields of every packet costs the most.
TASKS = {
    "list": ([], [], 1.6),
    "filter": (["-Y", "drop.reason == NO_SOCKET"], ["-Y", 'frame.comment == "reason: NO_SOCKET"'], 2.2),
}


def enlarge(source, target):
    """Repeats the packets of a capture until there are enough, behind all its interfaces."""
    data = source.read_bytes()
    before, packets, offset = b"", [], 0
    while offset < len(data):
        kind, length = struct.unpack_from("<II", data, offset)
        block = data[offset : offset + length]
        if kind == ENHANCED_PACKET_BLOCK:
            packets.append(block)
        elif kind != INTERFACE_STATISTICS_BLOCK:
            before += block
        offset += length
    whole, rest = divmod(DROPS, len(packets))
    target.write_bytes(before + b"".join(packets) * whole + b"".join(packets[:rest]))


def processor_time(command):
    """The seconds that a command computes."""

    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return used() - before


def main():
    dwdump, plugin, folder = sys.argv[1:]
    small, large = pathlib.Path(folder, "cost-small.pcapng"), pathlib.Path(folder, "cost.pcapng")
    command = [dwdump, "-r", FIXTURES / "software-6.12.pcap", "-w", small]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    enlarge(small, large)
    plugin = ["-X", f"lua_script:{plugin}"]
    too_much = []
    for task, (with_arguments, without_arguments, limit) in TASKS.items():
        tshark = ["tshark", "-n", "-r", large]
        times = {"with": [], "without": []}
        for run in range(1, MOST_RUNS + 1):
            times["without"].append(processor_time([*tshark, *without_arguments]))
            times["with"].append(processor_time([*tshark, *plugin, *with_arguments]))
            slow, fast = (min(times[which]) for which in ("with", "without"))
            ratio = slow / fast
            if run >= RUNS and ratio <= limit:
                break
        print(f"{task}: {slow:.2f} s with the plug-in, {fast:.2f} s without: x {ratio:.2f} ({run} runs)")
        if ratio > limit:
            too_much.append(f"{task} may take x {limit}")
    large.unlink()
    if too_much:
        sys.exit(f"cost: too much: {', '.join(too_much)}")


if __name__ == "__main__":
    main()
