"""Has Open vSwitch drop frames, in the guest: a switch that no daemon knows, with one rule."""

import socket
import struct

import ebpf_scene
import network

SWITCH = "switch0"
ETHERTYPE = 0x88B5
# linux/openvswitch.h: commands, attributes
NEW = 1
DATAPATH_NAME, DATAPATH_UPCALL_PID = 1, 2
FLOW_KEY, FLOW_ACTIONS = 1, 2
KEY_IN_PORT, KEY_ETHERNET, KEY_ETHERTYPE = 3, 4, 6


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


class Generic:
    """A socket of generic netlink, in this thread's network namespace."""

    def __init__(self):
        self.link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)

    def request(self, family, command, version, body):
        """The answer, of which an error is raised."""
        request_and_ack = 5
        body = struct.pack("=BBH", command, version, 0) + body
        self.link.send(struct.pack("=IHHII", 16 + len(body), family, request_and_ack, 0, 0) + body)
        answers = b""
        while True:
            answer = self.link.recv(65536)
            (kind,) = struct.unpack_from("=H", answer, 4)
            if kind == 2:  # NLMSG_ERROR
                (error,) = struct.unpack_from("=i", answer, 16)
                assert error == 0, f"errno {-error}"
                return answers
            answers += answer

    def family(self, name):
        get_family, family_name = 3, 2
        name = name.encode() + b"\0"
        answer = self.request(0x10, get_family, 2, attribute(family_name, name))
        # Its number is the next attribute.
        return struct.unpack_from("=H", answer, answer.index(name) + (len(name) + 3 & ~3) + 4)[0]


def make_switch():
    """A switch in the near namespace that drops what its own port sends with our ethertype: it has a rule for
    it, without an action."""
    with network.namespace(ebpf_scene.NEAR):
        generic = Generic()
        name = attribute(DATAPATH_NAME, SWITCH.encode() + b"\0")
        nobody = attribute(DATAPATH_UPCALL_PID, struct.pack("=I", 0))
        generic.request(generic.family("ovs_datapath"), NEW, 2, struct.pack("=i", 0) + name + nobody)
        index = socket.if_nametoindex(SWITCH)
        network.sysctl(f"ipv6/conf/{SWITCH}/disable_ipv6", 1)
        network.ip(f"link set {SWITCH} up\n")
        key = (
            attribute(KEY_IN_PORT, struct.pack("=I", 0))
            + attribute(KEY_ETHERNET, ebpf_scene.NEAR_MAC + ebpf_scene.FAR_MAC)
            + attribute(KEY_ETHERTYPE, struct.pack("!H", ETHERTYPE))
        )
        nested = 0x8000
        rule = attribute(FLOW_KEY | nested, key) + attribute(FLOW_ACTIONS | nested, b"")
        generic.request(generic.family("ovs_flow"), NEW, 1, struct.pack("=i", index) + rule)


def send(payload):
    """Into the switch, from its own port."""
    with network.namespace(ebpf_scene.NEAR), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((SWITCH, 0))
        wire.send(network.ethernet(ETHERTYPE, payload, src=ebpf_scene.NEAR_MAC, dst=ebpf_scene.FAR_MAC))
