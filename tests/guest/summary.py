"""Runs in the guest, as a part of session.py: drops counted by dwdump --summary, beside what was
sent, beside dropwatch and beside devlink."""

import collections
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import drops
import hardware
import harness
import network
import registry

UDP_RECEIVE = registry.function_here("__udp4_lib_rcv")
# Kinds of drops, each made by one packet, in a function that nothing else here drops in.
KINDS = {
    UDP_RECEIVE: "udp-closed-v4",
    "nft_do_chain": "nft-v4",
    "ip_rcv_finish_core": "ospf",
    "ip_rcv_core": "ip-checksum",
    "gre_rcv": "gre-version-7",
}
LINE = re.compile(
    r"^(\d+) drops at (?:([^+ ]+)\+[0-9a-f]+|location|rx_dropped) \(?(0x[0-9a-f]+)\)? \[software\]$"
)


def make(times):
    """These many drops of each kind, and what should be counted."""
    counts = {function: times + place for place, function in enumerate(KINDS)}
    for function, count in counts.items():
        for _ in range(count):
            registry.CASES[KINDS[function]]()
    return counts


def bare(function):
    """Without what a compiler appended."""
    return function.split(".")[0]


def counted(text):
    """Drops by function, and by address, of all lines."""
    functions, places = collections.Counter(), collections.Counter()
    for line in text.splitlines():
        count, function, pc = LINE.match(line).groups()
        functions[bare(function or "")] += int(count)
        places[int(pc, 16)] += int(count)
    return functions, places


class Dropwatch:
    """The C tool's prompt, in a terminal of its own."""

    def __init__(self):
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execv("/usr/bin/dropwatch", ["dropwatch", "-l", "kas"])
        self.pid, self.said = pid, ""
        self.say("start", "Kernel monitoring activated")

    def say(self, word, answer):
        os.write(self.terminal, word.encode() + b"\n")
        self.wait_for(answer)

    def wait_for(self, answer):
        deadline = time.monotonic() + harness.PATIENCE
        while answer not in self.said:
            assert time.monotonic() < deadline, self.said
            self.listen(0.5)

    def listen(self, seconds):
        if select.select([self.terminal], [], [], seconds)[0]:
            try:
                self.said += os.read(self.terminal, 65536).decode()
            except OSError:  # It has ended.
                time.sleep(seconds)

    def stop(self, count):
        """What it counted, by address, when that are so many or it counts no more: it looks up each address in
        the kernel's list of symbols, which takes seconds on a busy machine, and forgets the rest when it is stopped."""
        deadline = time.monotonic() + harness.PATIENCE
        while sum(self.counts().values()) < count and time.monotonic() < deadline:
            self.listen(0.5)
        os.kill(self.pid, signal.SIGINT)
        self.wait_for("Got a stop message")
        os.write(self.terminal, b"exit\n")
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return self.counts()

    def counts(self):
        found = re.findall(r"^(\d+) drops at .*\(?(0x[0-9a-f]+)\)? \[software\]", self.said, re.MULTILINE)
        places = collections.Counter()
        for count, pc in found:
            places[int(pc, 16)] += int(count)
        return places


class Summary(harness.SessionTest):
    """What is counted is what was dropped."""

    def count(self, *options, acting, patience=2.5):
        """What was counted while `acting` made drops: standard output and talk."""
        file = harness.OUT / "counted.txt"
        with file.open("w") as stdout:
            run = harness.Running(*options, stdout=stdout, started="counting")
            acting()
            # Alerts come a second after the first drop, and STOP throws away what is on its way.
            time.sleep(patience)
            status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        return file.read_text(), talk

    def check_counts(self, *options):
        wanted = {}
        text, talk = self.count(*options, acting=lambda: wanted.update(make(20)))
        functions, _ = counted(text)
        self.assertEqual({function: functions[function] for function in wanted}, wanted, talk)
        (total,) = re.findall(r"^(\d+) drops counted$", talk, re.MULTILINE)
        self.assertEqual(int(total), sum(functions.values()))
        # Most drops first, in each interval.
        numbers = [int(line.split()[0]) for line in text.splitlines()]
        self.assertEqual(sorted(numbers, reverse=True)[0], max(numbers))
        return talk

    def test_the_kernels_counts_are_exact(self):
        before = harness.settings()
        talk = self.check_counts("--summary", "-o", "sw")
        self.assertIn("counting software drops by location, in the kernel", talk)
        self.assertIn("of the last second when monitoring stopped", talk)
        self.assertEqual(harness.settings(), before)

    def test_our_counts_of_packets_are_exact(self):
        before = harness.settings()
        talk = self.check_counts("--summary", "--by", "location", "-o", "sw")
        self.assertIn("counting software drops by location, packet by packet", talk)
        self.assertIn("0 packets lost in the kernel's queue\n0 packets lost in the socket buffer", talk)
        self.assertNotIn("thrown away", talk)
        self.assertEqual(harness.settings(), before)

    def test_reasons_modules_interfaces_and_flows(self):
        wanted = {}
        for by, field, value, function in [
            ("module", "module", "gre", "gre_rcv"),
            ("reason", "reason", "NO_SOCKET", UDP_RECEIVE),
            ("interface", "ifindex", network.RIGHT_IFINDEX, None),
            ("flow", "dst", "224.0.0.5", "ip_rcv_finish_core"),
        ]:
            with self.subTest(by=by):
                text, talk = self.count(
                    *("--by", by, "--json", "-o", "sw"), acting=lambda: wanted.update(make(5))
                )
                intervals = [json.loads(line) for line in text.splitlines()]
                self.assertTrue(intervals)
                rows = [row for interval in intervals for row in interval["rows"]]
                found = sum(row["drops"] for row in rows if row.get(field) == value)
                # GRE comes in by a tun device, all else by the veth.
                by_veth = sum(wanted.values()) - wanted["gre_rcv"]
                self.assertEqual(found, wanted[function] if function else by_veth, talk)
                self.assertEqual(sum(row["drops"] for row in rows), intervals[-1]["total"])
                self.assertTrue(all(interval["by"] == by for interval in intervals))

    def test_a_filter_counts_packets(self):
        wanted = {}
        text, talk = self.count(
            "--summary", "-o", "sw", "daddr", "224.0.0.5", acting=lambda: wanted.update(make(5))
        )
        functions, _ = counted(text)
        self.assertEqual(functions, {"ip_rcv_finish_core": wanted["ip_rcv_finish_core"]}, talk)
        self.assertIn("packet by packet", talk)
        rejected = sum(wanted.values()) - wanted["ip_rcv_finish_core"]
        (number,) = re.findall(r"^(\d+) drops rejected by the filter$", talk, re.MULTILINE)
        self.assertGreaterEqual(int(number), rejected)

    def test_dropwatch_counts_the_same(self):
        theirs = Dropwatch()
        text, talk = self.count(
            *("--summary", "-p"),
            acting=lambda: [(make(4), time.sleep(1.2)) for _ in range(3)],
        )
        _, us = counted(text)
        them = theirs.stop(sum(us.values()))
        self.assertEqual(us, them, talk)
        self.assertGreater(sum(us.values()), 60)
        # Nothing of ours was stopped.
        self.assertNotIn("thrown away", talk)

    def test_output_hooks_are_counted_but_send_no_packet(self):
        times = 7
        self.enterContext(network.output_rule())

        def send():
            for _ in range(times):
                with self.assertRaises(PermissionError):
                    network.send_datagram(b"[output]", network.RIGHT4, network.OUTPUT_PORT)

        text, talk = self.count("--summary", "-o", "sw", acting=send)
        self.assertEqual(sum(counted(text)[0].values()), times, text + talk)
        by = ("--by", "location", "-o", "sw")
        text, talk = self.count("--source", "netdm", *by, acting=send)
        self.assertEqual(sum(counted(text)[0].values()), 0, text + talk)
        # With eBPF beside the drop monitor.
        text, talk = self.count(*by, acting=send)
        self.assertEqual(sum(counted(text)[0].values()), times, text + talk)

    def test_a_number_of_alerts_and_a_duration_end_it(self):
        file = harness.OUT / "ended.txt"
        with file.open("w") as stdout:
            run = harness.Running("--summary", "-c", "1", stdout=stdout, started="counting")
            drops.marker("counted")
            status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        self.assertRegex(file.read_text(), r"^\d+ drops at ")
        status, _, talk = harness.dwdump("--summary=0.2", "--json", "--duration", "1.1")
        self.assertEqual(status, 0, talk)
        status, stdout, talk = harness.dwdump("--summary=0.2", "--json", "--duration", "1.1")
        self.assertGreaterEqual(len(stdout.splitlines()), 4, talk)

    def test_counting_and_capturing_exclude_each_other(self):
        run = harness.Running("-w", harness.OUT / "beside-summary.pcapng")
        status, _, talk = harness.dwdump("--source", "netdm", "--summary")
        self.assertEqual(status, 1)
        self.assertIn("the kernel either counts drops or sends packets", talk)
        self.assertIn("`dwdump --summary -p` counts those", talk)
        # And so it does.
        text, talk = self.count("--summary", "-p", acting=lambda: make(3))
        self.assertEqual(counted(text)[0]["gre_rcv"], 3 + list(KINDS).index("gre_rcv"), talk)
        self.assertIn("which sends packets", talk)
        self.assertEqual(run.stop()[0], 0)

        with open(os.devnull, "w") as nowhere:
            run = harness.Running("--summary", stdout=nowhere, started="counting")
            status, _, talk = harness.dwdump("--source", "netdm", "-w", "/tmp/x.pcapng")
            self.assertEqual(status, 1)
            self.assertIn("it counts for another program now", talk)
            status, _, talk = harness.dwdump("--source", "netdm", "--summary")
            self.assertEqual(status, 1)
            self.assertIn("`dwdump --summary -p` shows its counts", talk)
            # Only places are known then.
            reasons = harness.Running("--by", "reason", "-p", stdout=nowhere, started="counting")
            reasons.wait_for("the kernel is in summary mode: only the locations of drops are known")
            self.assertEqual(reasons.stop()[0], 0)
            self.assertEqual(run.stop()[0], 0)

    def test_a_reader_that_goes_away_ends_it(self):
        before = harness.settings()
        run = harness.Running("--summary", stdout=subprocess.PIPE, started="counting")
        run.process.stdout.close()
        drops.marker("unread")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        self.assertEqual(harness.settings(), before)


class Traps(harness.SessionTest):
    """Hardware drops of a simulated switch, beside devlink's own statistics."""

    def statistics(self, trap):
        shown = subprocess.run(
            ["devlink", "-j", "-s", "trap", "show", hardware.SWITCH, "trap", trap],
            capture_output=True, text=True, check=True,
        ).stdout
        (found,) = json.loads(shown)["trap"][hardware.SWITCH]
        return found["stats"]["rx"]["packets"]

    def test_traps_are_counted_as_devlink_counts_them(self):
        trap = "blackhole_route"
        hardware.hardware_trap(trap, "drop")
        time.sleep(0.5)
        for options in (["--summary"], ["--by", "location"]):
            with self.subTest(options=options):
                before = self.statistics(trap)
                file = harness.OUT / "traps.txt"
                with file.open("w") as stdout:
                    run = harness.Running(*options, "-o", "hw", stdout=stdout, started="counting")
                    hardware.hardware_trap(trap, "trap")
                    time.sleep(2)
                    hardware.hardware_trap(trap, "drop")
                    time.sleep(2.5)
                    status, talk = run.stop()
                self.assertEqual(status, 0, talk)
                lines = re.findall(rf"^(\d+) drops at {trap} \[hardware\]$", file.read_text(), re.MULTILINE)
                wanted = self.statistics(trap) - before
                self.assertGreater(wanted, 3)
                self.assertEqual(sum(map(int, lines)), wanted, talk)
