"""The frames of the soak: five kinds, each of which is exactly one drop. Every frame has a number."""

import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "guest"))
import network

MAGIC = b"soak"
# Behind the headers of Ethernet, IPv4 and UDP; of all kinds, so that nothing but the number changes.
PLACE = 14 + 20 + 8
# The kind that the filter rejects.
REJECTED_TYPE = 0x88B5
KINDS = 5
# What is not a part of the flood has numbers from here on, of a kind that the filter takes.
FIRST_SINGLE = KINDS << 60
# A row of the log: begin and end of sending, the first number, and how many frames.
ROW = struct.Struct("=QQQQ")


def is_rejected(number):
    """Returns whether the filter rejects the frame with this number."""
    return number % KINDS == KINDS - 1


def payload(number):
    return MAGIC + struct.pack("!Q", number)


def for_another_host(number):
    return network.ethernet(0x0800, network.ipv4(17, network.udp(payload(number))), dst=network.OTHER_MAC)


def kinds():
    """One of each: for another host, of a bad checksum, for a rule's port, too short, of an unknown type."""
    of_udp = network.ipv4(17, network.udp(payload(0)))
    return [
        for_another_host(0),
        network.ethernet(0x0800, network.ipv4(17, network.udp(payload(0)), bad_sum=0x1111)),
        network.ethernet(0x0800, network.ipv4(17, network.udp(payload(0), port=network.NFT_PORT))),
        network.ethernet(0x0800, network.ipv4(17, network.udp(payload(0), length=4))),
        network.ethernet(REJECTED_TYPE, of_udp),
    ]
