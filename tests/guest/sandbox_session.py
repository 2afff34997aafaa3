"""Runs in the guest, as a part of session.py: a capture with the drop monitor that somebody takes over."""

import signal

import drops
import harness
import pcapng
import sandbox
from harness import Running, SessionTest, dwdump, settings

# CAP_NET_ADMIN: to stop the drop monitor, and to restore its settings.
NET_ADMIN = 1 << 12


class Sandbox(SessionTest):
    """What a capture may still do, and that it ends as it should whatever it tried."""

    def check(self, source, how):
        before = settings()
        file = harness.OUT / f"taken-{source}.pcapng"
        run = Running("--source", source, "-Z", "nobody", "-l", "4321", "-w", file)
        self.assertIn("4321", settings())
        pid = run.process.pid
        sandbox.Running.wait_until(lambda: sandbox.is_confined(pid))
        sandbox.check_status(pid, NET_ADMIN, "2", sandbox.NOBODY)
        drops.marker("before")
        sandbox.take_over(pid, sandbox.open_socket(pid))
        drops.marker("behind")
        status, talk = run.stop(how)
        self.assertEqual(status, 0, talk)
        self.assertIn("the sandbox refused 14 system calls: ", talk)
        self.assertEqual(settings(), before, talk)
        self.assertEqual(dwdump("-e")[2], "dwdump: monitoring was off already\n")
        found = [packet["data"] for packet in pcapng.read(file)["packets"]]
        for mark in (b"before", b"behind"):
            self.assertTrue(any(mark in data for data in found), mark)

    def test_the_drop_monitor_alone(self):
        self.check("netdm", signal.SIGTERM)

    def test_the_drop_monitor_and_ebpf(self):
        self.check("auto", signal.SIGINT)

    def test_root_stays_root_without_capabilities(self):
        run = Running("-w", "/dev/null")
        pid = run.process.pid
        sandbox.Running.wait_until(lambda: sandbox.is_confined(pid))
        sandbox.check_status(pid, NET_ADMIN, "2", None)
        status, talk = run.stop()
        self.assertEqual((status, "refused" in talk), (0, False), talk)
