"""The two namespaces that drops are made in, the bytes of packets, and ways to send them."""

import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import socket
import struct
import subprocess

LEFT_MAC = bytes.fromhex("020000000004")
RIGHT_MAC = bytes.fromhex("020000000002")
# Of no interface here.
OTHER_MAC = bytes.fromhex("020000000099")
LEFT4, RIGHT4 = "10.10.2.4", "10.10.2.2"
LEFT6, RIGHT6 = "fd00::4", "fd00::2"
# Far from what the kernel hands out itself, so that no interface of the initial
# namespace has the same index.
LEFT_IFINDEX, RIGHT_IFINDEX, TUN_IFINDEX = 104, 102, 107

NFT_PORT, TC_EGRESS_PORT, TC_INGRESS_PORT, ESP_PORT = 5001, 5002, 5003, 5004
RCVBUF_PORT, CLOSED_PORT, MARKER_PORT = 5005, 5006, 9
# Of output_rule(), no port of a case.
OUTPUT_PORT = 7790

MODULES = (
    "veth dummy tun vxlan gre nf_tables esp4 xfrm_user sctp sch_ingress sch_netem cls_u32 act_gact"
).split()

# The two ends have different keys for authentication. No encryption, so that
# the payload in what is dropped can be read.
XFRM_STATE = (
    f"xfrm state add src {LEFT4} dst {RIGHT4} proto esp spi 0x1000 mode transport "
    'auth hmac(sha1) 0x{key} enc ecb(cipher_null) ""\n'
)


# Namespaces and commands


@contextlib.contextmanager
def namespace(name):
    """Everything this thread opens or starts inside belongs to that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        enter(libc, there)
        try:
            yield
        finally:
            enter(libc, home)


def enter(libc, file):
    # os.setns came with Python 3.12, Debian 12 has 3.11.
    if libc.setns(file.fileno(), 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), file.name)


def command(*words, stdin=None):
    subprocess.run(words, check=True, text=True, input=stdin, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def output_rule():
    """An OUTPUT hook of left's, which drops what is sent to OUTPUT_PORT."""
    with namespace("left"):
        command(
            *("nft", "-f", "-"),
            stdin=f"""
            table inet output {{
                chain output {{
                    type filter hook output priority filter
                    udp dport {OUTPUT_PORT} drop
                }}
            }}
            """,
        )
    try:
        yield
    finally:
        with namespace("left"):
            command("nft", "delete", "table", "inet", "output")


def ip(text, inside=None):
    """Runs lines of `ip` commands in one process: starting one is slow in a guest."""
    command("ip", *(["-n", inside] if inside else []), "-batch", "-", stdin=text)


def sysctl(name, value):
    pathlib.Path("/proc/sys/net", name).write_text(str(value))


def setup():
    """Makes the namespaces and everything the cases need in them."""
    command("modprobe", "--all", *MODULES)
    ip(
        f"""
        netns add left
        netns add right
        link add left0 netns left index {LEFT_IFINDEX} address {LEFT_MAC.hex(":")} type veth \
            peer name right0 netns right index {RIGHT_IFINDEX} address {RIGHT_MAC.hex(":")}
        """
    )
    for side in "left", "right":
        with namespace(side):
            # Before any interface is up: the kernel's own IPv6 packets would be
            # drops that no case made.
            for conf in "all", "default", f"{side}0":
                sysctl(f"ipv6/conf/{conf}/accept_dad", 0)
                sysctl(f"ipv6/conf/{conf}/router_solicitations", 0)
                sysctl(f"ipv6/conf/{conf}/addr_gen_mode", 1)
                # Multicast reports are repeated after this many ms: while setup goes on.
                sysctl(f"ipv6/conf/{conf}/mldv2_unsolicited_report_interval", 10)
                sysctl(f"ipv4/conf/{conf}/rp_filter", 0)
            # The sender fills in checksums, and a datagram leaves in the packets
            # that the peer receives.
            command("ethtool", "-K", f"{side}0", "tx", "off", "gso", "off", "tso", "off")
    ip(
        f"""
        link set lo up
        address add {LEFT4}/24 dev left0
        address add {LEFT6}/64 dev left0 nodad
        neighbour add {RIGHT4} lladdr {RIGHT_MAC.hex(":")} dev left0
        neighbour add {RIGHT6} lladdr {RIGHT_MAC.hex(":")} dev left0
        link set left0 up
        link add overlay0 address 02:00:00:00:14:02 type vxlan id 42 remote 192.0.2.99 dstport 4789
        address add 172.16.14.2/24 dev overlay0
        neighbour add 172.16.14.1 lladdr 02:00:00:00:14:01 dev overlay0
        link set overlay0 up
        link add lossy0 address 02:00:00:00:09:01 type dummy
        address add 10.10.9.1/24 dev lossy0
        neighbour add 10.10.9.2 lladdr 02:00:00:00:09:02 dev lossy0
        link set lossy0 up
        {XFRM_STATE.format(key="11" * 20)}
        xfrm policy add src {LEFT4} dst {RIGHT4} proto udp dport {ESP_PORT} dir out \
            tmpl src {LEFT4} dst {RIGHT4} proto esp mode transport
        """,
        inside="left",
    )
    ip(
        f"""
        link set lo up
        address add {RIGHT4}/24 dev right0
        address add {RIGHT6}/64 dev right0 nodad
        neighbour add {LEFT4} lladdr {LEFT_MAC.hex(":")} dev right0
        neighbour add {LEFT6} lladdr {LEFT_MAC.hex(":")} dev right0
        link set right0 up
        {XFRM_STATE.format(key="22" * 20)}
        """,
        inside="right",
    )
    tc_drop = "protocol ip u32 match ip dport {port} 0xffff action drop\n"
    command(
        *("tc", "-n", "left", "-batch", "-"),
        stdin="qdisc add dev left0 clsact\n"
        "qdisc add dev lossy0 root netem loss 100%\n"
        "filter add dev left0 egress " + tc_drop.format(port=TC_EGRESS_PORT),
    )
    command(
        *("tc", "-n", "right", "-batch", "-"),
        stdin="qdisc add dev right0 clsact\n"
        "filter add dev right0 ingress " + tc_drop.format(port=TC_INGRESS_PORT),
    )
    with namespace("right"):
        command(
            *("nft", "-f", "-"),
            stdin=f"""
            table inet drops {{
                chain input {{
                    type filter hook input priority filter
                    udp dport {NFT_PORT} drop
                    tcp dport {NFT_PORT} drop
                }}
            }}
            """,
        )


def teardown():
    """Removes what setup() made; the modules stay."""
    for side in "left", "right":
        subprocess.run(["ip", "netns", "delete", side], check=False)


# Bytes of packets


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(ethertype, payload, src=LEFT_MAC, dst=RIGHT_MAC):
    return dst + src + struct.pack("!H", ethertype) + payload


def ipv4(proto, payload, src=LEFT4, dst=RIGHT4, ttl=64, version_ihl=0x45, length=None, bad_sum=0):
    length = 20 + len(payload) if length is None else length
    start = struct.pack("!BBHHHBB", version_ihl, 0, length, 0, 0, ttl, proto)
    addresses = socket.inet_aton(src) + socket.inet_aton(dst)
    header_sum = checksum(start + b"\0\0" + addresses) ^ bad_sum
    return start + struct.pack("!H", header_sum) + addresses + payload


def ipv6(next_header, payload, src=LEFT6, dst=RIGHT6, version=6, length=None):
    length = len(payload) if length is None else length
    start = struct.pack("!IHBB", version << 28, length, next_header, 64)
    return start + packed6(src) + packed6(dst) + payload


def packed6(address):
    return socket.inet_pton(socket.AF_INET6, address)


def pseudo_header(proto, length, src, dst):
    if ":" in src:
        return packed6(src) + packed6(dst) + struct.pack("!II", length, proto)
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", proto, length)


def udp(payload, port=CLOSED_PORT, src=LEFT4, dst=RIGHT4, length=None, bad_sum=0):
    true_length = 8 + len(payload)
    start = struct.pack("!HHH", 40000, port, true_length if length is None else length)
    pseudo = pseudo_header(17, true_length, src, dst)
    udp_sum = checksum(pseudo + start + b"\0\0" + payload) ^ bad_sum
    return start + struct.pack("!H", udp_sum) + payload


def tcp_syn(payload, port=CLOSED_PORT, src=LEFT4, dst=RIGHT4, data_offset=5, bad_sum=0):
    start = struct.pack("!HHIIBBH", 40000, port, 1, 0, data_offset << 4, 0x02, 65535)
    pseudo = pseudo_header(6, 20 + len(payload), src, dst)
    tcp_sum = checksum(pseudo + start + b"\0\0\0\0" + payload) ^ bad_sum
    return start + struct.pack("!HH", tcp_sum, 0) + payload


# Sending


def send_frame(frame, side="left"):
    """Puts bytes on the wire as they are: the kernel neither checks nor mends them."""
    with namespace(side), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.sendto(frame, (f"{side}0", 0))


def send_ip(packet, **macs):
    send_frame(ethernet(0x86DD if packet[0] >> 4 == 6 else 0x0800, packet, **macs))


def send_datagram(payload, address, port, side="left"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace(side), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, (address, port))


def connect_in_vain(address, port):
    """Opens a TCP connection to a closed port, and checks that it was refused."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace("left"), socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        refusal = client.connect_ex((address, port))
    assert refusal == errno.ECONNREFUSED, os.strerror(refusal)


@contextlib.contextmanager
def tun_device(side):
    """A tun device with the addresses 10.10.7.1 and fd07::1: bytes written into it
    are received as IP packets, with no link-layer header in front."""
    TUNSETIFF, TUNSETIFINDEX, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x400454DA, 0x0001, 0x1000
    with namespace(side):
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(tun, TUNSETIFINDEX, struct.pack("I", TUN_IFINDEX))
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
            ip(
                "address add 10.10.7.1/24 dev tun0\n"
                "address add fd07::1/64 dev tun0 nodad\n"
                "link set tun0 txqueuelen 1 up\n"
            )
            yield tun
        finally:
            os.close(tun)


def for_another_host(count, payload):
    """Frames for another machine's MAC address, sent at once: each is one drop, in ip_rcv_core
    (OTHERHOST)."""
    frame = ethernet(0x0800, ipv4(17, udp(payload)), dst=OTHER_MAC)
    with namespace("left"):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("left0", 0))
    with sender:
        for _ in range(count):
            sender.send(frame)
