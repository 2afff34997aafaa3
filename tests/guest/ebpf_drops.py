"""Kinds of drops: on their way out, in the other namespace, and where they would have been received."""

import contextlib
import os
import socket
import struct
import time

import ebpf_scene
import network
import tracepoint
from ebpf_kinds import COUNT, ETHERNET, IP4, IP6, TCP, UDP, frame, ipv4, kind, udp
from ebpf_scene import FAR, FAR4, NEAR, NEAR4

# By way of loopback


@kind(device="lo")
def closed(sockets, payloads):
    sockets.send(payloads, "127.0.0.1", 9)


@kind(padding=30000, device="lo")
def closed_large(sockets, payloads):
    sockets.send(payloads, "127.0.0.1", 9)


@kind(ETHERNET + IP6 + UDP, device="lo")
def closed6(sockets, payloads):
    sockets.send(payloads, "::1", 9)


@kind(IP4 + UDP, "raw", device=None)
def output(sockets, payloads):
    sockets.send(payloads, "127.0.0.1", 1111)


@kind(IP6 + UDP, "raw", device=None)
def output6(sockets, payloads):
    sockets.send(payloads, "::1", 1111)


@kind(device="lo")
def input(sockets, payloads):  # noqa: A001
    sockets.send(payloads, "127.0.0.1", 1112)


@kind(device="lo")
def socket_filter(sockets, payloads):
    with network.namespace(NEAR):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nothing = tracepoint.buffer(struct.pack("=HBBI", 6, 0, 0, 0))
    program = struct.pack("@HP", 1, tracepoint.address(nothing))
    receiver.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
    receiver.bind(("127.0.0.1", 3331))
    sockets.send(payloads, "127.0.0.1", 3331)
    return receiver.close


@kind(device="lo")
def full_socket(sockets, payloads):
    with network.namespace(NEAR):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    receiver.bind(("127.0.0.1", 3333))
    sockets.send([b"z" * 900] * 40, "127.0.0.1", 3333)
    sockets.send(payloads, "127.0.0.1", 3333)
    # Only now, for what is still in it would be dropped as well.
    return receiver.close


@kind((ETHERNET + IP6,), device="lo")
def no_protocol6(sockets, payloads):
    """A next header that nobody handles (253, for experiments)."""
    with network.namespace(NEAR):
        sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with sender:
        for payload in payloads:
            sender.sendto(network.ipv6(253, payload, src="::1", dst="::1"), ("::1", 0))


@kind((IP4 + TCP, IP4 + TCP + 12), "raw", padding=300, device=None)
def tcp_output(sockets, payloads):
    """A TCP segment that the OUTPUT hook drops; the connection ends before it is sent again."""
    with network.namespace(NEAR):
        listener = socket.create_server(("127.0.0.1", 1113), backlog=COUNT)
        for payload in payloads:
            client = socket.create_connection(("127.0.0.1", 1113))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(payload)
            client.close()
    return listener.close


# To the far end


@kind()
def far_closed(sockets, payloads):
    sockets.send(payloads, FAR4, 9)


@kind()
def bad_udp(sockets, payloads):
    sockets.packets(udp(payload, bad_sum=0x5555) for payload in payloads)


@kind()
def bad_ip(sockets, payloads):
    sockets.packets(udp(payload, bad_ip=0x1234) for payload in payloads)


@kind()
def other_host(sockets, payloads):
    sockets.frames(frame(0x0800, udp(payload), dst=network.OTHER_MAC) for payload in payloads)


@kind(ETHERNET)
def unknown(sockets, payloads):
    sockets.frames(frame(0x88B5, payload) for payload in payloads)


@kind(ETHERNET, padding=8000)
def paged(sockets, payloads):
    sockets.frames(frame(0x88B5, payload) for payload in payloads)


# The kernel may have taken the tag off.
@kind((ETHERNET + IP4 + UDP, ETHERNET + 4 + IP4 + UDP))
def vlan(sockets, payloads):
    sockets.frames(frame(0x8100, b"\0\7\x08\0" + udp(payload)) for payload in payloads)


@kind(ETHERNET + 3)
def llc(sockets, payloads):
    """802.3 with a length, and an 802.2 header that nobody asks for."""
    sockets.frames(frame(3 + len(payload), b"\x42\x42\x03" + payload) for payload in payloads)


@kind(ETHERNET + IP6 + UDP)
def disabled6(sockets, payloads):
    for payload in payloads:
        segment = network.udp(payload, src="fd00::1", dst="fd00::2")
        sockets.frames([frame(0x86DD, network.ipv6(17, segment, src="fd00::1", dst="fd00::2"))])


@kind(ETHERNET + IP4)
def no_protocol(sockets, payloads):
    sockets.packets(ipv4(253, payload) for payload in payloads)


@kind(ETHERNET + IP4 + 8)
def bad_icmp(sockets, payloads):
    """An echo request with a wrong checksum."""
    sockets.packets(ipv4(1, struct.pack("!BBHHH", 8, 0, 0xBAD, 1, 1) + payload) for payload in payloads)


@kind()
def short(sockets, payloads):
    """An IPv4 header that promises more bytes than there are."""
    sockets.packets(udp(payload, length=1000) for payload in payloads)


@kind()
def martian(sockets, payloads):
    sockets.packets(udp(payload, src="127.0.0.1") for payload in payloads)


@kind()
def multicast(sockets, payloads):
    """To a group that nobody joined."""
    mac = bytes.fromhex("01005e000005")
    sockets.frames(frame(0x0800, udp(payload, dst="224.0.0.5"), dst=mac) for payload in payloads)


@kind()
def no_route(sockets, payloads):
    sockets.packets(udp(payload, dst="10.77.0.1") for payload in payloads)


@kind()
def black_hole(sockets, payloads):
    sockets.packets(udp(payload, dst="10.66.0.1") for payload in payloads)


@kind()
def ttl(sockets, payloads):
    sockets.packets(udp(payload, dst="10.55.0.2", ttl=1) for payload in payloads)


@kind(padding=1000)
def too_big(sockets, payloads):
    """Not to be fragmented, into a device of less MTU."""
    for payload in payloads:
        packet = bytearray(udp(payload, dst="10.55.0.2"))
        packet[6] = 0x40
        packet[10:12] = b"\0\0"
        packet[10:12] = struct.pack("!H", network.checksum(bytes(packet[:20])))
        sockets.packets([bytes(packet)])


@kind()
def forward(sockets, payloads):
    sockets.packets(udp(payload, dst="10.55.0.2", port=1114) for payload in payloads)


@kind()
def prerouting(sockets, payloads):
    sockets.packets(udp(payload, port=1115) for payload in payloads)


@kind(ETHERNET)
def nft_ingress(sockets, payloads):
    sockets.frames(frame(ebpf_scene.INGRESS_TYPE, payload) for payload in payloads)


@kind(ETHERNET)
def tc_ingress(sockets, payloads):
    sockets.frames(frame(ebpf_scene.TC_TYPE, payload) for payload in payloads)


@kind(ETHERNET, device=None)
def tc_egress(sockets, payloads):
    for payload in payloads:
        with contextlib.suppress(OSError):
            sockets.other_wire.send(frame(ebpf_scene.TC_TYPE, payload))


@kind(ETHERNET)
def xdp(sockets, payloads):
    with network.namespace(FAR):
        link = ebpf_scene.drop_by_xdp(ebpf_scene.FAR_INDEX)
    sockets.frames(frame(ebpf_scene.XDP_TYPE, payload) for payload in payloads)
    # They are dropped in softirqs, which may be late.
    time.sleep(0.1)
    os.close(link)


@kind(ETHERNET, device="far-b")
def bridge(sockets, payloads):
    """For an unknown machine, into a bridge that has no other port."""
    for payload in payloads:
        sockets.other_wire.send(frame(0x88B5, payload, dst=network.OTHER_MAC))


@kind((IP4 + UDP,), "raw", device=None)
def neighbour(sockets, payloads):
    """They wait for a neighbour in vain."""
    sockets.send(payloads, "10.9.0.77", 9)


@kind(ETHERNET + IP4 + TCP)
def bad_tcp(sockets, payloads):
    segments = (network.tcp_syn(payload, src=NEAR4, dst=FAR4, bad_sum=0x1111) for payload in payloads)
    sockets.packets(ipv4(6, segment) for segment in segments)


@kind(ETHERNET + IP4 + TCP)
def tcp_closed(sockets, payloads):
    """A SYN with data, to a closed port."""
    segments = (network.tcp_syn(payload, src=NEAR4, dst=FAR4) for payload in payloads)
    sockets.packets(ipv4(6, segment) for segment in segments)
