"""The host under test and its two neighbours, each a network namespace: near sends, host forwards or receives,
far receives. A new one for each variant.

    near0 10.1.0.1 ── 10.1.0.2 in0   host   out0 10.2.0.1 ── 10.2.0.2 far0
          fd01::1     fd01::2                     fd02::1     fd02::2
"""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import network

# Of this run: others may test on this machine, too.
TAG = f"{os.getpid():06}"
SIDES = ("near", "host", "far")
# How many packets a variant sends.
COUNT = 10
# In every packet that a variant sends.
MARK = f"why:{TAG}:".encode()
NEAR4, IN4, OUT4, FAR4 = "10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2"
NEAR6, IN6, OUT6, FAR6 = "fd01::1", "fd01::2", "fd02::1", "fd02::2"
# Of a network behind near, which far knows no other way to.
BEHIND4, BEHIND6 = "10.9.0.1", "fd09::1"
PORT = 7000
MACS = {
    device: bytes.fromhex(f"0200000003{number:02}")
    for number, device in enumerate(("near0", "in0", "out0", "far0"), start=1)
}
CABLES = (("near", "near0", "host", "in0"), ("host", "out0", "far", "far0"))
ADDRESSES = {
    "near": (("near0", NEAR4, NEAR6, IN4, IN6, "in0"),),
    "host": (("in0", IN4, IN6, NEAR4, NEAR6, "near0"), ("out0", OUT4, OUT6, FAR4, FAR6, "far0")),
    "far": (("far0", FAR4, FAR6, OUT4, OUT6, "out0"),),
}


# What a program says where the kernel lacks something, beside what is a mistake of the variant.
LACKING = re.compile(
    r"(?i)not supported|unknown (device|qdisc|link type)|specified qdisc|not found|not available|not implemented"
    r"|action module"
)


class Refused(Exception):
    """This kernel or host lacks what a variant needs."""


def payloads(count=COUNT, padding=0):
    return [MARK + b"%03d:" % number + b"x" * padding for number in range(count)]


class Receiver:
    """Counts the packets of this run that a socket gets."""

    def __init__(self, wire):
        wire.setblocking(False)
        self.wire = wire

    def take(self):
        """Returns how many came since the last time."""
        count = 0
        while True:
            try:
                data, address = self.wire.recvfrom(65536)
            except BlockingIOError:
                return count
            is_sent = self.wire.family == socket.AF_PACKET and address[2] == socket.PACKET_OUTGOING
            count += MARK in data and not is_sent


class Scene:
    """The namespaces, as a context."""

    numbers = itertools.count(1)

    def __init__(self):
        number = next(Scene.numbers)
        self.names = {side: f"why-{TAG}-{number}-{side}" for side in SIDES}
        self.receivers, self.open, self.processes = [], [], []
        # What restores the machine.
        self.undo = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="why-"))

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        network.ip("".join(f"netns add {name}\n" for name in self.names.values()))
        for side in SIDES:
            # The kernel's own IPv6 packets would be drops that no variant made.
            for conf in ("all", "default"):
                self.sysctl(side, f"ipv6/conf/{conf}/accept_dad", 0)
                self.sysctl(side, f"ipv6/conf/{conf}/router_solicitations", 0)
                self.sysctl(side, f"ipv6/conf/{conf}/addr_gen_mode", 1)
                self.sysctl(side, f"ipv6/conf/{conf}/mldv2_unsolicited_report_interval", 10)
                self.sysctl(side, f"ipv4/conf/{conf}/rp_filter", 0)
        self.sysctl("host", "ipv4/ip_forward", 1)
        self.sysctl("host", "ipv6/conf/all/forwarding", 1)
        network.ip(
            "".join(
                f"link add {device} address {mac(device)} netns {self.names[side]} type veth "
                f"peer name {other} address {mac(other)} netns {self.names[other_side]}\n"
                for side, device, other_side, other in CABLES
            )
        )
        for side, cables in ADDRESSES.items():
            lines = "link set lo up\n"
            for device, own4, own6, peer4, peer6, peer in cables:
                lines += f"""
                    address add {own4}/24 dev {device}
                    address add {own6}/64 dev {device} nodad
                    neighbour add {peer4} lladdr {mac(peer)} dev {device} nud permanent
                    neighbour add {peer6} lladdr {mac(peer)} dev {device} nud permanent
                    link set {device} up
                    """
            if side != "host":
                device, _, _, peer4, peer6, _ = cables[0]
                lines += f"route add default via {peer4}\nroute add default via {peer6} dev {device}\n"
            if side == "near":
                lines += f"address add {BEHIND4}/32 dev lo\naddress add {BEHIND6}/128 dev lo nodad\n"
            self.ip(side, lines)
        for conf in ("all", "in0", "out0"):
            self.sysctl("host", f"ipv4/conf/{conf}/rp_filter", 0)

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        for one in self.open:
            one.close()
        for undo in self.undo:
            undo()
        lines = "".join(f"netns del {name}\n" for name in self.names.values())
        subprocess.run(["ip", "-force", "-batch", "-"], input=lines, text=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def settle(self):
        """Waits until the kernel has made all that comes with a device that is up."""
        with self.inside("host"):
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                routes = pathlib.Path("/proc/thread-self/net/ipv6_route").read_text()
                found = {line.split()[-1] for line in routes.splitlines() if line.startswith("ff" + "0" * 30 + " 08")}
                if {"in0", "out0"} <= found:
                    return
                time.sleep(0.05)

    def inside(self, side):
        return network.namespace(self.names.get(side, side))

    def number(self, side):
        """Returns the number of a namespace, as eBPF tells it."""
        return os.stat(f"/run/netns/{self.names[side]}").st_ino

    def add_namespace(self, side):
        """One more, with nothing in it."""
        self.names[side] = f"{self.names['host'][:-4]}{side}"
        network.ip(f"netns add {self.names[side]}\n")
        self.ip(side, "link set lo up\n")

    # Settings

    def sh(self, side, text, stdin=None):
        """Runs a shell command in a namespace. The kernel may lack what it wants."""
        with self.inside(side):
            done = subprocess.run(["sh", "-ec", text], input=stdin, capture_output=True, text=True)
        if done.returncode:
            what = f"{(stdin or text).strip()}: {done.stderr.strip()}"
            raise Refused(" ".join(what.split())[-300:]) if LACKING.search(done.stderr) else AssertionError(what)
        return done.stdout

    def ip(self, side, lines):
        self.sh(side, "ip -batch -", stdin=lines)

    def nft(self, side, rules):
        self.sh(side, "nft -f -", stdin=rules)

    def tc(self, side, lines):
        self.sh(side, "tc -batch -", stdin=lines)

    def handle(self, side, chain, containing):
        """Returns the handle of the rule in `FAMILY TABLE CHAIN` whose text contains this."""
        for line in self.sh(side, f"nft -a list chain {chain}").splitlines():
            if containing in line and "# handle" in line:
                return line.rpartition("handle ")[2].strip()
        raise AssertionError(f"{containing} is not in {chain}")

    def sysctl(self, side, name, value):
        with self.inside(side):
            network.sysctl(name, value)

    def wait_for_ports(self, count):
        """Waits until so many ports of the host's bridge pass on: it changes their state itself when they are up, and a
        second later its own."""

        def is_settled():
            ports = self.sh("host", "bridge link show").count("state forwarding")
            return ports >= count and "UNKNOWN" not in self.sh("host", "ip -brief link show type bridge")

        deadline = time.monotonic() + 40
        while not is_settled():
            assert time.monotonic() < deadline, "the ports of the bridge do not come up"
            time.sleep(0.1)

    def change_machine(self, path, value):
        """Sets a file of /proc/sys that all namespaces share, until the scene ends."""
        file = pathlib.Path("/proc/sys", path)
        before = file.read_text()
        self.undo.append(lambda: file.write_text(before))
        file.write_text(str(value))

    # Sockets and processes

    def keep(self, one):
        """It stays open until the scene ends."""
        self.open.append(one)
        return one

    def socket(self, side, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0):
        with self.inside(side):
            return self.keep(socket.socket(family, kind, protocol))

    def count(self, one):
        """Has the packets that this socket gets counted as arrived."""
        self.receivers.append(Receiver(one))
        return one

    def listen(self, side, address="0.0.0.0", port=PORT, device=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = self.socket(side, family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if device:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        return self.count(one)

    def watch(self, side, device):
        """Counts the packets that a device receives."""
        every = 3  # ETH_P_ALL
        one = self.socket(side, socket.AF_PACKET, socket.SOCK_RAW)
        one.bind((device, every))
        return self.count(one)

    def python(self, side, text, *words):
        """A Python program of its own, once it has written a line; returns the process."""
        with self.inside(side):
            process = subprocess.Popen(
                [sys.executable, "-c", text, *map(str, words)],
                stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
            )
        self.processes.append(process)
        if not process.stdout.readline():
            raise AssertionError(f"the program ended: {text}")
        return process

    def arrived(self):
        return sum(receiver.take() for receiver in self.receivers)

    # Sending

    def send(self, side="near", address=IN4, port=PORT, count=COUNT, padding=0, source=None, pause=0.0):
        """Sends datagrams through a socket. Errors are what a drop may answer."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = self.socket(side, family)
        if source:
            one.bind((source, 0))
        for payload in payloads(count, padding):
            try:
                one.sendto(payload, (address, port))
            except OSError:
                pass
            time.sleep(pause)
        return one

    def frames(self, frames, side="near", device="near0"):
        """Puts bytes on the wire as they are."""
        one = self.socket(side, socket.AF_PACKET, socket.SOCK_RAW)
        one.bind((device, 0))
        for frame in frames:
            one.send(frame)


class ScenesAhead:
    """Scenes, each of which is made before it is needed: the kernel takes a second for what comes with new devices."""

    def __init__(self):
        self.next = Scene()
        self.next.__enter__()

    @contextlib.contextmanager
    def take(self):
        """The next scene, as a context."""
        scene, self.next = self.next, Scene()
        try:
            self.next.__enter__()
            yield scene
        finally:
            scene.__exit__()

    def end(self):
        self.next.__exit__()


def chain(hook, rules, name="c", table="inet t", policy="accept", more=""):
    """Rules of nftables, for scene.nft()."""
    begin = f"type filter hook {hook} priority 0; policy {policy};" if hook else ""
    return f"table {table} {{\n{more}\nchain {name} {{\n{begin}\n{rules}\n}}\n}}\n"


def mac(device):
    return MACS[device].hex(":")


def ethernet(ethertype, payload, src="near0", dst="in0"):
    return network.ethernet(ethertype, payload, src=MACS[src], dst=MACS.get(dst, dst))


def udp4(payload, src=NEAR4, dst=IN4, port=PORT, **of_ip):
    """An Ethernet frame from near to host."""
    return ethernet(0x0800, network.ipv4(17, network.udp(payload, port, src, dst), src, dst, **of_ip))


def udp6(payload, src=NEAR6, dst=IN6, port=PORT):
    return ethernet(0x86DD, network.ipv6(17, network.udp(payload, port, src, dst), src, dst))


def tcp(payload, flags, port=PORT, source_port=40000, seq=1, ack=0, src=NEAR4, dst=IN4, options=b""):
    """An Ethernet frame from near to host."""
    offset = 5 + len(options) // 4
    start = struct.pack("!HHIIBBH", source_port, port, seq, ack, offset << 4, flags, 65535)
    pseudo = network.pseudo_header(6, len(start) + 4 + len(options) + len(payload), src, dst)
    total = network.checksum(pseudo + start + b"\0\0\0\0" + options + payload)
    return ethernet(0x0800, network.ipv4(6, start + struct.pack("!HH", total, 0) + options + payload, src, dst))
