"""Packets that are at fault themselves, and fragments whose rest does not come."""

import socket
import struct

import network
from scene import IN4, IN6, NEAR4, NEAR6, PORT, ethernet, payloads, udp4
from variant import OTHER_QUEUE, OTHER_RULE, STRICT, Variant, family

BAD = family(22, "a bad checksum or header", is_answered=True)
FRAGMENTS = family(24, "fragments time out", is_answered=True)
SENDER4, SENDER6 = (r"\b10\.1\.0\.1\b",), (r"\bfd01::1\b",)


class Bad(Variant):
    """near sends what no receiver may take; the sender is named."""

    family = BAD
    object = SENDER4
    # The sender has to be mended, or the wire.
    has_remedy = False
    cure = "the sender sends well"
    is_healed = False
    least = 10

    def plant(self, scene):
        scene.listen("host", IN6 if self.object == SENDER6 else IN4)

    def send(self, scene):
        scene.frames(udp4(payload) if self.is_healed else self.frame(payload) for payload in payloads())

    def heal(self, scene):
        self.is_healed = True


class IpSum(Bad):
    name = "ip-checksum"
    planted = "an IPv4 header with a wrong checksum"
    reasons, place = ("IP_CSUM",), "ip_rcv_core"
    suspects = (STRICT,)

    def frame(self, payload):
        return udp4(payload, bad_sum=0x1111)


class UdpSum(Bad):
    name = "udp-checksum"
    suspects = (STRICT, OTHER_RULE, OTHER_QUEUE)
    planted = "a datagram with a wrong checksum"
    reasons, place = ("UDP_CSUM",), "__udp4_lib_rcv|udp_queue_rcv_one_skb|udp_rcv|udp_recvmsg|udp_read_skb"

    def plant(self, scene):
        # Where there is a listener, the checksum may be looked at by who reads.
        pass

    def frame(self, payload):
        return ethernet(0x0800, network.ipv4(17, network.udp(payload, PORT, NEAR4, IN4, bad_sum=0x1111), NEAR4, IN4))

    cure = None


class UdpSum6(UdpSum):
    name = "udp6-checksum"
    planted = "the same by IPv6"
    place = "__udp6_lib_rcv|udpv6_rcv"
    object = SENDER6

    def frame(self, payload):
        return ethernet(0x86DD, network.ipv6(17, network.udp(payload, PORT, NEAR6, IN6, bad_sum=0x1111), NEAR6, IN6))


class TcpSum(UdpSum):
    name = "tcp-checksum"
    planted = "a SYN with a wrong checksum"
    reasons, place = ("TCP_CSUM",), "tcp_v4_rcv"

    def frame(self, payload):
        segment = network.tcp_syn(payload, PORT, NEAR4, IN4, bad_sum=0x1111)
        return ethernet(0x0800, network.ipv4(6, segment, NEAR4, IN4))


class ShortHeader(Bad):
    name = "ip-header-short"
    planted = "an IPv4 header whose length is less than 20"
    reasons, place = ("IP_INHDR",), "ip_rcv_core"

    def frame(self, payload):
        return udp4(payload, version_ihl=0x43)


class Truncated(Bad):
    name = "ip-truncated"
    planted = "an IPv4 packet that claims to be longer than it is"
    reasons, place = ("PKT_TOO_SMALL",), "ip_rcv_core"

    def frame(self, payload):
        return udp4(payload, length=400)


class WrongVersion(Bad):
    name = "ip-version"
    planted = "version 5 in a frame for IPv4"
    reasons, place = ("IP_INHDR",), "ip_rcv_core"

    def frame(self, payload):
        return udp4(payload, version_ihl=0x55)


class UdpLength(Bad):
    name = "udp-length"
    planted = "a datagram whose length is more than the packet's"
    reasons, place = ("PKT_TOO_SMALL",), "__udp4_lib_rcv|udp_rcv"

    def frame(self, payload):
        return ethernet(0x0800, network.ipv4(17, network.udp(payload, PORT, NEAR4, IN4, length=300), NEAR4, IN4))


class TcpOffset(Bad):
    name = "tcp-header-short"
    planted = "a TCP header whose length is less than 20"
    reasons, place = ("PKT_TOO_SMALL",), "tcp_v4_rcv"

    def frame(self, payload):
        return ethernet(0x0800, network.ipv4(6, network.tcp_syn(payload, PORT, NEAR4, IN4, data_offset=4), NEAR4, IN4))


class Version6(Bad):
    name = "ip6-version"
    planted = "version 5 in a frame for IPv6"
    reasons, place, object = ("IP_INHDR", "UNHANDLED_PROTO"), "ip6_rcv_core.*", SENDER6
    cure = None

    def frame(self, payload):
        return ethernet(0x86DD, network.ipv6(17, network.udp(payload, PORT, NEAR6, IN6), NEAR6, IN6, version=5))


class NoProtocol(Bad):
    name = "ip-no-protocol"
    planted = "a protocol that nobody here speaks"
    reasons, place = ("IP_NOPROTO",), "ip_local_deliver_finish|ip_protocol_deliver_rcu"
    object = (r"\b253\b",)

    def frame(self, payload):
        return ethernet(0x0800, network.ipv4(253, payload, NEAR4, IN4))


class GoodSum(Bad):
    name = "udp-no-checksum"
    planted = "datagrams without a checksum, which is allowed: all arrives"
    is_twin = True
    reasons, object, never, cure = (), (), (r"(?i)checksum|10\.1\.0\.1",), None

    def frame(self, payload):
        datagram = network.udp(payload, PORT, NEAR4, IN4)
        return ethernet(0x0800, network.ipv4(17, datagram[:6] + b"\0\0" + datagram[8:], NEAR4, IN4))


class Parts(Variant):
    """near sends datagrams in two fragments, and keeps one of them."""

    family = FRAGMENTS
    reasons = ("FRAG_REASM_TIMEOUT", "NOT_SPECIFIED")
    place = "inet_frag_rbtree_purge|inet_frag_destroy|ip_expire|inet_frag_reasm_finish|ip6frag_expire_frag_queue"
    object = SENDER4
    grade = "likely"
    has_remedy = False
    cure = "the sender sends both"
    kept = 2
    is_healed = False

    def plant(self, scene):
        scene.sysctl("host", "ipv4/ipfrag_time", 1)
        self.identity = 0
        scene.listen("host")

    def send(self, scene):
        frames = []
        for payload in payloads(padding=64):
            self.identity += 1
            both = fragments(network.udp(payload, PORT, NEAR4, IN4), self.identity)
            frames += [part for number, part in enumerate(both, start=1) if self.is_healed or number != self.kept]
        scene.frames(frames)

    def heal(self, scene):
        self.is_healed = True


def fragments(datagram, identity):
    """Two Ethernet frames."""
    found = []
    for offset, part in ((0, datagram[:32]), (32, datagram[32:])):
        more = 0x2000 if offset == 0 else 0
        start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(part), identity, more | offset // 8, 64, 17)
        addresses = socket.inet_aton(NEAR4) + socket.inet_aton(IN4)
        total = struct.pack("!H", network.checksum(start + bytes(2) + addresses))
        found.append(ethernet(0x0800, start + total + addresses + part))
    return found


class SecondMissing(Parts):
    name = "fragments-second-missing"
    suspects = (STRICT, OTHER_RULE)
    planted = "the second fragment never comes, and ipfrag_time is 1"


class FirstMissing(Parts):
    name = "fragments-first-missing"
    planted = "the first fragment never comes"
    kept = 1


class NoMemory(Parts):
    name = "fragments-no-memory"
    planted = "ipfrag_high_thresh is 0: no fragment is kept"
    reasons = ("NOT_SPECIFIED", "FRAG_REASM_MEMORY")
    place = "ip_defrag|inet_frag_find"
    object = (r"ipfrag_high_thresh",)
    cure = "sysctl -w net.ipv4.ipfrag_high_thresh=4194304"
    kept = 0
    has_remedy = True

    def plant(self, scene):
        super().plant(scene)
        scene.sysctl("host", "ipv4/ipfrag_low_thresh", 0)
        scene.sysctl("host", "ipv4/ipfrag_high_thresh", 0)

    def heal(self, scene):
        scene.sh("host", self.cure)


class Whole(Parts):
    name = "fragments-whole"
    planted = "both fragments come, and ipfrag_time is 1: all arrives"
    is_twin = True
    reasons, object, never, cure = (), (), (r"ipfrag|10\.1\.0\.1",), None
    kept = 0
