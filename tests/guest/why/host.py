"""What `dwdump --why` must leave as it is: rules, routes, neighbours, settings and modules, without counters."""

import pathlib
import re
import subprocess

import network

# One process for all that a program lists: to start one takes a tenth of a second in a guest.
COMMANDS = {
    "rules of nftables": ("nft -a list ruleset", ""),
    "links, routes, rules, permanent neighbours, transformations": (
        "ip -force -batch -",
        "link show\nroute show table all\nrule show\nneigh show nud permanent\nxfrm policy\nxfrm state\n",
    ),
    "routes, rules, permanent neighbours of IPv6": (
        "ip -6 -force -batch -",
        "route show table all\nrule show\nneigh show nud permanent\n",
    ),
    "ports and VLANs of bridges": ("bridge -force -batch -", "link show\nvlan show\n"),
    "qdiscs": ("tc qdisc show", ""),
}
# They count, or change by themselves.
COUNTS = re.compile(r"counter packets \d+ bytes \d+|expires \S+|\bused \d+|age \S+")
CHANGING = re.compile(r"nf_conntrack_count|tcp_fastopen_key|stable_secret|flush|tcp_available|tcp_allowed")
MEMORY = re.compile(r"^replay |lastused|seq |oseq |bitmap-length|^\s+0x|lifetime|current:|stats:|add .* use|\d+\(bytes\)")


def snapshot(names):
    """Returns what this thread's namespace and those of these names have, each fact by its name."""
    found = of_namespace("")
    for name in names:
        with network.namespace(name):
            found |= of_namespace(name)
    # Last, for the commands may load some.
    found["", "modules"] = modules()
    return found


def of_namespace(name):
    found = {(name, "sysctls"): settings()}
    for what, (command, lines) in COMMANDS.items():
        done = subprocess.run(command.split(), input=lines, capture_output=True, text=True)
        lines = (COUNTS.sub("", line).strip() for line in done.stdout.splitlines())
        found[name, what] = "\n".join(line for line in lines if not MEMORY.search(line))
    return found


def settings():
    """All of /proc/sys/net that can be read. Python would take a second for it in a guest."""
    done = subprocess.run(["grep", "-rs", "", "/proc/sys/net"], capture_output=True)
    lines = done.stdout.decode(errors="replace").splitlines()
    assert len(lines) > 100, f"grep finds no sysctls: {done.stderr}"
    return "\n".join(sorted(line for line in lines if not CHANGING.search(line)))


def modules():
    """Names alone: who uses them changes. The drop monitor's is loaded by every dwdump."""
    file = pathlib.Path("/proc/modules")
    names = file.read_text().splitlines() if file.exists() else []
    return "\n".join(sorted({line.split()[0] for line in names} - {"drop_monitor"}))


def differences(before, after):
    """Returns a line for each fact that changed, with what is gone and what is new."""
    found = []
    for name, what in sorted(before.keys() | after.keys()):
        old, new = ((facts.get((name, what)) or "").splitlines() for facts in (before, after))
        changes = [] if old == new else [f"-{line}" for line in old if line not in new]
        changes += [] if old == new else [f"+{line}" for line in new if line not in old]
        if changes:
            found.append(f"{name or 'the initial namespace'}: {what}: {' '.join(changes)[:300]}")
    return found
