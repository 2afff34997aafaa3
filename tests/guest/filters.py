"""Filters, in dwdump and in the kernel, a part of session.py."""

import collections
import pathlib
import re
import signal
import socket
import time

import alerts
import drops
import harness
import network
import pcapng
from harness import REPORTS_NETLINK, CTool, Running, SessionTest, dwdump, loss


def addresses(alert):
    """Source and destination of the outermost IP header or ARP message, behind VLAN tags; and
    the IP version."""
    data, offset, ethertype = bytes.fromhex(alert.get("payload", "")), 0, alert.get("protocol")
    # The kernel names no link type: in these drops, Ethernet has the protocol in its header.
    if len(data) > 14 and int.from_bytes(data[12:14]) == ethertype:
        offset = 14
        while ethertype in (0x8100, 0x88A8):
            ethertype = int.from_bytes(data[offset + 2 : offset + 4])
            offset += 4
    packet = data[offset:]
    # As tcpdump does: by the type alone, whatever version the header claims.
    if ethertype == 0x0800 and len(packet) >= 20:
        return packet[12:16], packet[16:20], 4
    if ethertype == 0x86DD and len(packet) >= 40:
        return packet[8:24], packet[24:40], 6
    if ethertype == 0x0806:
        return packet[14:18], packet[24:28], None
    return None, None, None


def as_alert(packet):
    """A packet of our files as the C tool's alert of it."""
    data, facts = packet["data"], packet["facts"]
    if packet["interface"]["link"] == "ethernet":
        protocol = int.from_bytes(data[12:14])
    else:
        protocol = {4: 0x0800, 6: 0x86DD}.get(data[0] >> 4, 0)
    if "protocol" in facts:
        protocol = int(facts["protocol"], 16)
    return {
        "payload": data.hex(),
        "protocol": protocol,
        "reason": packet["reason"],
        "symbol": facts["location"],
        "original_len": packet["original_len"],
    }


def run_all(cases, theirs, ours, *options):
    """Runs every filter at once, each into its file, beside the C tool, which listens from before
    our START to after our STOP: it sees what we see. Returns what each dwdump said, and the C
    tool's alerts."""
    tool = CTool(theirs, "-p")
    first, *others = cases
    active = Running("-o", "sw", *options, "-w", ours(0), *first.split())
    runs = [active] + [
        Running("-p", *options, "-w", ours(number), expression)
        for number, expression in enumerate(others, 1)
    ]
    list(drops.run())
    time.sleep(2)
    talks = [run.stop() for run in reversed(runs)][::-1]
    time.sleep(0.5)
    tool.stop()
    return talks, list(alerts.alerts(theirs))


class Filters(SessionTest):
    """Each keeps exactly the drops that it should, while all the others happen."""

    def from_address(text):
        return lambda alert: addresses(alert)[0] == socket.inet_aton(text)

    CASES = {
        "saddr 10.10.2.4": from_address("10.10.2.4"),
        "saddr 10.10.2.2 and module gre": lambda alert: (
            addresses(alert)[0] == socket.inet_aton("10.10.2.2")
            and alert["symbol"].endswith(" [gre]")
        ),
        "saddr 172.16.14.2": from_address("172.16.14.2"),
        "reason NETFILTER_DROP and ip6": lambda alert: (
            alert["reason"] == "NETFILTER_DROP" and addresses(alert)[2] == 6
        ),
        "not (udp or tcp) and location nft_*": lambda _: False,
    }

    def test_all_at_once(self):
        def ours(number):
            return harness.OUT / f"filter-{number}.pcapng"

        talks, them = run_all(self.CASES, harness.OUT / "filters.pcap", ours)
        self.assertGreater(len(them), 50)
        for number, (expression, is_wanted) in enumerate(self.CASES.items()):
            with self.subTest(filter=expression):
                status, talk = talks[number]
                self.assertEqual(status, 0, talk)
                kept = pcapng.read(ours(number))["packets"]
                wanted = [alert for alert in them if is_wanted(alert)]
                self.assertEqual(
                    collections.Counter((packet["pc"], packet["time"]) for packet in kept),
                    collections.Counter((alert["pc"], alert["timestamp"]) for alert in wanted),
                )
                self.assertEqual(bool(wanted), not expression.startswith("not"))
                captured, queue, buffer = loss(talk)
                (rejected,) = map(int, re.findall(r"(\d+) packets? rejected", talk))
                self.assertEqual(captured + rejected + queue + buffer, len(them))

    def test_an_unknown_reason_is_doubted(self):
        status, _, talk = dwdump("--duration", "0.1", "-w", "/dev/null", "reason", "NETFILTER_DORP")
        self.assertEqual(status, 0, talk)
        self.assertIn("no known kernel has the drop reason NETFILTER_DORP", talk)
        self.assertIn("hint: did you mean NETFILTER_DROP?", talk)


class KernelFilters(SessionTest):
    """The kernel rejects, and nothing is missing that should have been kept."""

    SAID = "rejected by the filter: not counted (filtered in the kernel)"

    def from_address(text):
        return lambda alert: addresses(alert)[0] == socket.inet_aton(text)

    # Each with what the kernel does of it.
    CASES = {
        "saddr 10.10.2.4": ("the whole filter", from_address("10.10.2.4")),
        "reason NETFILTER_DROP and ip6": (
            "the whole filter",
            lambda alert: alert["reason"] == "NETFILTER_DROP" and addresses(alert)[2] == 6,
        ),
        "saddr 10.10.2.2 and module gre": (
            "saddr 10.10.2.2; dwdump filters the rest",
            lambda alert: (
                addresses(alert)[0] == socket.inet_aton("10.10.2.2")
                and alert["symbol"].endswith(" [gre]")
            ),
        ),
        "not (reason NETFILTER_DROP or reason NO_SOCKET)": (
            "the whole filter",
            lambda alert: alert["reason"] not in ("NETFILTER_DROP", "NO_SOCKET"),
        ),
        "len > 200": ("the whole filter", lambda alert: alert["original_len"] > 200),
        "saddr 192.0.2.99": ("the whole filter", from_address("192.0.2.99")),
    }

    def test_all_at_once(self):
        """Where the kernel reports rejected alerts, none filters beside others: see no_packets.py."""

        def ours(number):
            return harness.OUT / f"kernel-filter-{number}.pcapng"

        theirs = harness.OUT / "kernel-filters.pcap"
        talks, them = run_all(self.CASES, theirs, ours, "--kernel-filter")
        self.assertGreater(len(them), 50)
        for number, (expression, (part, is_wanted)) in enumerate(self.CASES.items()):
            with self.subTest(filter=expression):
                status, talk = talks[number]
                self.assertEqual(status, 0, talk)
                said = f"dwdump: filtering in the kernel: {part}\n"
                self.assertEqual(said in talk, not REPORTS_NETLINK, talk)
                self.assertEqual(f"\n{self.SAID}\n" in talk, not REPORTS_NETLINK, talk)
                kept = pcapng.read(ours(number))
                wanted = [alert for alert in them if is_wanted(alert)]
                self.assertEqual(
                    collections.Counter(
                        (packet["pc"], packet["time"]) for packet in kept["packets"]
                    ),
                    collections.Counter((alert["pc"], alert["timestamp"]) for alert in wanted),
                )
                self.assertEqual(bool(wanted), "192.0.2.99" not in expression)
                self.assertEqual(loss(talk), [len(wanted), 0, 0])
                self.assertEqual(kept["loss"], {"queue": 0, "socket": 0})

    def test_one_after_the_other(self):
        """Each alone, on drops that are made again and are told by their tags."""
        file = harness.OUT / "kernel-filter-alone.pcapng"

        def capture(*options):
            run = Running("-o", "sw", "-w", file, *options)
            tags = [fact["tag"].encode() for fact in drops.run()]
            time.sleep(1)
            status, talk = run.stop()
            self.assertEqual(status, 0, talk)
            self.assertEqual(loss(talk)[1:], [0, 0])
            packets = [
                (tag, packet)
                for packet in pcapng.read(file)["packets"]
                for tag in tags
                if tag in packet["data"]
            ]
            return packets, talk

        def counted(packets, is_wanted=lambda _: True):
            return collections.Counter(
                (tag, packet["function"], packet["reason"], packet["original_len"])
                for tag, packet in packets
                if is_wanted(as_alert(packet))
            )

        everything, _ = capture()
        self.assertGreater(len(everything), 50)
        for expression, (part, is_wanted) in self.CASES.items():
            with self.subTest(filter=expression):
                kept, talk = capture("--kernel-filter", expression)
                self.assertIn(f"dwdump: filtering in the kernel: {part}\n", talk)
                self.assertIn(f"\n{self.SAID}\n", talk)
                self.assertEqual(counted(kept), counted(everything, is_wanted))
                self.assertEqual(bool(kept), "192.0.2.99" not in expression)

    def test_what_is_rejected_takes_no_room(self):
        """As Loss.test_in_the_socket_buffer, where this flood is too much for the buffer."""
        file = harness.OUT / "kernel-filter-flood.pcapng"
        run = Running("-b", "10k", "-o", "sw", "--kernel-filter", "-w", file, "not udp")
        run.process.send_signal(signal.SIGSTOP)
        network.for_another_host(3000, b"[flood]")
        time.sleep(2)
        run.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        run.process.send_signal(signal.SIGUSR1)
        run.wait_for(re.escape(self.SAID))
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        self.assertEqual(talk.count(self.SAID), 2, talk)
        self.assertEqual(loss(talk), [0, 0, 0], talk)
        self.assertNotIn("nothing was dropped", talk)
        read = pcapng.read(file)
        self.assertEqual((read["packets"], read["loss"]), ([], {"queue": 0, "socket": 0}))

    def test_what_does_not_fit_is_left_out(self):
        """Linux before 6.7 has 20480 bytes for a socket's filter."""
        sysctl = pathlib.Path("/proc/sys/net/core/optmem_max")
        before = sysctl.read_text()
        self.addCleanup(sysctl.write_text, before)
        sysctl.write_text("20480")
        hosts = " or ".join(f"host 10.0.0.{number}" for number in range(2, 42))
        for words, said in (
            (f"ip and ({hosts})", "dwdump: filtering in the kernel: ip; dwdump filters the rest\n"),
            (
                hosts,
                "dwdump: --kernel-filter: cannot attach the filter to the socket: Cannot allocate memory\n"
                "hint: it is too long for the sysctl net.core.optmem_max",
            ),
        ):
            with self.subTest(filter=words):
                arguments = ["--duration", "0.5", "--kernel-filter", "-w", "/dev/null", words]
                status, _, talk = dwdump(*arguments)
                self.assertEqual(status, 0, talk)
                self.assertIn(said, talk)

    def test_what_cannot_be_done_is_told(self):
        words = ["--duration", "0.5", "--kernel-filter", "-w", "/dev/null", "location", "ip_rcv"]
        status, _, talk = dwdump(*words)
        self.assertEqual(status, 0, talk)
        self.assertIn("--kernel-filter: no part of this filter can run in the kernel\nhint: ", talk)
        self.assertIn("0 packets rejected by the filter", talk)
