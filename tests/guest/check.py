"""What `dwdump --check` says of a kernel with the drop monitor, a part of session.py."""

import json
import pathlib
import subprocess

import harness
from harness import CTool, Running, SessionTest, references, wait_until, without_privileges

MODPROBE = pathlib.Path("/proc/sys/kernel/modprobe")


def dwdump(*arguments, prefix=()):
    """As harness.dwdump, with time for three captures and a cold tshark."""
    done = subprocess.run(
        [*prefix, harness.DWDUMP, *arguments], capture_output=True, text=True, timeout=4 * harness.PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


class Check(SessionTest):
    """NET_DM idle, busy, left on, absent; in every case its settings are as they were."""

    def setUp(self):
        self.before = harness.settings()

    def check(self, prefix=(), status=0):
        """The findings by subject, and which of the three drops each source saw."""
        found, output, talk = dwdump("--check", "--json", prefix=prefix)
        self.assertEqual(found, status, output + talk)
        answer = json.loads(output)
        self.assertEqual(answer["ok"], status == 0)
        findings = {finding["subject"]: finding for finding in answer["findings"]}
        for finding in findings.values():
            self.assertEqual("cure" in finding, not finding["ok"], finding)
        saw = {source: [drop[source] for drop in answer["drops"]] for source in ("netdm", "ebpf", "auto")}
        return findings, saw

    def assert_idle(self):
        self.assertEqual(harness.settings(), self.before)
        self.assertEqual(harness.net_dm(harness.CONFIG, {}), 0)

    def test_both_sources_are_tried(self):
        findings, saw = self.check()
        self.assertRegex(findings["NET_DM"]["found"], "^idle; nobody listens$")
        self.assertTrue(findings["eBPF"]["ok"])
        self.assertEqual(saw["netdm"], [False, True, True])
        self.assertEqual(saw["ebpf"], [True, True, True])
        self.assertEqual(saw["auto"], [True, True, True])
        self.assert_idle()

    def test_the_text_ends_with_the_sum(self):
        status, output, talk = dwdump("--check")
        self.assertEqual((status, talk), (0, ""))
        self.assertIn("\nok    a datagram to a port where nobody listens: NET_DM and eBPF saw it, ", output)
        self.assertTrue(output.endswith("\ndwdump sees every drop that it made here\n"), output)
        (harness.OUT / "check.txt").write_text(output)

    def test_a_busy_monitor_is_left_alone(self):
        other = CTool("/tmp/busy.pcap", "-o", "sw")
        during = harness.settings()
        findings, saw = self.check()
        self.assertEqual(harness.settings(), during)
        busy = 16
        self.assertEqual(harness.net_dm(harness.CONFIG, {}), busy)
        line = findings["NET_DM"]
        self.assertEqual(line["found"], f"busy; dwdump (process {other.process.pid}) listens")
        self.assertIn("`dwdump -p` listens along", line["cure"])
        self.assertEqual(saw["netdm"], [None] * 3)
        self.assertEqual(saw["auto"], [True] * 3)
        other.stop()

    def test_monitoring_that_was_left_on_is_told(self):
        self.assertEqual(harness.net_dm(harness.START, {harness.SW_DROPS: b""}), 0)
        findings, saw = self.check()
        self.assertIn("left on by a program that was killed", findings["NET_DM"]["found"])
        self.assertIn("dwdump -e", findings["NET_DM"]["cure"])
        self.assertEqual(saw["netdm"], [None] * 3)

    def test_a_listener_is_named(self):
        listener = Running("-p", "-w", "/dev/null")
        findings, saw = self.check()
        name = pathlib.Path(harness.DWDUMP).name[:15]
        found = f"idle; {name} (process {listener.process.pid}) listens"
        self.assertEqual(findings["NET_DM"]["found"], found)
        self.assertEqual(saw["netdm"], [False, True, True])
        listener.stop()
        self.assert_idle()

    def test_a_missing_module_is_told_and_one_that_was_loaded(self):
        loader = MODPROBE.read_text()
        wait_until(lambda: references() == 0)
        subprocess.run(["rmmod", "drop_monitor"], check=True)
        MODPROBE.write_text("/bin/false")
        try:
            findings, saw = self.check()
        finally:
            MODPROBE.write_text(loader)
        self.assertEqual(findings["NET_DM"]["cure"], "`modprobe drop_monitor`")
        self.assertEqual(saw["auto"], [True] * 3)
        findings, saw = self.check()
        self.assertIn("its module was loaded for this check", findings["NET_DM"]["found"])
        self.assertEqual(saw["netdm"], [False, True, True])
        self.assert_idle()

    def test_another_namespace_is_told(self):
        findings, saw = self.check(prefix=["ip", "netns", "exec", "left"])
        self.assertIn("nsenter -t 1 -n", findings["NET_DM"]["cure"])
        self.assertEqual((saw["netdm"], saw["auto"]), ([None] * 3, [True] * 3))

    def test_each_missing_capability_is_named(self):
        findings, saw = self.check(prefix=without_privileges(), status=1)
        for name in ("NET_ADMIN", "SYS_ADMIN", "BPF", "PERFMON", "IPC_LOCK", "SYSLOG"):
            self.assertFalse(findings[f"CAP_{name}"]["ok"])
        self.assertIn("Operation not permitted", findings["NET_DM"]["found"])
        self.assertFalse(any(saw["auto"]))
        # NET_DM alone misses what has no link-layer header.
        findings, saw = self.check(prefix=without_privileges("net_admin", "sys_admin"))
        self.assertEqual(saw["ebpf"], [True] * 3)
        self.assert_idle()
