"""Each way to end, and others who use the drop monitor, a part of session.py."""

import os
import signal
import struct
import time

import alerts
import drops
import harness
import pcapng
from harness import (
    ALERT_MODE, CONFIG, QUEUE_LEN, START, SW_DROPS, TALK, TRUNC_LEN, CTool, Running, SessionTest, dwdump, net_dm,
    settings, small_disk, wait_until,
)


class Endings(SessionTest):
    """However a run ends, the kernel's settings are what they were, and monitoring is off."""

    def setUp(self):
        # Not by the C tool: on a busy machine it may be stopped before it can end its own monitoring.
        odd = {ALERT_MODE: b"\1", TRUNC_LEN: struct.pack("=I", 123), QUEUE_LEN: struct.pack("=I", 77)}
        self.assertEqual(net_dm(CONFIG, odd), 0)
        self.before = settings()
        self.assertIn("77", self.before)
        self.file = harness.OUT / "ending.pcapng"

    def check(self, status, talk, expected=0):
        self.assertEqual(status, expected, talk)
        self.assertEqual(settings(), self.before)
        self.assertEqual(dwdump("-e")[2], "dwdump: monitoring was off already\n")

    def test_signals(self):
        ending = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
        for how in (*ending, signal.SIGALRM, signal.SIGXCPU, signal.SIGRTMIN):
            with self.subTest(signal=how.name):
                run = Running("-w", self.file, "-t", "64", "-l", "4321")
                self.assertIn("4321", settings())
                drops.marker(how.name)
                time.sleep(0.5)
                self.check(*run.stop(how))
                packets = pcapng.read(self.file)["packets"]
                self.assertIn(64, [len(packet["data"]) for packet in packets] + [64])
                self.assertTrue(any(how.name.encode() in packet["data"] for packet in packets))

    def test_a_closed_pipe(self):
        reader, writer = os.pipe()
        run = Running("-w", "-", stdout=writer)
        os.close(writer)
        os.close(reader)
        # Noticed at once, without a drop.
        self.check(*run.wait())

    def test_sigpipe_itself_is_ignored(self):
        run = Running("-w", self.file)
        run.process.send_signal(signal.SIGPIPE)
        time.sleep(0.5)
        self.assertIsNone(run.process.poll())
        self.check(*run.stop())

    def test_a_full_disk(self):
        with small_disk() as disk:
            run = Running("-U", "-w", disk / "full.pcapng")
            for number in range(300):
                if run.process.poll() is not None:
                    break
                drops.marker(f"{number} " + "x" * 1000)
            status, talk = run.wait()
            self.check(status, talk, expected=1)
            self.assertIn("cannot write to", talk)
            self.assertIn("No space left on device", talk)
            self.assertIn("hint: ", talk)
            self.assertGreater(len(pcapng.read(disk / "full.pcapng")["packets"]), 10)

    def test_a_reader_that_does_not_read(self):
        # The pipe is full and the write blocks: the kernel's settings are put back all the same.
        reader, writer = os.pipe()
        run = Running("-U", "-w", "-", stdout=writer)
        os.close(writer)
        for number in range(100):
            drops.marker(f"{number} " + "x" * 1000)
        time.sleep(1)
        run.process.send_signal(signal.SIGINT)
        wait_until(lambda: settings() == self.before)
        run.process.send_signal(signal.SIGINT)
        status, talk = run.wait()
        os.close(reader)
        self.check(status, talk, expected=1)
        self.assertIn("interrupted again", talk)

    def test_a_number_of_packets(self):
        run = Running("-c", "2", "-w", self.file)
        drops.marker("one"), drops.marker("two"), drops.marker("three")
        self.check(*run.wait())
        self.assertEqual(len(pcapng.read(self.file)["packets"]), 2)

    def test_a_duration(self):
        begin = time.monotonic()
        run = Running("--duration", "1.5", "-w", self.file)
        self.check(*run.wait())
        self.assertGreater(time.monotonic() - begin, 1.5)

    def test_an_output_that_cannot_be_created(self):
        status, _, talk = dwdump("-w", "/nonexistent/x.pcapng")
        self.check(status, talk, expected=1)
        self.assertIn("cannot create /nonexistent/x.pcapng: No such file or directory", talk)


class Busy(SessionTest):
    """One global switch, and others who use it."""

    def test_a_killed_dwdump_is_no_dead_end(self):
        before = settings()
        file = TALK / "killed.pcapng"
        run = Running("-w", file)
        drops.marker("before the kill")
        # Flushed while idle.
        wait_until(lambda: b"before the kill" in file.read_bytes())
        self.assertLess(run.stop(signal.SIGKILL)[0], 0)
        self.assertTrue(pcapng.read(file)["packets"])

        # What it left on, nobody uses any more.
        run = Running("--source", "netdm", "-c", "1", "-w", harness.OUT / "next.pcapng")
        drops.marker("after the kill")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        self.assertEqual(dwdump("-e")[2], "dwdump: monitoring was off already\n")
        # Not those that the killed one made.
        self.assertEqual(settings(), before)

    def test_the_c_tool_is_not_disturbed(self):
        theirs = CTool(harness.OUT / "undisturbed.pcap", "-o", "sw")
        unharmed = harness.OUT / "unharmed.pcapng"
        unharmed.write_text("somebody's file")
        status, _, talk = dwdump("--source", "netdm", "-w", unharmed)
        self.assertEqual(status, 1)
        self.assertIn("drops are already being monitored", talk)
        for way_out in ("-p", "--force", "-e"):
            self.assertIn(way_out, talk)
        self.assertEqual(unharmed.read_text(), "somebody's file")
        drops.marker("still there")
        time.sleep(1)
        theirs.stop()
        found = alerts.alerts(harness.OUT / "undisturbed.pcap")
        self.assertTrue(any("still there".encode().hex() in alert["payload"] for alert in found))

    def test_another_processs_stop_is_noticed(self):
        run = Running("-w", harness.OUT / "stopped.pcapng")
        drops.marker("before the stop")
        time.sleep(0.5)
        status, _, talk = dwdump("-e")
        self.assertEqual((status, talk), (0, "dwdump: stopped monitoring, software and hardware\n"))
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn("monitoring was stopped by another process", talk)
        read = pcapng.read(harness.OUT / "stopped.pcapng")
        self.assertTrue(read["packets"])
        self.assertEqual(read["loss"], {"queue": 0, "socket": 0})

    def test_a_passive_listener_outlives_a_stop(self):
        run = Running("-p", "-w", harness.OUT / "patient.pcapng")
        run.wait_for("monitoring is off: no drops arrive until a program starts it")
        active = Running("-c", "1", "-w", "/dev/null")
        drops.marker("for both")
        active.wait()
        time.sleep(5)
        self.assertIsNone(run.process.poll())
        status, talk = run.stop()
        self.assertEqual(status, 0)
        self.assertEqual(talk.count("monitoring is off"), 2, talk)
        packets = pcapng.read(harness.OUT / "patient.pcapng")["packets"]
        self.assertTrue(any(b"for both" in packet["data"] for packet in packets))

    def test_a_passive_listener_is_warned_of_summary_mode(self):
        self.assertEqual(net_dm(CONFIG, {ALERT_MODE: b"\0"}), 0)
        self.assertEqual(net_dm(START, {SW_DROPS: b""}), 0)
        run = Running("-p", "-w", harness.OUT / "summary.pcapng")
        drops.marker("only counted")
        time.sleep(2.5)
        status, talk = run.stop()
        self.assertEqual(status, 0)
        self.assertIn("the kernel is in summary mode", talk)
        self.assertRegex(talk, r"\d+ summary alerts? without packets arrived")
        self.assertEqual(pcapng.read(harness.OUT / "summary.pcapng")["packets"], [])
