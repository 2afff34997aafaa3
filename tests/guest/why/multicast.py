"""Multicast that no interface here joined, GRE of a version that does not exist, VXLAN without an underlay."""

import socket
import struct

import network
from scene import FAR4, IN4, NEAR4, NEAR6, OUT4, PORT, chain, ethernet, payloads
from variant import OTHER_BLACKHOLE, OTHER_RULE, STRICT, Suspect, Variant, family

GROUPS = family(1, "multicast group not joined on the interface", is_answered=True)
GRE = family(2, "GRE of a version that nobody defined", is_answered=True)
UNDERLAY = family(3, "VXLAN whose remote has no underlay route", is_answered=True)
ALL_ROUTERS = "224.0.0.5"


def hello(payload):
    """An OSPF hello, with a payload behind its own length."""
    router, area = socket.inet_aton(NEAR4), bytes(4)
    body = socket.inet_aton("255.255.255.0") + struct.pack("!HBBI8x", 10, 2, 1, 40)
    start = struct.pack("!BBH", 2, 1, 24 + len(body)) + router + area
    total = network.checksum(start + bytes(4) + body)
    packet = start + struct.pack("!HH8x", total, 0) + body + payload
    return ethernet(0x0800, network.ipv4(89, packet, NEAR4, ALL_ROUTERS, ttl=1), dst=bytes.fromhex("01005e000005"))


def join(scene, group, address):
    """A socket in the host joins the group on the interface with this address."""
    one = scene.socket("host")
    one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(address))


class Hello(Variant):
    """near sends OSPF hellos; a raw socket in the host waits for them."""

    family = GROUPS
    reasons = ("NOT_SPECIFIED", "IP_LOCAL_SOURCE", "IP_INVALID_DEST")
    place = "ip_rcv_finish_core"
    object = (r"224\.0\.0\.5", r"\bin0\b")
    cure = "a socket joins the group on in0"
    # Who listens has to join.
    has_remedy = False

    def plant(self, scene):
        scene.count(scene.socket("host", socket.AF_INET, socket.SOCK_RAW, 89))

    def send(self, scene):
        scene.frames(map(hello, payloads()))

    def heal(self, scene):
        join(scene, ALL_ROUTERS, IN4)


class HelloNotJoined(Hello):
    name = "ospf-not-joined"
    planted = "OSPF hellos, a raw socket, the group joined nowhere"


class HelloJoinedElsewhere(Hello):
    name = "ospf-joined-elsewhere"
    planted = "OSPF hellos, a raw socket, the group joined on out0 alone"
    never = (r"\bout0\b",)

    def plant(self, scene):
        super().plant(scene)
        join(scene, ALL_ROUTERS, OUT4)


class HelloWithSuspects(Hello):
    name = "ospf-beside-suspects"
    planted = "as ospf-not-joined, with a rule that accepts OSPF alone and a strict rp_filter on in0"
    suspects = (
        STRICT,
        Suspect(
            "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; policy drop; }'; "
            "nft add rule inet t c ip protocol 89 accept",
            "nft delete table inet t",
            r"inet t",
        ),
    )


class HelloJoined(Hello):
    name = "ospf-joined"
    planted = "the group is joined on in0: the hellos arrive"
    is_twin = True
    reasons, object, cure = (), (), None
    never = (r"224\.0\.0\.5",)

    def plant(self, scene):
        super().plant(scene)
        join(scene, ALL_ROUTERS, IN4)


class HelloByRule(Hello):
    name = "ospf-not-joined-and-rule"
    planted = "the group is joined nowhere, but a rule in PREROUTING drops the hellos before"
    is_twin = True
    reasons, place, object = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow", (r"\binet t\b", r"\bpre\b")
    never = (r"224\.0\.0\.5",)
    cure = None

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("prerouting", "ip protocol 89 drop", "pre"))


class DatagramNotJoined(Variant):
    name = "udp-group-not-joined"
    family = GROUPS
    planted = "UDP to 239.1.2.3, a socket bound to the port that did not join"
    reasons = ("NOT_SPECIFIED", "IP_LOCAL_SOURCE")
    place = "ip_rcv_finish_core"
    object = (r"239\.1\.2\.3", r"\bin0\b")
    cure = "a socket joins the group on in0"
    has_remedy = False

    def plant(self, scene):
        scene.listen("host")

    def send(self, scene):
        def frame(payload):
            packet = network.ipv4(17, network.udp(payload, PORT, NEAR4, "239.1.2.3"), NEAR4, "239.1.2.3")
            return ethernet(0x0800, packet, dst=bytes.fromhex("01005e010203"))

        scene.frames(map(frame, payloads()))

    def heal(self, scene):
        join(scene, "239.1.2.3", IN4)


class Group6(Variant):
    """near sends IPv6 datagrams to a group; a socket is bound to the port."""

    family = GROUPS
    reasons = ("NOT_SPECIFIED",)
    place, to = "ip6_mc_input", "ff05::1:3"
    object = (r"ff05::1:3\b", r"\bin0\b")
    cure = "a socket joins the group on in0"
    has_remedy = False
    joined = None

    def plant(self, scene):
        # Until then there is no route for multicast.
        scene.settle()
        self.listener = scene.listen("host", "::")
        if self.joined:
            self.join(scene, self.joined)

    def send(self, scene):
        def frame(payload):
            datagram = network.udp(payload, PORT, NEAR6, "ff05::1:3")
            packet = network.ipv6(17, datagram, NEAR6, "ff05::1:3")
            return ethernet(0x86DD, packet, dst=bytes.fromhex("333300010003"))

        scene.frames(map(frame, payloads()))

    def join(self, scene, device):
        with scene.inside("host"):
            index = socket.if_nametoindex(device)
        group = socket.inet_pton(socket.AF_INET6, "ff05::1:3") + struct.pack("=I", index)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)

    def heal(self, scene):
        self.join(scene, "in0")


class Group6NotJoined(Group6):
    name = "udp6-group-not-joined"
    planted = "UDP to ff05::1:3, a socket bound to the port that did not join"


class Group6JoinedElsewhere(Group6):
    name = "udp6-group-joined-elsewhere"
    planted = "the same, joined on out0 alone"
    joined = "out0"
    never = (r"\bout0\b",)


class Version(Variant):
    """near sends GRE packets of this version."""

    family = GRE
    reasons = ("NOT_SPECIFIED",)
    place = "gre_rcv"
    modules, functions = ("gre",), ("gre_rcv",)
    # The sender has to be mended.
    has_remedy = False
    version = 7
    object = (NEAR4.replace(".", r"\."),)

    def send(self, scene):
        start = struct.pack("!HH", self.version, 0x0800)
        scene.frames(ethernet(0x0800, network.ipv4(47, start + payload, NEAR4, IN4)) for payload in payloads())


class Version7(Version):
    name = "gre-version-7"
    suspects = (STRICT, OTHER_RULE)
    planted = "GRE of version 7: the packet is at fault, the sender is named"


class Version2(Version):
    name = "gre-version-2"
    planted = "GRE of version 2, beside a GRE tunnel to that very sender"
    version = 2
    modules = ("gre", "ip_gre")
    suspects = (
        Suspect(
            f"ip link add gre7 type gre local {IN4} remote {NEAR4}; ip link set gre7 up", "ip link del gre7", "gre7"
        ),
    )


class VersionWithoutTunnel(Version):
    name = "gre-without-tunnel"
    planted = "GRE of version 0 without a tunnel: the missing tunnel is at fault, not the version"
    version = 0
    object = (r"(?i)gre",)
    never = (r"version",)
    reasons = ("NOT_SPECIFIED", "IP_NOPROTO")
    grade = "likely"
    has_remedy = False


class Overlay(Variant):
    """host sends into a VXLAN device; far counts what arrives, whatever is in it."""

    family = UNDERLAY
    reasons = ("NOT_SPECIFIED", "IP_OUTNOROUTES")
    place = "vxlan_xmit_one|vxlan_xmit"
    modules = ("vxlan",)
    object = (r"192\.0\.2\.99",)
    remote = "remote 192.0.2.99"
    cure = f"ip route add 192.0.2.99/32 via {FAR4}"
    # A route to where is not for dwdump to say.
    has_remedy = False

    def plant(self, scene):
        scene.ip(
            "host",
            f"""
            link add overlay0 address 02:00:00:00:14:02 type vxlan id 42 {self.remote} dstport 4789
            address add 172.16.14.2/24 dev overlay0
            neighbour add 172.16.14.1 lladdr 02:00:00:00:14:01 dev overlay0 nud permanent
            link set overlay0 up
            """,
        )
        scene.watch("far", "far0")

    def send(self, scene):
        scene.send("host", "172.16.14.1")


class OverlayDefault(Overlay):
    name = "vxlan-remote"
    suspects = (OTHER_RULE, OTHER_BLACKHOLE)
    planted = "the device's remote 192.0.2.99 has no route"
    object = (r"192\.0\.2\.99", r"overlay0")


class OverlayEntry(Overlay):
    name = "vxlan-fdb-entry"
    planted = "the fdb entry of the MAC leads to 192.0.2.99, which has no route; the default remote has one"
    remote = f"remote {FAR4}"
    never = (r"\b10\.2\.0\.2\b",)

    def plant(self, scene):
        super().plant(scene)
        scene.sh("host", "bridge fdb append 02:00:00:00:14:01 dev overlay0 dst 192.0.2.99")


class OverlayOtherEntry(Overlay):
    name = "vxlan-other-entry"
    planted = "another MAC's entry leads to 192.0.2.99; the one in use has a route: all arrives"
    remote = f"remote {FAR4}"
    is_twin = True
    reasons, object, cure = (), (), None
    never = (r"192\.0\.2\.99",)

    def plant(self, scene):
        super().plant(scene)
        scene.sh("host", "bridge fdb append 02:00:00:00:14:77 dev overlay0 dst 192.0.2.99")


class OverlayBlackhole(Overlay):
    name = "vxlan-blackhole"
    planted = "the remote 192.0.2.99 has a blackhole route"
    object = (r"blackhole", r"192\.0\.2\.")
    cure = "ip route del blackhole 192.0.2.0/24"
    has_remedy = True

    def plant(self, scene):
        super().plant(scene)
        scene.sh("host", f"ip route add 192.0.0.0/16 via {FAR4}; ip route add blackhole 192.0.2.0/24")
