"""What cannot be done, and what is said then, a part of session.py."""

import pathlib
import subprocess

import harness
from harness import Running, SessionTest, dwdump, references, wait_until, without_privileges


class Refusals(SessionTest):
    """What cannot be done, and what is said then."""

    def test_questions_need_no_privilege(self):
        prefix = ["setpriv", "--reuid", "65534", "--clear-groups", *without_privileges()[1:]]
        status, output, talk = dwdump("-q", prefix=prefix)
        self.assertEqual((status, talk), (0, ""))
        self.assertRegex(output, r"^Alert mode: (Summary|Packet)\nTruncation length: \d+\nQueue length: \d+\n$")
        status, output, talk = dwdump("-s", prefix=prefix)
        self.assertEqual((status, talk), (0, ""))
        lines = r"^Software statistics:\nTail dropped: \d+\nHardware statistics:\nTail dropped: \d+\n$"
        self.assertRegex(output, lines)

    def test_a_closed_standard_output_is_an_error(self):
        for option in ("-q", "-s"):
            done = subprocess.run(
                ["sh", "-c", f"exec {harness.DWDUMP} {option} >&-"], capture_output=True, text=True
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot write to standard output", done.stderr)

    def test_a_missing_capability_is_named(self):
        for source, capabilities in {
            "netdm": ["CAP_NET_ADMIN"], "ebpf": ["CAP_BPF"], "auto": ["CAP_NET_ADMIN", "CAP_BPF"],
        }.items():  # fmt: skip
            status, _, talk = dwdump(
                "--source", source, "-w", "/tmp/x.pcapng", prefix=without_privileges()
            )
            self.assertEqual(status, 1)
            self.assertIn("Operation not permitted", talk)
            for capability in capabilities:
                self.assertIn(capability, talk)
        status, _, talk = dwdump("-e", prefix=without_privileges())
        self.assertEqual(status, 1)
        self.assertIn("CAP_NET_ADMIN", talk)
        # Listening: CAP_SYS_ADMIN since 6.7, and in stable kernels of that time.
        status, _, talk = dwdump("-p", "-w", "/tmp/x.pcapng", prefix=without_privileges("net_admin"))
        self.assertEqual(status, 1)
        self.assertIn("cannot listen to the drop monitor: Operation not permitted", talk)
        self.assertIn("CAP_SYS_ADMIN", talk)

    def test_a_clamped_buffer_is_told(self):
        run = Running(
            "-p", "-b", "64M", "-w", "/dev/null", prefix=without_privileges("sys_admin")
        )
        run.wait_for(r"the socket buffer has \d+ bytes instead of 67108864")
        self.assertEqual(run.stop()[0], 0)
        run = Running("-o", "sw", "-b", "64M", "-w", "/dev/null")
        status, talk = run.stop()
        self.assertEqual(status, 0)
        self.assertNotIn("the socket buffer has", talk)

    def test_another_namespace_is_named(self):
        status, _, talk = dwdump("-q", prefix=["ip", "netns", "exec", "left"])
        self.assertEqual(status, 1)
        self.assertIn("cannot find the NET_DM netlink family", talk)
        self.assertIn("nsenter -t 1 -n", talk)

    def test_a_missing_module_is_named(self):
        helper = pathlib.Path("/proc/sys/kernel/modprobe")
        loader = helper.read_text()
        wait_until(lambda: references() == 0)
        subprocess.run(["rmmod", "drop_monitor"], check=True)
        helper.write_text("/bin/false")
        try:
            status, _, talk = dwdump("--source", "netdm", "-w", "/tmp/x.pcapng")
        finally:
            helper.write_text(loader)
        self.assertEqual(status, 1)
        self.assertEqual(
            talk,
            "dwdump: cannot find the NET_DM netlink family: No such file or directory\n"
            "hint: load it with `modprobe drop_monitor`, "
            "or check that the kernel has CONFIG_NET_DROP_MONITOR\n",
        )
        # Asking for the family loads the module where that is allowed.
        self.assertEqual(dwdump("-q")[0], 0)
