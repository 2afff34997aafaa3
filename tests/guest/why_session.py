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

    def run_variants(self, *options):
        done = subprocess.run([sys.executable, RUN, harness.DWDUMP, "--guest", *options], check=False)
        self.assertEqual(done.returncode, 0)

    def test_each_variant_drops_what_it_says(self):
        self.run_variants("--plant-only")

    def test_each_cause_is_named(self):
        if not can_say_why():
            self.skipTest("SKIPPED: this dwdump has no --why")
        self.run_variants()
