#!/usr/bin/env python3
"""Captures with `dwdump --source ebpf` on the kernel that runs this: in a guest, or on the machine itself.

    ebpf.py check DWDUMP OUTDIR     as root; makes drops in network namespaces of its own

Of each kind of drop ten, each with a mark of its own, have to be captured exactly once, whole. What dwdump
counts in all has to be what the tracepoint fired, by perf's count. Kinds that this kernel cannot make are
left out, and named.
"""

import ctypes
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pcapng

NEAR, FAR = f"dwdump-{os.getpid()}-a", f"dwdump-{os.getpid()}-b"
COUNT = 10
# Numbers of system calls.
PERF_EVENT_OPEN, BPF = {"x86_64": (298, 321), "aarch64": (241, 280)}[os.uname().machine]
RULES = """
table inet t {
    chain input { type filter hook input priority 0; udp dport 1112 drop; }
    chain output { type filter hook output priority 0; udp dport 1111 drop; }
    chain postrouting {
        type filter hook postrouting priority 0
        udp dport 4789 drop
        ip protocol gre drop
    }
}
"""


def run(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True)


def mark(kind, number):
    return f"MARK:{kind}:{number:03}:".encode()


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_packet(payload, bad_udp=False, bad_ip=False):
    """From the near end to the far one."""
    length = 8 + len(payload)
    addresses = socket.inet_aton("10.9.0.1") + socket.inet_aton("10.9.0.2")
    header = struct.pack("!HHHH", 7777, 8888, length, 0)
    found = checksum(addresses + struct.pack("!BBH", 0, 17, length) + header + payload) or 0xFFFF
    header = struct.pack("!HHHH", 7777, 8888, length, found ^ (0x5555 if bad_udp else 0))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + addresses
    found = checksum(ip) ^ (0x1234 if bad_ip else 0)
    return ip[:10] + struct.pack("!H", found) + ip[12:] + header + payload


def make_drops():
    """In the near namespace: makes all drops, and prints the kinds that were made."""
    made = []

    def each(kind, drop, padding=0):
        for number in range(COUNT):
            try:
                drop(mark(kind, number) + b"x" * padding)
            except (PermissionError, ConnectionRefusedError):
                pass
        made.append(kind)

    # They stay open: an ICMP error that finds no socket would be one more drop.
    sockets = {family: socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)}

    def send(family, address):
        return lambda payload: sockets[family].sendto(payload, address)

    each("closed", send(socket.AF_INET, ("127.0.0.1", 9)))
    each("closed_large", send(socket.AF_INET, ("127.0.0.1", 9)), padding=30000)
    each("closed6", send(socket.AF_INET6, ("::1", 9)))
    each("far_closed", send(socket.AF_INET, ("10.9.0.2", 9)))
    each("output", send(socket.AF_INET, ("127.0.0.1", 1111)))
    each("output6", send(socket.AF_INET6, ("::1", 1111)))
    each("input", send(socket.AF_INET, ("127.0.0.1", 1112)))

    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind(("near", 0))
    near, far = (bytes.fromhex(os.environ[name].replace(":", "")) for name in ("NEAR", "FAR"))
    ip = far + near + b"\x08\0"
    each("bad_udp", lambda payload: wire.send(ip + udp_packet(payload, bad_udp=True)))
    each("bad_ip", lambda payload: wire.send(ip + udp_packet(payload, bad_ip=True)))
    other = b"\x02\xde\xad\xbe\xef\x01" + near + b"\x08\0"
    each("other_host", lambda payload: wire.send(other + udp_packet(payload)))
    each("unknown", lambda payload: wire.send(far + near + b"\x88\xb5" + payload))
    each("paged", lambda payload: wire.send(far + near + b"\x88\xb5" + payload), padding=8000)
    tag = far + near + b"\x81\0\0\x07\x08\0"
    each("vlan", lambda payload: wire.send(tag + udp_packet(payload)))

    full = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    full.bind(("127.0.0.1", 3333))
    fill = send(socket.AF_INET, ("127.0.0.1", 3333))
    for _ in range(40):
        fill(b"z" * 900)
    each("full_socket", fill)

    # Dropped with the tunnel's headers in front of a frame whose link-layer header the kernel remembers.
    for kind, address in (("vxlan", "10.10.1.2"), ("gre", "10.10.2.2")):
        if kind in os.environ["TUNNELS"].split():
            each(kind, send(socket.AF_INET, (address, 9)))

    # Not packets: read by nobody.
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(5):
        one.send(mark("unix", number))
    other.close()
    print("\n".join(made))


def flood():
    """In the near namespace: makes 20,000 drops of 1000 bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for _ in range(20000):
            try:
                one.sendto(b"f" * 1000, ("127.0.0.1", 1111))
            except PermissionError:
                pass


class Namespaces:
    """Two network namespaces with a cable between them."""

    def __enter__(self):
        run(f"ip netns add {NEAR} && ip netns add {FAR}")
        run(f"ip -n {NEAR} link add near mtu 9000 type veth peer name far mtu 9000 netns {FAR}")
        for name, device, address in ((NEAR, "near", 1), (FAR, "far", 2)):
            run(f"ip netns exec {name} sysctl -qw net.ipv6.conf.{device}.disable_ipv6=1", check=False)
            run(f"ip -n {name} address add 10.9.0.{address}/24 dev {device}")
            run(f"ip -n {name} link set {device} up && ip -n {name} link set lo up")
        subprocess.run(["ip", "netns", "exec", NEAR, "nft", "-f", "-"], input=RULES, text=True, check=True)
        self.tunnels = []
        for kind, link, address in (
            ("vxlan", "type vxlan id 7 remote 10.9.0.2 dstport 4789 dev near", "10.10.1.1/24"),
            ("gre", "type gre local 10.9.0.1 remote 10.9.0.2", "10.10.2.1/24"),
        ):
            run(f"modprobe {kind if kind == 'vxlan' else 'ip_gre'}", check=False)
            if run(f"ip -n {NEAR} link add {kind}7 {link}", check=False).returncode:
                print(f"left out: this kernel has no {kind}")
                continue
            run(f"ip -n {NEAR} address add {address} dev {kind}7; ip -n {NEAR} link set {kind}7 up")
            if kind == "vxlan":
                run(f"ip -n {NEAR} neighbour add 10.10.1.2 lladdr 02:00:00:00:00:02 dev vxlan7")
            self.tunnels.append(kind)
        # So that nothing of what a device says when it comes up is on its way any more.
        run(f"ip netns exec {NEAR} ping -c 1 -W 2 10.9.0.2", check=False)
        time.sleep(1)
        return self

    def __exit__(self, *_):
        for process in PROCESSES:
            process.kill()
        for name in (NEAR, FAR):
            run(f"ip netns del {name}", check=False)

    def run(self, *command):
        def address(name, device):
            text = run(f"ip -n {name} link show {device}").stdout
            return re.search(r"link/ether (\S+)", text)[1]

        environment = {
            **os.environ,
            "NEAR": address(NEAR, "near"),
            "FAR": address(FAR, "far"),
            "TUNNELS": " ".join(self.tunnels),
        }
        command = ["ip", "netns", "exec", NEAR, sys.executable, __file__, *command]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.split()


class Fired:
    """perf's count of skb:kfree_skb, on all CPUs."""

    def __init__(self):
        tracing = pathlib.Path("/sys/kernel/tracing")
        if not (tracing / "events").exists():
            run(f"mount -t tracefs tracefs {tracing}")
        number = int((tracing / "events/skb/kfree_skb/id").read_text())
        attributes = struct.pack("<IIQ", 2, 64, number).ljust(64, b"\0")  # PERF_TYPE_TRACEPOINT
        libc = ctypes.CDLL(None, use_errno=True)
        self.events = []
        for cpu in range(os.cpu_count()):
            # Of every process on this CPU.
            event = libc.syscall(PERF_EVENT_OPEN, ctypes.c_char_p(attributes), -1, cpu, -1, 8)
            assert event >= 0, os.strerror(ctypes.get_errno())
            self.events.append(event)

    def read(self):
        return sum(struct.unpack("<Q", os.read(event, 8))[0] for event in self.events)


def programs():
    """How many eBPF programs the kernel has."""
    count, number = 0, ctypes.create_string_buffer(128)
    # BPF_PROG_GET_NEXT_ID: from this number on, the next one
    while ctypes.CDLL(None).syscall(BPF, 11, number, 128) == 0:
        count += 1
        number[0:4] = number[4:8]
    return count


PROCESSES = []


class Capture:
    """A dwdump with --source ebpf, and perf's count beside it."""

    def __init__(self, dwdump, file, *arguments):
        self.fired = Fired()
        self.before = self.fired.read()
        started = time.monotonic()
        self.process = subprocess.Popen(
            [dwdump, "--source", "ebpf", "-w", file, *arguments], stderr=subprocess.PIPE, text=True
        )
        PROCESSES.append(self.process)
        self.opening = self.process.stderr.readline()
        self.start = time.monotonic() - started
        assert "capturing software drops with eBPF" in self.opening, (
            self.opening + self.process.stderr.read()
        )
        self.inside = self.fired.read()

    def end(self):
        """The closing lines, and the least and the most that they may count."""
        inside = self.fired.read() - self.inside
        self.process.send_signal(signal.SIGINT)
        text = self.process.stderr.read()
        assert self.process.wait() == 0, text
        return text, inside, self.fired.read() - self.before


def counted(text):
    """The sum of all that dwdump counts."""
    sums = {}
    for name, pattern in {
        "captured": r"(\d+) packets? captured",
        "rejected": r"(\d+) packets? rejected",
        "lost": r"(\d+) packets? lost in the perf buffers",
        "no packets": r"(\d+) drops? left out: netlink",
        "alerts": r"(\d+) alerts? left out",
        "damaged": r"(\d+) damaged",
    }.items():
        found = re.search(pattern, text)
        sums[name] = int(found[1]) if found else 0
    return sums


def check_sum(what, text, least, most):
    sums = counted(text)
    total = sum(sums.values())
    print(f"{what}: {sums}, in all {total}; fired {least} to {most}")
    assert least <= total <= most, text
    return sums


def check_packets(packets, kinds):
    by_mark = {}
    for packet in packets:
        # Linux 6.1 drops ICMPv6 errors that it has dealt with. They quote the packet with its mark.
        if packet["data"][12:14] == b"\x86\xdd" and packet["data"][20] == 58:
            continue
        found = re.search(rb"MARK:(\w+):(\d+):", packet["data"])
        if found:
            by_mark.setdefault(found[0], []).append(packet)
    faults = []
    for kind in kinds:
        for number in range(COUNT):
            found = by_mark.pop(mark(kind, number), [])
            if len(found) != 1:
                faults.append(f"{kind} {number}: {len(found)} times")
            else:
                fault = wrong(kind, number, found[0])
                if fault:
                    faults.append(f"{kind} {number}: {fault}")
    faults += [f"{extra}: not expected" for extra in by_mark]
    assert not faults, "\n".join(faults)


def wrong(kind, number, packet):
    """What is wrong with a captured packet."""
    padding = {"closed_large": 30000, "paged": 8000}.get(kind, 0)
    payload = mark(kind, number) + b"x" * padding
    # Ethernet, and a tag behind it, which the kernel may have taken off.
    headers = {
        "closed6": (14 + 48,), "output": (28,), "output6": (48,), "unknown": (14,), "paged": (14,),
        "vlan": (14 + 28, 18 + 28), "vxlan": (28 + 8 + 14 + 28,), "gre": (20 + 4 + 28,),
    }.get(kind, (14 + 28,))  # fmt: skip
    data, link = packet["data"], packet["interface"]["link"]
    is_raw = kind in ("output", "output6", "vxlan", "gre")
    if not data.endswith(payload) or len(data) - len(payload) not in headers:
        return f"{len(data)} bytes: {data[:80].hex()}"
    if packet["original_len"] != len(data):
        return f"length {packet['original_len']}, captured {len(data)}"
    if link != ("raw" if is_raw else "ethernet"):
        return f"link type {link}: {data[:80].hex()}"
    if is_raw and data[0] not in (0x45, 0x60):
        return f"begins with {data[:20].hex()}"
    if not packet["reason"] or not packet["function"]:
        return f"comments {packet['comments']}"
    return None


def check(dwdump, out):
    out = pathlib.Path(out)
    before = programs()
    with Namespaces() as namespaces:
        file = out / "ebpf.pcapng"
        capture = Capture(dwdump, file)
        kinds = namespaces.run("drops")
        text, least, most = capture.end()
        packets = pcapng.read(file)["packets"]
        check_packets(packets, kinds)
        sums = check_sum(f"{len(kinds)} kinds of drops", text, least, most)
        assert sums["captured"] == len(packets) and sums["no packets"] >= 5, text
        assert sums["lost"] == 0, text
        print(f"started in {capture.start:.2f} s")

        # A flood that nobody reads: the buffers overflow, and every drop is counted.
        capture = Capture(dwdump, out / "flood.pcapng", "-b", "1")
        capture.process.send_signal(signal.SIGSTOP)
        namespaces.run("flood")
        capture.process.send_signal(signal.SIGCONT)
        text, least, most = capture.end()
        sums = check_sum("flood", text, least, most)
        assert sums["lost"] > 0 and sums["captured"] > 0, text

        # kill -9 leaves nothing behind.
        capture = Capture(dwdump, out / "killed.pcapng")
        assert programs() >= before + 2
        capture.process.kill()
        capture.process.wait()
        end = time.monotonic() + 10
        while programs() > before:
            assert time.monotonic() < end, "the programs are still there"
            time.sleep(0.1)
    print("all is well")


def main():
    match sys.argv[1:]:
        case ["check", dwdump, out]:
            check(dwdump, out)
        case ["drops"]:
            make_drops()
        case ["flood"]:
            flood()
        case _:
            sys.exit(__doc__)


main()
