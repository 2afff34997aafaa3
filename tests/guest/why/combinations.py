#!/usr/bin/env python3
"""Random configurations with two to four suspicious settings at once: `dwdump --why` has to name one that is guilty.

    combinations.py DWDUMP [COUNT [SEED [FIRST]]]    as root

Each configuration has a flow and settings that look guilty of its drops. What is true is found without `--why`: a
setting is guilty if the drops end, or become others, without it alone; where that is so of none, those are that make
the same drops by themselves. Counted are configurations in which something is dropped: what is claimed has to be
right in each, and certain in 60 of 100. 200 configurations are the long form.
"""

import dataclasses
import pathlib
import random
import re
import socket
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from reading import PATIENCE, Reading, function, is_of_scene
from scene import BEHIND4, COUNT, FAR4, FAR6, IN4, IN6, NEAR4, PORT, Refused, Scene, payloads

# Seconds in which a drop that is still on its way is reported.
SETTLING = 0.15
LEAST_CERTAIN = 0.6


@dataclasses.dataclass(frozen=True)
class Flow:
    """Datagrams from near."""

    name: str
    to: str
    source: str = NEAR4
    size: int = 0
    is_whole: bool = False

    @property
    def is_forwarded(self):
        return self.to in (FAR4, FAR6)

    @property
    def is_6(self):
        return ":" in self.to


FLOWS = (
    Flow("to the host", IN4),
    Flow("through the host", FAR4),
    Flow("to the host, from a network behind near", IN4, BEHIND4),
    Flow("through the host, from a network behind near", FAR4, BEHIND4),
    Flow("through the host, long and not to be fragmented", FAR4, size=1300, is_whole=True),
    Flow("to the host by IPv6", IN6, ""),
    Flow("through the host by IPv6", FAR6, ""),
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Something that looks guilty, and may be."""

    name: str
    plant: str
    undo: str
    # A pattern of what names it.
    object: str
    # The flows that it can matter for.
    fits: object = lambda flow: True


def forwarded(flow):
    return flow.is_forwarded


def forwarded4(flow):
    return flow.is_forwarded and not flow.is_6


def forwarded6(flow):
    return flow.is_forwarded and flow.is_6


def only4(flow):
    return not flow.is_6


def only6(flow):
    return flow.is_6


def behind(flow):
    return flow.source == BEHIND4


def rule(number, hook, text, more=""):
    """A table of its own with a chain of a priority of its own."""
    plant = (
        f"nft add table inet w{number}; {more}"
        f"nft add chain inet w{number} c '{{ type filter hook {hook} priority {number}; }}'; "
        f"nft add rule inet w{number} c {text}"
    )
    return Setting(f"{hook}: {text}", plant, f"nft delete table inet w{number}", rf"\binet w{number}\b")


def policy(number, hook):
    plant = (
        f"nft add table inet w{number}; "
        f"nft add chain inet w{number} c '{{ type filter hook {hook} priority {number}; policy drop; }}'; "
        f"nft add rule inet w{number} c meta l4proto '{{ icmp, icmpv6, tcp }}' accept"
    )
    return Setting(f"{hook}: policy drop", plant, f"nft delete table inet w{number}", rf"\binet w{number}\b")


def sysctl(name, value, default, fits=lambda flow: True):
    return Setting(
        f"{name}={value}", f"sysctl -w {name}={value}", f"sysctl -w {name}={default}", re.escape(name) + r"\b", fits
    )


def route(kind, network, fits):
    version = "-6" if ":" in network else "-4"
    return Setting(
        f"{kind} {network}",
        f"ip {version} route add {kind} {network} metric 1",
        f"ip {version} route del {kind} {network} metric 1",
        rf"{kind} {re.escape(network)}",
        fits,
    )


def of(setting, fits):
    return dataclasses.replace(setting, fits=fits)


SETTINGS = (
    # They can drop.
    rule(1, "prerouting", f"udp dport {PORT} drop"),
    of(rule(2, "input", f"udp dport {PORT} iifname in0 drop"), lambda flow: not flow.is_forwarded),
    of(rule(3, "forward", f"udp dport {PORT} drop"), forwarded),
    of(rule(4, "forward", "iifname in0 oifname out0 drop"), forwarded),
    of(rule(5, "postrouting", f"udp dport '{{ 53, {PORT} }}' drop"), forwarded),
    of(rule(6, "prerouting", "ip saddr 10.0.0.0/8 udp dport 6000-8000 drop"), only4),
    of(rule(7, "prerouting", "ip6 saddr fd01::/64 drop"), only6),
    of(policy(8, "forward"), forwarded),
    of(policy(9, "input"), lambda flow: not flow.is_forwarded),
    rule(10, "prerouting", f"udp dport vmap '{{ 53 : accept, {PORT} : drop }}'"),
    sysctl("net.ipv4.conf.in0.rp_filter", 1, 0, only4),
    sysctl("net.ipv4.conf.all.rp_filter", 2, 0, only4),
    sysctl("net.ipv4.conf.in0.forwarding", 0, 1, forwarded4),
    sysctl("net.ipv6.conf.all.forwarding", 0, 1, forwarded6),
    route("blackhole", "10.2.0.2/32", forwarded4),
    route("unreachable", "10.2.0.2/32", forwarded4),
    route("prohibit", "10.2.0.2/32", forwarded4),
    route("blackhole", "fd02::2/128", forwarded6),
    Setting(
        "a rule of routing",
        "ip rule add pref 100 to 10.2.0.2 prohibit",
        "ip rule del pref 100",
        r"\b100\b.*prohibit|prohibit.*\b100\b",
        forwarded4,
    ),
    Setting(
        "a filter of tc",
        f"tc qdisc add dev in0 clsact; "
        f"tc filter add dev in0 ingress protocol ip pref 5 u32 match ip dport {PORT} 0xffff action drop",
        "tc qdisc del dev in0 clsact",
        r"pref 5\b",
        only4,
    ),
    Setting(
        "netem",
        "tc qdisc add dev out0 root handle 5: netem loss 100%",
        "tc qdisc del dev out0 root",
        r"\bnetem\b",
        forwarded,
    ),
    Setting("an MTU", "ip link set out0 mtu 1280", "ip link set out0 mtu 1500", r"(?i)\bmtu\b", lambda flow: flow.is_whole),
    Setting(
        "a policy of IPsec",
        "ip xfrm policy add src 10.0.0.0/8 dst 10.2.0.2 dir fwd action block",
        "ip xfrm policy del src 10.0.0.0/8 dst 10.2.0.2 dir fwd",
        r"\bfwd\b",
        forwarded4,
    ),
    # They cannot, or depend on others.
    Setting(
        "a way back by another device",
        "ip route add 10.9.0.0/24 dev out0",
        "ip route del 10.9.0.0/24 dev out0",
        r"route 10\.9\.",
        behind,
    ),
    Setting("a way back", "ip route add 10.9.0.0/24 via 10.1.0.1", "ip route del 10.9.0.0/24 via 10.1.0.1", r"route 10\.9\.", behind),
    sysctl("net.ipv4.conf.out0.rp_filter", 1, 0),
    rule(21, "prerouting", "udp dport 7001 drop"),
    rule(22, "prerouting", f"tcp dport {PORT} drop"),
    of(rule(23, "input", f"udp dport {PORT} drop"), forwarded),
    of(rule(24, "forward", f"udp dport {PORT} drop"), lambda flow: not flow.is_forwarded),
    rule(25, "prerouting", "ip saddr 192.0.2.0/24 drop"),
    rule(26, "prerouting", f"udp dport {PORT} iifname out0 drop"),
    route("blackhole", "198.51.100.0/24", only4),
    Setting(
        "a filter of tc for another port",
        "tc qdisc add dev out0 clsact; "
        "tc filter add dev out0 egress protocol ip pref 6 u32 match ip dport 7001 0xffff action drop",
        "tc qdisc del dev out0 clsact",
        r"pref 6\b",
        only4,
    ),
    Setting(
        "a short queue",
        "tc qdisc add dev in0 root handle 6: tbf rate 1mbit burst 10k limit 10k",
        "tc qdisc del dev in0 root",
        r"\btbf\b",
    ),
    Setting(
        "a policy of IPsec for others",
        "ip xfrm policy add src 192.0.2.1 dst 10.2.0.2 dir fwd action block",
        "ip xfrm policy del src 192.0.2.1 dst 10.2.0.2 dir fwd",
        r"192\.0\.2\.1",
        only4,
    ),
)
# Two settings that cannot be there at once.
APART = (("way back", "way back"), ("10.2.0.2/32", "10.2.0.2/32"))


def are_apart(settings):
    """Returns whether two of them exclude each other."""
    for one, other in APART:
        for at, first in enumerate(settings):
            if one in first.name and any(other in second.name for second in settings[at + 1 :]):
                return True
    return False


def configuration(chance):
    """Returns a flow and settings."""
    flow = chance.choice(FLOWS)
    fitting = [setting for setting in SETTINGS if setting.fits(flow)]
    while True:
        settings = chance.sample(fitting, chance.randint(2, 4))
        if not are_apart(settings):
            return flow, settings


class Configuration:
    """One of them, tried."""

    def __init__(self, dwdump, reading, flow, settings):
        self.dwdump, self.reading, self.flow, self.settings = dwdump, reading, flow, settings
        self.scene, self.unknown = None, ""

    def plant(self, setting):
        self.scene.sh("host", setting.plant)

    def undo(self, setting):
        self.scene.sh("host", setting.undo)

    def send(self):
        flow, scene = self.flow, self.scene
        one = scene.socket("near", socket.AF_INET6 if flow.is_6 else socket.AF_INET)
        if flow.source:
            one.bind((flow.source, 0))
        if not flow.is_6:
            # IP_MTU_DISCOVER: of a long datagram, the flag that forbids fragments, whatever the cache says.
            one.setsockopt(socket.IPPROTO_IP, 10, 3 if flow.is_whole else 0)
        for payload in payloads(padding=flow.size):
            try:
                one.sendto(payload, (flow.to, PORT))
            except OSError:
                pass

    def is_ours(self, drop):
        is_here = drop.get("netns") in (None, self.scene.number("host"))
        return is_here and drop.get("dport") == PORT and drop.get("dst") == self.flow.to and is_of_scene(drop, self.scene)

    def kinds(self, reading=None):
        """Sends, and returns the kinds of drops: reason and function."""
        reading = reading or self.reading
        reading.take(lambda drop: False, 1, 0)
        self.scene.arrived()
        self.send()
        arrived, deadline = 0, time.monotonic() + PATIENCE
        found = []
        while time.monotonic() < deadline and len(found) + arrived < COUNT:
            found += [drop for drop in reading.take(self.is_ours, 1, 0.1) if self.is_ours(drop)]
            arrived += self.scene.arrived()
        time.sleep(SETTLING)
        found += [drop for drop in reading.take(lambda drop: False, 1, 0) if self.is_ours(drop)]
        return frozenset((drop.get("reason"), function(drop)) for drop in found)

    def blocks(self):
        """Returns what `--why` says of the flow's drops."""
        reading = Reading(self.dwdump, "--why", "--json")
        try:
            self.send()
            reading.take(lambda one: "why" in one and self.is_ours(one), 1, 5)
            time.sleep(SETTLING)
            objects = reading.end()
        finally:
            reading.kill()
        return [one["why"] for one in objects if "why" in one and self.is_ours(one)]

    def guilty(self, kinds):
        """Returns the settings without which the drops end or become others; otherwise those that make them alone."""
        found = []
        for setting in self.settings:
            self.undo(setting)
            if self.kinds() != kinds:
                found.append(setting)
            self.plant(setting)
        if found:
            return found
        for setting in self.settings:
            others = [other for other in self.settings if other != setting]
            for other in others:
                self.undo(other)
            if self.kinds() == kinds:
                found.append(setting)
            for other in others:
                self.plant(other)
        return found

    def run(self):
        """Returns the grade, and the faults; None where nothing is dropped."""
        with Scene() as self.scene:
            self.scene.settle()
            self.scene.listen("far" if self.flow.is_forwarded else "host", "::" if self.flow.is_6 else "0.0.0.0")
            for setting in self.settings:
                self.plant(setting)
            kinds = self.kinds()
            if not kinds:
                return None
            blocks = self.blocks()
            guilty = self.guilty(kinds)
        innocent = [setting for setting in self.settings if setting not in guilty]
        faults, grades = [], set()
        if not blocks:
            faults.append(f"no block for {sorted(map(str, kinds))}")
        for block in blocks:
            grade, named = block["grade"], block.get("object") or ""
            grades.add(grade)
            is_right = any(re.search(setting.object, named) for setting in guilty)
            is_wrong = any(re.search(setting.object, named) for setting in innocent)
            if grade == "unknown":
                self.unknown = f"{sorted(map(str, kinds))}: {block['claim']}, {block['evidence']}"
            elif is_wrong or not is_right:
                faults.append(f"names {named!r} ({grade}) instead of {[setting.name for setting in guilty]}")
        grade = next((grade for grade in ("unknown", "likely", "certain") if grade in grades), "none")
        return grade, faults


def main():
    words = sys.argv[1:]
    if not words or words[0].startswith("-"):
        sys.exit(__doc__)
    dwdump, wanted = words[0], int(words[1]) if len(words) > 1 else 200
    seed = words[2] if len(words) > 2 else "1"
    reading = Reading(dwdump, "--source", "ebpf", "--json")
    counts, wrong = {}, 0
    number = int(words[3]) - 1 if len(words) > 3 else 0
    while sum(counts.values()) < wanted:
        number += 1
        flow, settings = configuration(random.Random(f"{seed}:{number}"))
        names = "; ".join(setting.name for setting in settings)
        one = Configuration(dwdump, reading, flow, settings)
        try:
            tried = one.run()
        except Refused as error:
            print(f"{number} SKIPPED: this host refuses {error}", flush=True)
            assert number < 20 * wanted, "hardly any configuration can be planted here"
            continue
        if tried is None:
            continue
        grade, faults = tried
        counts[grade] = counts.get(grade, 0) + 1
        wrong += bool(faults)
        if faults or grade != "certain":
            print(f"{number} {grade}: {flow.name}: {names}: {'; '.join(faults)}{one.unknown}", flush=True)
    reading.end()
    share = counts.get("certain", 0) / wanted
    text = ", ".join(f"{count} {grade}" for grade, count in sorted(counts.items()))
    print(f"{wanted} configurations with drops, of {number}: {text}, {wrong} wrong; {share:.0%} certain")
    sys.exit(0 if not wrong and share >= LEAST_CERTAIN else 1)


if __name__ == "__main__":
    main()
