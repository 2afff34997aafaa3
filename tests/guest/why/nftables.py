"""Rules of nftables that drop: in each hook, by sets and maps, behind jumps, and by the policy."""

from scene import FAR4, IN4, IN6, NEAR4, PORT, chain
from variant import OTHER_BLACKHOLE, OTHER_RULE, STRICT, Suspect, Variant, family

RULES = family(5, "a rule of nftables or iptables drops", is_answered=True)
DECOYS = ("udp dport 7001 drop", "ip saddr 10.9.9.9 drop")


class Rule(Variant):
    """A rule in a base chain, between two that match other packets."""

    family = RULES
    reasons = ("NETFILTER_DROP",)
    place = "nft_do_chain|nf_hook_slow"
    hook = "input"
    rule = f"udp dport {PORT} drop"
    # Of the guilty rule, and what is in the table beside.
    table, chain, more = "inet t", "c", ""
    policy = "accept"
    begin, end = DECOYS
    destination, sender = IN4, "near"
    cure = "the rule is deleted"
    wanted = 'comment "wanted"'
    modules = ("nf_tables",)
    object = (r"\binet t\b", r"\bc\b", "handle")

    def rules(self):
        rules = f"{self.begin}\n{self.rule} {self.wanted}\n{self.end}"
        return chain(self.hook, rules, self.chain, self.table, self.policy, self.more)

    def plant(self, scene):
        scene.nft("host", self.rules())
        self.receive(scene)

    def receive(self, scene):
        if self.destination == FAR4:
            scene.watch("far", "far0")
        else:
            scene.listen("near" if self.sender == "host" else "host", self.destination)

    def send(self, scene):
        scene.send(self.sender, self.destination)

    def handle(self, scene):
        return scene.handle("host", f"{self.table} {self.chain}", self.wanted)

    def guilty(self, scene):
        return (rf"\b{self.table}\b", rf"\b{self.chain}\b", rf"handle {self.handle(scene)}\b")

    def heal(self, scene):
        scene.sh("host", f"nft delete rule {self.table} {self.chain} handle {self.handle(scene)}")


class InPrerouting(Rule):
    name = "nft-prerouting"
    planted = "a rule in PREROUTING"
    hook = "prerouting"


class InInput(Rule):
    name = "nft-input"
    planted = "a rule in INPUT, beside suspects"
    suspects = (
        STRICT,
        Suspect(
            "nft add table ip u; nft add chain ip u d '{ type filter hook input priority 10; policy drop; }'",
            "nft delete table ip u",
            r"\bip u\b",
        ),
    )


class InForward(Rule):
    name = "nft-forward"
    planted = "a rule in FORWARD"
    hook, destination = "forward", FAR4


class InOutput(Rule):
    name = "nft-output"
    planted = "a rule in OUTPUT, the host sends"
    hook, destination, sender = "output", NEAR4, "host"


class InPostrouting(Rule):
    name = "nft-postrouting"
    planted = "a rule in POSTROUTING, the packets are forwarded"
    hook, destination = "postrouting", FAR4


class InIp(Rule):
    name = "nft-ip-family"
    planted = "a rule in a table of the family ip, one of the same name in inet is innocent"
    table, object = "ip t", (r"\bip t\b", r"\bc\b", "handle")
    never = (r"\binet t\b",)

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("input", "udp dport 7001 drop"))


class Policy(Rule):
    name = "nft-policy"
    planted = "a policy of drop in INPUT, and a rule that accepts other packets"
    policy, rule = "drop", "udp dport 7001 accept"
    begin = end = ""
    object = (r"\binet t\b", r"\bc\b", r"policy")

    def guilty(self, scene):
        return self.object

    def heal(self, scene):
        scene.sh("host", "nft 'chain inet t c { policy accept; }'")


class PolicyForward(Policy):
    name = "nft-policy-forward"
    suspects = (OTHER_RULE, OTHER_BLACKHOLE)
    planted = "a policy of drop in FORWARD, beside a rule for other packets"
    hook, destination = "forward", FAR4


class PolicyOfSecond(Policy):
    name = "nft-policy-of-second-chain"
    planted = "the first base chain accepts, the second one's policy drops"
    never = (r"\bfirst\b",)
    more = f"chain first {{\ntype filter hook input priority -5; policy accept;\nudp dport {PORT} accept\n}}"


class NamedSet(Rule):
    name = "nft-set"
    planted = "a rule with a named set that has the port"
    more = f"set ports {{\ntype inet_service; elements = {{ 53, {PORT} }}\n}}"
    rule = "udp dport @ports drop"


class AnonymousSet(Rule):
    name = "nft-anonymous-set"
    planted = "a rule with a set in braces"
    rule = f"udp dport {{ 53, {PORT}, 9000 }} drop"


class Interval(Rule):
    name = "nft-interval"
    planted = "a rule with a set of intervals of addresses"
    more = "set nets {\ntype ipv4_addr; flags interval; elements = { 10.1.0.0/24, 198.51.100.0/24 }\n}"
    rule = "ip saddr @nets drop"


class Concatenation(Rule):
    name = "nft-concatenation"
    planted = "a rule with a set of addresses and ports"
    more = f"set pairs {{\ntype ipv4_addr . inet_service; elements = {{ {NEAR4} . {PORT}, {NEAR4} . 9 }}\n}}"
    rule = "ip saddr . udp dport @pairs drop"


class Range(Rule):
    name = "nft-concatenated-intervals"
    planted = "a rule with a set of intervals of addresses and ports"
    more = "set pairs {\ntype ipv4_addr . inet_service; flags interval; elements = { 10.1.0.0/24 . 6990-7010 }\n}"
    rule = "ip saddr . udp dport @pairs drop"


class MapToMark(Rule):
    name = "nft-map"
    planted = "a map gives the packet a mark, and a rule drops by the mark"
    begin = f"meta mark set udp dport map {{ {PORT} : 5, 7001 : 6 }}"
    rule = "meta mark 5 drop"


class AnonymousVerdicts(Rule):
    name = "nft-verdict-map"
    planted = "a verdict map in braces drops by port"
    rule = f"udp dport vmap {{ 7001 : accept, {PORT} : drop }}"


class NamedVerdicts(Rule):
    name = "nft-named-verdict-map"
    planted = "a named verdict map drops by port"
    more = f"map verdicts {{\ntype inet_service : verdict; elements = {{ 7001 : accept, {PORT} : drop }}\n}}"
    rule = "udp dport vmap @verdicts"


class Jump(Rule):
    """The rule is in a chain that another one leads to."""

    lead = "jump sub"
    chain = "sub"
    object = (r"\binet t\b", r"\bsub\b", "handle")

    def rules(self):
        sub = chain(None, f"{self.begin}\n{self.rule} {self.wanted}\n{self.end}", "sub")
        return sub + chain(self.hook, f"udp dport 7001 drop\n{self.lead}")


class Jumped(Jump):
    name = "nft-jump"
    planted = "a rule in a chain that is jumped to"


class Gone(Jump):
    name = "nft-goto"
    planted = "a rule in a chain behind a goto"
    lead = "goto sub"


class JumpedByMap(Jump):
    name = "nft-jump-by-map"
    planted = "a verdict map jumps to the chain of the rule"
    lead = "meta l4proto vmap { tcp : accept, udp : jump sub }"


class Returned(Rule):
    name = "nft-return"
    planted = "a chain that is jumped to returns before its drop; the rule behind the jump drops"
    more = f"chain early {{\nudp dport {PORT} return\ndrop\n}}"
    begin = "jump early"
    never = (r"\bearly\b",)


class GoneToPolicy(Policy):
    name = "nft-goto-policy"
    planted = "a goto to a chain that ends: the policy drops, the accept behind the goto is not reached"
    more = "chain early {\nudp dport 7001 drop\n}"
    begin = "goto early"
    rule = f"udp dport {PORT} accept"
    never = (r"\bearly\b",)


class Reject(Rule):
    name = "nft-reject"
    planted = "a rule that rejects"
    rule = f"udp dport {PORT} reject"


class Limit(Rule):
    name = "nft-limit-over"
    planted = "a rule that drops what is over a rate"
    rule = f"udp dport {PORT} limit rate over 1/hour burst 1 packets drop"
    least, passing = 7, 3


class Interface(Rule):
    name = "nft-interface"
    planted = "a rule by the input interface, another by out0 is innocent"
    begin = f'iifname "out0" udp dport {PORT} drop'
    rule = 'iifname "in0" meta l4proto udp drop'


class Invert(Rule):
    name = "nft-negation"
    planted = "a rule for all but one source"
    rule = f"ip saddr != 10.1.0.77 udp dport {PORT} drop"


class Six(Rule):
    name = "nft-ip6"
    planted = "a rule by an IPv6 source, one by an IPv4 source beside"
    destination = IN6
    begin = f"ip saddr {NEAR4} drop"
    rule = "ip6 saddr fd01::/64 udp dport 7000 drop"


class Counted(Rule):
    name = "nft-counters"
    planted = "three rules with counters: two count the packets too, one drops them"
    begin = f"udp dport {PORT} counter\nip saddr 10.1.0.0/24 counter"
    rule = f"udp dport {PORT} counter drop"


class InTwoTables(Rule):
    name = "nft-same-chain-name"
    planted = "a rule in the chain c of table t; the chain c of table u has one for other packets"
    never = (r"\binet u\b",)

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("input", "udp dport 7001 drop", table="inet u"))


class Tracked(Rule):
    name = "nft-ct-state"
    planted = "a rule for new connections"
    modules = ("nf_tables", "nft_ct")
    rule = f"ct state new udp dport {PORT} drop"


class Early(Rule):
    name = "nft-first-of-two"
    planted = "two rules drop: the first one does; the packet never comes to the second"
    cure = None
    end = f"udp dport {PORT} meta length > 1 drop"
    is_cured_by_remedy = False


class Ingress(Rule):
    name = "nft-netdev-ingress"
    planted = "a rule at the ingress of in0, family netdev"
    reasons = ("NETFILTER_INGRESS", "NETFILTER_DROP")
    place = "__netif_receive_skb_core.*|nft_do_chain|nf_hook_slow"
    table, hook = "netdev t", "ingress device in0"
    object = (r"\bnetdev t\b", r"\bc\b", "handle")


class Egress(Rule):
    name = "nft-netdev-egress"
    planted = "a rule at the egress of out0, family netdev"
    reasons = ("NETFILTER_EGRESS", "NETFILTER_DROP")
    place = "__dev_queue_xmit|nft_do_chain|nf_hook_slow"
    table, hook, destination = "netdev t", "egress device out0", FAR4
    object = (r"\bnetdev t\b", r"\bc\b", "handle")


class Innocent(Rule):
    """Nothing drops."""

    is_twin = True
    reasons, object, cure, never = (), (), None, (r"\binet t\b",)
    begin = end = ""


class Accepted(Innocent):
    name = "nft-accepted-before"
    planted = "a rule that drops, behind one that accepts: all arrives"
    begin = f"udp dport {PORT} accept"


class Dormant(Innocent):
    name = "nft-dormant"
    planted = "a rule that drops in a dormant table: all arrives"
    more = "flags dormant;"


class Unreached(Innocent):
    name = "nft-unreached-chain"
    planted = "a rule that drops in a chain that nobody jumps to; the port is closed"
    hook = None
    reasons, place, object = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv", (rf"\b{PORT}\b",)

    def guilty(self, scene):
        return self.object

    def receive(self, scene):
        pass


class NotInSet(Innocent):
    name = "nft-not-in-set"
    planted = "a rule with a set that does not have the port; the port is closed"
    more = "set ports {\ntype inet_service; elements = { 53, 7001 }\n}"
    rule = "udp dport @ports drop"
    reasons, place, object = Unreached.reasons, Unreached.place, Unreached.object
    guilty, receive = Unreached.guilty, Unreached.receive


class Counting(Innocent):
    name = "nft-counter"
    planted = "a rule that counts the packets and drops none; the port is closed"
    rule = f"udp dport {PORT} counter"
    reasons, place, object = Unreached.reasons, Unreached.place, Unreached.object
    guilty, receive = Unreached.guilty, Unreached.receive


class OtherHook(Innocent):
    name = "nft-other-hook"
    planted = "a rule in FORWARD for the port; the packets are for the host, where the port is closed"
    hook = "forward"
    reasons, place, object = Unreached.reasons, Unreached.place, Unreached.object
    guilty, receive = Unreached.guilty, Unreached.receive


class Iptables(Rule):
    """A rule of iptables, made by one of its two programs."""

    program = "iptables-nft"
    programs = ("iptables-nft",)
    modules = ("nf_tables", "nft_compat")
    object = (r"\bfilter\b", r"\bINPUT\b")
    target = "DROP"
    list, line = "INPUT", 2
    destination = IN4
    cure = "the rule is deleted"

    def plant(self, scene):
        for words in ("--dport 7001 -j DROP", f"--dport {PORT} -j {self.target}"):
            scene.sh("host", f"{self.program} -w -A {self.list} -p udp {words}")
        self.receive(scene)

    def guilty(self, scene):
        return self.object

    def heal(self, scene):
        scene.sh("host", f"{self.program} -w -D {self.list} {self.line}")


class IptablesInput(Iptables):
    name = "iptables-nft-input"
    planted = "iptables-nft, a rule in INPUT"
    place = "nft_do_chain|nf_hook_slow"


class IptablesPolicy(Iptables):
    name = "iptables-nft-policy"
    planted = "iptables-nft, the policy of FORWARD"
    object = (r"\bfilter\b", r"\bFORWARD\b", r"policy")
    destination = FAR4

    def plant(self, scene):
        scene.sh("host", f"{self.program} -w -A INPUT -p udp --dport {PORT} -j DROP")
        scene.sh("host", f"{self.program} -w -P FORWARD DROP")
        self.receive(scene)

    def heal(self, scene):
        scene.sh("host", f"{self.program} -w -P FORWARD ACCEPT")


class LegacyInput(Iptables):
    name = "iptables-legacy-input"
    planted = "iptables-legacy, a rule in INPUT"
    program, programs, modules = "iptables-legacy", ("iptables-legacy",), ("ip_tables", "iptable_filter")
    place = "ipt_do_table|nf_hook_slow"


class LegacyPolicy(IptablesPolicy):
    name = "iptables-legacy-policy"
    planted = "iptables-legacy, the policy of FORWARD"
    program, programs, modules = LegacyInput.program, LegacyInput.programs, LegacyInput.modules
    place = LegacyInput.place


class LegacyInnocent(LegacyInput):
    name = "iptables-legacy-and-nft"
    planted = "iptables-legacy accepts, a rule of nftables drops"
    is_twin = True
    place = Rule.place
    object, never = (r"\binet t\b", r"\bc\b"), (r"\bINPUT\b",)
    target, cure = "ACCEPT", None

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("input", f"udp dport {PORT} drop"))
