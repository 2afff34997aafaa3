#!/usr/bin/env python3
"""Measures what the plug-in costs tshark, and fails where that is too much.

    cost.py DWDUMP PLUGIN FOLDER

Counted are tshark's instructions for a drop, with the plug-in and without. Seconds vary too much on a machine that
others share: of sixteen pairs, the quotient was between 1.1 and 2.3, with a median of 1.5. Needs valgrind.
"""

import pathlib
import re
import struct
import subprocess
import sys

FIXTURES = pathlib.Path(__file__).parent.parent.parent / "fixtures"
# The second file has so many more: what tshark does at its start is in both.
FEW, MANY = 1000, 3000
INTERFACE_STATISTICS_BLOCK = 5
ENHANCED_PACKET_BLOCK = 6

# What is done with the file: arguments with the plug-in, and without; and how many times as many instructions it
# may take with it. A filter that looks at the fields of every packet costs the most.
TASKS = {
    "list": ([], [], 1.6),
    "filter": (["-Y", "drop.reason == NO_SOCKET"], ["-Y", 'frame.comment == "reason: NO_SOCKET"'], 1.9),
}


def enlarge(source, target, drops):
    """Repeats the packets of a capture until there are so many, behind all its interfaces."""
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
    whole, rest = divmod(drops, len(packets))
    target.write_bytes(before + b"".join(packets) * whole + b"".join(packets[:rest]))


def instructions(command):
    """How many instructions of its own, not the kernel's, a command takes."""
    counter = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    said = subprocess.run(
        [*counter, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ).stderr
    counted = re.search(r"I +refs: +([0-9,]+)", said)
    return int(counted[1].replace(",", ""))


def main():
    dwdump, plugin, folder = sys.argv[1:]
    small = pathlib.Path(folder, "cost-small.pcapng")
    command = [dwdump, "-r", FIXTURES / "software-6.12.pcap", "-w", small]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    files = {drops: pathlib.Path(folder, f"cost-{drops}.pcapng") for drops in (FEW, MANY)}
    for drops, file in files.items():
        enlarge(small, file, drops)

    def for_a_drop(arguments):
        few, many = (instructions(["tshark", "-n", "-r", files[drops], *arguments]) for drops in (FEW, MANY))
        return (many - few) / (MANY - FEW)

    too_much = []
    for task, (with_arguments, without_arguments, limit) in TASKS.items():
        without = for_a_drop(without_arguments)
        with_plugin = for_a_drop(["-X", f"lua_script:{plugin}", *with_arguments])
        ratio = with_plugin / without
        print(f"{task}: {with_plugin:,.0f} instructions a drop, {without:,.0f} without the plug-in: x {ratio:.2f}")
        if ratio > limit:
            too_much.append(f"{task} may take x {limit}")
    if too_much:
        sys.exit(f"cost: too much: {', '.join(too_much)}")


if __name__ == "__main__":
    main()
