"""Runs in the guest, as a part of session.py: what `dwdump --why` says of planted causes, by `why/run.py`."""

import pathlib
import subprocess
import sys

import harness

RUN = pathlib.Path(__file__).resolve().parent / "why" / "run.py"
RULESETS = RUN.with_name("rulesets.py")


def can_say_why():
    """Returns whether this dwdump has the option."""
    return "--why" in harness.dwdump("--help")[1]


class Why(harness.SessionTest):
    """Each planted cause is named, and nothing innocent."""

    def test_a_cause_of_each_family_is_named(self):
        # All of them take most of an hour in a guest. Without the option, the variants themselves are tested.
        options = ["--guest", "--brief", *([] if can_say_why() else ["--plant-only"])]
        done = subprocess.run([sys.executable, RUN, harness.DWDUMP, *options], check=False)
        self.assertEqual(done.returncode, 0)

    def test_the_rule_is_the_one_that_the_kernel_took(self):
        if not can_say_why():
            self.skipTest("SKIPPED: this dwdump has no --why")
        done = subprocess.run([sys.executable, RULESETS, harness.DWDUMP, "60"], check=False)
        self.assertEqual(done.returncode, 0)
