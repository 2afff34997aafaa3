"""The drop monitor and eBPF together, and each alone where the other cannot be used, a part of session.py."""

import contextlib
import pathlib
import signal
import subprocess
import time

import alerts
import drops
import harness
import network
import pcapng
import tracepoint
from harness import (
    CTool, Running, SessionTest, dwdump, references, settings, wait_until, without_bpf,
    without_privileges,
)

MODULE = pathlib.Path("/sys/module/drop_monitor")
LOADER = pathlib.Path("/proc/sys/kernel/modprobe")
OUTPUT_DROPS = 7
BUSY = "with eBPF, .*: drops are already being monitored, by another program"
UNSEEN = "those without a link-layer header, such as the OUTPUT hook's, are not seen"


def send_output(tag):
    for number in range(OUTPUT_DROPS):
        with contextlib.suppress(PermissionError):
            network.send_datagram(f"[{tag} {number}]".encode(), network.RIGHT4, network.OUTPUT_PORT)


def programs():
    """How many eBPF programs the kernel has."""
    return len(tracepoint.attached()[0])


@contextlib.contextmanager
def unloaded():
    """The module is not there, and nobody can load it."""
    wait_until(lambda: references() == 0)
    subprocess.run(["rmmod", "drop_monitor"], check=True)
    before = LOADER.read_text()
    LOADER.write_text("/bin/false")
    try:
        yield
    finally:
        LOADER.write_text(before)
        subprocess.run(["modprobe", "drop_monitor"], check=True)


class CaptureTest(SessionTest):
    """Captures of known drops; the settings and the programs are as before at the end."""

    def setUp(self):
        self.before = settings()
        self.programs = programs()
        self.enterContext(network.output_rule())

    def tearDown(self):
        super().tearDown()
        wait_until(lambda: programs() == self.programs)

    def capture(self, name, *options, prefix=(), opening="capturing", output=OUTPUT_DROPS, cases=True):
        """Captures known drops, each of which has to come once. Returns the talk."""
        file = harness.OUT / f"auto-{name}.pcapng"
        run = Running(*options, "-w", file, prefix=prefix, started=opening)
        facts = list(drops.run()) if cases else []
        drops.marker(f"{name} marker")
        send_output(name)
        time.sleep(1)
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        self.assertEqual(harness.loss(talk)[1:], [0, 0], talk)
        self.assertNotIn("perf buffers", talk)
        packets = pcapng.read(file)["packets"]
        self.assertEqual(len(packets), harness.loss(talk)[0])
        for number in range(OUTPUT_DROPS):
            found = [p for p in packets if f"[{name} {number}]".encode() in p["data"]]
            self.assertEqual(len(found), 1 if output else 0, talk)
            for packet in found:
                self.assertEqual((packet["interface"]["link"], packet["data"][0]), ("raw", 0x45))
        found = [p for p in packets if f"{name} marker".encode() in p["data"]]
        self.assertEqual(len(found), 1, talk)
        for case in facts:
            with self.subTest(case=case["case"]):
                mine = drops.of_case(case, packets)
                self.assertEqual(len(mine), case["count"])
        self.assertEqual(settings(), self.before)
        return talk, packets


class Auto(CaptureTest):
    """Every drop arrives once, from whatever source there is."""

    def test_both_capture_each_drop_once(self):
        talk, packets = self.capture("both", opening="capturing software( and hardware)? drops, to")
        self.assertNotIn("eBPF", talk)
        # In order, within the window; the drop monitor's own are not quite in order.
        times = [packet["time"] for packet in packets]
        behind = [max(times[: place + 1]) - time for place, time in enumerate(times)]
        self.assertLess(max(behind), 200_000_000)  # ns

    def test_ebpf_alone_captures_each_drop_once(self):
        talk, _ = self.capture("ebpf", "--source", "ebpf", opening="capturing software drops with eBPF")
        self.assertIn("software drops with eBPF and hardware drops", talk)

    def test_the_drop_monitor_alone_skips_some(self):
        options = ["--source", "netdm"]
        talk, _ = self.capture("netdm", *options, output=0)
        self.assertNotIn("eBPF", talk)
        self.assertEqual(programs(), self.programs)

    def test_a_busy_drop_monitor_is_left_alone(self):
        theirs = harness.OUT / "auto-beside.pcap"
        other = CTool(theirs, "-o", "sw")
        theirs_set = settings()
        self.before = theirs_set
        self.capture("busy", opening=BUSY)
        talk, _ = self.capture("busy-verbose", "-v", "--source", "ebpf", cases=False)
        self.assertIn("no hardware drops: drops are already being monitored", talk)
        other.stop()
        found = alerts.alerts(theirs)
        marked = [alert for alert in found if "busy marker".encode().hex() in alert["payload"]]
        self.assertEqual(len(marked), 1)

    def test_force_takes_over_with_ebpf_beside_it(self):
        run = Running("-o", "sw", "-w", harness.OUT / "auto-first.pcapng")
        talk, _ = self.capture("force", "--force", cases=False)
        self.assertIn("took over the drop monitor", talk)
        self.assertNotIn("with eBPF", talk)
        self.assertEqual(run.wait()[0], 1)

    def test_a_module_that_is_missing(self):
        with unloaded():
            # Nobody can read the settings.
            file = harness.OUT / "auto-missing.pcapng"
            run = Running("-w", file, started="with eBPF, .*: there is no drop monitor here")
            send_output("missing")
            time.sleep(0.5)
            status, talk = run.stop()
            self.assertEqual(status, 0, talk)
            packets = pcapng.read(file)["packets"]
            found = [packet for packet in packets if b"[missing " in packet["data"]]
            self.assertEqual(len(found), OUTPUT_DROPS)
            for words in (["-p"], ["-l", "5"], ["--force"], ["-o", "hw"]):
                status, _, talk = dwdump(*words, "-w", "/tmp/x.pcapng")
                self.assertEqual(status, 1)
                self.assertIn("cannot find the NET_DM netlink family", talk)

    def test_a_capture_with_ebpf_loads_no_module(self):
        wait_until(lambda: references() == 0)
        subprocess.run(["rmmod", "drop_monitor"], check=True)
        try:
            options = ["--source", "ebpf", "-v", "--duration", "0.5"]
            status, _, talk = dwdump(*options, "-w", "/dev/null")
            self.assertEqual(status, 0, talk)
            self.assertIn("no hardware drops: there is no drop monitor here", talk)
            self.assertFalse(MODULE.exists())
        finally:
            subprocess.run(["modprobe", "drop_monitor"], check=True)

    def test_another_namespace(self):
        prefix = ["ip", "netns", "exec", "right"]
        self.capture("namespace", prefix=prefix, opening="with eBPF, .*: there is no drop monitor here")

    def test_without_bpf_the_drop_monitor_is_alone_and_says_what_is_not_seen(self):
        talk, _ = self.capture("no-bpf", prefix=without_bpf(), output=0)
        self.assertRegex(talk, rf"{UNSEEN}: cannot create an eBPF map: Operation not permitted\n")
        status, _, talk = dwdump("--source", "ebpf", "-w", "/dev/null", prefix=without_bpf())
        self.assertEqual(status, 1)
        self.assertIn("cannot create an eBPF map: Operation not permitted", talk)

    def test_without_any_right_both_causes_are_told(self):
        status, _, talk = dwdump("-w", "/tmp/x.pcapng", prefix=without_privileges())
        self.assertEqual(status, 1)
        self.assertRegex(talk, r"^dwdump: cannot .*: Operation not permitted; cannot .* eBPF .*: Operation")
        self.assertRegex(talk, r"(?m)^hint: .*CAP_NET_ADMIN.*\nhint: .*CAP_BPF")

    def test_a_killed_one_leaves_no_program(self):
        run = Running("-w", harness.OUT / "auto-killed.pcapng")
        self.assertGreaterEqual(programs(), self.programs + 2)
        run.stop(signal.SIGKILL)
        wait_until(lambda: programs() == self.programs)

    def test_a_number_of_drops_and_a_duration_end_it(self):
        file = harness.OUT / "auto-count.pcapng"
        run = Running("-c", str(OUTPUT_DROPS), "-w", file, f"udp port {network.OUTPUT_PORT}")
        send_output("counted")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        self.assertEqual(len(pcapng.read(file)["packets"]), OUTPUT_DROPS)
        run = Running("--duration", "2", "-w", file, f"udp port {network.OUTPUT_PORT}")
        send_output("timed")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        self.assertEqual(len(pcapng.read(file)["packets"]), OUTPUT_DROPS)
        self.assertEqual(settings(), self.before)
