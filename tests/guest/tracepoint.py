"""What the kernel itself says about the tracepoint skb:kfree_skb and the eBPF programs at it: an oracle
that shares no code with the program under test. And a dwdump beside it."""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import network

# Numbers of system calls.
PERF_EVENT_OPEN, BPF = {"x86_64": (298, 321), "aarch64": (241, 280)}[os.uname().machine]
PROG_LOAD, PROG_GET_NEXT_ID, LINK_CREATE, LINK_GET_NEXT_ID, ENABLE_STATS = 5, 11, 28, 31, 32
LIBC = ctypes.CDLL(None, use_errno=True)
# Alone on a distribution's kernel, as session.py says.
IS_GUEST = False
# All that were started, so that a check that fails leaves nothing running.
PROCESSES = []


def buffer(data):
    """Bytes that the kernel may read."""
    return ctypes.create_string_buffer(data, len(data))


def address(data):
    return ctypes.addressof(data)


def bpf(command, attributes):
    """bpf(2), whose answer may be in the attributes."""
    attributes = ctypes.create_string_buffer(bytes(attributes), 128)
    result = LIBC.syscall(BPF, command, attributes, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, attributes.raw


def numbers(command):
    """The numbers of all programs, or of all links."""
    found, number = [], 0
    while True:
        try:
            _, answer = bpf(command, struct.pack("=I", number))
        except FileNotFoundError:
            return found
        (number,) = struct.unpack_from("=I", answer, 4)
        found.append(number)


def attached():
    """All eBPF programs and links that the kernel has."""
    return set(numbers(PROG_GET_NEXT_ID)), set(numbers(LINK_GET_NEXT_ID))


class Fired:
    """perf's count of skb:kfree_skb, on all CPUs."""

    def __init__(self):
        tracing = pathlib.Path("/sys/kernel/tracing")
        if not (tracing / "events").exists():
            subprocess.run(["mount", "-t", "tracefs", "tracefs", tracing], check=True)
        number = int((tracing / "events/skb/kfree_skb/id").read_text())
        attributes = struct.pack("<IIQ", 2, 64, number).ljust(64, b"\0")  # PERF_TYPE_TRACEPOINT
        self.events = []
        for cpu in range(os.cpu_count()):
            # Of every process on this CPU.
            event = LIBC.syscall(PERF_EVENT_OPEN, ctypes.c_char_p(attributes), -1, cpu, -1, 8)
            assert event >= 0, os.strerror(ctypes.get_errno())
            self.events.append(event)

    def read(self):
        return sum(struct.unpack("<Q", os.read(event, 8))[0] for event in self.events)

    def close(self):
        for event in self.events:
            os.close(event)


@contextlib.contextmanager
def inside_new_namespace(name):
    """A network namespace with loopback, for as long as it takes. The captures of a check that failed end with it."""
    network.ip(f"netns add {name}\n")
    try:
        with network.namespace(name):
            network.ip("link set lo up\n")
            yield
    finally:
        for process in PROCESSES:
            process.kill()
        network.ip(f"netns delete {name}\n")


class Beside:
    """What the kernel counts beside a dwdump: perf's count of drops, which begins before it and ends behind it.
    Software drops alone: perf counts no others.

    A kernel may hide some tasks from eBPF, and with them the softirqs that interrupt them, but not from perf's
    count. A distribution's kernel does not; on any other, how often the kernel ran the first program tells how
    many were hidden, and every other drop has to be counted."""

    def __init__(self, may_hide=True):
        self.may_hide = may_hide and not IS_GUEST
        # For as long as this is open, the kernel counts the runs of programs.
        self.runs_counted = bpf(ENABLE_STATS, bytes(4))[0] if self.may_hide else None
        self.fired = Fired()
        self.before = self.fired.read()

    def begin(self, process):
        """Called when it captures."""
        self.process = process
        # What was seen first here, and last at the end: a stranger's drop between both is not taken for hidden.
        self.seen_before = self.seen() if self.may_hide else 0
        self.inside = self.fired.read()

    def numbers(self, name):
        """What the kernel says of dwdump's open files by that name, in the order in which they were made."""
        found = {}
        for file in pathlib.Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
            try:
                lines = file.read_text().splitlines()
            except FileNotFoundError:
                # Closed since the folder was read.
                continue
            told = dict(line.split(":", 1) for line in lines if ":" in line)
            if name in told:
                found[int(told["prog_id"])] = int(told[name])
        return [found[number] for number in sorted(found)]

    def seen(self):
        """The drops for which the kernel ran the first program, or would have, had it not been running."""
        return self.numbers("run_cnt")[0] + self.numbers("recursion_misses")[0]

    def interrupt(self):
        """Ends the dwdump as Ctrl-C does, when no more drops are made."""
        self.least, self.hidden = self.fired.read() - self.inside, 0
        if self.may_hide:
            seen = self.seen() - self.seen_before
            self.hidden = max(0, self.least - seen)
            self.least = min(self.least, seen)
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """The least and the most drops that the dwdump, which has ended, may have counted."""
        most = self.fired.read() - self.before - self.hidden
        self.fired.close()
        if self.may_hide:
            os.close(self.runs_counted)
        if self.hidden:
            print(f"this kernel hid {self.hidden} drops from eBPF", flush=True)
        return self.least, most


class Capture:
    """A dwdump, and the kernel's counts beside it. It writes no file where that is None. Software drops alone: a
    simulated switch may be dropping."""

    def __init__(self, dwdump, file, *arguments, source="ebpf", prefix=()):
        self.beside = Beside(may_hide=source == "ebpf")
        started = time.monotonic()
        command = [*prefix, dwdump, "--source", source, "-o", "sw", *(["-w", file] if file else []), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        PROCESSES.append(self.process)
        self.opening = ""
        while not re.search("capturing |counting ", self.opening):
            line = self.process.stderr.readline()
            assert line, self.opening
            self.opening += line
        # Seconds until drops are captured: nothing is said before.
        self.start = time.monotonic() - started
        # And those that it computed, which do not depend on what else this machine does.
        times = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        self.start_cpu = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        self.beside.begin(self.process)

    def end(self):
        """The closing lines, and the least and the most drops that they may count."""
        self.beside.interrupt()
        text = self.process.stderr.read()
        assert self.process.wait() == 0, text
        return text, *self.beside.end()


def counted(text):
    """All that dwdump counts."""
    sums = {}
    for name, pattern in {
        "captured": r"(\d+) packets? captured",
        "rejected": r"(\d+) packets? rejected",
        "lost": r"(\d+) packets? lost in the perf buffers",
        "no packets": r"(\d+) drops? left out: netlink",
        "alerts": r"(\d+) alerts? left out",
        "damaged": r"(\d+) damaged",
    }.items():
        found = re.search(pattern, text)
        sums[name] = int(found[1]) if found else 0
    return sums


def counted_exactly(what, make, attempts=10, twice=0):
    """Has `make` capture, until no stranger's drop falls between the kernel's count and dwdump's, at the
    beginning or at the end. Then both are equal. `make` returns what Capture.end() does, and what the
    caller needs; returned are the counts and that. Of this share of the drops, `twice`, an attempt may count
    each twice; it is not the one that is exact."""
    for attempt in range(1, attempts + 1):
        (text, least, most), more = make()
        sums = counted(text)
        total = sum(sums.values())
        told = ", ".join(f"{name} {count}" for name, count in sums.items() if count)
        print(f"{what}: {told}: in all {total}; fired {least} to {most}", flush=True)
        assert total <= most + twice * total, text
        if most < total:
            print(f"{what}: {total - most} counted twice, attempt {attempt}")
            continue
        assert least <= total, text
        if least == most:
            return sums, more
        print(f"{what}: {most - least} of others at the edges, attempt {attempt}")
    assert not IS_GUEST, f"{what}: not equal in {attempts} attempts"
    print(f"{what}: others drop packets all the while, so the count is only between those")
    return sums, more
