"""What every test here has: dwdumps that run, what they say, and the drop monitor asked directly."""

import contextlib
import errno
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import registry

# What session.py was given.
DWDUMP, OUT, NETDEVSIM = None, None, None
# What dwdumps say, each in a file. In the guest's memory: Linux 7.2 may answer ENODATA to who reads a
# file of the host's (9p) while it grows.
TALK = pathlib.Path(tempfile.mkdtemp(prefix="talk-"))
# All that were started, so that a test that fails leaves nothing to the next.
PROCESSES = []
C_DWDUMP = "/usr/bin/dwdump"
# The number of the system call.
BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
# Emulated, and others use the machine too.
PATIENCE = 60
# Whether this kernel takes netlink messages for packets when it frees them: alerts, first of all.
REPORTS_NETLINK = registry.KERNEL > (6, 1)


class Running:
    """A dwdump in the background whose talk is watched."""

    def __init__(self, *arguments, prefix=(), stdout=subprocess.DEVNULL, started="drops|monitoring,"):
        self.log = TALK / str(time.monotonic_ns())
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*prefix, DWDUMP, *map(str, arguments)], stdout=stdout, stderr=log
            )
        PROCESSES.append(self.process)
        if started:
            self.wait_for(started)

    def talk(self):
        return self.log.read_text()

    def wait_for(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.talk()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{pattern!r} was never said, but: {self.talk()}")
            time.sleep(0.05)

    def wait(self):
        status = self.process.wait(PATIENCE)
        return status, self.talk()

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        return self.wait()


def dwdump(*arguments, prefix=()):
    """A dwdump that ends by itself: status, stdout, talk."""
    done = subprocess.run(
        [*prefix, DWDUMP, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


def settings():
    """The kernel's settings, as the C tool reads them."""
    return subprocess.run([C_DWDUMP, "-q"], capture_output=True, text=True, check=True).stdout


class CTool:
    """The C dwdump in the background."""

    def __init__(self, file, *arguments):
        users = references()
        self.process = subprocess.Popen(
            [C_DWDUMP, "-w", file, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        PROCESSES.append(self.process)
        # It says nothing. Its first record is written once it is ready to listen; when it
        # starts monitoring itself, the module is in use from then on.
        is_passive = "-p" in arguments
        wait_until(lambda: pathlib.Path(file).exists() and (is_passive or references() > users))
        time.sleep(1 if is_passive else 0.2)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)


def references():
    return int(pathlib.Path("/sys/module/drop_monitor/refcnt").read_text())


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.05)


def loss(talk):
    """What the closing lines say: captured, lost in the queue, lost in the socket."""
    numbers = [
        re.findall(rf"^(\d+) packets? {what}", talk, re.MULTILINE)
        for what in ("captured", "lost in the kernel's queue", "lost in the socket buffer")
    ]
    return [int(found[-1]) for found in numbers]


def between(found, payload, first, last):
    """The alerts between two markers, in time order."""
    found = sorted(found, key=lambda alert: alert["time"])
    places = [
        next(place for place, alert in enumerate(found) if marker in payload(alert))
        for marker in (first, last)
    ]
    return found[places[0] + 1 : places[1]]


def without_privileges(*kept):
    """Runs what follows as root without capabilities but these."""
    return ["setpriv", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in kept)])]


# Runs what follows as one whom the kernel forbids bpf(2), by a seccomp filter (linux/filter.h).
WITHOUT_BPF = f"""
import ctypes, os, struct, sys
load, equal, give = 0x20, 0x15, 0x06
forbidden, allowed = 0x00050000 | {errno.EPERM}, 0x7FFF0000
code = ((load, 0, 0, 0), (equal, 0, 1, {BPF}), (give, 0, 0, forbidden), (give, 0, 0, allowed))
text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
pr_set_seccomp, seccomp_mode_filter = 22, 2
assert ctypes.CDLL(None).prctl(pr_set_seccomp, seccomp_mode_filter, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def without_bpf():
    return [sys.executable, "-c", WITHOUT_BPF]


class SessionTest(unittest.TestCase):
    """Leaves the drop monitor idle, with the kernel's own settings."""

    def tearDown(self):
        while PROCESSES:
            process = PROCESSES.pop()
            process.kill()
            process.wait()
        net_dm(STOP, {SW_DROPS: b"", HW_DROPS: b""})
        net_dm(CONFIG, {ALERT_MODE: b"\0", TRUNC_LEN: bytes(4), QUEUE_LEN: struct.pack("=I", 1000)})


# linux/net_dropmon.h
CONFIG, START, STOP = 2, 3, 4
ALERT_MODE, TRUNC_LEN, QUEUE_LEN, SW_DROPS, HW_DROPS = 1, 9, 11, 20, 21


def net_dm(command, attributes):
    """One request to the drop monitor, and its errno."""

    def exchange(family, version, command, attributes):
        body = struct.pack("=BBH", command, version, 0)
        for kind, value in attributes.items():
            body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        request_and_ack = 5
        link.send(struct.pack("=IHHII", 16 + len(body), family, request_and_ack, 0, 0) + body)
        return link.recv(65536)

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as link:
        get_family, family_name = 3, 2
        answer = exchange(0x10, 2, get_family, {family_name: b"NET_DM\0"})
        (family,) = struct.unpack_from("=H", answer, answer.index(b"NET_DM\0") + 12)
        link.recv(65536)
        return -struct.unpack_from("=i", exchange(family, 2, command, attributes), 16)[0]


@contextlib.contextmanager
def small_disk(size="64k"):
    mount = pathlib.Path("/tmp/small")
    mount.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)
