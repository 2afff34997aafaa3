"""What a forwarded packet meets: routes that refuse it, a device too narrow, a neighbour that is not there."""

import socket

import network
from scene import FAR4, FAR6, IN4, MACS, NEAR6, PORT, chain, ethernet, payloads, udp4
from variant import OTHER_BLACKHOLE, OTHER_QUEUE, OTHER_RULE, STRICT, Suspect, Variant, family

ROUTES = family(8, "a forwarded packet meets a route or rule that refuses it", is_answered=True)
TOO_BIG = family(14, "a forwarded packet is too big", is_answered=True)
NEIGHBOUR = family(15, "the neighbour does not answer", is_answered=True)
HOPS = family(20, "the TTL ran out", is_answered=True)
BEYOND4, BEYOND6 = "203.0.113.5", "2001:db8::5"


class Forwarded(Variant):
    """near sends to an address beyond far, by host."""

    destination = BEYOND4
    routes = f"route add 203.0.112.0/20 via {FAR4}"

    def plant(self, scene):
        if self.routes:
            scene.ip("host", self.routes)
        scene.watch("far", "far0")

    def send(self, scene):
        scene.send("near", self.destination)


class Refusal(Forwarded):
    """A route of this kind is more specific than the one that would lead to far."""

    family = ROUTES
    reasons = ("NOT_SPECIFIED", "IP_INADDRERRORS", "IP_INNOROUTES")
    place = "ip_error|ip_rcv_finish_core|dst_discard(_out)?|ip_rcv_finish"
    kind = "blackhole"
    rule = None

    def plant(self, scene):
        super().plant(scene)
        if self.kind:
            scene.ip("host", f"route add {self.kind} 203.0.113.0/24")
        if self.rule:
            scene.ip("host", self.rule)


class Blackhole(Refusal):
    name = "route-blackhole"
    planted = "blackhole 203.0.113.0/24"
    object = (r"blackhole", r"203\.0\.113\.0/24")
    cure = "ip route del blackhole 203.0.113.0/24"
    suspects = (
        Suspect("ip route add prohibit 198.51.100.0/24", "ip route del prohibit 198.51.100.0/24", "198.51.100"),
        Suspect(
            "ip rule add from 198.51.100.0/24 blackhole pref 50", "ip rule del pref 50", r"\brule\b"
        ),
    )


class Unreachable(Refusal):
    name = "route-unreachable"
    planted = "unreachable 203.0.113.0/24"
    kind = "unreachable"
    object = (r"unreachable", r"203\.0\.113\.0/24")
    cure = "ip route del unreachable 203.0.113.0/24"


class Prohibit(Refusal):
    name = "route-prohibit"
    suspects = (STRICT, OTHER_RULE, OTHER_BLACKHOLE)
    planted = "prohibit 203.0.113.0/24"
    kind = "prohibit"
    object = (r"prohibit", r"203\.0\.113\.0/24")
    cure = "ip route del prohibit 203.0.113.0/24"


class RuleBlackhole(Refusal):
    name = "rule-blackhole"
    planted = "an ip rule blackhole for what comes from near"
    kind = None
    rule = "rule add pref 100 from 10.1.0.0/24 to 203.0.113.0/24 blackhole"
    object = (r"\b100\b", r"blackhole")
    cure = "ip rule del pref 100"


class RuleProhibit(Refusal):
    name = "rule-prohibit"
    planted = "an ip rule prohibit by input interface"
    kind = None
    rule = "rule add pref 100 iif in0 to 203.0.113.0/24 prohibit"
    object = (r"\b100\b", r"prohibit")
    cure = "ip rule del pref 100"


class RuleUnreachable(Refusal):
    name = "rule-unreachable"
    planted = "an ip rule unreachable by protocol and port"
    kind = None
    rule = f"rule add pref 100 ipproto udp dport {PORT} unreachable"
    object = (r"\b100\b", r"unreachable")
    cure = "ip rule del pref 100"


class OtherTable(Refusal):
    name = "rule-to-blackhole-table"
    planted = "an ip rule by source leads to table 77 with a blackhole default"
    kind = None
    rule = "route add blackhole default table 77\nrule add pref 100 from 10.1.0.0/24 iif in0 lookup 77"
    object = (r"blackhole", r"\b77\b")
    cure = "ip route del blackhole default table 77"


class NoRoute(Refusal):
    name = "no-route"
    suspects = (OTHER_RULE, OTHER_BLACKHOLE)
    planted = "no route to 203.0.113.5, nor a default route"
    routes = kind = None
    object = (r"203\.0\.113\.5",)
    cure = f"ip route add 203.0.113.0/24 via {FAR4}"
    has_remedy = False


class Throw(Refusal):
    name = "no-route-after-throw"
    planted = "a throw route and nothing behind it, a blackhole for others"
    routes = None
    kind = "throw"
    rule = "route add blackhole 198.51.100.0/24"
    object = (r"203\.0\.113\.",)
    never = (r"198\.51\.100",)
    cure = f"ip route replace 203.0.113.0/24 via {FAR4} table main"
    has_remedy = False

    def heal(self, scene):
        scene.sh("host", f"ip route del throw 203.0.113.0/24; ip route add 203.0.113.0/24 via {FAR4}")


class MoreSpecific(Refusal):
    name = "route-blackhole-wider"
    planted = "a blackhole for 203.0.113.0/24, but a more specific route leads to far: all arrives"
    rule = f"route add {BEYOND4}/32 via {FAR4}"
    is_twin = True
    reasons, never = (), (r"blackhole",)


class UnusedTable(Refusal):
    name = "route-blackhole-unused-table"
    planted = "a blackhole in table 77, which no rule leads to, and a rule in PREROUTING that drops"
    kind = None
    rule = "route add blackhole 203.0.113.0/24 table 77"
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object = (r"\binet t\b", r"\bpre\b")
    never = (r"blackhole",)
    cure = "nft delete table inet t"

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("prerouting", f"ip daddr {BEYOND4} drop", "pre"))


class Refusal6(Refusal):
    """The same by IPv6."""

    destination = BEYOND6
    routes = f"route add 2001:db8::/32 via {FAR6} dev out0"
    place = "ip6_pkt_(drop|discard|prohibit)"
    reasons = ("NOT_SPECIFIED", "IP_INNOROUTES", "IP_OUTNOROUTES", "IP_INADDRERRORS", "IPV6_PKT_DROP")
    kind = None


class Blackhole6(Refusal6):
    name = "route6-blackhole"
    planted = "blackhole 2001:db8::/48"
    rule = "route add blackhole 2001:db8::/48"
    place = "dst_discard(_out)?"
    object = (r"blackhole", r"2001:db8::/48")
    cure = "ip -6 route del blackhole 2001:db8::/48"


class Prohibit6(Refusal6):
    name = "route6-prohibit"
    planted = "prohibit 2001:db8::/48"
    rule = "route add prohibit 2001:db8::/48"
    object = (r"prohibit", r"2001:db8::/48")
    cure = "ip -6 route del prohibit 2001:db8::/48"


class Unreachable6(Refusal6):
    name = "route6-unreachable"
    planted = "unreachable 2001:db8::/48"
    rule = "route add unreachable 2001:db8::/48"
    object = (r"unreachable", r"2001:db8::/48")
    cure = "ip -6 route del unreachable 2001:db8::/48"


class NoRoute6(Refusal6):
    name = "no-route6"
    planted = "no route to 2001:db8::5"
    routes = None
    object = (r"2001:db8::5",)
    cure = f"ip -6 route add 2001:db8::/48 via {FAR6} dev out0"
    has_remedy = False


class TooBig(Forwarded):
    """near sends packets of a thousand bytes that may not be fragmented."""

    family = TOO_BIG
    destination = FAR4
    routes = None
    reasons = ("PKT_TOO_BIG",)
    place = "ip_forward"
    object = (r"\bout0\b", r"(?i)mtu")
    cure = "ip link set out0 mtu 1500"
    # Don't fragment, whatever a router says.
    probe = (socket.IPPROTO_IP, 10, 3)

    def plant(self, scene):
        super().plant(scene)
        self.narrow(scene)

    def narrow(self, scene):
        scene.ip("host", "link set out0 mtu 700")

    def send(self, scene):
        one = scene.socket("near")
        one.setsockopt(*self.probe)
        for payload in payloads(padding=1000):
            one.sendto(payload, (self.destination, PORT))


class TooBigDevice(TooBig):
    name = "mtu-device"
    suspects = (STRICT, OTHER_BLACKHOLE, OTHER_QUEUE)
    planted = "out0's MTU is 700"


class TooBigRoute(TooBig):
    name = "mtu-route"
    planted = "the route has a locked MTU of 700, out0's is 1500"
    object = (r"10\.2\.0\.2(/32)?", r"(?i)mtu")
    cure = f"ip route del {FAR4}/32"

    def narrow(self, scene):
        scene.ip("host", f"route add {FAR4}/32 dev out0 mtu lock 700")


class TooBigFragmented(TooBig):
    name = "mtu-fragmented"
    planted = "out0's MTU is 700, but the packets may be fragmented: all arrives"
    is_twin = True
    reasons, object, cure, never = (), (), None, (r"(?i)mtu",)
    probe = (socket.IPPROTO_IP, 10, 0)


class TooBig6(TooBig):
    name = "mtu6-device"
    planted = "out0's MTU is 1280, the IPv6 packets have 1448 bytes"
    destination = FAR6
    place = "ip6_forward"

    def narrow(self, scene):
        scene.ip("host", "link set out0 mtu 1280")

    def send(self, scene):
        def packet(payload):
            return network.ipv6(17, network.udp(payload, PORT, NEAR6, FAR6), NEAR6, FAR6)

        scene.frames(ethernet(0x86DD, packet(payload)) for payload in payloads(padding=1380))


class Unanswered(Forwarded):
    """far does not answer for the address of the next hop."""

    family = NEIGHBOUR
    destination, routes = "10.2.0.77", None
    reasons = ("NEIGH_FAILED", "NOT_SPECIFIED")
    place = "arp_error_report|ndisc_error_report|__neigh_event_send|neigh_invalidate"
    object = (r"10\.2\.0\.77", r"\bout0\b")
    cure = f"ip neigh replace 10.2.0.77 lladdr {MACS['far0'].hex(':')} dev out0"
    # Where it is, only its owner knows.
    has_remedy = False
    settings = (("ipv4/neigh/out0/mcast_solicit", 1), ("ipv4/neigh/out0/retrans_time_ms", 100))

    def plant(self, scene):
        super().plant(scene)
        for name, value in self.settings:
            scene.sysctl("host", name, value)


class NeighbourFailed(Unanswered):
    name = "neighbour-failed"
    suspects = (STRICT, OTHER_RULE)
    planted = "nobody has the address 10.2.0.77 on out0's network"


class GatewayFailed(Unanswered):
    name = "neighbour-gateway-failed"
    planted = "the route's gateway 10.2.0.77 does not answer"
    destination = BEYOND4
    routes = "route add 203.0.113.0/24 via 10.2.0.77"


class NeighbourQueue(Unanswered):
    name = "neighbour-queue-full"
    planted = "out0's queue for unresolved neighbours holds one packet"
    reasons = ("NEIGH_QUEUEFULL",)
    place = "__neigh_event_send"
    least = 7
    settings = (("ipv4/neigh/out0/unres_qlen_bytes", 1), ("ipv4/neigh/out0/retrans_time_ms", 2000))
    object = (r"10\.2\.0\.77|unres_qlen",)
    grade = "likely"


class NeighbourFailed6(Unanswered):
    name = "neighbour6-failed"
    planted = "nobody has the address fd02::77 on out0's network"
    destination = "fd02::77"
    object = (r"fd02::77", r"\bout0\b")
    settings = (("ipv6/neigh/out0/mcast_solicit", 1), ("ipv6/neigh/out0/retrans_time_ms", 100))
    cure = f"ip neigh replace fd02::77 lladdr {MACS['far0'].hex(':')} dev out0"

    def plant(self, scene):
        scene.sh("host", "ip address add fe80::2/64 dev out0 nodad")
        super().plant(scene)


class NeighbourInnocent(Unanswered):
    name = "neighbour-failed-and-rule"
    planted = "a failed neighbour of another address; a rule in FORWARD drops"
    destination = FAR4
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never = (r"\binet t\b", r"\bthrough\b"), (r"10\.2\.0\.77",)
    cure = "nft delete table inet t"

    def plant(self, scene):
        super().plant(scene)
        scene.sh("host", "ip neigh add 10.2.0.77 dev out0 nud failed")
        scene.nft("host", chain("forward", f"ip daddr {FAR4} drop", "through"))


class Short(Forwarded):
    """near sends packets with one hop to go."""

    family = HOPS
    routes = None
    reasons = ("IP_INHDR", "NOT_SPECIFIED")
    place = "ip_forward"
    object = (r"10\.1\.0\.1\b",)
    destination = FAR4
    # The sender is at fault.
    has_remedy = False

    def send(self, scene):
        scene.frames(udp4(payload, dst=self.destination, ttl=1) for payload in payloads())


class TtlOne(Short):
    name = "ttl-one"
    suspects = (STRICT, OTHER_BLACKHOLE)
    planted = "a TTL of 1: the sender is at fault"


class HopLimitOne(Short):
    name = "hop-limit-one"
    planted = "a hop limit of 1"
    place = "ip6_forward"
    object = (r"fd01::1\b",)

    def send(self, scene):
        def packet(payload):
            whole = network.ipv6(17, network.udp(payload, PORT, NEAR6, FAR6), NEAR6, FAR6)
            return whole[:7] + b"\1" + whole[8:]

        scene.frames(ethernet(0x86DD, packet(payload)) for payload in payloads())


class Loop(Short):
    name = "ttl-loop"
    planted = "host and far send the packets to each other until the TTL is gone"
    destination = BEYOND4
    routes = f"route add 203.0.113.0/24 via {FAR4}"
    object = (r"203\.0\.113\.",)
    grade = "likely"
    # Every round passes far0.
    passing = 1000
    cure, cure_side = f"ip address add {BEYOND4}/32 dev lo", "far"
    never = (r"10\.1\.0\.1\b",)
    has_remedy = False

    def plant(self, scene):
        super().plant(scene)
        scene.sysctl("far", "ipv4/ip_forward", 1)

    def send(self, scene):
        scene.frames(udp4(payload, dst=BEYOND4, ttl=9) for payload in payloads())


class TtlOneLocal(Short):
    name = "ttl-one-local"
    planted = "a TTL of 1, but the packets are for the host: all arrives"
    is_twin = True
    reasons, object, never = (), (), (r"(?i)ttl|10\.1\.0\.1\b",)
    destination = IN4

    def plant(self, scene):
        scene.listen("host")
