"""Several guilty objects at once: the drops have reason, place, addresses and ports in common, or all but one of them,
and each has its own cause."""

import struct

from ipsec import Esp, remove, state
from scene import COUNT, FAR4, IN4, NEAR4, PORT, chain, ethernet, payloads, tcp
from variant import Variant

RULES, ROUTES, BRIDGE = 5, 8, 21


class TwoRules(Variant):
    """Two rules in one chain drop, each a half of the packets."""

    family = RULES
    reasons = ("NETFILTER_DROP",)
    place = "nft_do_chain|nf_hook_slow"
    modules = ("nf_tables",)
    least = 2 * COUNT
    arriving = 2 * COUNT
    rules = ()
    object = (r"\binet t\b", r"\bc\b", "handle")
    cure = "nft delete table inet t"

    def plant(self, scene):
        text = "".join(f'{rule} comment "number {number}"\n' for number, rule in enumerate(self.rules))
        scene.nft("host", chain("input", text))
        for port in (PORT, 7002):
            scene.listen("host", port=port)

    def flows(self, scene):
        handles = (scene.handle("host", "inet t c", f"number {number}") for number in range(2))
        return [(*self.object, rf"handle {handle}\b") for handle in handles]

    def heal(self, scene):
        scene.sh("host", self.cure)

    def datagrams(self, scene, port=PORT, source_port=0, padding=0, tos=0):
        one = scene.socket("near")
        one.bind((NEAR4, source_port))
        one.setsockopt(0, 1, tos)
        for payload in payloads(padding=padding):
            one.sendto(payload, (IN4, port))
        one.close()
        scene.open.remove(one)


class ByPort(TwoRules):
    name = "nft-two-ports"
    planted = "two rules for two ports"
    rules = (f"udp dport {PORT} drop", "udp dport 7002 drop")

    def send(self, scene):
        self.datagrams(scene)
        self.datagrams(scene, port=7002)


class BySourcePort(TwoRules):
    name = "nft-two-source-ports"
    planted = "two rules for two source ports, the packets go to one port"
    rules = ("udp sport 4001 drop", "udp sport 4002 drop")

    def send(self, scene):
        self.datagrams(scene, source_port=4001)
        self.datagrams(scene, source_port=4002)


class ByLength(TwoRules):
    name = "nft-two-lengths"
    planted = "a rule for long packets and one for all, the packets have all but their length in common"
    rules = (f"udp dport {PORT} meta length > 500 drop", f"udp dport {PORT} drop")

    def send(self, scene):
        self.datagrams(scene, source_port=4001)
        self.datagrams(scene, source_port=4001, padding=800)


class ByClass(TwoRules):
    name = "nft-two-dscps"
    planted = "a rule for packets of class EF and one for all"
    rules = ("ip dscp ef drop", f"udp dport {PORT} drop")

    def send(self, scene):
        self.datagrams(scene, source_port=4001)
        self.datagrams(scene, source_port=4001, tos=0xB8)


class ByFlags(TwoRules):
    name = "nft-two-flags"
    planted = "a rule for SYNs and one for resets of the same connection"
    rules = ("tcp flags syn drop", "tcp flags rst drop")
    # Nobody listens.
    arriving = 0

    def send(self, scene):
        syn, reset = 0x02, 0x04
        for flags in (syn, reset):
            scene.frames(tcp(payload, flags, source_port=50000) for payload in payloads())


class TwoRoutes(Variant):
    name = "route-two"
    family = ROUTES
    planted = "a blackhole for one network and one for another"
    reasons = ("NOT_SPECIFIED", "IP_INADDRERRORS", "IP_INNOROUTES")
    place = "ip_error|ip_rcv_finish_core|dst_discard(_out)?|ip_rcv_finish"
    least = arriving = 2 * COUNT
    object = (r"blackhole",)
    has_remedy = False
    cure = "ip route del blackhole 203.0.113.0/24; ip route del blackhole 198.51.100.0/24"
    networks = ("203.0.113", "198.51.100")

    def plant(self, scene):
        scene.ip("host", f"route add default via {FAR4}\n")
        scene.ip("host", "".join(f"route add blackhole {name}.0/24\n" for name in self.networks))
        scene.watch("far", "far0")

    def send(self, scene):
        for name in self.networks:
            scene.send("near", f"{name}.5")

    def flows(self, scene):
        return [(*self.object, name.replace(".", r"\.")) for name in self.networks]


class RuleByClass(TwoRoutes):
    name = "rule-by-tos"
    planted = "an ip rule blackholes packets of one TOS, a route the others to that address"
    # Without the rule alone, the route would drop its packets as well: no command is printed for it.
    is_cured_by_remedy = False
    object = (r"blackhole",)
    cure = "ip route del blackhole 203.0.113.0/24; ip rule del pref 100"
    networks = ("203.0.113",)

    def plant(self, scene):
        super().plant(scene)
        scene.ip("host", "rule add pref 100 tos 0x10 blackhole\n")

    def send(self, scene):
        for tos in (0, 0x10):
            one = scene.socket("near")
            one.bind((NEAR4, 0))
            one.setsockopt(0, 1, tos)
            for payload in payloads():
                one.sendto(payload, ("203.0.113.5", PORT))

    def flows(self, scene):
        return [(r"blackhole", r"203\.0\.113\.0/24"), (r"\b100\b",)]


class TwoSpis(Esp):
    name = "esp-two-spis"
    planted = "no association has one SPI, that of the other has another key"
    reasons = ("NOT_SPECIFIED", "XFRM_IN_NO_STATES", "XFRM_IN_STATE_PROTO_ERROR")
    states = (state(spi=0x2000, key="33" * 20),)
    least = arriving = 2 * COUNT
    cure = f"{state()}; {remove(spi=0x2000)}; {state(spi=0x2000)}"

    def flows(self, scene):
        return [(r"0x0*1000\b",), (r"0x0*2000\b",)]

    def send(self, scene):
        for spi in (0x1000, 0x2000):
            scene.frames(self.frame(payload, spi) for payload in payloads())


class TwoVlans(Variant):
    name = "bridge-two-vlans"
    family = BRIDGE
    planted = "frames of VLAN 30 and of VLAN 40, in0 is a member of neither"
    reasons = ("NOT_SPECIFIED",)
    place = "br_handle_frame.*|__allowed_ingress|br_allowed_ingress"
    modules = ("bridge",)
    grade = "likely"
    least = arriving = 2 * COUNT
    object = (r"\bin0\b",)
    has_remedy = False
    cure = "for vid in 30 40; do bridge vlan add vid $vid dev in0; bridge vlan add vid $vid dev out0; done"

    def plant(self, scene):
        scene.ip(
            "host",
            "link add br0 type bridge mcast_snooping 0 vlan_filtering 1\nlink set br0 up\n"
            "link set in0 master br0\nlink set out0 master br0\n",
        )
        scene.wait_for_ports(2)
        scene.watch("far", "far0")

    def flows(self, scene):
        return [(*self.object, rf"\b{vlan}\b") for vlan in (30, 40)]

    def send(self, scene):
        for vlan in (30, 40):
            tag = struct.pack("!HH", vlan, 0x88B5)
            scene.frames(ethernet(0x8100, tag + payload.ljust(60, b"."), dst="far0") for payload in payloads())
