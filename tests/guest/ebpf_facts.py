#!/usr/bin/env python3
"""What `dwdump --source ebpf` tells of a drop beside its packet: device, namespace, task, socket, mark and others.

    ebpf_facts.py check DWDUMP OUTDIR     as root; makes drops in network namespaces of its own

Each drop has a mark of its own in its payload, and facts that are known beforehand. What this kernel cannot
tell is named.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pcapng

# A hook that the kernel runs while the tag that it took off is still known; later it forgets it.
FAR_RULES = """
table netdev t {
    chain ingress { type filter hook ingress device "far" priority 0; vlan id 7 drop; }
}
"""
NEAR, FAR = f"facts-{os.getpid()}-a", f"facts-{os.getpid()}-b"
RULES = """
table inet t {
    chain input { type filter hook input priority 0; udp dport 1112 meta mark set 0x17 drop; }
    chain output { type filter hook output priority 0; udp dport 1111 drop; }
}
"""


def run(command, check=True):
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


def mark(kind):
    return f"FACT:{kind}:".encode()


def make_drops(cgroup):
    """In the near namespace: makes the drops, and prints the process and the ports."""
    # Before there is a socket, which belongs to the cgroup that it was made in.
    if cgroup:
        pathlib.Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
    said = {"pid": os.getpid()}

    def send(one, kind, address=None):
        try:
            one.sendto(mark(kind), address) if address else one.send(mark(kind))
        except (PermissionError, ConnectionRefusedError):
            pass

    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x42)
    one.bind(("0.0.0.0", 0))
    said["port"] = one.getsockname()[1]
    send(one, "output", ("127.0.0.1", 1111))
    send(one, "input", ("127.0.0.1", 1112))
    send(one, "closed", ("10.9.0.2", 9))
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.connect(("127.0.0.1", 1111))
    said["connected"] = other.getsockname()[1]
    send(other, "connected")

    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind(("near", 0))
    near, far = (bytes.fromhex(os.environ[name].replace(":", "")) for name in ("NEAR_MAC", "FAR_MAC"))
    # Priority 3 beside the number.
    wire.send(far + near + b"\x81\0\x60\x07\x88\xb5" + mark("vlan"))
    wire.send(far + near + b"\x81\0\x60\x08\x88\xb5" + mark("forgotten"))
    wire.send(far + near + b"\x88\xb5" + mark("no_vlan"))

    full = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    full.bind(("127.0.0.1", 3333))
    for _ in range(40):
        other.sendto(b"z" * 900, ("127.0.0.1", 3333))
    send(other, "full", ("127.0.0.1", 3333))
    print(json.dumps(said))


def expected(said, near, far, cgroup):
    """The facts of each drop: None for one that has to be absent, a set for one of several."""
    at_near = {"netns": str(near), "netns_name": NEAR}
    at_far = {"netns": str(far), "netns_name": FAR}
    task = {"running": "facts-task", "running_pid": str(said["pid"])}
    mine = {}
    if cgroup:
        name = pathlib.Path(cgroup).name
        mine = {"cgroup": f"/{name}", "unit": name, "cgroup_id": str(os.stat(cgroup).st_ino)}
    local = {**at_near, **task, **mine, "device": None, "vlan": None, "direction": "outbound"}
    arrived = {"direction": "inbound", "running": re.compile(r".+"), "running_pid": re.compile(r"\d+")}
    loop = {**at_near, **arrived, "device": "lo", "vlan": None}
    far = {**at_far, **arrived, "device": "far", "mark": None}
    return {
        "output": {**local, "mark": "0x42", "socket": f"owner inet udp {said['port']} close"},
        "connected": {**local, "mark": None, "socket": f"owner inet udp {said['connected']} > 1111 established"},
        "input": {**loop, "mark": "0x17", "socket": None},
        "closed": {**far, "vlan": None, "socket": None},
        # The wire's end is still the sender's.
        "vlan": {**far, "vlan": "7"},
        "forgotten": {**far, "vlan": None},
        "no_vlan": {**far, "vlan": None},
        # UDP keeps numbers of its own where the device is, on one of its two paths; the receiver is known from
        # 6.11 on.
        "full": {
            "device": {"lo", None},
            "netns": {str(near), None},
            "socket": {"receiver inet udp 3333 close", None},
            "direction": "inbound",
        },
    }


def check_packet(kind, packet, wanted):
    faults = []
    for key, value in wanted.items():
        found = packet["facts"].get(key)
        if isinstance(value, set):
            is_right = found in value
        elif isinstance(value, re.Pattern):
            is_right = found is not None and value.fullmatch(found)
        else:
            is_right = found == value
        if not is_right:
            faults.append(f"{kind}: {key} is {found}, not {value}")
    return faults


def check_interfaces(packets, near, far):
    """An interface of the file belongs to one namespace, whatever its index and name are."""
    faults = []
    for kind, place, inode in (
        ("output", "locally generated", near),
        ("input", "ifindex 1", near),
        ("closed", "ifindex 2", far),
    ):
        wanted = f"{place}, software, netns {inode}"
        found = packets[kind]["interface"]["description"]
        if found != wanted:
            faults.append(f"{kind}: the interface is {found}, not {wanted}")
    return faults


def make_cgroup():
    """A cgroup of version 2, at the top of the hierarchy; None where there is no such hierarchy."""
    mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    found = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    if not found:
        print("SKIPPED: cgroup and unit, for no cgroups of version 2 are mounted")
        return None
    cgroup = pathlib.Path(found[0], f"facts-{os.getpid()}.service")
    cgroup.mkdir()
    return str(cgroup)


def check(dwdump, out):
    file = pathlib.Path(out) / "facts.pcapng"
    cgroup = make_cgroup()
    run(f"ip netns add {NEAR} && ip netns add {FAR}")
    try:
        run(f"ip -n {NEAR} link add near type veth peer name far index 2 netns {FAR}")
        for name, device, address in ((NEAR, "near", 1), (FAR, "far", 2)):
            run(f"ip -n {name} address add 10.9.0.{address}/24 dev {device}")
            run(f"ip -n {name} link set {device} up && ip -n {name} link set lo up")
        for name, rules in ((NEAR, RULES), (FAR, FAR_RULES)):
            command = ["ip", "netns", "exec", name, "nft", "-f", "-"]
            subprocess.run(command, input=rules, text=True, check=True)
        run(f"ip netns exec {NEAR} ping -c 1 -W 5 10.9.0.2", check=False)
        near, far = (os.stat(f"/run/netns/{name}").st_ino for name in (NEAR, FAR))
        command = [dwdump, "--source", "ebpf", "-w", file]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            opening = process.stderr.readline()
            assert "eBPF" in opening, opening + process.stderr.read()
            said = make_drops_in_namespace(cgroup)
        finally:
            process.send_signal(signal.SIGINT)
            text = process.stderr.read()
        assert process.wait() == 0, text
        packets = {}
        for packet in pcapng.read(file)["packets"]:
            found = re.search(rb"FACT:(\w+):", packet["data"])
            # Not the ICMP error about one, which quotes it.
            if found and b"\x01" != packet["data"][23:24]:
                packets.setdefault(found[1].decode(), packet)
        wanted = expected(said, near, far, cgroup)
        assert packets.keys() == wanted.keys(), packets.keys()
        faults = check_interfaces(packets, near, far)
        for kind, facts in wanted.items():
            faults += check_packet(kind, packets[kind], facts)
        faults += check_words(dwdump, file, near, far)
        assert not faults, "\n".join(faults)
        if "socket" not in packets["full"]["facts"]:
            print("SKIPPED: the receiving socket, which this kernel does not tell")
        print(f"{len(wanted)} drops have their facts")
    finally:
        for name in (NEAR, FAR):
            run(f"ip netns del {name}", check=False)
        if cgroup:
            os.rmdir(cgroup)


def make_drops_in_namespace(cgroup):
    def address(name, device):
        return re.search(r"link/ether (\S+)", run(f"ip -n {name} link show {device}").stdout)[1]

    macs = {"NEAR_MAC": address(NEAR, "near"), "FAR_MAC": address(FAR, "far")}
    # Not `ip netns exec`, which hides the cgroups.
    command = ["nsenter", f"--net=/run/netns/{NEAR}", sys.executable, __file__, "drops", cgroup or ""]
    done = subprocess.run(command, env={**os.environ, **macs}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def check_words(dwdump, file, near, far):
    """Filters and counts find the same drops again."""

    def lines(*arguments):
        command = [dwdump, "-r", file, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout.splitlines()

    faults = []
    for words, count in (
        (f"running facts-task and netns {NEAR} and udp dst port 1111", 2),
        (f"mark 0x42 and socket 'owner * udp *' and netns {near}", 1),
        (f"device far and iface far and netns {far} and udp dst port 9", 1),
        (f"outbound and netns {FAR} and udp dst port 1111", 0),
        (f"direction outbound and mark 0x42 and netns {near}", 1),
        (f"vlan 7 and netns {far}", 1),
        (f"vlan = 7 and netns {far}", 1),
        (f"ether proto 0x88b5 and not vlan and netns {far}", 2),
    ):
        found = len(lines("--json", words))
        if found != count:
            faults.append(f"`{words}` finds {found} drops, not {count}")
    rows = json.loads(lines("--by", "netns", "--json", f"netns {near} or {far}")[0])["rows"]
    names = {row["name"] for row in rows}
    if names != {f"{NEAR} ({near})", f"{FAR} ({far})"}:
        faults.append(f"--by netns says {names}")
    for grouping, wanted in (
        ("vlan", {"vlan 7", "no vlan"}),
        ("direction", {"inbound"}),
        ("socket", {"owner packet close", "no socket"}),
    ):
        rows = json.loads(lines("--by", grouping, "--json", f"netns {far}")[0])["rows"]
        names = {row["name"] for row in rows}
        if names != wanted:
            faults.append(f"--by {grouping} says {names}")
    return faults


def main():
    match sys.argv[1:]:
        case ["check", dwdump, out]:
            check(dwdump, out)
        case ["drops", cgroup]:
            pathlib.Path("/proc/self/comm").write_text("facts-task")
            make_drops(cgroup)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
