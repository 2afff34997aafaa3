"""Runs in the guest, as a part of session.py: what `dwdump --why` says of planted causes, by `why/run.py`."""

import pathlib
import subprocess
import sys

import harness

RUN = pathlib.Path(__file__).resolve().parent / "why" / "run.py"


def can_say_why():
    """Returns whether this dwdump has the option."""
    return "--why" in harness.dwdump("--help")[1]


class Why(harness.SessionTest):
    """Each planted cause is named, and nothing innocent."""

    def test_each_cause_is_named(self):
        # Without the option, the variants themselves are tested.
        options = [] if can_say_why() else ["--plant-only"]
        done = subprocess.run([sys.executable, RUN, harness.DWDUMP, "--guest", *options], check=False)
        self.assertEqual(done.returncode, 0)
