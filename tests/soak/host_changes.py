"""What happens to a host while dwdump captures, a part of session.py."""

import contextlib
import errno
import pathlib
import signal
import socket
import struct
import subprocess
import time

from frames import for_another_host, payload

import harness
import network
from harness import (
    ALERT_MODE, CONFIG, HW_DROPS, QUEUE_LEN, START, STOP, SW_DROPS, TRUNC_LEN, Running, net_dm, references, settings,
    wait_until,
)
from tracepoint import inside_new_namespace

BOTH = {SW_DROPS: b"", HW_DROPS: b""}
# Truncation and queue length that somebody chose before: not the kernel's own, so that it shows who restores them.
BEFORE = 99, 777
# How many drops make dwdump feel that it, or its disk, stands still.
MANY = 10000
DISK = pathlib.Path("/tmp/soak-disk")


def chosen(trunc_len, queue_len):
    """Settings in summary mode."""
    return {
        ALERT_MODE: b"\0", TRUNC_LEN: struct.pack("=I", trunc_len), QUEUE_LEN: struct.pack("=I", queue_len),
    }


def configure():
    assert net_dm(CONFIG, chosen(*BEFORE)) == 0, "the drop monitor is on"


# What ends a capture with the drop monitor: each is done on the way in, and undone on the way out. In between stands
# the time by which it was done.


@contextlib.contextmanager
def stopped_by_another():
    net_dm(STOP, BOTH)
    yield time.time_ns()


@contextlib.contextmanager
def taken_over():
    other = Running("--force", "--source", "netdm", "-o", "sw", "-w", "/dev/null")
    yield time.time_ns()
    other.stop()


@contextlib.contextmanager
def another_mode():
    net_dm(STOP, BOTH)
    net_dm(CONFIG, chosen(88, 555))
    net_dm(START, {SW_DROPS: b""})
    yield time.time_ns()
    others = settings()
    assert net_dm(CONFIG, {}) == errno.EBUSY, "another's monitoring was stopped"
    net_dm(STOP, BOTH)
    net_dm(CONFIG, chosen(88, 555))
    assert settings() == others, f"another's settings were changed: {others}"
    configure()


@contextlib.contextmanager
def module_loaded_again():
    net_dm(STOP, BOTH)
    done = time.time_ns()
    wait_until(lambda: references() == 0)
    subprocess.run(["rmmod", "drop_monitor"], check=True)
    subprocess.run(["modprobe", "drop_monitor"], check=True)
    yield done
    configure()


INTERFERENCES = {
    "another process's STOP": stopped_by_another, "--force": taken_over, "another mode": another_mode,
    "the module removed and loaded": module_loaded_again,
}


# What a capture has to outlast.


def interfaces(_dwdump, maker):
    """A drop on each before it is renamed, and after."""
    for number in range(2):
        near, far, renamed = f"soak{number}", f"soak{number}f", f"soak{number}r"
        network.ip(f"link add {near} type veth peer name {far}\nlink set {near} up\nlink set {far} up\n")
        single_on(near, maker)
        network.ip(f"link set {far} down\nlink set {far} name {renamed}\nlink set {renamed} up\n")
        single_on(near, maker)
        network.ip(f"link delete {near}\n")


def single_on(device, maker):
    wait_until(lambda: pathlib.Path(f"/sys/class/net/{device}/operstate").read_text() == "up\n")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.sendto(for_another_host(maker.next_single()), (device, 0))


def namespaces(_dwdump, maker):
    """A drop in each: a datagram to a port where nobody listens."""
    for number in range(2):
        with inside_new_namespace(f"soak{number}"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(payload(maker.next_single()), ("127.0.0.1", network.CLOSED_PORT))


def clock(_dwdump, _maker):
    for step in (3600, -3600):
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + step)
        time.sleep(0.5)


def stopped(dwdump, maker):
    """Until its buffers are full."""
    dwdump.send_signal(signal.SIGSTOP)
    maker.wait_for_more(MANY)
    dwdump.send_signal(signal.SIGCONT)


def stalled_disk(dwdump, maker):
    """Until it waits for the disk, and for a while."""
    subprocess.run(["fsfreeze", "-f", DISK], check=True)
    stat = pathlib.Path(f"/proc/{dwdump.pid}/stat")
    wait_until(lambda: stat.read_text().rsplit(") ", 1)[1][0] == "D")
    maker.wait_for_more(MANY // 2)
    subprocess.run(["fsfreeze", "-u", DISK], check=True)


CHANGES = [interfaces, namespaces, clock, stopped, stalled_disk]


# Where they happen.


def prepare(bytes_on_disk):
    subprocess.run(["modprobe", "--all", "drop_monitor", "loop", "ext4"], check=True)
    # Nothing but what is made is to be dropped.
    for conf in ("all", "default"):
        pathlib.Path(f"/proc/sys/net/ipv6/conf/{conf}/disable_ipv6").write_text("1")
    network.setup()
    pathlib.Path("/proc/sys/net/core/netdev_max_backlog").write_text("100000")
    image = harness.OUT / "disk.image"
    with image.open("wb") as file:
        file.truncate(bytes_on_disk)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
    DISK.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, DISK], check=True)
    configure()


def clear():
    subprocess.run(["umount", DISK], check=True)
    (harness.OUT / "disk.image").unlink()
