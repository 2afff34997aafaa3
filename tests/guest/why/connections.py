"""TCP with signatures of MD5, and what only counters tell."""

import socket
import struct

from scene import IN4, NEAR4, PORT, chain, payloads, tcp
from sockets import SYN, Backlog
from variant import Variant, family

MD5 = family(25, "a TCP signature (MD5) is missing or not expected", is_answered=True)
COUNTED = family(26, "counters alone tell, or another host's drop", is_answered=True)
TCP_MD5SIG = 14
KEY = b"md5-s3cret-k3y"


def expect_signature(listener, peer, key=KEY):
    """The listener wants signed segments from this peer."""
    address = struct.pack("!HH4s120x", 0, 0, socket.inet_aton(peer))
    address = struct.pack("=H", socket.AF_INET) + address[2:]
    listener.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, address + struct.pack("=BBHi80s", 0, 0, len(key), 0, key))


class Signed(Variant):
    """near sends SYNs with data to a listener on port 7000."""

    family = MD5
    place = "tcp_v4_rcv"
    object = (rf"\b{PORT}\b",)
    functions = ("tcp_v4_md5_hash_skb",)
    # Both ends have to be told the same.
    has_remedy = False
    peers, options = (), b""
    secrets = (KEY,)

    def plant(self, scene):
        self.listener = scene.socket("host", kind=socket.SOCK_STREAM)
        self.listener.bind((IN4, PORT))
        for peer in self.peers:
            expect_signature(self.listener, peer)
        self.listener.listen(30)

    def send(self, scene):
        scene.frames(
            tcp(payload, SYN, source_port=50000 + number, options=self.options)
            for number, payload in enumerate(payloads())
        )


class Missing(Signed):
    name = "md5-missing"
    planted = "the listener has a key for near, and SYNs come without a signature"
    reasons = ("TCP_MD5NOTFOUND",)
    peers = (NEAR4,)


class Unexpected(Signed):
    name = "md5-unexpected"
    planted = "SYNs come with a signature, and the listener has a key for another peer alone"
    reasons = ("TCP_MD5UNEXPECTED",)
    peers = ("10.1.0.77",)
    options = bytes([19, 18]) + bytes(16) + b"\1\1"


class SignedForOther(Signed):
    name = "md5-other-peer"
    planted = "the listener has a key for another peer, near's SYNs have no signature: a rule drops them"
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never = (r"\binet t\b",), (r"(?i)md5",)
    peers = Unexpected.peers

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("input", f"tcp dport {PORT} drop"))


class Wrong(Signed):
    name = "md5-wrong"
    planted = "the signature is made with another key"
    reasons = ("TCP_MD5FAILURE",)
    peers = (NEAR4,)
    options = Unexpected.options


class QueueFull(Backlog):
    name = "accept-queue-syn"
    family = COUNTED
    planted = "the accept queue is full when SYNs come: they are not answered"
    reasons, object = (), ()
    counter = r"ListenOverflows|ListenDrops"
    arriving = 0
    cure = None

    def plant(self, scene):
        super().plant(scene)
        self.listener.listen(0)
        one = scene.socket("near", kind=socket.SOCK_STREAM)
        one.connect((IN4, PORT))

    def send(self, scene):
        self.rounds += 1
        first = 40000 + 100 * self.rounds
        for number in range(10):
            self.wire.send(tcp(b"", SYN, source_port=first + number, src=self.ghost))


class QueueWithRoom(QueueFull):
    name = "accept-queue-syn-room"
    planted = "the same SYNs, and the queue has room: they are answered"
    is_twin = True

    def plant(self, scene):
        Backlog.plant(self, scene)
        self.listener.listen(100)


class NoAnswer(Variant):
    """near asks by ARP for the address of out0, on in0's network."""

    name = "arp-ignore"
    family = COUNTED
    planted = "arp_ignore 1 on in0: host does not answer for out0's address, near's packets are dropped in near"
    side = "near"
    reasons = ("NEIGH_FAILED", "NOT_SPECIFIED")
    place = "arp_error_report|__neigh_event_send|neigh_invalidate"
    object = (r"10\.2\.0\.1|arp_ignore",)
    grade = "likely"
    has_remedy = False
    cure = "sysctl -w net.ipv4.conf.in0.arp_ignore=0"

    def plant(self, scene):
        scene.sysctl("host", "ipv4/conf/in0/arp_ignore", 1)
        scene.ip("near", "route add 10.2.0.1/32 dev near0\n")
        for name, value in (("mcast_solicit", 1), ("retrans_time_ms", 100)):
            scene.sysctl("near", f"ipv4/neigh/near0/{name}", value)
        scene.listen("host")

    def send(self, scene):
        scene.send("near", "10.2.0.1")
