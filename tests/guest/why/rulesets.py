#!/usr/bin/env python3
"""Random rulesets of nftables: `dwdump --why` has to name the rule that the kernel itself says it dropped by.

    rulesets.py DWDUMP [COUNT [SEED]]    as root

Each ruleset drops, or does not drop, one packet that is traced (nftrace): the kernel reports each rule that it takes
and its verdict. What dwdump claims as certain has to be that rule or policy; what it claims as likely has it as the
claim or as the other possibility. 1,000 rulesets are the long form; session.py runs 60 of them.
"""

import pathlib
import random
import socket
import struct
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from reading import PATIENCE, Reading
from scene import FAR4, FAR6, IN4, IN6, NEAR4, NEAR6, Refused, Scene, tcp, udp4, udp6

NETFILTER, TRACE_GROUP, ADD_MEMBERSHIP, SOL_NETLINK = 12, 9, 1, 270
TRACE = 10 << 8 | 17
TABLE, CHAIN, HANDLE, TYPE, VERDICT, ID, TRANSPORT = 1, 2, 3, 4, 5, 6, 9
FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
POLICY_CODE, DROP = 16, 0
# Each is looked at once for each run of dwdump, which tells a thousand kinds of drops apart.
BATCH = 200
# A way of the packet: the hooks that it passes, in this order.
WAYS = {
    "in": ("prerouting", "input"),
    "through": ("prerouting", "forward", "postrouting"),
    "out": ("output", "postrouting"),
}


class Trace:
    """The kernel's reports of traced packets in the host's namespace."""

    def __init__(self, scene):
        with scene.inside("host"):
            self.socket = scene.keep(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER))
        self.socket.bind((0, 0))
        self.socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, TRACE_GROUP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def take(self, port, patience):
        """Returns what dropped the packet to this port, or None, and whether any report of it came."""
        ours, dropped, quiet = set(), None, 0
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and quiet < 3:
            self.socket.settimeout(0.03)
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                quiet += bool(ours)
                continue
            for family, facts in messages(data):
                start = facts.get(TRANSPORT, b"")
                if len(start) >= 4 and struct.unpack("!HH", start[:4])[1] == port:
                    ours.add(facts[ID])
                if facts.get(ID) in ours:
                    dropped = drop_of(family, facts) or dropped
            if dropped:
                break
        return dropped, bool(ours)


def messages(data):
    """The family and the attributes of each report."""
    while len(data) >= 20:
        length, kind = struct.unpack("=IH", data[:6])
        if kind == TRACE:
            yield data[16], attributes(data[20:length])
        data = data[max(16, (length + 3) & ~3) :]


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        found[kind & 0x3FFF] = data[4:length]
        data = data[max(4, (length + 3) & ~3) :]
    return found


def drop_of(family, facts):
    """The object that dropped, as dwdump names it; None if this was no drop."""
    word = lambda value: value.rstrip(b"\0").decode()  # noqa: E731
    chain = f"{FAMILIES.get(family, family)} {word(facts[TABLE])} {word(facts[CHAIN])}"
    if POLICY_CODE in facts and facts[POLICY_CODE] == struct.pack("!I", DROP):
        return f"policy of chain {chain}"
    code = attributes(facts.get(VERDICT, b"")).get(1)
    if code == struct.pack("!I", DROP) and HANDLE in facts:
        return f"rule {chain} handle {struct.unpack('!Q', facts[HANDLE])[0]}"
    return None


class Ruleset:
    """A random ruleset, and the packet that passes it."""

    def __init__(self, number, dice):
        self.number, self.dice = number, dice
        self.port = 10000 + number
        self.way = dice.choice(list(WAYS))
        self.is_ipv6 = dice.random() < 0.3
        self.protocol = "tcp" if self.way != "out" and not self.is_ipv6 and dice.random() < 0.3 else "udp"
        self.table = f"t{number}"
        self.sets, self.maps = [], []

    def addresses(self):
        pairs = {"in": (NEAR4, IN4), "through": (NEAR4, FAR4), "out": (IN4, NEAR4)}
        pairs6 = {"in": (NEAR6, IN6), "through": (NEAR6, FAR6), "out": (IN6, NEAR6)}
        return (pairs6 if self.is_ipv6 else pairs)[self.way]

    def text(self):
        """The commands that make it."""
        trace = "".join(
            f"chain {hook} {{\ntype filter hook {hook} priority -1000\nmeta nftrace set 1\n}}\n"
            for hook in ("prerouting", "output")
        )
        tables = []
        for place in range(self.dice.choice((1, 1, 2))):
            family = self.dice.choice(("inet", "inet", "ip6" if self.is_ipv6 else "ip"))
            tables.append(self.make_table(family, f"{self.table}{'ab'[place]}"))
        return f"flush ruleset\ntable inet trace {{\n{trace}}}\n" + "".join(tables)

    def make_table(self, family, name):
        self.sets, self.maps = [], []
        subchains = [f"s{place}" for place in range(self.dice.randrange(3))]
        chains = []
        # A chain leads to later ones alone: no loops.
        for place, sub in enumerate(subchains):
            chains.insert(0, f"chain {sub} {{\n{self.rules(subchains[place + 1 :])}}}\n")
        for place in range(self.dice.choice((1, 1, 2, 3))):
            hook = self.dice.choice(WAYS[self.way])
            policy = self.dice.choice(("accept", "accept", "drop"))
            begin = f"type filter hook {hook} priority {self.dice.choice((-150, 0, 0, 10))}; policy {policy}"
            chains.append(f"chain c{place} {{\n{begin}\n{self.rules(subchains)}}}\n")
        return f"table {family} {name} {{\n{''.join(self.sets + self.maps)}{''.join(chains)}}}\n"

    def rules(self, targets):
        return "".join(f"{self.rule(targets)}\n" for _ in range(self.dice.randrange(5)))

    def rule(self, targets):
        matches = [self.match() for _ in range(self.dice.choice((0, 1, 1, 2, 2, 3)))]
        matches = [match for match in matches if match]
        return " ".join([*matches, self.end(targets)])

    def near_port(self):
        return self.port + self.dice.choice((-3, -1, 0, 0, 0, 1, 4))

    def ports(self):
        """A port, a range, a set."""
        first, second = sorted((self.near_port(), self.near_port() + 2))
        kind = self.dice.randrange(5)
        if kind == 0:
            return f"{first}-{second}" if first < second else f"{first}"
        if kind == 1:
            return f"{{ {first}, {second + 9} }}"
        if kind == 2:
            return f"{{ {first}-{second}, 7 }}"
        if kind == 3:
            name = f"p{len(self.sets)}"
            self.sets.append(
                f"set {name} {{\ntype inet_service; flags interval; elements = {{ {first}-{second + 1}, 9 }}\n}}\n"
            )
            return f"@{name}"
        return f"{first}"

    def match(self):
        dice, (source, destination) = self.dice, self.addresses()
        family = "ip6" if self.is_ipv6 else "ip"
        wide = "fd01::/16" if self.is_ipv6 else "10.0.0.0/9"
        no = dice.choice(("", "", "", "!= "))
        kinds = (
            lambda: f"{self.protocol} dport {no}{self.ports()}",
            lambda: f"{self.protocol} dport {dice.choice('<>')} {self.near_port()}",
            lambda: f"{dice.choice(('tcp', 'udp'))} dport {self.near_port()}",
            lambda: f"{family} saddr {no}{dice.choice((source, wide, destination))}",
            lambda: f"{family} daddr {no}{dice.choice((destination, wide, source))}",
            lambda: f"{family} saddr . {self.protocol} dport {no}{{ {source} . {self.near_port()}, {destination} . 5 }}",
            lambda: f"meta l4proto {no}{dice.choice(('tcp', 'udp', '{ tcp, udp }', 'icmp'))}",
            lambda: f"meta nfproto {dice.choice(('ipv4', 'ipv6'))}",
            lambda: f"meta protocol {dice.choice(('ip', 'ip6'))}",
            lambda: f'iifname {no}"{dice.choice(("in0", "in*", "out0", "lo"))}"',
            lambda: f'oifname {no}"{dice.choice(("out0", "in0", "o*"))}"',
            lambda: f"meta mark {no}{dice.choice((0, 0, 5, 6))}",
            lambda: f"meta mark & 0x3 == {dice.choice((0, 1, 2))}",
            lambda: f"meta length {dice.choice('<>')} {dice.choice((20, 60, 500))}",
            lambda: f"th dport {no}{self.near_port()}",
            lambda: f"@th,16,16 {no}{self.near_port()}",
            lambda: f"ct state {dice.choice(('new', 'established', 'new,related'))}",
            lambda: f"limit rate {dice.choice(('', 'over '))}{dice.choice((1, 1000))}/second",
            lambda: "ip ttl > 3" if not self.is_ipv6 else "ip6 hoplimit > 3",
            lambda: "tcp flags syn" if self.protocol == "tcp" else f"udp length > {dice.choice((8, 30))}",
            lambda: "tcp flags & (syn|ack) == syn" if self.protocol == "tcp" else "meta pkttype host",
            lambda: "ip dscp cs0" if not self.is_ipv6 else "ip6 nexthdr udp",
            lambda: "fib daddr type local",
            lambda: dice.choice(("counter", "log", "counter")),
        )
        return dice.choice(kinds)()

    def end(self, targets):
        dice = self.dice
        verdicts = ["drop", "drop", "drop", "accept", "return", "counter drop", "continue"]
        # Only where the packet would come from another host.
        verdicts += ["reject"] if self.way != "out" else []
        verdicts += [f"jump {target}" for target in targets] + [f"goto {target}" for target in targets]
        plain = [verdict for verdict in verdicts if verdict in ("drop", "accept", "return", "continue")]
        plain += [verdict for verdict in verdicts if verdict.startswith(("jump", "goto"))]
        kind = dice.randrange(12)
        if kind == 0:
            return f"meta mark set {dice.choice((5, 6, 0))}"
        if kind == 1:
            first, second = self.near_port(), self.port + 7
            elements = f"{{ {first} : {dice.choice((5, 6))}, {second} : 1 }}"
            return f"meta mark set {self.protocol} dport map {elements}"
        if kind == 2:
            elements = f"{{ {self.near_port()} : {dice.choice(plain)}, {self.port + 8} : {dice.choice(plain)} }}"
            return f"{self.protocol} dport vmap {elements}"
        if kind == 3:
            name = f"v{len(self.maps)}"
            low = self.near_port()
            element = f"{low}-{low + 1} : {dice.choice(plain)}"
            flags = "type inet_service : verdict; flags interval"
            self.maps.append(f"map {name} {{\n{flags}; elements = {{ {element}, 3 : accept }}\n}}\n")
            return f"{self.protocol} dport vmap @{name}"
        if kind == 4:
            return f"meta mark vmap {{ 0 : {dice.choice(plain)}, 5 : {dice.choice(plain)} }}"
        if kind == 5:
            return "counter"
        return dice.choice(verdicts)

    def send(self, scene):
        source, destination = self.addresses()
        if self.way == "out":
            scene.send("host", destination, port=self.port, count=1)
        elif self.protocol == "tcp":
            scene.frames([tcp(b"", 2, port=self.port, src=source, **to(destination))])
        elif self.way == "through":
            scene.send("near", destination, port=self.port, count=1)
        else:
            scene.frames([(udp6 if self.is_ipv6 else udp4)(b"why", source, destination, port=self.port)])


def to(destination):
    """The addresses of a frame of TCP, whose destination is fixed."""
    return {} if destination == IN4 else {"dst": destination}


class Oracle:
    """Tries rulesets, and counts."""

    def __init__(self, dwdump, count, seed):
        self.dwdump, self.count, self.seed = dwdump, count, seed
        self.counts = dict.fromkeys(("rulesets", "drops", "certain", "likely", "likely and right", "no claim"), 0)
        self.faults = []

    def run(self):
        for begin in range(0, self.count, BATCH):
            with Scene() as scene:
                trace = Trace(scene)
                scene.listen("host")
                scene.settle()
                reading = Reading(self.dwdump, "--why", "--json")
                try:
                    for number in range(begin, min(begin + BATCH, self.count)):
                        self.one(scene, trace, reading, number)
                    reading.end()
                finally:
                    reading.kill()
        print(", ".join(f"{name}: {count}" for name, count in self.counts.items()))
        for fault in self.faults:
            print(fault)
        if self.counts["certain"] * 2 < self.counts["drops"]:
            self.faults.append("too little is certain")
            print(self.faults[-1])
        return not self.faults

    def taken(self, scene, number):
        """A ruleset that is taken: nft refuses rules that contradict themselves, the kernel those of other hooks."""
        for attempt in range(50):
            ruleset = Ruleset(number, random.Random(f"{self.seed} {number} {attempt}"))
            text = ruleset.text()
            try:
                scene.nft("host", text)
                return ruleset, text
            except (AssertionError, Refused) as error:
                refusal = error
        raise refusal

    def one(self, scene, trace, reading, number):
        ruleset, text = self.taken(scene, number)
        ruleset.send(scene)
        dropped, is_traced = trace.take(ruleset.port, PATIENCE / 4)
        self.counts["rulesets"] += 1
        fault = lambda what: self.faults.append(f"ruleset {number}: {what}\n{text}")  # noqa: E731
        if not is_traced:
            fault("the packet was not traced")
            return
        is_it = lambda one: "why" in one and one.get("dport") == ruleset.port  # noqa: E731
        found = [one for one in reading.take(is_it, bool(dropped), PATIENCE / 2 if dropped else 0) if is_it(one)]
        found = [one["why"] for one in found if "NETFILTER" in one.get("reason", "")]
        if not dropped:
            claims = [why["object"] for why in found if why.get("object")]
            if claims:
                fault(f"nothing was dropped, and {claims} are claimed")
            return
        self.counts["drops"] += 1
        if not found:
            fault(f"no block for what {dropped} dropped")
            return
        (why,) = found[:1]
        named, grade = why.get("object"), why["grade"]
        if not named:
            self.counts["no claim"] += 1
        elif grade == "certain":
            self.counts["certain"] += 1
            if named != dropped:
                fault(f"{named} is claimed, {dropped} dropped it")
        else:
            self.counts["likely"] += 1
            self.counts["likely and right"] += named == dropped
            if named != dropped and f"{dropped}" not in why.get("proof", ""):
                fault(f"{named} is likely and not {dropped}, which dropped it; proof: {why.get('proof')}")


def main():
    words = sys.argv[1:]
    if not words or words[0].startswith("-"):
        sys.exit(__doc__)
    count = int(words[1]) if len(words) > 1 else 1000
    seed = words[2] if len(words) > 2 else "1"
    sys.exit(0 if Oracle(words[0], count, seed).run() else 1)


if __name__ == "__main__":
    main()
