"""ESP that no security association takes, and policies that want IPsec."""

import hashlib
import hmac
import itertools
import struct

import network
from scene import FAR4, IN4, NEAR4, OUT4, PORT, chain, ethernet, payloads
from variant import OTHER_RULE, STRICT, Variant, family

ESP = family(4, "ESP and IPsec policies", is_answered=True)
KEY, OTHER_KEY = "11" * 20, "22" * 20
SPI = 0x1000


def state(spi=SPI, dst=IN4, key=KEY, more=""):
    """The words that add a security association from near."""
    return (
        f"ip xfrm state add src {NEAR4} dst {dst} proto esp spi {spi:#x} mode transport replay-window 32 {more} "
        f"auth 'hmac(sha1)' 0x{key} enc 'ecb(cipher_null)' ''"
    )


def remove(spi=SPI, dst=IN4):
    return f"ip xfrm state delete src {NEAR4} dst {dst} proto esp spi {spi:#x}"


class Esp(Variant):
    """near sends datagrams in ESP, with the right key and growing numbers."""

    family = ESP
    reasons = ("NOT_SPECIFIED", "XFRM_IN_NO_STATES")
    place = "xfrm_input"
    modules, functions = ("esp4", "xfrm_user"), ("esp_input",)
    object = (r"0x0*1000\b",)
    # Who keeps the associations has to mend them: a daemon, with the other end.
    has_remedy = False
    states = ()
    secrets = (bytes.fromhex(KEY), bytes.fromhex(OTHER_KEY))

    def plant(self, scene):
        self.numbers = itertools.count(1)
        for one in self.states:
            scene.sh("host", one)
        scene.listen("host")

    def number(self):
        return next(self.numbers)

    def send(self, scene):
        scene.frames(self.frame(payload) for payload in payloads())

    def frame(self, payload, spi=SPI):
        datagram = network.udp(payload, PORT, NEAR4, IN4)
        padding = -(len(datagram) + 2) % 4
        inside = struct.pack("!II", spi, self.number()) + datagram + bytes(range(1, padding + 1)) + bytes([padding, 17])
        code = hmac.new(bytes.fromhex(KEY), inside, hashlib.sha1).digest()[:12]
        return ethernet(0x0800, network.ipv4(50, inside + code, NEAR4, IN4))


class UnknownSpi(Esp):
    name = "esp-unknown-spi"
    planted = "no association has the SPI, others are there"
    states = (state(spi=0x1001), state(spi=0x2000))
    never = (r"0x0*(1001|2000)\b",)
    cure = state()
    suspects = (STRICT,)


class NoState(Esp):
    name = "esp-no-association"
    planted = "there is no association at all"
    cure = state()


class OtherDestination(Esp):
    name = "esp-other-destination"
    planted = "the SPI is known for another address of the host"
    states = (state(dst=OUT4),)
    object = (r"0x0*1000\b", r"10\.2\.0\.1|10\.1\.0\.2")
    cure = state()


class WrongKey(Esp):
    name = "esp-wrong-key"
    planted = "the association has another key: the packets' codes are wrong"
    states = (state(key=OTHER_KEY),)
    reasons = ("NOT_SPECIFIED", "XFRM_IN_STATE_PROTO_ERROR")
    cure = f"{remove()}; {state()}"


class WrongKeyOfOther(WrongKey):
    name = "esp-wrong-key-beside-right"
    planted = "the same, and an association of another SPI with the right key"
    states = (state(key=OTHER_KEY), state(spi=0x2000))
    never = (r"0x0*2000\b",)


class Replay(Esp):
    name = "esp-replay"
    planted = "all packets have the number 1: the replay window takes one of them"
    reasons = ("NOT_SPECIFIED", "XFRM_IN_STATE_SEQ_ERROR")
    states = (state(),)
    least, passing = 9, 1
    is_healed = False
    cure = "the sender counts"

    def number(self):
        return next(self.numbers) if self.is_healed else 1

    def heal(self, scene):
        self.is_healed = True
        next(self.numbers)


class Expired(Esp):
    name = "esp-expired"
    planted = "an association that expires with its second packet"
    states = (state(more="limit packet-hard 2"),)
    reasons = ("NOT_SPECIFIED", "XFRM_IN_NO_STATES", "XFRM_IN_STATE_EXPIRED")
    least, passing = 7, 3
    grade = "likely"
    # It is gone then.
    changing = r"transformations: -src .* spi 0x0*1000 "
    cure = f"{remove()} || true; {state()}"


class InOrder(Esp):
    name = "esp-in-order"
    planted = "an association with the right key and one with a wrong one of another SPI: all arrives"
    states = (state(), state(spi=0x2000, key=OTHER_KEY))
    is_twin = True
    reasons, object, never = (), (), (r"0x0*(1000|2000)\b",)


class ByRule(Esp):
    name = "esp-and-rule"
    planted = "no association has the SPI, but a rule in PREROUTING drops before"
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never = (r"\binet t\b",), (r"0x0*1000\b",)

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("prerouting", "ip protocol 50 drop"))


class Policy(Variant):
    """near sends clear text, which a policy refuses."""

    family = ESP
    reasons = ("XFRM_POLICY",)
    place = "udp_queue_rcv_one_skb|udp_unicast_rcv_skb|__udp4_lib_rcv|ip_forward|udp_rcv"
    modules = ("xfrm_user",)
    destination = IN4
    selector = f"src {NEAR4}/32 dst {IN4}/32 proto udp dport {PORT} dir in"
    action = f"priority 7 tmpl src {NEAR4} dst {IN4} proto esp mode transport"
    object = (r"10\.1\.0\.1(/32)?\b", r"10\.1\.0\.2(/32)?\b", r"\bin\b")

    def plant(self, scene):
        scene.sh("host", f"ip xfrm policy add {self.selector} {self.action}")
        if self.destination == FAR4:
            scene.watch("far", "far0")
        else:
            scene.listen("host")

    def send(self, scene):
        scene.send("near", self.destination)

    cure = f"ip xfrm policy delete {selector}"


class ClearText(Policy):
    name = "policy-wants-esp"
    suspects = (STRICT, OTHER_RULE)
    planted = "a policy wants ESP from near, and clear text comes"


class Block(Policy):
    name = "policy-block"
    planted = "a policy blocks what comes from near"
    action = "action block"


class BlockForward(Policy):
    name = "policy-block-forward"
    planted = "a policy blocks what is forwarded from near"
    destination = FAR4
    selector = f"src {NEAR4}/32 dst {FAR4}/32 dir fwd"
    action = "action block"
    object = (r"10\.1\.0\.1(/32)?\b", r"10\.2\.0\.2(/32)?\b", r"\bfwd\b")
    cure = f"ip xfrm policy delete {selector}"


class BlockOther(Policy):
    name = "policy-block-other-port"
    planted = "a policy blocks another port; nobody listens on this one"
    selector = f"src {NEAR4}/32 dst {IN4}/32 proto udp dport 7001 dir in"
    action = "action block"
    is_twin = True
    reasons, place = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv"
    object, never, cure = (rf"\b{PORT}\b",), (r"(?i)policy", r"\bblock\b"), None

    def plant(self, scene):
        scene.sh("host", f"ip xfrm policy add {self.selector} {self.action}")


class BlockLower(Policy):
    name = "policy-block-lower-priority"
    planted = "a policy blocks, one that allows has precedence: all arrives"
    action = "priority 9 action block"
    is_twin = True
    reasons, object, never, cure = (), (), (r"\bblock\b",), None

    def plant(self, scene):
        super().plant(scene)
        scene.sh("host", f"ip xfrm policy add src {NEAR4}/32 dst {IN4}/32 proto udp dir in priority 3 action allow")
