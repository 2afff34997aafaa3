"""Several that use the drop monitor at once, a part of session.py: other dwdumps, that know of
each other, and other programs, that do not."""

import errno
import itertools
import os
import pathlib
import re
import signal
import struct
import subprocess
import tempfile
import time

import drops
import harness
import network
import pcapng
from harness import (
    ALERT_MODE, CONFIG, HW_DROPS, QUEUE_LEN, START, STOP, SW_DROPS, TRUNC_LEN,
    Running, SessionTest, dwdump, loss, net_dm, references, settings, wait_until,
)

BOTH = {SW_DROPS: b"", HW_DROPS: b""}


def is_on():
    """An empty CONFIG changes nothing."""
    return net_dm(CONFIG, {}) == errno.EBUSY


def flood(tag, count):
    network.for_another_host(count, f"[{tag}]".encode())
    time.sleep(1)


def captured(file, tag):
    """How many of a flood are in the file."""
    payload = f"[{tag}]".encode()
    return sum(payload in packet["data"] for packet in pcapng.read(file)["packets"])


class Sharing(SessionTest):
    def setUp(self):
        odd = {ALERT_MODE: b"\0", TRUNC_LEN: struct.pack("=I", 123), QUEUE_LEN: struct.pack("=I", 77)}
        self.assertEqual(net_dm(CONFIG, odd), 0)
        self.before = settings()
        self.assertIn("77", self.before)

    def file(self, name):
        return harness.OUT / f"sharing-{name}.pcapng"

    def check_restored(self):
        self.assertEqual(settings(), self.before)
        self.assertFalse(is_on())

    def check_incomplete(self, file, words):
        """The file says so, too."""
        shown = subprocess.run(
            ["strings", "-n", "20", file], capture_output=True, text=True, check=True
        ).stdout
        self.assertRegex(shown, f"incomplete: .*{words}")
        pcapng.read(file)

    def test_dwdumps_that_take_over_in_every_order_of_ends(self):
        for number, order in enumerate(itertools.permutations(range(3))):
            with self.subTest(order=order):
                names = [f"{number}-{place}" for place in range(3)]
                runs = []
                for name in names:
                    force = ["--force"] if runs else []
                    runs.append(Running(*force, "-o", "sw", "-w", self.file(name)))
                for place in order:
                    if place == 2:
                        # Whoever ended before: all that is dropped now comes.
                        flood(f"last {number}", 2000)
                    status, talk = runs[place].stop()
                    if place == 2:
                        self.assertEqual(status, 0, talk)
                        self.assertEqual(loss(talk)[1:], [0, 0])
                        self.assertEqual(captured(self.file(names[2]), f"last {number}"), 2000)
                    else:
                        self.assertEqual(status, 1, talk)
                        self.assertIn("dwdump: another dwdump took over the drop monitor\n", talk)
                        self.check_incomplete(self.file(names[place]), "took over")
                self.check_restored()

    def test_one_that_is_taken_over_ends_by_itself(self):
        first = Running("-w", self.file("first"))
        second = Running("--force", "-w", self.file("second"))
        status, talk = first.wait()
        self.assertEqual(status, 1, talk)
        self.assertIn("took over", talk)
        self.assertTrue(is_on())
        self.assertEqual(second.stop()[0], 0)
        self.check_restored()

    def test_summaries_take_over_too(self):
        first = Running("-w", self.file("counted"), "-o", "sw")
        second = Running("--force", "--summary", "--print")
        self.assertEqual(first.stop()[0], 1)
        third = Running("--force", "--by", "reason", "--print")
        status, talk = second.stop()
        self.assertEqual(status, 1, talk)
        self.assertIn("took over", talk)
        self.assertEqual(third.stop()[0], 0)
        self.check_restored()

    def test_a_killed_ones_settings_are_not_the_original_ones(self):
        for end in ("next", "force", "-e", "stopped by another"):
            with self.subTest(end=end):
                killed = Running("-w", self.file("killed"))
                self.assertLess(killed.stop(signal.SIGKILL)[0], 0)
                self.assertTrue(is_on())
                if end == "-e":
                    status, _, talk = dwdump("-e")
                    self.assertEqual(status, 0, talk)
                    self.assertIn("restored the settings that a killed dwdump had changed", talk)
                else:
                    if end == "stopped by another":
                        net_dm(STOP, BOTH)
                    force = ["--force"] if end == "force" else []
                    run = Running(*force, "--source", "netdm", "-w", self.file("new"))
                    status, talk = run.stop()
                    self.assertEqual(status, 0, talk)
                    self.assertNotIn("took over", talk)
                self.check_restored()

    def test_another_dwdump_is_named(self):
        run = Running("-w", self.file("named"))
        status, _, talk = dwdump("--source", "netdm", "-w", "/tmp/x.pcapng")
        self.assertEqual(status, 1)
        self.assertIn(f"monitored, by another dwdump (process {run.process.pid})\n", talk)
        self.assertEqual(run.stop()[0], 0)
        self.check_restored()
        state = pathlib.Path("/run/dwdump.state")
        self.assertEqual(state.stat().st_mode & 0o777, 0o600)

    def test_a_stop_is_noticed_while_drops_come_and_at_the_end(self):
        # Hardware drops go on being monitored: an empty CONFIG does not tell.
        for what, flags in (("both", BOTH), ("software", {SW_DROPS: b""}), ("no flag", {})):
            for waits in (True, False):
                with self.subTest(what=what, waits=waits):
                    run = Running("-w", self.file("stopped"))
                    flood("before", 10)
                    self.assertEqual(net_dm(STOP, flags), 0)
                    status, talk = run.wait() if waits else run.stop()
                    self.assertEqual(status, 1, talk)
                    self.assertIn("dwdump: monitoring was stopped by another process\n", talk)
                    self.check_incomplete(self.file("stopped"), "stopped by another process")
                    self.assertEqual(captured(self.file("stopped"), "before"), 10)
                    self.check_restored()

    def test_a_file_that_ends_before_the_next_look_says_itself_what_is_missing(self):
        clear = 0
        for attempt in range(12):
            with self.subTest(attempt=attempt):
                clear += self.stop_before_a_file_ends()
            if clear == 3:
                break
        self.assertEqual(clear, 3)

    def stop_before_a_file_ends(self):
        """Returns whether it is clear which file was being written when the monitoring stopped."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=harness.OUT))
        # Looks and files take a second each, and files begin a little before the looks.
        run = Running("-o", "sw", "-G", 1, "-w", folder / "%s.pcapng")
        wait_until(lambda: len(list(folder.iterdir())) == 2)
        time.sleep(0.75)
        before = sorted(folder.iterdir())
        net_dm(STOP, BOTH)
        # Longer than from the look at the end of a file to the beginning of the next.
        time.sleep(0.1)
        is_clear = sorted(folder.iterdir()) == before
        status, talk = run.wait()
        self.assertEqual(status, 1, talk)
        self.check_restored()
        *others, end = sorted(folder.iterdir())
        self.check_incomplete(end, "stopped by another process; drops may be missing from ")
        if is_clear:
            *whole, _ = before
            for file in others:
                if file in whole:
                    self.assertNotIn(b"incomplete: ", file.read_bytes())
                else:
                    self.check_incomplete(file, "stopped by another process; drops may be missing from ")
        return is_clear

    def test_another_mode_is_noticed(self):
        run = Running("-o", "sw", "-w", self.file("mode"))
        net_dm(STOP, BOTH)
        self.assertEqual(net_dm(CONFIG, {ALERT_MODE: b"\0"}), 0)
        self.assertEqual(net_dm(START, {SW_DROPS: b""}), 0)
        # It goes on, and so do drops: counts arrive all the time.
        deadline = time.monotonic() + 20
        while run.process.poll() is None and time.monotonic() < deadline:
            drops.marker("counted")
            time.sleep(0.1)
        status, talk = run.wait()
        self.assertEqual(status, 1, talk)
        self.assertIn("changed its settings (summary mode, ", talk)
        self.check_incomplete(self.file("mode"), "summary mode")
        # That is another's monitoring.
        self.assertTrue(is_on())
        self.assertIn("alert mode: summary", settings().lower())

    def test_quick_stops_and_starts_leave_a_good_end(self):
        """They cannot be seen, unless a look falls between."""
        run = Running("-o", "sw", "-w", self.file("quick"))
        for _ in range(10):
            net_dm(STOP, {SW_DROPS: b""})
            net_dm(START, {SW_DROPS: b""})
        flood("behind", 100)
        status, talk = run.stop()
        self.assertEqual(status, int("stopped by another process" in talk), talk)
        if status == 0:
            self.assertEqual(captured(self.file("quick"), "behind"), 100)
            self.check_restored()

    def test_a_module_that_is_loaded_again_is_noticed(self):
        for waits in (True, False):
            with self.subTest(waits=waits):
                run = Running("-p", "-w", self.file("reloaded"))
                wait_until(lambda: references() == 0)
                subprocess.run(["rmmod", "drop_monitor"], check=True)
                subprocess.run(["modprobe", "drop_monitor"], check=True)
                status, talk = run.wait() if waits else run.stop()
                self.assertEqual(status, 1, talk)
                self.assertIn("the drop monitor was unloaded (module drop_monitor)\n", talk)
                self.assertNotIn("No such file", talk)
                self.check_incomplete(self.file("reloaded"), "unloaded")

    def test_a_module_that_is_unloaded_below_a_capture_is_noticed(self):
        run = Running("-w", self.file("unloaded"))
        net_dm(STOP, BOTH)
        wait_until(lambda: references() == 0)
        subprocess.run(["rmmod", "drop_monitor"], check=True)
        subprocess.run(["modprobe", "drop_monitor"], check=True)
        status, talk = run.wait()
        self.assertEqual(status, 1, talk)
        self.assertRegex(talk, "unloaded|stopped by another process")
        self.assertIn("alert mode: summary", settings().lower())

    def test_nothing_is_monitored_while_a_fifo_has_no_reader(self):
        fifo = pathlib.Path("/tmp/fifo")
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo)
        run = Running("-w", fifo, started="waiting for a reader")
        self.assertFalse(is_on())
        begin = time.monotonic()
        status, talk = run.stop()
        self.assertLess(time.monotonic() - begin, 2)
        self.assertEqual(status, 0, talk)
        self.check_restored()
        run = Running("-c", "1", "-w", fifo, started="waiting for a reader")
        with fifo.open("rb") as reader:
            run.wait_for("capturing")
            drops.marker("through the fifo")
            self.assertIn(b"through the fifo", reader.read())
        self.assertEqual(run.wait()[0], 0)
        self.check_restored()

    def test_a_refused_start_leaves_files_as_they_were(self):
        run = Running("-w", self.file("running"))
        old, new = self.file("old"), self.file("not-begun")
        old.write_text("somebody's file")
        for file in (old, new):
            self.assertEqual(dwdump("--source", "netdm", "-w", file)[0], 1)
        self.assertEqual(old.read_text(), "somebody's file")
        self.assertFalse(new.exists())
        self.assertEqual(run.stop()[0], 0)

    def test_timeout_ends_it_in_order(self):
        for _ in range(3):
            done = subprocess.run(
                ["timeout", "--preserve-status", "-s", "INT", "8"]
                + [harness.DWDUMP, "-w", self.file("timeout")],
                capture_output=True, text=True, timeout=harness.PATIENCE,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("interrupted again", done.stderr)
            self.assertTrue(re.search(r"^\d+ packets? captured", done.stderr, re.MULTILINE))
            self.check_restored()

    def test_a_file_size_limit_is_told_and_the_settings_put_back(self):
        run = Running(
            "-U", "-w", self.file("limited"),
            prefix=["sh", "-c", 'ulimit -f 32; exec "$@"', "sh"],
        )
        for number in range(100):
            if run.process.poll() is not None:
                break
            drops.marker(f"{number} " + "x" * 1000)
        status, talk = run.wait()
        self.assertEqual(status, 1, talk)
        self.assertIn("File too large\nhint: ", talk)
        self.check_restored()
        self.assertGreater(len(pcapng.read(self.file("limited"))["packets"]), 5)
