#!/usr/bin/python3
"""Runs in the guest: captures while drops are made and the host changes, with one source after the other.

    session.py DWDUMP OUTDIR SECONDS SOURCE…

SECONDS are for all sources together. Leaves in OUTDIR the files, what happened when (events.jsonl), and how many
drops were made when (made.log). books.py, on the host, balances the books.
"""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from frames import REJECTED_TYPE
from host_changes import CHANGES, DISK, INTERFERENCES, clear, prepare
from maker import Maker
from pace import Pace

import harness
from harness import CONFIG, Running, net_dm, settings, wait_until

CGROUP = pathlib.Path("/sys/fs/cgroup/soak")
# Bytes, of the whole process, with the pages of its files: so few that the kernel has to take pages back.
MEMORY = 32 << 20
# Of buffers, so few that drops are lost while dwdump stands still.
BUFFER = "1M"
# The longest time between two looks at the books, in seconds.
INTERVAL = 60
# A third of the time is for what ends captures.
STEADY_PART = 2 / 3


class Source:
    """Captures of one source, one after the other."""

    def __init__(self, name, maker, pace, events):
        self.name, self.maker, self.pace, self.events = name, maker, pace, events
        self.number = 0
        self.before = settings()

    def note(self, what, **facts):
        facts = {"what": what, "source": self.name, "file": self.file.name, "time": time.time_ns(), **facts}
        self.events.write(json.dumps(facts) + "\n")
        self.events.flush()

    def start(self, kind, folder=None, more=()):
        """Starts a dwdump while nothing is made, and then makes drops."""
        self.number += 1
        self.file = (folder or harness.OUT) / f"{self.name}-{self.number}-{kind}.pcapng"
        self.pace_before = self.pace.read()
        made, spawned = self.maker.pause(), time.time_ns()
        limits = f'echo $$ >{CGROUP}/cgroup.procs; ulimit -n 64; exec "$@"'
        self.run = Running(
            *("--source", self.name, "-o", "sw", "-t", 64, *more, "-w", self.file),
            *("not", "ether", "proto", hex(REJECTED_TYPE)), prefix=["sh", "-c", limits, "sh"],
            started="capturing",
        )
        self.made_before = made
        self.note("start", made=made, spawned=spawned)
        self.maker.go()

    def told(self):
        """The counts that were told last."""
        talk = self.run.talk()
        *_, last = re.finditer(r"^\d+ packets? captured$", talk, re.MULTILINE)
        found = re.findall(r"(\d+) packets? (captured|rejected|lost)", talk[last.start() :])
        return {
            what: sum(int(number) for number, counted in found if counted == what)
            for what in ("captured", "rejected", "lost")
        }

    def asked(self):
        """The counts, asked for now."""
        said = self.run.talk().count(" captured\n")
        self.run.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.run.talk().count(" captured\n") > said)
        # The other lines follow.
        time.sleep(0.1)
        return self.told()

    def look(self):
        """Notes the books while nothing is made, once all that was made has arrived."""
        made = self.maker.pause()
        count = sum(made[what] - self.made_before[what] for what in ("frames", "singles"))
        deadline = time.monotonic() + harness.PATIENCE
        told = self.asked()
        while sum(told.values()) < count and time.monotonic() < deadline:
            time.sleep(0.3)
            told = self.asked()
        rollup = pathlib.Path(f"/proc/{self.run.process.pid}/smaps_rollup").read_text()
        pss = int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1]) << 10
        self.note("look", made=made, told=told, pss=pss)
        self.maker.go()

    def stop(self):
        """Ends the dwdump in order."""
        made = self.maker.pause()
        self.note("stop")
        self.run.process.send_signal(signal.SIGINT)
        self.ends(0, made)

    def ends(self, expected, made=None):
        """Waits for the end of the dwdump. Without what was made, drops are made until then."""
        status, talk = self.run.wait()
        ended = time.time_ns()
        slowness = self.pace.slowness(self.pace_before)
        made = made or self.maker.pause()
        self.note("end", made=made, ended=ended, slowness=slowness, told=self.told(), talk=talk)
        if status != expected:
            sys.exit(f"{self.file.name}: status {status}\n{talk}")

    def is_restored(self):
        """Whoever monitored is done, and what was before is there again."""
        if settings() != self.before or net_dm(CONFIG, {}) != 0:
            sys.exit(f"{self.file.name} left other settings, or monitoring on:\n{settings()}")

    def is_interfered_with(self, how):
        """Another process does something that ends a capture with the drop monitor; eBPF does not feel it."""
        print(f"{self.name}: {how}", flush=True)
        # At any moment between two looks that dwdump has at the drop monitor.
        time.sleep(random.uniform(0.5, 2.5))
        begun = time.time_ns()
        with INTERFERENCES[how]() as done:
            self.note("interference", how=how, begun=begun, done=done)
            if self.name == "ebpf":
                time.sleep(1)
            else:
                self.ends(1)
        self.is_restored()

    def fills_a_disk(self):
        with harness.small_disk("2m") as disk:
            self.start("full", disk)
            wait_until(lambda: os.statvfs(disk).f_bavail == 0)
            self.note("full")
            self.ends(1)
            shutil.copyfile(self.file, harness.OUT / self.file.name)
        self.is_restored()

    def is_steady(self, seconds):
        """One capture that outlasts everything, on a disk of its own."""
        self.start("steady", DISK, more=("-b", BUFFER))
        looks = max(3, round(seconds / INTERVAL))
        began = time.monotonic()
        for look in range(1, looks + 1):
            while True:
                for change in CHANGES:
                    change(self.run.process, self.maker)
                if time.monotonic() - began >= seconds * look / looks:
                    break
                time.sleep(1)
            self.look()
        time.sleep(1)
        self.stop()
        self.is_restored()
        shutil.copyfile(self.file, harness.OUT / self.file.name)
        self.file.unlink()


def soak(source, seconds):
    """First what ends captures, then what does not."""
    print(f"{source.name}: {seconds:.0f} s", flush=True)
    end = time.monotonic() + seconds * (1 - STEADY_PART)
    while True:
        if source.name == "ebpf":
            source.start("undisturbed")
        for how in INTERFERENCES:
            if source.name != "ebpf":
                source.start("interfered")
            source.is_interfered_with(how)
        if source.name == "ebpf":
            source.stop()
        source.fills_a_disk()
        if time.monotonic() >= end:
            break
    source.is_steady(seconds * STEADY_PART)


def limit_memory():
    if not (CGROUP.parent / "cgroup.controllers").exists():
        subprocess.run(["mount", "-t", "cgroup2", "none", CGROUP.parent], check=True)
    CGROUP.mkdir(exist_ok=True)
    (CGROUP.parent / "cgroup.subtree_control").write_text("+memory")
    (CGROUP / "memory.max").write_text(str(MEMORY))


def main():
    harness.DWDUMP, out, seconds, *sources = sys.argv[1:]
    harness.OUT = pathlib.Path(out)
    # The machine may be busy, and nothing here is quicker for a shorter one.
    harness.PATIENCE = 300
    seed = time.time_ns()
    random.seed(seed)
    print(f"seed {seed}", flush=True)
    # Of files, with twice the fastest rate that a guest reaches.
    prepare(int(seconds) * (4 << 20) + (512 << 20))
    limit_memory()
    pace = Pace()
    maker = Maker(harness.OUT / "made.log")
    with (harness.OUT / "events.jsonl").open("w") as events:
        for name in sources:
            soak(Source(name, maker, pace, events), int(seconds) / len(sources))
    maker.end()
    pace.end()
    clear()
    happened = dict(line.split() for line in (CGROUP / "memory.events").read_text().splitlines())
    print(f"memory cgroup: {MEMORY >> 20} MB, reached {happened['max']} times, {happened['oom_kill']} killed")
    # Else it was no limit.
    sys.exit(happened["max"] == "0" or happened["oom_kill"] != "0")


if __name__ == "__main__":
    main()
