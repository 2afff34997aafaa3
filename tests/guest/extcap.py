"""Runs in the guest, as a part of session.py: dwdump as a capture interface of tshark, by the extcap
protocol."""

import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

import drops
import harness
import pcapng
import registry

# What the kernel's settings may take to be back, and a packet to arrive: less than a second, in a guest that is
# emulated, on a machine that others use, too.
SOON = 5
INTERFACE = ("--extcap-interface", "drops")


def extcap_folder():
    folders = subprocess.run(["tshark", "-G", "folders"], capture_output=True, text=True, check=True)
    return pathlib.Path(re.search(r"^Extcap path:\s*(\S+)$", folders.stdout, re.MULTILINE)[1])


def children(pid):
    """The processes below one, by name."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, name, rest = re.match(r"(\d+) \((.*)\) (.*)", stat.read_text()).groups()
            if int(rest.split()[1]) == pid:
                found[name] = int(number)
    return found


class Fifo:
    """dumpcap's part: reads what comes."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp()) / "fifo"
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.data = b""

    def wait_for(self, what, patience=harness.PATIENCE):
        deadline = time.monotonic() + patience
        while what not in self.data:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{what!r} never came")
            if select.select([self.fd], [], [], left)[0]:
                self.data += os.read(self.fd, 65536)

    def close(self):
        os.close(self.fd)


class ExtcapTest(harness.SessionTest):
    """Knows how many monitored before, and how the kernel was set."""

    soon = SOON

    def setUp(self):
        self.users = harness.references()

    def monitoring_is_on(self):
        return harness.references() > self.users

    def check_soon_restored(self, begin=None):
        """Monitoring is off, and the settings are as before, soon after the beginning."""
        begin = begin or time.monotonic()
        while self.monitoring_is_on() and time.monotonic() < begin + harness.PATIENCE:
            time.sleep(0.01)
        took = time.monotonic() - begin
        print(f"{took:.2f} s", end=" ", flush=True)
        self.assertEqual(harness.settings(), self.before)
        self.assertLess(took, self.soon)


class Extcap(ExtcapTest):
    """In tshark, and with tshark's part played here."""

    @classmethod
    def setUpClass(cls):
        folder = extcap_folder()
        folder.mkdir(parents=True, exist_ok=True)
        # In the guest's memory.
        cls.link = folder / "dwdump"
        cls.link.symlink_to(harness.DWDUMP)
        cls.before = harness.settings()

    @classmethod
    def tearDownClass(cls):
        cls.link.unlink()

    def tshark(self, *arguments):
        """A tshark that captures, when its extcap has begun."""
        log = (harness.TALK / f"tshark-{time.monotonic_ns()}").open("w+")
        process = subprocess.Popen(["tshark", *map(str, arguments)], stdout=log, stderr=subprocess.STDOUT)
        harness.PROCESSES.append(process)
        process.talk = lambda: pathlib.Path(log.name).read_text()
        deadline = time.monotonic() + 4 * harness.PATIENCE
        while not self.monitoring_is_on():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(process.talk())
            time.sleep(0.05)
        return process

    def capture(self, *arguments):
        """A capture as tshark starts it, and its FIFO, once it has begun."""
        fifo = Fifo()
        run = harness.Running(
            "--capture", *INTERFACE, "--fifo", fifo.path, *arguments, started=None
        )
        fifo.wait_for(b"\x0a\x0d\x0d\x0a")
        harness.wait_until(self.monitoring_is_on)
        return run, fifo

    def test_tshark_lists_the_interfaces(self):
        listed = subprocess.run(["tshark", "-D"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(listed, r"(?m)^\d+\. drops \(Packets that the kernel dropped\)$")
        self.assertRegex(listed, r"(?m)^\d+\. drops-ssh \(")
        links = subprocess.run(["tshark", "-i", "drops", "-L"], capture_output=True, text=True)
        self.assertIn("EN10MB", links.stdout + links.stderr)

    def test_tshark_captures_what_a_filter_keeps(self):
        file = harness.OUT / "extcap.pcapng"
        tshark = self.tshark("-i", "drops", "-f", "saddr 10.10.2.4", "-w", file)
        time.sleep(1)
        registry.marker("one that is kept")
        list(drops.run(["udp-closed-v6", "udp-closed-v4"]))
        time.sleep(3)
        tshark.send_signal(signal.SIGINT)
        tshark.wait(harness.PATIENCE)
        self.check_soon_restored()
        self.assertEqual(tshark.returncode, 0, tshark.talk())
        packets = pcapng.read(file)["packets"]
        self.assertTrue(any(b"one that is kept" in packet["data"] for packet in packets))
        for packet in packets:
            self.assertIn(bytes([10, 10, 2, 4]), packet["data"])
            self.assertIn("location", packet["facts"])
        self.assertNotIn("dwdump:", tshark.talk())

    def test_tshark_shows_what_is_wrong_with_a_filter(self):
        done = subprocess.run(
            ["tshark", "-i", "drops", "-f", "port 70000"],
            capture_output=True, text=True, timeout=4 * harness.PATIENCE,
        )
        self.assertIn("expected a port number from 0 to 65535, at column 6 (70000)", done.stderr)
        self.assertFalse(self.monitoring_is_on())

    def test_beside_an_interface(self):
        file = harness.OUT / "extcap-both.pcapng"
        tshark = self.tshark("-i", "lo", "-i", "drops", "-w", file)
        time.sleep(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.sendto(b"on lo", ("127.0.0.1", 9))
        registry.marker("beside lo")
        time.sleep(3)
        tshark.send_signal(signal.SIGINT)
        tshark.wait(harness.PATIENCE)
        self.check_soon_restored()
        read = subprocess.run(
            ["tshark", "-r", file, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment"],
            capture_output=True, text=True, check=True,
        ).stdout
        names = {line.split("\t")[0] for line in read.splitlines()}
        self.assertIn("lo", names, tshark.talk())
        self.assertRegex(read, r"reason: NO_SOCKET|location: ")

    def test_dumpcap_is_killed_without_traffic(self):
        tshark = self.tshark("-i", "drops", "-f", "port 1", "-w", harness.TALK / "killed.pcapng")
        time.sleep(1)
        begin = time.monotonic()
        os.kill(children(tshark.pid)["dumpcap"], signal.SIGKILL)
        self.check_soon_restored(begin)

    def test_tshark_is_killed_without_traffic(self):
        tshark = self.tshark("-i", "drops", "-f", "port 1", "-w", harness.TALK / "killed.pcapng")
        time.sleep(1)
        begin = time.monotonic()
        tshark.kill()
        self.check_soon_restored(begin)

    def test_the_reader_is_gone_without_traffic(self):
        run, fifo = self.capture("--extcap-capture-filter", "port 1")
        begin = time.monotonic()
        fifo.close()
        self.check_soon_restored(begin)
        self.assertEqual(run.wait(), (0, ""))

    def test_a_stop_is_quiet_and_quick(self):
        run, _fifo = self.capture("--trunc", "96", "--comments", "full", "--extcap-later", "7")
        begin = time.monotonic()
        status, talk = run.stop(signal.SIGTERM)
        self.check_soon_restored(begin)
        self.assertEqual((status, talk), (0, ""))

    def test_a_drop_arrives_at_once(self):
        run, fifo = self.capture("--reason", "NO_SOCKET", "--extcap-capture-filter", "udp or tcp")
        begin = time.monotonic()
        registry.marker("at once")
        fifo.wait_for(b"at once", patience=10)
        self.assertLess(time.monotonic() - begin, SOON)
        run.stop(signal.SIGTERM)

    def test_the_other_end_of_a_connection(self):
        """`--fifo -`, as drops-ssh starts it on the other host: the end of the input is the end."""
        with (harness.TALK / "far").open("w") as log:
            far = subprocess.Popen(
                [harness.DWDUMP, "--capture", *INTERFACE, "--fifo", "-", "--extcap-capture-filter=port 1"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )
        harness.PROCESSES.append(far)
        harness.wait_until(self.monitoring_is_on)
        begin = time.monotonic()
        far.stdin.close()
        self.check_soon_restored(begin)
        self.assertEqual(far.stdout.read()[:4], b"\x0a\x0d\x0d\x0a")
        self.assertEqual(far.wait(harness.PATIENCE), 0)
        self.assertEqual((harness.TALK / "far").read_text(), "")
