"""Floods, in the guest: the kernel's packet generator, on a veth pair of its own.

The frames are for nobody's address, so every one is exactly one drop, whoever holds the last
reference to it: nearly always the generator itself (NOT_SPECIFIED in a function of the module
pktgen), else the receiving side.
"""

import pathlib
import re
import subprocess
import time

CONTROL = pathlib.Path("/proc/net/pktgen")
DEVICE, PEER = "flood0", "flood1"
# Ten million packets on a busy machine.
PATIENCE = 1200
# What every frame starts with.
DESTINATION = bytes.fromhex("020000000099")


def setup():
    subprocess.run(["modprobe", "--all", "pktgen", "veth"], check=True)
    subprocess.run(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", PEER], check=True)
    for device in (DEVICE, PEER):
        # Nothing but the flood is to be dropped here.
        pathlib.Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", device, "arp", "off", "up"], check=True)
    # Where the receiving side falls behind, its backlog must not refuse a frame: the generator
    # calls that an error, and tries again.
    pathlib.Path("/proc/sys/net/core/netdev_max_backlog").write_text("1000000")
    write("kpktgend_0", f"add_device {DEVICE}")


def teardown():
    write("kpktgend_0", "rem_device_all")
    subprocess.run(["ip", "link", "del", DEVICE], check=True)


def flood(count, rate=None, size=60):
    """Sends `count` frames of `size` bytes, `rate` a second or as fast as it goes, and returns
    the packets a second that were reached."""
    delay = 10**9 // rate if rate else 0
    for setting in (
        f"count {count}",
        f"delay {delay}",
        f"pkt_size {size}",
        "clone_skb 0",
        "dst 192.0.2.1",
        f"dst_mac {DESTINATION.hex(':')}",
    ):
        write(DEVICE, setting)
    write("pgctrl", "start")
    # The write returns when the generator rests, be it because it has not begun yet.
    deadline = time.monotonic() + PATIENCE
    while "pps" not in (result := (CONTROL / DEVICE).read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    sent, errors = (int(re.search(rf"{what}: (\d+)", result)[1]) for what in ("pkts-sofar", "errors"))
    rate = re.search(r"(\d+)pps", result)
    if (sent, errors) != (count, 0) or not rate:
        raise AssertionError(f"not {count} packets were sent, but: {result}")
    return int(rate[1])


def write(name, words):
    (CONTROL / name).write_text(words + "\n")
