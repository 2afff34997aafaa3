"""What `dwdump --why` must leave as it is: rules, routes, neighbours, settings and modules, without counters."""

import os
import pathlib
import re
import subprocess

import network

COMMANDS = {
    "rules of nftables": "nft -a list ruleset",
    "routes": "ip route show table all; ip -6 route show table all",
    "routing rules": "ip rule; ip -6 rule",
    "permanent neighbours": "ip neigh show nud permanent; ip -6 neigh show nud permanent",
    "links": "ip link show; bridge link show; bridge vlan show",
    "qdiscs": "tc qdisc show",
    "transformations": "ip xfrm policy; ip xfrm state | grep -v -e lastused",
}
# They count, or change by themselves.
COUNTS = re.compile(r"counter packets \d+ bytes \d+|expires \S+|\bused \d+|age \S+")
CHANGING = re.compile(r"nf_conntrack_count|tcp_fastopen_key|stable_secret|flush|tcp_available|tcp_allowed")
MEMORY = re.compile(r"^replay |seq |oseq |bitmap-length|^\s+0x|lifetime|current:|stats:|add .* use|\d+\(bytes\)")


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
    found = {(name, f"sysctl {path}"): value for path, value in settings()}
    for what, command in COMMANDS.items():
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        lines = (COUNTS.sub("", line).strip() for line in done.stdout.splitlines())
        found[name, what] = "\n".join(line for line in lines if not MEMORY.search(line))
    return found


def settings():
    """All of /proc/sys/net that can be read."""
    for folder, _, files in os.walk("/proc/sys/net"):
        for file in files:
            path = os.path.join(folder, file)
            if not CHANGING.search(path):
                try:
                    yield path, pathlib.Path(path).read_text()
                except OSError:
                    pass


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
        changes = [f"-{line}" for line in old if line not in new] + [f"+{line}" for line in new if line not in old]
        if changes:
            found.append(f"{name or 'the initial namespace'}: {what}: {' '.join(changes)[:300]}")
    return found
