#!/usr/bin/python3
"""Runs on the host: do tshark, capinfos and tcpdump see in our files what is in them?

    dissect.py DWDUMP OUTDIR    a folder that session.py left its files in
"""

import pathlib
import re
import subprocess
import sys
import unittest

import alerts
import pcapng

DWDUMP, OUT = None, None


def tool(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


def tshark(file, *words):
    return tool("tshark", "-r", OUT / file, *words).splitlines()


def count(file, expression):
    return len(tshark(file, "-Y", expression))


class Packets(unittest.TestCase):
    def test_tshark_shows_time_length_and_comments(self):
        fields = ["frame.time_epoch", "frame.len", "frame.cap_len", "frame.comment"]
        options = [word for field in fields for word in ("-e", field)]
        shown = tshark("software.pcapng", "-T", "fields", "-E", "aggregator=|", *options)
        packets = pcapng.read(OUT / "software.pcapng")["packets"]
        expected = [
            "\t".join(
                [
                    f"{packet['time'] // 10**9}.{packet['time'] % 10**9:09}",
                    str(packet["original_len"]),
                    str(len(packet["data"])),
                    "|".join(packet["comments"]),
                ]
            )
            for packet in packets
        ]
        self.assertGreater(len(packets), 50)
        self.assertEqual(shown, expected)

    def test_every_protocol_is_recognised(self):
        for expression in (
            "udp",
            "tcp",
            "ospf && ip.src == 10.10.2.4",
            "gre.flags.version == 7 && ip.src == 10.10.2.2",
            "ip.src == 172.16.14.2",
            "esp",
            "arp",
            "stp",
            "lldp",
            "sctp",
            "icmpv6 || ipv6",
            "ip.src == 8.0.1.1 && !eth",
            'frame.comment == "reason: NO_SOCKET" && udp',
            'frame.comment contains "gre_rcv" && frame.comment contains "[gre]"',
            "frame.packet_flags_direction == 1",
            "frame.packet_flags_direction == 2",
        ):
            with self.subTest(expression=expression):
                self.assertGreater(count("software.pcapng", expression), 0)

    def test_capinfos_shows_the_interfaces(self):
        shown = tool("capinfos", OUT / "software.pcapng")
        self.assertRegex(shown, r"Capture application: +dwdump \d")
        self.assertRegex(shown, r"Capture oper-sys: +Linux \d")
        self.assertRegex(shown, r"Name = dwdump\n +Description = kernel drop monitor")
        self.assertRegex(shown, r"Description = ifindex 102, software")
        self.assertRegex(shown, r"Name = local\n +Description = locally generated, software")
        entries = re.findall(r"Number of stat entries = (\d+)", shown)
        self.assertEqual(set(entries), {"1"})


class OneLinkType(unittest.TestCase):
    def test_tcpdump_reads_the_file_whole(self):
        for link in ("ethernet", "raw", "sll2"):
            with self.subTest(link=link):
                talk = (OUT / f"one-{link}.talk").read_text()
                captured, left_out = (
                    sum(map(int, re.findall(rf"^(\d+) {what}", talk, re.MULTILINE)))
                    for what in ("packets? captured", "of them left out")
                )
                lines = tool("tcpdump", "-nr", OUT / f"one-{link}.pcapng").splitlines()
                packets = [line for line in lines if not line.startswith((" ", "\t"))]
                self.assertEqual(len(packets), captured - left_out)
                self.assertGreater(len(packets), 30)


class NetlinkFiles(unittest.TestCase):
    """The C tool's format, as the kernel's selftest of the drop monitor reads it."""

    def test_software(self):
        self.assertGreater(count("software.pcap", "ip.dst == 10.10.2.2"), 10)
        self.assertGreater(count("software.pcap", 'net_dm.symbol contains "gre_rcv"'), 0)
        self.assertEqual(
            len(list(alerts.alerts(OUT / "software.pcap"))), count("software.pcap", "net_dm.pc")
        )

    def test_hardware(self):
        if (OUT / "hardware.pcap").exists():
            name = 'net_dm.hw_trap_name == "blackhole_route"'
            self.assertGreater(count("hardware.pcap", name), 3)
            comment = 'frame.comment == "trap: blackhole_route"'
            self.assertGreater(count("hardware.pcapng", comment), 3)
            self.assertGreater(count("hardware.pcapng", 'frame.comment contains "cookie: "'), 3)


class Catalogue(unittest.TestCase):
    def test_every_reason_of_the_kernel_is_explained(self):
        listed = {line.split()[0] for line in tool(DWDUMP, "--explain").splitlines() if line}
        names = (OUT / "reasons.txt").read_text().split()
        self.assertGreater(len(names), 50)
        self.assertEqual([name for name in names if name not in listed], [])


if __name__ == "__main__":
    DWDUMP, OUT = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
    unittest.main(verbosity=2)
