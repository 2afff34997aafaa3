"""Kinds of drops that are hard to tell right: on their way into a tunnel, and where something else stands in
the place of `skb->dev`."""

import contextlib
import os
import socket
import struct
import time

import network
from ebpf_kinds import COUNT, ETHERNET, IP4, TCP, UDP, ipv4, kind
from ebpf_scene import FAR, FAR4, GHOST4, NEAR, NEAR4, queue_address

# On their way into a tunnel: with its headers in front of a frame whose link-layer header the kernel remembers


@kind(IP4 + UDP + 8 + ETHERNET + IP4 + UDP, "raw", device=None)
def vxlan(sockets, payloads):
    sockets.send(payloads, "10.10.1.2", 9)


@kind(IP4 + 4 + IP4 + UDP, "raw", device=None)
def gre(sockets, payloads):
    sockets.send(payloads, "10.10.2.2", 9)


# Behind the payload: padding to 4 bytes, two bytes of ESP's own, 12 to authenticate.
@kind(IP4 + 8 + UDP, "raw", trailer=18, device=None)
def esp(sockets, payloads):
    sockets.send(payloads, FAR4, 5004)


# Where something else overlays skb->dev


@kind((ETHERNET + IP4 + UDP, ETHERNET + IP4), padding=480, is_union=True)
def fragments(sockets, payloads):
    """Each is one of the two fragments of a datagram that never becomes whole: the first and the third
    part of it, in turns."""
    for number, payload in enumerate(payloads):
        is_first = number % 2 == 0
        segment = network.udp(payload, src=NEAR4, dst=FAR4, length=5000) if is_first else payload
        segment = segment[: len(segment) // 8 * 8]
        packet = bytearray(ipv4(17, segment))
        packet[4:6] = struct.pack("!H", 700 + number // 2)
        packet[6:8] = struct.pack("!H", 0x2000 | (0 if is_first else 2000 // 8))
        packet[10:12] = b"\0\0"
        packet[10:12] = struct.pack("!H", network.checksum(bytes(packet[:20])))
        sockets.packets([bytes(packet)])


def fragment_payload(payload, is_first):
    """As much of it as a multiple of 8 has room for."""
    headers = UDP if is_first else 0
    return payload[: (headers + len(payload)) // 8 * 8 - headers]


@kind(ETHERNET + IP4 + TCP, padding=60, is_union=True)
def tcp_pruned(sockets, payloads):
    """Segments far beyond what comes next, each before the one that was sent before it, until the receiver
    has no room for them and drops those that came first. The rest goes when the connection ends."""
    with network.namespace(FAR):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind((FAR4, 2222))
    listener.listen(1)
    number, port = 1000, 41000 + os.getpid() % 1000

    def segment(flags, seq, ack=0, data=b""):
        start = struct.pack("!HHIIBBH", port, 2222, seq, ack, 5 << 4, flags, 65535)
        pseudo = network.pseudo_header(6, 20 + len(data), GHOST4, FAR4)
        found = network.checksum(pseudo + start + b"\0\0\0\0" + data)
        sockets.packets([network.ipv4(6, start + struct.pack("!HH", found, 0) + data, src=GHOST4, dst=FAR4)])

    with network.namespace(NEAR):
        answers = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    answers.bind(("near", 0x0800))
    answers.settimeout(10)
    segment(0x02, number)
    while True:
        answer = answers.recv(2000)
        if answer[23] == 6 and answer[34:38] == struct.pack("!HH", 2222, port) and answer[47] == 0x12:
            break
    answers.close()
    (theirs,) = struct.unpack("!I", answer[38:42])
    (window,) = struct.unpack("!H", answer[48:50])
    segment(0x10, number + 1, theirs + 1)
    connection, _ = listener.accept()
    # With gaps between them, for neighbours would be joined.
    step = len(payloads[0]) + 10
    assert window > 2 * step * COUNT, window
    for place, payload in enumerate(payloads):
        segment(0x10, number + window - step * (place + 1), theirs + 1, payload)
    for place in range(100):
        segment(0x10, number + 300 - 2 * place, theirs + 1, b"z")
    time.sleep(0.2)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    listener.close()


@kind(device=None)
def netem_loss(sockets, payloads):
    sockets.send(payloads, queue_address("netem_loss", 2), 9)


@kind(device=None, is_union=True)
def netem_reset(sockets, payloads):
    """They wait in a tree, for each has a delay of its own, and are dropped with the queue."""
    sockets.send(payloads, queue_address("netem_reset", 2), 9)
    return lambda: sockets.scene.renew_queue("netem_reset")


@kind(device=None)
def fq_codel(sockets, payloads):
    """Beyond its limit it drops what has waited longest; the rest is dropped with the queue."""
    sockets.send([b"z" * 900] * 10 + payloads, queue_address("fq_codel", 2), 9)
    return lambda: sockets.scene.renew_queue("fq_codel")


@kind(device=None, padding=700)
def tbf(sockets, payloads):
    sockets.send([b"z" * 900] * 10, queue_address("tbf", 2), 9)
    sockets.send(payloads, queue_address("tbf", 2), 9)


def timed(sockets, payloads, address, times):
    """With times, at which they are to leave."""
    with network.namespace(NEAR):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.setsockopt(socket.SOL_SOCKET, 61, struct.pack("=II", 1, 0))  # SO_TXTIME, the monotonic clock
        for payload, moment in zip(payloads, times, strict=True):
            told = [(socket.SOL_SOCKET, 61, struct.pack("=Q", moment))]
            with contextlib.suppress(OSError):
                sender.sendmsg([payload], told, 0, (address, 9))


# Nanoseconds until packets would leave, were their queue not removed before.
LATER = 500 * 10**9


@kind(device=None, is_union=True)
def fq_reset(sockets, payloads):
    """They wait in order of time in a tree, for each leaves before the one that came before it."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    times = [now + LATER - number * 10**6 for number in range(COUNT)]
    timed(sockets, payloads, queue_address("fq_reset", 2), times)
    return lambda: sockets.scene.renew_queue("fq_reset")


@kind(device=None)
def fq_limit(sockets, payloads):
    """Those beyond the flow's limit."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    times = [now + LATER] * (5 + COUNT)
    timed(sockets, [b"z"] * 5 + payloads, queue_address("fq_limit", 2), times)
