"""What a kind of drops is: ten packets with marks of their own, and what a capture of them has to show. The
kinds are in `ebpf_drops.py` and `ebpf_unions.py`."""

import contextlib
import dataclasses
import re
import socket
import time

import network
from ebpf_scene import FAR4, FAR_MAC, NEAR, NEAR4, NEAR_MAC, TAG

COUNT = 10
# Bytes of headers.
ETHERNET, IP4, IP6, UDP, TCP = 14, 20, 40, 8, 20
KINDS = {}


@dataclasses.dataclass
class Kind:
    """A kind of drop."""

    name: str
    # Sends packets with these payloads; what it returns is called when all kinds have been made.
    make: callable
    # Bytes in front of the payload: one of these numbers.
    headers: tuple
    link: str
    # Bytes behind the mark, and at most so many behind the payload.
    padding: int
    trailer: int
    # The input device.
    device: str
    # On this kernel, the place where it is dropped remembers something else where the device was.
    is_union: bool

    def payload(self, number):
        return mark(self.name, number) + b"x" * self.padding


def mark(kind, number):
    return f"MARK:{TAG}:{kind}:{number:03}:".encode()


def kind(headers=ETHERNET + IP4 + UDP, link="ethernet", padding=0, trailer=0, device="far", is_union=False):
    """Registers a kind of drop."""
    headers = headers if isinstance(headers, tuple) else (headers,)

    def register(make):
        KINDS[make.__name__] = Kind(make.__name__, make, headers, link, padding, trailer, device, is_union)
        return make

    return register


class Sockets:
    """In the near namespace. They stay open: an ICMP error that finds no socket would be one more drop."""

    def __init__(self):
        with network.namespace(NEAR):
            self.by_family = {
                family: socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)
            }
            self.errors = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.errors.bind((NEAR4, 40000))
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.wire.bind(("near", 0))
            self.other_wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.other_wire.bind(("near-b", 0))

    def send(self, payloads, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for payload in payloads:
            # Refused by the rule that drops it, or by the answer to the one before.
            with contextlib.suppress(PermissionError, ConnectionRefusedError, OSError):
                self.by_family[family].sendto(payload, (address, port))

    def frames(self, frames):
        for frame in frames:
            self.wire.send(frame)

    def packets(self, packets):
        """IP packets, by the wire."""
        self.frames(frame(0x0800, packet) for packet in packets)


def frame(ethertype, payload, **more):
    return network.ethernet(ethertype, payload, **{"src": NEAR_MAC, "dst": FAR_MAC, **more})


def ipv4(proto, payload, **more):
    return network.ipv4(proto, payload, **{"src": NEAR4, "dst": FAR4, **more})


def udp(payload, dst=FAR4, **more):
    """An IPv4 packet."""
    of_ip = {name: more.pop(name) for name in ("src", "ttl", "length", "bad_ip") if name in more}
    of_ip["bad_sum"] = of_ip.pop("bad_ip", 0)
    segment = network.udp(payload, src=of_ip.get("src", NEAR4), dst=dst, **more)
    return ipv4(17, segment, dst=dst, **of_ip)


def missing(scene):
    """The kinds that this kernel cannot make, with the reason."""
    return {name: why for name, why in scene.missing.items() if name in KINDS}


def make_all(scene, names=None):
    """Makes the drops of all kinds, or of these, and returns those kinds."""
    sockets = Sockets()
    sockets.scene = scene
    chosen = [one for name, one in KINDS.items() if name in (names or KINDS) and name not in scene.missing]
    rest = []
    for one in chosen:
        later = one.make(sockets, [one.payload(number) for number in range(COUNT)])
        rest += [later] if later else []
    if names is None:
        # Fragments wait for a second, those for a neighbour less.
        time.sleep(2)
    for later in rest:
        later()
    # Not packets: read by nobody.
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(5):
        left.send(mark("unix", number))
    right.close()
    time.sleep(0.3)
    return chosen


def by_mark(packets):
    """The captured packets of this run by their marks."""
    found = {}
    for packet in packets:
        data = packet["data"]
        if is_icmp_error(data):
            continue
        for text in re.findall(rb"MARK:%s:\w+:\d+:" % TAG.encode(), data):
            found.setdefault(text, []).append(packet)
    return found


def is_icmp_error(data):
    """It quotes the packet with its mark. Linux 6.1 drops those that it has dealt with."""
    if data[12:14] == b"\x08\0":
        return data[23] == 1 and data[34] in (3, 11, 12)
    return data[12:14] == b"\x86\xdd" and data[20] == 58
