#!/usr/bin/python3
"""Runs in the guest: the dwdump under test on a real kernel, next to the C tool.

    session.py DWDUMP OUTDIR [NETDEVSIM] [--only CLASS[.TEST] …]

Each test is one way to use dwdump, and what has to be true afterwards. Files that the
host looks at with tshark are left in OUTDIR.
"""

import pathlib
import shutil
import subprocess
import sys
import time
import unittest

import auto
import captures
import check
import ebpf_session
import endings
import extcap
import filters
import flood
import harness
import lockdown
import losses
import network
import no_packets
import refusals
import rights
import sandbox_session
import sharing
import ssh
import summary
import symbols
import table
import why_session


def suite(only):
    """All tests; those of hardware drops where there is a simulated switch. Or only these."""
    loader = unittest.defaultTestLoader
    kinds = [
        auto.Auto, captures.BesideTheCTool, endings.Busy, check.Check, endings.Endings,
        filters.Filters, captures.ForTheHost,
        filters.KernelFilters, captures.Live, losses.Loss, no_packets.AlertsAboutAlerts,
        no_packets.NotPackets, captures.Reasons, refusals.Refusals, flood.Floods, sharing.Sharing,
        summary.Summary, symbols.Symbols, table.Table, extcap.Extcap, rights.Rights,
        sandbox_session.Sandbox, ssh.Ssh,
    ]
    # The simulated switch is made by the first.
    kinds += [captures.Hardware, summary.Traps] if harness.NETDEVSIM else []
    # Last, for it loads modules that take what others drop: with llc, nobody drops a spanning tree's frames.
    kinds += [ebpf_session.Ebpf, why_session.Why]
    # Nothing but a reboot ends it.
    kinds += [lockdown.Lockdown]
    if only:
        # By name alone: an emulated guest can be too slow for its looks.
        kinds.append(why_session.Rulesets)
        names = {kind.__name__: kind for kind in kinds}
        chosen = [name.partition(".") for name in only]
        return unittest.TestSuite(
            names[kind](test) if test else loader.loadTestsFromTestCase(names[kind])
            for kind, _, test in chosen
        )
    return unittest.TestSuite(loader.loadTestsFromTestCase(kind) for kind in kinds)


class TimedResult(unittest.TextTestResult):
    """Tells at the end how long the tests of each class took."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seconds = {}

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        name = type(test).__name__
        self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - self.started

    def printErrors(self):
        super().printErrors()
        longest = sorted(self.seconds.items(), key=lambda item: -item[1])
        self.stream.writeln(", ".join(f"{name} {seconds:.0f} s" for name, seconds in longest))


def main():
    arguments, only = sys.argv[1:], []
    if "--only" in arguments:
        place = arguments.index("--only")
        arguments, only = arguments[:place], arguments[place + 1 :]
    harness.DWDUMP, out, *switch = arguments
    harness.OUT = pathlib.Path(out)
    harness.NETDEVSIM = switch[0] if switch else None
    subprocess.run(["modprobe", "drop_monitor"], check=True)
    network.setup()
    result = unittest.TextTestRunner(verbosity=2, resultclass=TimedResult).run(suite(only))
    shutil.copytree(harness.TALK, harness.OUT / "talk", dirs_exist_ok=True)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


if __name__ == "__main__":
    main()
