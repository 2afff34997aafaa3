#!/usr/bin/env python3
"""Checks that the plug-in's fields say what dwdump says of the same packets.

    fields.py DWDUMP PLUGIN FOLDER NAME=COMMAND...

Each COMMAND runs a tshark; PLUGIN and FOLDER, which is for captures, are the same paths to all of them.
"""

import json
import os
import pathlib
import subprocess
import sys

FIXTURES = pathlib.Path(__file__).parent.parent.parent / "fixtures"

# What dwdump can read, and whether its packets are drops at all.
CAPTURES = {
    "software-6.12.pcap": True,
    "software-6.1.pcap": True,
    "hardware-6.12.pcap": True,
    "made/no-reason.pcap": True,
    "made/names.pcap": True,
    "made/odd-attributes.pcap": True,
    "made/own.pcapng": True,
    "made/links.pcap": True,
    "made/lengths.pcap": True,
    "made/malformed.pcap": True,
    "made/plain.pcapng": False,
}
# Fields that dwdump's JSON has, and their names there.
FACTS = {
    "drop.origin": "origin",
    "drop.reason": "reason",
    "drop.location": "location",
    "drop.module": "module",
    "drop.pc": "pc",
    "drop.source_line": "source",
    "drop.trap": "trap",
    "drop.trap_group": "trap_group",
    "drop.cookie": "cookie",
    "drop.ifindex": "ifindex",
    "drop.ifname": "ifname",
    "drop.meaning": "meaning",
}
# Fields that follow from others.
DERIVED = ["drop.cause", "drop.function", "drop.verdict"]


class Failed(Exception):
    """A check failed."""


def run(command):
    """Runs a command and returns its output; nothing may be said on standard error."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said = [line for line in result.stderr.splitlines() if "This could be dangerous" not in line]
    if result.returncode != 0 or said:
        raise Failed(f"{command}: status {result.returncode}: {said}")
    return result.stdout


def verdicts(dwdump):
    """The catalogue's verdicts, of reasons and of functions."""
    tables, table = [], None
    for line in run([dwdump, "--explain"]).splitlines():
        if line.startswith("#"):
            table = {}
            tables.append(table)
        else:
            name, verdict, _ = line.split(maxsplit=2)
            table[name] = verdict
    return tables


def expected(drop, catalogue):
    """The fields of a packet, from dwdump's JSON."""
    if "origin" not in drop:
        return {}
    fields = {field: str(drop[key]) for field, key in FACTS.items() if key in drop}
    function = drop.get("location", "").split("+")[0].split(" ")[0]
    if function:
        fields["drop.function"] = function
    reasons, functions = catalogue
    reason = drop.get("reason")
    by_function = functions.get(function.split(".")[0])
    verdict = reasons.get(reason)
    if reason in (None, "NOT_SPECIFIED"):
        verdict = by_function or verdict
    if verdict:
        fields["drop.verdict"] = verdict
    cause = [reason, drop.get("trap"), function, drop.get("pc"), drop["origin"]]
    fields["drop.cause"] = next(word for word in cause if word)
    return fields


def rows(tshark, plugin, path, fields):
    """The fields of each packet that tshark has."""
    command = [*tshark, "-X", f"lua_script:{plugin}", "-r", path, "-T", "fields"]
    command += ["-E", "separator=/t", *[word for field in fields for word in ("-e", field)]]
    for line in run(command).splitlines():
        # Later versions escape the backslash, too.
        values = line.replace("\\\\", "\\").split("\t")
        yield {field: value for field, value in zip(fields, values) if value}


def check(dwdump, plugin, folder, tshark):
    """Compares packet by packet; returns how many drops there were."""
    fields = [*FACTS, *DERIVED]
    catalogue = verdicts(dwdump)
    total = 0
    for name, has_drops in CAPTURES.items():
        path = f"{folder}/{name.replace('/', '-')}.pcapng"
        subprocess.run([dwdump, "-r", FIXTURES / name, "-w", path], check=True, stderr=subprocess.DEVNULL)
        os.chmod(path, 0o644)  # A tshark in a chroot runs without rights.
        json_lines = subprocess.run([dwdump, "-r", path, "--json"], check=True, capture_output=True, text=True)
        wanted = [expected(json.loads(line), catalogue) for line in json_lines.stdout.splitlines()]
        found = list(rows(tshark, plugin, path, fields))
        for number, (one, other) in enumerate(zip(wanted, found, strict=True), 1):
            if one != other:
                raise Failed(f"{name}, packet {number}: dwdump says {one}, tshark {other}")
        drops = sum(1 for row in wanted if row)
        if (drops > 0) != has_drops:
            raise Failed(f"{name}: {drops} drops")
        total += drops
    return total


def check_types(plugin, folder, tshark):
    """Filters compare numbers as numbers and bytes as bytes; only a drop has the protocol."""
    capture = {
        "software": f"{folder}/software-6.12.pcap.pcapng",
        "hardware": f"{folder}/hardware-6.12.pcap.pcapng",
        "plain": f"{folder}/made-plain.pcapng.pcapng",
    }
    for which, filter_, some in [
        ("software", "drop.pc >= 0xffffffff80000000", True),
        ("software", "drop.pc < 0xffffffff80000000", False),
        ("software", "drop.ifindex > 0 && drop.ifindex < 100", True),
        ("software", 'drop.reason in {"NO_SOCKET", "TCP_CSUM"}', True),
        ("software", 'drop.function matches "^udp|^__udp"', True),
        ("software", "drop.trap", False),
        ("hardware", 'drop.trap == "blackhole_route"', True),
        ("hardware", "drop.cookie contains de:ad", True),
        ("hardware", "drop.pc || drop.reason", False),
        ("hardware", "drop && !drop.cause", False),
        ("software", "drop && !drop.cause", False),
        ("plain", "drop", False),
    ]:
        command = [*tshark, "-X", f"lua_script:{plugin}", "-r", capture[which], "-Y", filter_]
        if bool(run(command)) != some:
            raise Failed(f"{filter_}: {'nothing' if some else 'something'} matches in {which} drops")


def check_tree(plugin, folder, tshark):
    """The folded line says it all."""
    path = f"{folder}/software-6.12.pcap.pcapng"
    details = run([*tshark, "-X", f"lua_script:{plugin}", "-r", path, "-V", "-O", "drop"])
    lines = {line for line in details.splitlines() if "drop:" in line}
    if "Kernel drop: NO_SOCKET, __udp4_lib_rcv, if5" not in lines:
        raise Failed(f"the line of the tree is among none of {sorted(lines)}")


def main():
    dwdump, plugin, folder, *commands = sys.argv[1:]
    for command in commands:
        name, _, tshark = command.partition("=")
        tshark = tshark.split()
        drops = check(dwdump, plugin, folder, tshark)
        check_types(plugin, folder, tshark)
        check_tree(plugin, folder, tshark)
        version = run([*tshark, "-v"]).splitlines()[0]
        print(f"{name}: {version} and dwdump say the same of {drops} drops")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"fields: {failure}")
