"""A kernel that is locked down against reading its memory, a part of session.py: the last one, for only a reboot
ends a lockdown."""

import json
import pathlib
import subprocess

import check
from auto import UNSEEN, CaptureTest

REASON = "the kernel is locked down (mode `confidentiality`), so no eBPF program may read its memory"
SECURITY = pathlib.Path("/sys/kernel/security")


class Lockdown(CaptureTest):
    """The drop monitor alone is left, and it is said why."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lockdown = SECURITY / "lockdown"
        if not lockdown.exists():
            subprocess.run(["mount", "-t", "securityfs", "securityfs", SECURITY], check=True)
        lockdown.write_text("confidentiality")

    def test_ebpf_is_refused(self):
        status, _, talk = check.dwdump("--source", "ebpf", "-w", "/dev/null")
        self.assertEqual(status, 1)
        self.assertEqual(talk, f"dwdump: {REASON}\nhint: --source netdm still works\n")

    def test_the_drop_monitor_is_alone_and_says_what_is_not_seen(self):
        # Modules that were loaded before it take what others drop, so there are no cases.
        talk, _ = self.capture("lockdown", output=0, cases=False)
        self.assertIn(f"{UNSEEN}: {REASON}\n", talk)

    def test_the_check_tells_the_mode_and_the_cure(self):
        status, output, talk = check.dwdump("--check", "--json")
        self.assertEqual(status, 1, talk)
        answer = json.loads(output)
        findings = {finding["subject"]: finding for finding in answer["findings"]}
        found = findings["lockdown"]
        self.assertIn("confidentiality, which forbids eBPF", found["found"])
        self.assertIn("boot with lockdown=integrity", found["cure"])
        self.assertEqual([drop["netdm"] for drop in answer["drops"]], [False, True, True])
        self.assertFalse(findings["eBPF"]["ok"])
