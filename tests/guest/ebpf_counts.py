#!/usr/bin/env python3
"""Counts drops with `dwdump --source ebpf --summary` on the kernel that runs this: in a guest, or on the
machine itself.

    ebpf_counts.py check DWDUMP OUTDIR [CHECK …]     as root; makes drops in network namespaces of its own

The checks: `kinds`, each with its reason and number; `flood`, of two CPUs at once; `full`, more combinations
than the kernel has room for; `packets`, what needs them; `alike`, in the kernel and packet by packet;
`table`, which asks for packets later. What dwdump counts in all has to be what the tracepoint fired, by
perf's count. What this kernel cannot do is left out, and said.
"""

import collections
import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import network
from tracepoint import PROCESSES, Beside

NEAR, FAR = f"dwdump-{os.getpid()}-c", f"dwdump-{os.getpid()}-d"
# Of this run: others may make drops on this machine, too.
INDEX = 1_000_000 + 2 * os.getpid()
NEAR4, FAR4 = "10.9.7.1", "10.9.7.2"
MACS = [bytes.fromhex("020000000a01"), bytes.fromhex("020000000a02")]
SIOCSIFNAME = 0x8923
# The kernel has room for so many combinations of place, reason and interface.
ROOM = 10240


@contextlib.contextmanager
def cable():
    """Two network namespaces, and a cable between them whose far end drops what is sent."""
    # Where it is built in, or not at all, this is no error.
    subprocess.run(["modprobe", "--quiet", "veth"], check=False)
    network.ip(f"netns add {NEAR}\nnetns add {FAR}\n")
    try:
        network.ip(
            f"link add near index {INDEX} address {MACS[0].hex(':')} netns {NEAR} type veth"
            f" peer name far index {INDEX + 1} address {MACS[1].hex(':')} netns {FAR}\n"
        )
        for name, device, address in ((NEAR, "near", NEAR4), (FAR, "far", FAR4)):
            with network.namespace(name):
                # The kernel's own IPv6 packets would be drops that nobody made.
                network.sysctl("ipv6/conf/all/disable_ipv6", 1)
            network.ip(f"address add {address}/24 dev {device}\nlink set {device} up\nlink set lo up\n", inside=name)
        time.sleep(0.5)
        yield
    finally:
        for process in PROCESSES:
            process.kill()
        network.ip(f"netns delete {NEAR}\nnetns delete {FAR}\n")


def wire():
    """The near end of the cable."""
    with network.namespace(NEAR):
        near = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    near.bind(("near", 0))
    return near


def frame(kind):
    """A frame that the far end drops for one reason."""
    ip = {"src": NEAR4, "dst": FAR4}

    def udp(bad_udp=0, bad_ip=0):
        packet = network.udp(b"x" * 40, bad_sum=bad_udp, **ip)
        return 0x0800, network.ipv4(17, packet, bad_sum=bad_ip, **ip)

    ethertype, payload = {
        "NO_SOCKET": udp(),
        "UDP_CSUM": udp(bad_udp=0x5555),
        "IP_CSUM": udp(bad_ip=0x1234),
        "UNHANDLED_PROTO": (0x88B5, b"x" * 40),
    }[kind]
    return network.ethernet(ethertype, payload, src=MACS[0], dst=MACS[1])


def send(kind, count):
    data = frame(kind)
    with wire() as near:
        for _ in range(count):
            near.send(data)


def rename(count):
    """Gives the far end so many names, with a drop under each. Returns how many there were."""
    with network.namespace(FAR):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    data, name = frame("UNHANDLED_PROTO"), b"far"
    with control, wire() as near:
        for number in range(count):
            new = b"far%05d" % number
            try:
                fcntl.ioctl(control, SIOCSIFNAME, struct.pack("16s16s", name, new))
            except OSError as error:
                assert error.errno == errno.EBUSY, error
                return number
            name = new
            near.send(data)
        fcntl.ioctl(control, SIOCSIFNAME, struct.pack("16s16s", name, b"far"))
    return count


class Count:
    """A dwdump that counts, and the kernel's counts beside it."""

    def __init__(self, dwdump, *arguments, opening="in the kernel"):
        self.beside = Beside()
        command = [dwdump, "--source", "ebpf", "--json", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        PROCESSES.append(self.process)
        line = self.process.stderr.readline()
        # Behind it may stand why it is eBPF.
        assert f", {opening}" in line, line
        self.beside.begin(self.process)

    def end(self):
        self.beside.interrupt()
        out, self.text = self.process.communicate()
        assert self.process.wait() == 0, self.text
        self.fired_in_all = self.beside.end()
        self.intervals = [json.loads(line) for line in out.splitlines()]
        self.rows = collections.Counter()
        for interval in self.intervals:
            for row in interval["rows"]:
                self.rows[row["name"]] += row["drops"]
        self.other = sum(interval["other"] for interval in self.intervals)

    def number(self, pattern):
        found = re.search(r"(\d+) " + pattern, self.text)
        return int(found[1]) if found else 0

    @property
    def sums(self):
        return {
            "counted": self.number("drops? counted"),
            "rejected": self.number("drops? rejected"),
            "lost": self.number("packets? lost in interrupts"),
            "no packets": self.number("drops? left out: netlink"),
            "undecided": self.number("drops? neither counted nor rejected"),
        }

    def check_sum(self, what):
        """Between the two, others' drops may come at the beginning and at the end."""
        total, (least, most) = sum(self.sums.values()), self.fired_in_all
        print(f"{what}: {self.sums}: in all {total}; fired {least} to {most}", flush=True)
        assert least <= total <= most, self.text
        counted = sum(self.rows.values()) + self.other
        assert counted == self.sums["counted"], (counted, self.text)


def check_kinds(dwdump):
    kinds = ["NO_SOCKET", "UDP_CSUM", "IP_CSUM", "UNHANDLED_PROTO"]

    # What came in by the far end, which nobody else's did.
    count = Count(dwdump, "--by", "reason", "--summary=0.2", "-i", INDEX + 1)
    for kind in kinds:
        send(kind, 10)
        time.sleep(0.1)
    count.end()
    count.check_sum("kinds")
    assert count.rows == dict.fromkeys(kinds, 10), count.rows
    assert len(count.intervals) > 1

    # The same by place, where several kinds may have one, and by interface.
    count = Count(dwdump, "--summary", "iface", INDEX + 1)
    for kind in kinds:
        send(kind, 10)
    count.end()
    assert sum(count.rows.values()) == 40, count.rows
    assert all(drops % 10 == 0 for drops in count.rows.values()), count.rows
    assert "udp" in "".join(sorted(count.rows)), count.rows
    count = Count(dwdump, "--by", "interface", "not reason UDP_CSUM")
    for kind in kinds:
        send(kind, 10)
    count.end()
    found = [
        row["drops"]
        for interval in count.intervals
        for row in interval["rows"]
        if row.get("ifindex") == INDEX + 1
    ]
    assert sum(found) == 30, count.intervals

    # Not packets: read by nobody.
    count = Count(dwdump, "--by", "module")
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for _ in range(5):
        one.send(b"unix")
    other.close()
    count.end()
    count.check_sum("no packets")
    assert count.sums["no packets"] >= 5, count.text


def check_flood(dwdump):
    each = 100_000

    count = Count(dwdump, "--by", "interface", "--summary=0.5")
    with multiprocessing.Pool(2) as pool:
        pool.starmap(send, [("UNHANDLED_PROTO", each), ("IP_CSUM", each)])
    count.end()
    count.check_sum("flood")
    drops = sum(
        row["drops"]
        for interval in count.intervals
        for row in interval["rows"]
        if row.get("ifindex") == INDEX + 1
    )
    print(f"flood: {drops} of {2 * each}, {count.sums['lost']} lost")
    assert drops <= 2 * each <= drops + count.sums["lost"], count.text
    # What neither program could be started for is rare.
    assert count.sums["lost"] < each / 100


def check_full(dwdump):
    count = Count(dwdump, "--by", "reason", "--summary=3600")
    made = rename(ROOM + 500)
    count.end()
    if made <= ROOM:
        print(f"left out: this kernel renames no device that is up (after {made})")
        return
    count.check_sum("full")
    assert count.other >= 500, count.text
    assert f"{count.other} drops for other reasons: the kernel had no room" in count.text, count.text
    (interval,) = count.intervals
    assert all(row["drops_error"] == count.other for row in interval["rows"]), interval
    assert count.rows["UNHANDLED_PROTO"] + count.other >= made


def check_packets(dwdump):
    count = Count(dwdump, "--by", "flow", "-i", INDEX + 1, opening="packet by packet")
    send("NO_SOCKET", 10)
    count.end()
    assert count.rows == {f"udp {NEAR4}:40000 > {FAR4}:{network.CLOSED_PORT}": 10}, count.rows
    count.check_sum("packets")


def check_alike(dwdump):
    """Every grouping that needs no packet has the rows that it has packet by packet."""
    with network.namespace(NEAR):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Full: the kernel overwrites the packets' device before it drops them.
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    receiver.bind(("127.0.0.1", 3333))
    for _ in range(40):
        sender.sendto(b"z" * 900, receiver.getsockname())

    def make():
        send("NO_SOCKET", 10)
        send("UNHANDLED_PROTO", 10)
        for _ in range(10):
            sender.sendto(b"z" * 900, receiver.getsockname())

    ours = ["netns", NEAR, "or", "netns", FAR]
    for by in ("location", "reason", "interface", "module", "device", "netns"):
        found = []
        for arguments in ([], ["-t", "256"]):
            opening = "packet by packet" if arguments else "in the kernel"
            count = Count(dwdump, "--by", by, *arguments, *ours, opening=opening)
            make()
            count.end()
            found.append(count.rows)
        assert found[0] == found[1] and sum(found[0].values()) == 30, (by, found)
        print(f"by {by}: {dict(found[0])}", flush=True)


def check_table(dwdump):
    """The table counts in the kernel until a key asks for what needs packets."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    arguments = ["--source", "ebpf", "--summary=0.2", "-i", str(INDEX + 1)]
    process = subprocess.Popen(
        [dwdump, *arguments], stdin=inner, stdout=inner, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TERM": "xterm"}, start_new_session=True,
        # Whose size is asked for.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    PROCESSES.append(process)
    screen = b""

    def wait_for(text):
        """Slow in a guest: the symbols of the kernel are read first."""
        nonlocal screen
        end = time.monotonic() + 60
        while text not in screen:
            left = end - time.monotonic()
            assert left > 0 and process.poll() is None, (text, screen[-500:])
            if select.select([terminal], [], [], left)[0]:
                screen += os.read(terminal, 4096)

    wait_for(b"counted by the kernel")
    send("NO_SOCKET", 10)
    # ^L has it draw the whole screen.
    os.write(terminal, b"gg\x0c")
    wait_for(b"drops by interface, counted by the kernel")
    send("NO_SOCKET", 10)
    assert b"the kernel sends packets now" not in screen
    # By flow.
    os.write(terminal, b"g")
    wait_for(b"the kernel sends packets now")
    send("NO_SOCKET", 10)
    os.write(terminal, b"q")
    text = process.stderr.read()
    assert process.wait() == 0, text
    os.close(inner)
    os.close(terminal)
    assert "30 drops counted\n" in text, text
    assert "20 counted without a packet\n" in text, text
    assert f"10 of udp {NEAR4}:40000 > {FAR4}:{network.CLOSED_PORT}\n" in text, text


CHECKS = {
    "kinds": check_kinds,
    "flood": check_flood,
    "full": check_full,
    "packets": check_packets,
    "alike": check_alike,
    "table": check_table,
}


def main():
    match sys.argv[1:]:
        case ["check", dwdump, _, *checks]:
            with cable():
                for check in checks or CHECKS:
                    CHECKS[check](dwdump)
            print("all is well")
        case _:
            sys.exit(__doc__)


main()
