"""Runs in the guest, as a part of session.py: what `dwdump --why` says of planted causes, by `why/run.py`."""

import pathlib
import subprocess
import sys

import harness

RUN = pathlib.Path(__file__).resolve().parent / "why" / "run.py"
RULESETS = RUN.with_name("rulesets.py")


class Why(harness.SessionTest):
    """Each planted cause is named, and nothing innocent."""

    def test_a_cause_of_each_family_is_named(self):
        # All of them take most of an hour in a guest.
        command = [sys.executable, RUN, harness.DWDUMP, "--guest", "--brief"]
        self.assertEqual(subprocess.run(command, check=False).returncode, 0)


class Rulesets(harness.SessionTest):
    """Of random rules, the one is named that the kernel took."""

    def test_the_rule_is_the_one_that_the_kernel_took(self):
        command = [sys.executable, RULESETS, harness.DWDUMP, "60"]
        self.assertEqual(subprocess.run(command, check=False).returncode, 0)
