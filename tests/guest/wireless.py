"""Has mac80211 drop frames, in the guest: an ad-hoc network of one simulated radio, and another that sends its
frames twice."""

import pathlib
import socket
import struct
import time

import harness
import network
from openvswitch import Generic, attribute

# linux/nl80211.h: commands, attributes, types of interfaces
SET_WIPHY, SET_INTERFACE, JOIN_IBSS = 2, 6, 43
INDEX, TYPE, MAC, FREQUENCY, SSID, FIXED = 3, 5, 6, 38, 52, 60
AD_HOC, MONITOR = 1, 6
MHZ = 2412
CELL, STRANGER = bytes.fromhex("020000000a01"), bytes.fromhex("020000000a02")
ETHERTYPE = 0x88B5


def number(kind, value):
    return attribute(kind, struct.pack("=I", value))


class Radios:
    """The two radios, of which the second can send any frame."""

    def __init__(self):
        network.command("modprobe", "mac80211_hwsim", "radios=2")
        devices = sorted(path.parent.name for path in pathlib.Path("/sys/class/net").glob("*/phy80211"))
        assert len(devices) == 2, devices
        generic = Generic()
        family = generic.family("nl80211")

        def request(command, device, *attributes):
            index = number(INDEX, socket.if_nametoindex(device))
            generic.request(family, command, 0, index + b"".join(attributes))

        member, sender = devices
        for device, kind in ((member, AD_HOC), (sender, MONITOR)):
            request(SET_INTERFACE, device, number(TYPE, kind))
            network.ip(f"link set {device} up\n")
        # Of a cell whose address and frequency are given, it does not have to look for others first.
        cell = attribute(SSID, b"cell") + attribute(MAC, CELL) + number(FREQUENCY, MHZ) + attribute(FIXED, b"")
        request(JOIN_IBSS, member, cell)
        carrier = pathlib.Path(f"/sys/class/net/{member}/carrier")
        harness.wait_until(lambda: carrier.read_text() == "1\n")
        request(SET_WIPHY, sender, number(FREQUENCY, MHZ))
        address = pathlib.Path(f"/sys/class/net/{member}/address").read_text().strip()
        self.member = bytes.fromhex(address.replace(":", ""))
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.wire.bind((sender, 0))
        # The member knows the stranger by its first frame, after a moment.
        self.send(0, b"hello")
        time.sleep(1)

    def close(self):
        """Removes them: their beacons are dropped all the time, and would be in the counts of other tests."""
        self.wire.close()
        network.command("modprobe", "-r", "mac80211_hwsim")

    def send(self, sequence, payload, is_retry=False):
        # IEEE 802.11, 9.2: data of an ad-hoc network, after a radiotap header without fields.
        retry = 8 if is_retry else 0
        header = struct.pack("<BBH6s6s6sH", 8, retry, 0, self.member, STRANGER, CELL, sequence << 4)
        snap = bytes.fromhex("aaaa03000000") + struct.pack("!H", ETHERTYPE)
        self.wire.send(struct.pack("<BBHI", 0, 0, 8, 0) + header + snap + payload)

    def send_twice(self, sequence, payload):
        """The second one is a duplicate, which is dropped."""
        self.send(sequence, payload)
        self.send(sequence, payload, is_retry=True)
