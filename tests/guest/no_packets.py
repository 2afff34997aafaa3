"""Runs in the guest, as a part of session.py: what the drop monitor reports and was no packet, its
own alerts first of all."""

import ctypes
import re
import socket
import struct
import time

import alerts
import drops
import harness
import pcapng

# What every filter here rejects.
NOBODY = "saddr 192.0.2.99"


def alerts_about_alerts(talk):
    found = re.findall(r"^dwdump: (\d+) alerts? left out: about dropped alerts", talk, re.MULTILINE)
    return int(found[-1]) if found else 0


class Rejecting:
    """Another program that listens, with a socket filter of its own which rejects everything."""

    SO_ATTACH_FILTER, SOL_NETLINK, ADD_MEMBERSHIP = 26, 270, 1

    def __enter__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.socket.bind((0, 0))
        # struct sock_filter: return 0.
        program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
        fprog = struct.pack("HxxxxxxP", 1, ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, self.SO_ATTACH_FILTER, fprog)
        self.socket.setsockopt(self.SOL_NETLINK, self.ADD_MEMBERSHIP, 1)
        return self

    def __exit__(self, *_):
        self.socket.close()


def abandon_an_answer():
    """A netlink socket that closes with an answer unread: 36 bytes, type 2 (NLMSG_ERROR)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        request_and_ack, noop = 5, 1
        # A type below 16 is answered with an acknowledgement alone.
        link.send(struct.pack("=IHHII", 16, noop, request_and_ack, 1, 0))
        time.sleep(0.2)


class AlertsAboutAlerts(harness.SessionTest):
    """A filter in the kernel never makes alerts out of alerts, on and on."""

    DROPS = 90

    def listeners(self, count, name, source):
        arguments = ["--kernel-filter", "-w"]
        options = ["--source", source, "-o", "sw"]
        active = harness.Running(*options, *arguments, harness.OUT / f"{name}-0.pcapng", NOBODY)
        return [active] + [
            harness.Running("-p", *arguments, harness.OUT / f"{name}-{number}.pcapng", NOBODY)
            for number in range(1, count)
        ]

    def check(self, count, unfiltered_first, source="netdm"):
        name = f"storm-{source}-{count}-{'first' if unfiltered_first else 'last'}"
        file = harness.OUT / f"{name}.pcap"
        theirs = harness.CTool(file, "-p") if unfiltered_first else None
        ours = self.listeners(count, name, source)
        theirs = theirs or harness.CTool(file, "-p")
        for number in range(self.DROPS):
            drops.marker(f"{name} {number}")
        time.sleep(2)
        talks = [run.stop() for run in reversed(ours)]
        time.sleep(0.5)
        theirs.stop()
        found = list(alerts.alerts(file))
        marked = [alert for alert in found if name.encode().hex() in alert.get("payload", "")]
        # Some markers are in alerts about alerts, too.
        packets = [alert for alert in marked if alert["protocol"] == 0x0800]
        self.assertEqual(len(packets), self.DROPS)
        self.assertLessEqual(len(found), 2 * self.DROPS)
        for number, (status, talk) in enumerate(talks):
            self.assertEqual(status, 0, talk)
            self.assertEqual(harness.loss(talk), [0, 0, 0], talk)
        return [talk for _, talk in talks][::-1]

    def test_with_another_listener_before(self):
        for count in (1, 3, 6):
            with self.subTest(listeners=count):
                for talk in self.check(count, True):
                    said = "dwdump filters all drops itself" in talk
                    self.assertEqual(said, harness.REPORTS_NETLINK, talk)
                    self.assertEqual(alerts_about_alerts(talk), 0, talk)

    def test_with_another_listener_after(self):
        for count in (1, 3, 6):
            with self.subTest(listeners=count):
                first, *others = self.check(count, False)
                self.assertIn("filtering in the kernel: the whole filter", first)
                withdrawn = "the kernel filter was turned off" in first
                self.assertEqual(withdrawn, harness.REPORTS_NETLINK, first)
                self.assertEqual(alerts_about_alerts(first) > 0, harness.REPORTS_NETLINK, first)
                for talk in others:
                    said = "dwdump filters all drops itself" in talk
                    self.assertEqual(said, harness.REPORTS_NETLINK, talk)

    def test_what_ebpf_tells_of_alerts_takes_no_filter_off(self):
        """Beside the drop monitor it sees each alert that the filter rejects, on every kernel."""
        (talk,) = self.check(1, False, "auto")
        withdrawn = "the kernel filter was turned off" in talk
        self.assertEqual(withdrawn, harness.REPORTS_NETLINK, talk)
        self.assertGreater(alerts_about_alerts(talk), 0, talk)

    def test_what_another_filter_causes_is_no_drop(self):
        file = harness.OUT / "rejecting.pcapng"
        with Rejecting():
            run = harness.Running("--source", "netdm", "--all", "-o", "sw", "-w", file)
            for number in range(5):
                drops.marker(f"rejected elsewhere {number}")
            time.sleep(0.5)
        time.sleep(1)
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        packets = pcapng.read(file)["packets"]
        self.assertEqual(len([p for p in packets if b"rejected elsewhere" in p["data"]]), 5)
        self.assertEqual({packet["reason"] for packet in packets}, {"NO_SOCKET"})
        if harness.REPORTS_NETLINK:
            self.assertGreater(alerts_about_alerts(talk), 5, talk)
        else:
            self.assertNotIn("about dropped alerts", talk)


class NotPackets(harness.SessionTest):
    """Netlink messages that nobody read."""

    def capture(self, source, *options):
        file = harness.OUT / f"no-packets-{source}{''.join(options)}.pcapng"
        run = harness.Running("--source", source, *options, "-o", "sw", "-w", file)
        drops.marker("before")
        abandon_an_answer()
        drops.marker("after")
        time.sleep(1)
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        return file, pcapng.read(file)["packets"], talk

    def test_they_are_left_out_and_counted(self):
        for source in "netdm", "ebpf":
            with self.subTest(source=source):
                _, packets, talk = self.capture(source)
                self.assertEqual(len(packets), 2, talk)
                if source == "ebpf" or harness.REPORTS_NETLINK:
                    self.assertRegex(talk, r"\d+ drops? left out: netlink messages .*--all")
                else:
                    self.assertNotIn("left out: netlink messages", talk)

    def test_all_takes_them(self):
        file, packets, talk = self.capture("netdm", "--all")
        self.assertNotIn("left out: netlink messages", talk)
        netlink = [packet for packet in packets if packet["interface"]["link"] == 253]
        self.assertEqual(bool(netlink), harness.REPORTS_NETLINK)
        self.assertEqual(len(packets) - len(netlink), 2)
        for packet in netlink:
            # Behind the cooked header.
            self.assertEqual(packet["data"][2:4], b"\x03\x38")
            self.assertEqual(packet["data"][16:22], struct.pack("=IH", 36, 2))
            self.assertEqual(packet["original_len"], 16 + 36)
        _, text, _ = harness.dwdump("-r", file, "--print")
        lines = re.findall(r"^\S+ local netlink, type 2, length 36 \w+ \w+", text, re.MULTILINE)
        self.assertEqual(len(lines), len(netlink))
