"""Reverse path filters, martian sources, forwarding that is off."""

from scene import BEHIND4, FAR4, FAR6, IN4, NEAR4, OUT4, PORT, chain, payloads, udp4
from variant import OTHER_BLACKHOLE, OTHER_RULE, STRICT, Suspect, Variant, family

REVERSE_PATH = family(6, "reverse path filter, martian source, accept_local", is_answered=True)
FORWARDING = family(7, "forwarding is off", is_answered=True)
INPUT = "ip_rcv_finish_core|ip_route_input_.*|ip_rcv_finish"


class ReversePath(Variant):
    """near sends with a source that host reaches by out0, or not at all."""

    family = REVERSE_PATH
    reasons = ("IP_RPFILTER",)
    place = INPUT
    # Of all, in0 and out0.
    filters = (0, 1, 0)
    route = f"route add {BEHIND4}/32 dev out0"

    def plant(self, scene):
        for device, value in zip(("all", "in0", "out0"), self.filters, strict=True):
            scene.sysctl("host", f"ipv4/conf/{device}/rp_filter", value)
        if self.route:
            scene.ip("host", self.route)
        scene.listen("host")

    def send(self, scene):
        scene.send("near", IN4, source=BEHIND4)


class StrictOnInterface(ReversePath):
    name = "rp-strict-interface"
    planted = "rp_filter 1 on in0, the source's route goes out of out0"
    object = (r"net\.ipv4\.conf\.in0\.rp_filter",)
    cure = "sysctl -w net.ipv4.conf.in0.rp_filter=0"
    suspects = (
        Suspect("sysctl -w net.ipv4.conf.out0.rp_filter=1", "sysctl -w net.ipv4.conf.out0.rp_filter=0", r"out0\.rp_f"),
        Suspect("ip route add blackhole 203.0.113.0/24", "ip route del blackhole 203.0.113.0/24", "blackhole"),
    )


class StrictOnAll(ReversePath):
    name = "rp-strict-all"
    planted = "rp_filter 1 on all, 0 on in0"
    filters = (1, 0, 0)
    object = (r"net\.ipv4\.conf\.all\.rp_filter",)
    cure = "sysctl -w net.ipv4.conf.all.rp_filter=0"


class StrictOnBoth(ReversePath):
    name = "rp-strict-both"
    planted = "rp_filter 1 on all and on in0: either alone goes on dropping"
    filters = (1, 1, 0)
    object = (r"net\.ipv4\.conf\.(all|in0)\.rp_filter",)
    cure = "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.in0.rp_filter=0"


class LooseWithoutRoute(ReversePath):
    name = "rp-loose-no-route"
    suspects = (OTHER_RULE, OTHER_BLACKHOLE)
    planted = "rp_filter 2 on in0, no route to the source"
    filters = (0, 2, 0)
    route = None
    object = (r"net\.ipv4\.conf\.in0\.rp_filter",)
    cure = "sysctl -w net.ipv4.conf.in0.rp_filter=0"


class LooseOnAll(ReversePath):
    name = "rp-loose-all-no-route"
    planted = "rp_filter 2 on all, 0 on in0, no route to the source"
    filters = (2, 0, 0)
    route = None
    object = (r"net\.ipv4\.conf\.all\.rp_filter",)
    cure = "sysctl -w net.ipv4.conf.all.rp_filter=0"


class Forwarded(ReversePath):
    name = "rp-strict-forwarded"
    planted = "rp_filter 1 on in0, the packets are to be forwarded"
    object = (r"net\.ipv4\.conf\.in0\.rp_filter",)
    cure = "sysctl -w net.ipv4.conf.in0.rp_filter=0"

    def plant(self, scene):
        super().plant(scene)
        scene.watch("far", "far0")

    def send(self, scene):
        scene.send("near", FAR4, source=BEHIND4)


class ReversePathTwin(ReversePath):
    is_twin = True
    reasons = ()
    never = (r"rp_filter",)


class LooseWithRoute(ReversePathTwin):
    name = "rp-loose-with-route"
    planted = "rp_filter 2 on in0, the source's route goes out of out0: all arrives"
    filters = (0, 2, 0)


class StrictMadeLoose(ReversePathTwin):
    name = "rp-strict-made-loose"
    planted = "rp_filter 1 on in0 and 2 on all, which is more: all arrives"
    filters = (2, 1, 0)


class StrictOnOther(ReversePathTwin):
    name = "rp-strict-other-interface"
    planted = "rp_filter 1 on out0, where nothing comes in: all arrives"
    filters = (0, 0, 1)


class StrictAndRule(ReversePathTwin):
    name = "rp-strict-and-rule"
    planted = "rp_filter 1 on in0 and a source with a good route; a rule in INPUT drops"
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object = (r"\binet t\b", r"\bin\b")
    route = f"route add {BEHIND4}/32 dev in0"
    cure = "nft delete table inet t"

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("input", "udp dport 7000 drop", "in"))


class Martian(Variant):
    """near sends from or to an address that has no place on a wire."""

    family = REVERSE_PATH
    place = INPUT
    source, destination = "127.0.0.5", IN4

    def plant(self, scene):
        scene.listen("host")

    def send(self, scene):
        scene.frames(udp4(payload, src=self.source, dst=self.destination) for payload in payloads())


class MartianLoopback(Martian):
    name = "martian-loopback-source"
    planted = "a source of 127.0.0.0/8 on the wire: the sender is at fault, or route_localnet"
    reasons = ("IP_LOCALNET", "IP_INVALID_SOURCE", "NOT_SPECIFIED")
    object = (r"127\.0\.0\.5|route_localnet",)
    has_remedy = False


class MartianMulticast(Martian):
    name = "martian-multicast-source"
    planted = "a source that is a multicast group"
    source = "224.1.1.1"
    reasons = ("IP_INVALID_SOURCE", "NOT_SPECIFIED")
    object = (r"224\.1\.1\.1",)
    # The sender is at fault.
    has_remedy = False


class MartianDestination(Martian):
    name = "martian-loopback-destination"
    planted = "a destination of 127.0.0.0/8 on the wire, route_localnet off"
    source, destination = NEAR4, "127.0.0.1"
    reasons = ("IP_LOCALNET", "IP_INVALID_DEST", "NOT_SPECIFIED")
    object = (r"127\.0\.0\.1|route_localnet",)
    cure = "sysctl -w net.ipv4.conf.in0.route_localnet=1"
    has_remedy = False


class OwnSource(Martian):
    name = "accept-local"
    planted = "a source that is an address of the host itself, accept_local off"
    source = OUT4
    reasons = ("IP_LOCAL_SOURCE", "IP_RPFILTER", "NOT_SPECIFIED")
    object = (r"net\.ipv4\.conf\.(in0|all)\.accept_local|\b10\.2\.0\.1\b",)
    never = (r"rp_filter",)
    cure = "sysctl -w net.ipv4.conf.in0.accept_local=1"
    has_remedy = False


class OwnSourceStrict(OwnSource):
    name = "accept-local-strict"
    planted = "the same, with a strict rp_filter on in0 that is innocent: it drops before"
    suspects = (
        STRICT,
    )


class OwnSourceAccepted(OwnSource):
    name = "accept-local-on"
    planted = "accept_local on: all arrives"
    is_twin = True
    reasons, object, cure = (), (), None
    never = (r"accept_local", r"rp_filter")

    def plant(self, scene):
        super().plant(scene)
        scene.sysctl("host", "ipv4/conf/in0/accept_local", 1)


class Off4(Variant):
    """near sends to far, which host is to forward."""

    family = FORWARDING
    reasons = ("NOT_SPECIFIED", "IP_INADDRERRORS")
    place = "ip_error"
    setting = "ipv4/conf/in0/forwarding"
    destination, source = FAR4, None

    def plant(self, scene):
        scene.sysctl("host", self.setting, 0)
        scene.watch("far", "far0")

    def send(self, scene):
        scene.send("near", self.destination, source=self.source)


class OffOnInterface(Off4):
    name = "forwarding-off-interface"
    planted = "net.ipv4.conf.in0.forwarding 0, all others 1"
    object = (r"net\.ipv4\.conf\.in0\.forwarding",)
    cure = "sysctl -w net.ipv4.conf.in0.forwarding=1"
    suspects = (
        Suspect("sysctl -w net.ipv4.conf.out0.forwarding=0", "sysctl -w net.ipv4.conf.out0.forwarding=1", r"\bout0\b"),
    )


class OffAll(Off4):
    name = "forwarding-off-all"
    suspects = (STRICT, OTHER_BLACKHOLE)
    planted = "net.ipv4.ip_forward 0"
    setting = "ipv4/ip_forward"
    object = (r"net\.ipv4\.(ip_forward|conf\.(all|in0)\.forwarding)",)
    cure = "sysctl -w net.ipv4.ip_forward=1"


class OffOnOutput(Off4):
    name = "forwarding-off-output"
    planted = "net.ipv4.conf.out0.forwarding 0, where packets leave: all arrives"
    setting = "ipv4/conf/out0/forwarding"
    is_twin = True
    reasons, never = (), (r"forwarding",)

    def plant(self, scene):
        super().plant(scene)
        # far would answer that nobody listens, and that answer would come in by out0.
        scene.socket("far").bind((FAR4, PORT))


class OffAndLocal(Off4):
    name = "forwarding-off-and-local"
    planted = "net.ipv4.ip_forward 0, but the packets are for the host, where nobody listens"
    setting = "ipv4/ip_forward"
    destination = IN4
    is_twin = True
    reasons, place = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv"
    never = (r"forward",)


class OffAndNoRoute(Off4):
    name = "forwarding-off-and-blackhole"
    planted = "net.ipv4.conf.out0.forwarding 0, but a blackhole route drops"
    setting = "ipv4/conf/out0/forwarding"
    destination = "203.0.113.5"
    is_twin = True
    reasons, place = ("NOT_SPECIFIED", "IP_INADDRERRORS", "IP_INNOROUTES"), "ip_error|ip_rcv_finish_core|dst_discard.*"
    object = (r"blackhole", r"203\.0\.113\.0/24")
    never = (r"forwarding",)

    def plant(self, scene):
        super().plant(scene)
        scene.ip("host", "route add blackhole 203.0.113.0/24")


class Off6(Off4):
    """The same by IPv6, which has the setting for all interfaces alone."""

    destination = FAR6
    place = "ip6_forward"
    setting = "ipv6/conf/all/forwarding"


class Off6All(Off6):
    name = "forwarding6-off-all"
    planted = "net.ipv6.conf.all.forwarding 0"
    object = (r"net\.ipv6\.conf\.all\.forwarding",)
    cure = "sysctl -w net.ipv6.conf.all.forwarding=1"


class Off6OthersOn(Off6):
    name = "forwarding6-off-all-interfaces-on"
    planted = "net.ipv6.conf.all.forwarding 0, those of in0 and out0 1"
    object = (r"net\.ipv6\.conf\.all\.forwarding",)
    cure = "sysctl -w net.ipv6.conf.all.forwarding=1"
    never = (r"conf\.(in0|out0)\.forwarding",)

    def plant(self, scene):
        super().plant(scene)
        for device in ("in0", "out0"):
            scene.sysctl("host", f"ipv6/conf/{device}/forwarding", 1)


class Off6Interface(Off6):
    name = "forwarding6-off-interface"
    planted = "net.ipv6.conf.in0.forwarding 0, all 1: all arrives"
    setting = "ipv6/conf/in0/forwarding"
    is_twin = True
    reasons, never = (), (r"forwarding",)
