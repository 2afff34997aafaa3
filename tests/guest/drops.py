#!/usr/bin/python3
"""Makes the kernel drop packets, each in a known place.

Two network namespaces, `left` and `right`, are joined by a veth pair, and every
case sends what the kernel is going to drop:

    left0   02:00:00:00:00:04   10.10.2.4/24   fd00::4/64   ifindex 104
    right0  02:00:00:00:00:02   10.10.2.2/24   fd00::2/64   ifindex 102

    drops.py setup                  namespaces, addresses, rules
    drops.py list                   the cases
    drops.py run [CASE…]            one JSON line a case: how to recognise its drops
    drops.py marker TEXT            one UDP packet with that payload to a closed port
    drops.py hardware KO [TRAP…]    a simulated switch that drops, for these traps
    drops.py teardown               removes the namespaces

Needs root and, since it fills the machine's kernel with rules and devices, a
guest of its own. Also a module: `setup()`, `run(names)`, `marker(text)`,
`hardware_setup(module, traps)`, `teardown()`, and `CASES`.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys

LEFT_MAC = bytes.fromhex("020000000004")
RIGHT_MAC = bytes.fromhex("020000000002")
LEFT4, RIGHT4 = "10.10.2.4", "10.10.2.2"
LEFT6, RIGHT6 = "fd00::4", "fd00::2"
# Far from what the kernel hands out itself, so that no interface of the initial
# namespace has the same index.
LEFT_IFINDEX, RIGHT_IFINDEX, TUN_IFINDEX = 104, 102, 107

NFT_PORT, TC_EGRESS_PORT, TC_INGRESS_PORT, ESP_PORT = 5001, 5002, 5003, 5004
RCVBUF_PORT, CLOSED_PORT, MARKER_PORT = 5005, 5006, 9

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


# Cases

CASES = {}

# The kernel that runs: (6, 12).
KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
# Functions that have other names on 7.x.
RENAMED = {"__udp4_lib_rcv": "udp_rcv", "__udp6_lib_rcv": "udpv6_rcv"}


def function_here(name):
    """What the function is called on the kernel that runs."""
    return RENAMED.get(name, name) if KERNEL >= (7, 0) else name

V4 = {"src": LEFT4, "dst": RIGHT4}
V6 = {"src": LEFT6, "dst": RIGHT6}


def case(function, reason, newer=None, newest=None, **facts):
    """Registers a case with what its drops look like in a listener:

    tag           in the payload; empty where there is no room for one
    function      that dropped it, without the compiler's suffixes and the module
    reason        as kernels since 5.18 name it
    count         how many drops have all of tag, function, reason, original_len
    ifindex       of the input interface, None for what was generated locally
    link          "ethernet", or "raw" where the bytes start with the IP header
    original_len  where the tag alone does not tell the drop
    src, dst, proto, dport, ethertype, protocol, inner_src, inner_dst
                  what the bytes say, where they say it

    `newer` holds what is different on kernels from 6.12 on, `newest` from 7.0 on.
    """

    def register(make):
        name = make.__name__.replace("_", "-")
        usual = {"tag": f"[{name}]", "count": 1, "ifindex": RIGHT_IFINDEX, "link": "ethernet"}
        make.facts = {"case": name, "function": function, "reason": reason} | usual | facts
        make.changes = {(6, 12): newer or {}, (7, 0): newest or {}}
        make.tag = make.facts["tag"].encode()
        CASES[name] = make
        return make

    return register


def expected(name):
    """The facts of a case on the kernel that runs."""
    make = CASES[name]
    facts = make.facts | {"function": function_here(make.facts["function"])}
    for since, changes in make.changes.items():
        facts |= changes if KERNEL >= since else {}
    return facts


def run(names=()):
    """Makes the drops of these cases (of all, without names), in the order of the
    file, and returns their facts."""
    unknown = set(names) - set(CASES)
    if unknown:
        raise SystemExit(f"drops.py: no such case: {' '.join(sorted(unknown))}")
    chosen = [name for name in CASES if name in names or not names]
    for name in chosen:
        CASES[name]()
    return [expected(name) for name in chosen]


def marker(text):
    """One UDP packet from left to right's closed discard port, dropped with
    NO_SOCKET: tells a listener how far it has come."""
    send_datagram(text.encode(), RIGHT4, MARKER_PORT)


@case("ip_rcv_finish_core", "NOT_SPECIFIED", src=LEFT4, dst="224.0.0.5", proto=89)
def ospf():
    """An OSPF hello to a multicast group that right never joined: routing drops it."""
    router, area = socket.inet_aton(LEFT4), socket.inet_aton("0.0.0.0")
    hello = socket.inet_aton("255.255.255.0") + struct.pack("!HBBI8x", 10, 2, 1, 40)
    start = struct.pack("!BBH", 2, 1, 24 + len(hello)) + router + area
    ospf_sum = checksum(start + b"\0\0\0\0" + hello)
    packet = start + struct.pack("!HH8x", ospf_sum, 0) + hello
    # Behind OSPF's own length, where a cryptographic digest would be.
    send_ip(ipv4(89, packet + ospf.tag, dst="224.0.0.5", ttl=1), dst=bytes.fromhex("01005e000005"))


@case("gre_rcv", "NOT_SPECIFIED", src=RIGHT4, dst=LEFT4, proto=47, ifindex=LEFT_IFINDEX)
def gre_version_7():
    """GRE of a version that nobody defined, from right to left: the module gre drops it."""
    packet = ipv4(47, struct.pack("!HH", 0x0007, 0x0800) + gre_version_7.tag, RIGHT4, LEFT4)
    send_frame(ethernet(0x0800, packet, src=RIGHT_MAC, dst=LEFT_MAC), side="right")


@case("gre_rcv", "NOT_SPECIFIED", **V4, proto=47, inner_src="172.16.15.4", inner_dst="172.16.15.2")
def gre_without_tunnel():
    """A UDP packet inside GRE, with no tunnel device to take it."""
    src, dst = "172.16.15.4", "172.16.15.2"
    inner = ipv4(17, udp(gre_without_tunnel.tag, src=src, dst=dst), src=src, dst=dst)
    send_ip(ipv4(47, struct.pack("!HH", 0, 0x0800) + inner))


@case(
    "vxlan_xmit_one",
    "NOT_SPECIFIED",
    src="172.16.14.2",
    dst="172.16.14.1",
    proto=17,
    newest={"reason": "IP_OUTNOROUTES"},
    ifindex=None,
)
def vxlan_without_route():
    """A UDP packet into left's VXLAN device, whose remote end 192.0.2.99 has no route."""
    send_datagram(vxlan_without_route.tag, "172.16.14.1", CLOSED_PORT)


@case("xfrm_input", "NOT_SPECIFIED", **V4, proto=50)
def esp_wrong_key():
    """A UDP packet that left protects with one key and right verifies with another."""
    send_datagram(esp_wrong_key.tag, RIGHT4, ESP_PORT)


@case("nft_do_chain", "NETFILTER_DROP", **V4, proto=17, dport=NFT_PORT)
def nft_v4():
    """A UDP packet that right's nftables input chain drops."""
    send_datagram(nft_v4.tag, RIGHT4, NFT_PORT)


@case("nft_do_chain", "NETFILTER_DROP", **V6, proto=17, dport=NFT_PORT)
def nft_v6():
    """The same over IPv6."""
    send_datagram(nft_v6.tag, RIGHT6, NFT_PORT)


@case("nft_do_chain", "NETFILTER_DROP", **V4, proto=6, dport=NFT_PORT)
def nft_tcp():
    """A TCP SYN, with data, that right's nftables input chain drops."""
    send_ip(ipv4(6, tcp_syn(nft_tcp.tag, port=NFT_PORT)))


@case("__udp4_lib_rcv", "NO_SOCKET", **V4, proto=17, dport=CLOSED_PORT)
def udp_closed_v4():
    """A UDP packet to a closed port."""
    send_datagram(udp_closed_v4.tag, RIGHT4, CLOSED_PORT)


@case("__udp6_lib_rcv", "NO_SOCKET", **V6, proto=17, dport=CLOSED_PORT)
def udp_closed_v6():
    """The same over IPv6."""
    send_datagram(udp_closed_v6.tag, RIGHT6, CLOSED_PORT)


@case("__udp6_lib_rcv", "NO_SOCKET", **V6, proto=17, dport=CLOSED_PORT)
def udp_extension_v6():
    """The same behind an IPv6 destination options header."""
    options = struct.pack("!BB", 17, 0) + b"\x01\x04\0\0\0\0"
    payload = udp(udp_extension_v6.tag, src=LEFT6, dst=RIGHT6)
    send_ip(ipv6(60, options + payload))


@case("tcp_v4_rcv", "NO_SOCKET", **V4, proto=6, dport=CLOSED_PORT, tag="", original_len=74)
def tcp_closed_v4():
    """A TCP connection to a closed port. No tag, a SYN carries no data."""
    connect_in_vain(RIGHT4, CLOSED_PORT)


@case("tcp_v6_rcv", "NO_SOCKET", **V6, proto=6, dport=CLOSED_PORT, tag="", original_len=94)
def tcp_closed_v6():
    """The same over IPv6."""
    connect_in_vain(RIGHT6, CLOSED_PORT)


@case("__udp4_lib_rcv", "NO_SOCKET", **V4, proto=17, dport=CLOSED_PORT, original_len=4042)
def fragments_v4():
    """4000 bytes of UDP in three fragments to a closed port: one drop of the whole
    datagram, which is what the facts are about, and one, without the tag, of each
    fragment but the first."""
    send_datagram(fragments_v4.tag.ljust(4000, b"."), RIGHT4, CLOSED_PORT)


@case("__udp6_lib_rcv", "NO_SOCKET", **V6, proto=17, dport=CLOSED_PORT, original_len=4062)
def fragments_v6():
    """The same over IPv6."""
    send_datagram(fragments_v6.tag.ljust(4000, b"."), RIGHT6, CLOSED_PORT)


@case(
    "udp_queue_rcv_one_skb",
    "SOCKET_RCVBUFF",
    **V4,
    proto=17,
    dport=RCVBUF_PORT,
    count=6,
    newest={"count": 7},
)
def receive_buffer():
    """Eight UDP packets to a socket that nobody reads and that holds one or two."""
    with namespace("right"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        receiver.bind((RIGHT4, RCVBUF_PORT))
        for _ in range(8):
            send_datagram(receive_buffer.tag.ljust(1000, b"."), RIGHT4, RCVBUF_PORT)
        # What is still queued when the socket closes would be dropped as well.
        receiver.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                receiver.recv(2000)


@case("__dev_queue_xmit", "TC_EGRESS", **V4, proto=17, dport=TC_EGRESS_PORT, ifindex=None)
def tc_egress():
    """A UDP packet that a tc filter drops where it leaves left: locally generated, so
    there is no input interface."""
    send_datagram(tc_egress.tag, RIGHT4, TC_EGRESS_PORT)


@case("__netif_receive_skb_core", "TC_INGRESS", **V4, proto=17, dport=TC_INGRESS_PORT)
def tc_ingress():
    """A UDP packet that a tc filter drops where it enters right."""
    send_datagram(tc_ingress.tag, RIGHT4, TC_INGRESS_PORT)


@case(
    "kfree_skb_list_reason",
    "QDISC_DROP",
    src="10.10.9.1",
    dst="10.10.9.2",
    proto=17,
    newer={"function": "__dev_queue_xmit"},
    newest={"function": "__tcf_kfree_skb_list"},
    ifindex=None,
)
def queueing_discipline():
    """A UDP packet into a queueing discipline that loses all of them."""
    send_datagram(queueing_discipline.tag, "10.10.9.2", CLOSED_PORT)


@case("ip_rcv_core", "IP_CSUM", **V4, proto=17)
def ip_checksum():
    """An IPv4 header with a wrong checksum."""
    send_ip(ipv4(17, udp(ip_checksum.tag), bad_sum=0x1111))


@case("__udp4_lib_rcv", "UDP_CSUM", **V4, proto=17, dport=CLOSED_PORT)
def udp_checksum():
    """A UDP packet with a wrong checksum."""
    send_ip(ipv4(17, udp(udp_checksum.tag, bad_sum=0x1111)))


@case("tcp_v4_rcv", "TCP_CSUM", **V4, proto=6, dport=CLOSED_PORT)
def tcp_checksum():
    """A TCP SYN with a wrong checksum."""
    send_ip(ipv4(6, tcp_syn(tcp_checksum.tag, bad_sum=0x1111)))


@case("ip_rcv_core", "IP_INHDR", tag="", ethertype=0x0800, original_len=24)
def ip_header_cut():
    """Ten bytes of an IPv4 header and no more. No tag, there is no room for one."""
    send_ip(ipv4(17, b"")[:10])


@case("ip_rcv_core", "IP_INHDR", ethertype=0x0800)
def ip_header_length():
    """An IPv4 header that says it is twelve bytes long."""
    send_ip(ipv4(17, udp(ip_header_length.tag), version_ihl=0x43))


@case("ip_rcv_core", "IP_INHDR", ethertype=0x0800)
def ip_version():
    """An IPv4 header that says it is version 5."""
    send_ip(ipv4(17, udp(ip_version.tag), version_ihl=0x55))


@case("ip_rcv_core", "PKT_TOO_SMALL", **V4, proto=17)
def ip_total_length():
    """An IPv4 header that promises more bytes than there are."""
    send_ip(ipv4(17, udp(ip_total_length.tag), length=1000))


@case("ip6_rcv_core", "UNHANDLED_PROTO", ethertype=0x86DD)
def ip6_version():
    """An IPv6 header that says it is version 4."""
    packet = ipv6(17, udp(ip6_version.tag, src=LEFT6, dst=RIGHT6), version=4)
    send_frame(ethernet(0x86DD, packet))


@case("ip6_rcv_core", "PKT_TOO_SMALL", **V6, proto=17)
def ip6_payload_length():
    """An IPv6 header that promises more bytes than there are."""
    send_ip(ipv6(17, udp(ip6_payload_length.tag, src=LEFT6, dst=RIGHT6), length=1000))


@case("__udp4_lib_rcv", "PKT_TOO_SMALL", **V4, proto=17, dport=CLOSED_PORT)
def udp_length():
    """A UDP header that promises more bytes than there are."""
    send_ip(ipv4(17, udp(udp_length.tag, length=1000)))


@case("tcp_v4_rcv", "PKT_TOO_SMALL", **V4, proto=6, dport=CLOSED_PORT)
def tcp_data_offset():
    """A TCP header that says it is twelve bytes long."""
    send_ip(ipv4(6, tcp_syn(tcp_data_offset.tag, data_offset=3)))


@case("ip_local_deliver_finish", "IP_NOPROTO", **V4, proto=253)
def ip_protocol():
    """An IP protocol that nobody handles (253, for experiments)."""
    send_ip(ipv4(253, ip_protocol.tag))


@case("ip_rcv_core", "OTHERHOST", **V4, proto=17, dport=CLOSED_PORT)
def vlan():
    """VLAN 100, which right does not have. The kernel takes the tag out of the bytes
    before it drops the packet, so that it arrives untagged."""
    send_frame(ethernet(0x8100, struct.pack("!HH", 100, 0x0800) + ipv4(17, udp(vlan.tag))))


@case(
    "__netif_receive_skb_core",
    "UNHANDLED_PROTO",
    ethertype=0x8100,
    **V4,
    proto=17,
    dport=CLOSED_PORT,
)
def qinq():
    """VLAN 100 inside service VLAN 200: the outer tag is lost, the inner one stays."""
    tags = struct.pack("!HHHH", 200, 0x8100, 100, 0x0800)
    send_frame(ethernet(0x88A8, tags + ipv4(17, udp(qinq.tag))))


@case("__netif_receive_skb_core", "UNHANDLED_PROTO", ethertype=0x88CC)
def lldp():
    """A neighbour announcement (LLDP) that nobody listens for; the tag is its
    system description."""
    chassis = struct.pack("!HB", 1 << 9 | 7, 4) + LEFT_MAC
    port = struct.pack("!HB", 2 << 9 | 6, 5) + b"left0"
    time_to_live = struct.pack("!HH", 3 << 9 | 2, 120)
    description = struct.pack("!H", 6 << 9 | len(lldp.tag)) + lldp.tag
    announcement = chassis + port + time_to_live + description + b"\0\0"
    send_frame(ethernet(0x88CC, announcement, dst=bytes.fromhex("0180c200000e")))


@case("__netif_receive_skb_core", "UNHANDLED_PROTO", protocol=4)
def spanning_tree():
    """A spanning tree BPDU: 802.3 with a length instead of an ethertype, and an 802.2
    LLC header that no protocol of right's asks for. The tag is in the padding."""
    bridge = struct.pack("!H", 0x8000) + LEFT_MAC
    bpdu = struct.pack("!HBBB", 0, 0, 0, 0) + bridge + struct.pack("!I", 0) + bridge
    bpdu += struct.pack("!HHHHH", 0x8001, 0, 20 << 8, 2 << 8, 15 << 8)
    frame = ethernet(3 + len(bpdu), b"\x42\x42\x03" + bpdu, dst=bytes.fromhex("0180c2000000"))
    send_frame(frame + spanning_tree.tag)


@case("__netif_receive_skb_core", "UNHANDLED_PROTO", ethertype=0x88B5)
def unknown_ethertype():
    """An ethertype that nobody handles (0x88b5, for experiments)."""
    send_frame(ethernet(0x88B5, unknown_ethertype.tag))


@case("arp_process", "NOT_SPECIFIED", ethertype=0x0806)
def arp():
    """An ARP request for a loopback address, which is never answered. The tag is in
    the padding."""
    request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + LEFT_MAC + socket.inet_aton(LEFT4)
    request += bytes(6) + socket.inet_aton("127.0.0.2")
    send_frame(ethernet(0x0806, request + arp.tag, dst=b"\xff" * 6))


@case("sctp_rcv", "NOT_SPECIFIED", **V4, proto=132, dport=CLOSED_PORT)
def sctp():
    """An SCTP packet with a wrong checksum: the module sctp drops it."""
    padding = struct.pack("!HH", 0x8005, 4 + len(sctp.tag)) + sctp.tag  # RFC 4820
    init = struct.pack("!BBHIIHHI", 1, 0, 20 + len(padding), 1, 65536, 1, 1, 1) + padding
    packet = struct.pack("!HHII", 40000, CLOSED_PORT, 0, 0) + init
    send_ip(ipv4(132, packet.ljust(-len(packet) % 4 + len(packet), b"\0")))


@case("ip_rcv_core", "OTHERHOST", **V4, proto=17, dport=CLOSED_PORT)
def other_host_v4():
    """A UDP packet in a frame for another machine."""
    send_ip(ipv4(17, udp(other_host_v4.tag)), dst=bytes.fromhex("020000000099"))


@case("ip6_rcv_core", "OTHERHOST", **V6, proto=17, dport=CLOSED_PORT)
def other_host_v6():
    """The same over IPv6."""
    packet = ipv6(17, udp(other_host_v6.tag, src=LEFT6, dst=RIGHT6))
    send_ip(packet, dst=bytes.fromhex("020000000099"))


@case(
    "__udp4_lib_rcv",
    "NO_SOCKET",
    src="8.0.1.1",
    dst="10.10.7.1",
    proto=17,
    dport=CLOSED_PORT,
    link="raw",
    ifindex=TUN_IFINDEX,
)
def tun_closed_v4():
    """A UDP packet out of a tun device to a closed port. It has no link-layer header,
    and where an Ethernet frame has its ethertype this one has 0x0800: its source."""
    src, dst = "8.0.1.1", "10.10.7.1"
    with tun_device("right") as tun:
        os.write(tun, ipv4(17, udp(tun_closed_v4.tag, src=src, dst=dst), src=src, dst=dst))


@case(
    "__udp6_lib_rcv",
    "NO_SOCKET",
    src="fd07::2",
    dst="fd07::1",
    proto=17,
    dport=CLOSED_PORT,
    link="raw",
    ifindex=TUN_IFINDEX,
)
def tun_closed_v6():
    """The same over IPv6."""
    src, dst = "fd07::2", "fd07::1"
    with tun_device("right") as tun:
        os.write(tun, ipv6(17, udp(tun_closed_v6.tag, src=src, dst=dst), src=src, dst=dst))


@case(
    "nft_do_chain",
    "NETFILTER_DROP",
    src="10.10.7.2",
    dst="10.10.7.1",
    proto=17,
    dport=NFT_PORT,
    link="raw",
    ifindex=TUN_IFINDEX,
)
def tun_nft():
    """A UDP packet out of a tun device that right's nftables input chain drops."""
    src, dst = "10.10.7.2", "10.10.7.1"
    with tun_device("right") as tun:
        packet = udp(tun_nft.tag, port=NFT_PORT, src=src, dst=dst)
        os.write(tun, ipv4(17, packet, src=src, dst=dst))


@case(
    "tun_net_xmit",
    "FULL_RING",
    src="10.10.7.1",
    dst="10.10.7.2",
    proto=17,
    link="raw",
    count=3,
    ifindex=None,
)
def tun_full():
    """UDP packets into a tun device that nobody reads: locally generated, raw IP, no
    input interface."""
    with tun_device("left"):
        for _ in range(4):
            send_datagram(tun_full.tag, "10.10.7.2", CLOSED_PORT)


@case(
    "__udp4_lib_rcv",
    "NO_SOCKET",
    src="127.0.0.1",
    dst="127.0.0.1",
    proto=17,
    dport=CLOSED_PORT,
    ifindex=1,
)
def loopback_v4():
    """A UDP packet to a closed port of the same machine."""
    send_datagram(loopback_v4.tag, "127.0.0.1", CLOSED_PORT, side="right")


@case("__udp6_lib_rcv", "NO_SOCKET", src="::1", dst="::1", proto=17, dport=CLOSED_PORT, ifindex=1)
def loopback_v6():
    """The same over IPv6."""
    send_datagram(loopback_v6.tag, "::1", CLOSED_PORT, side="right")


# Hardware

COOKIE = "deadbeef00112233"
SWITCH = "netdevsim/netdevsim1337"


def hardware_setup(module, traps=("blackhole_route",)):
    """Makes a simulated switch that drops one packet every 100 ms for each of these
    traps (and for `fid_miss` and `ttl_value_is_too_small`, always), and returns how to
    recognise them. `module` is the netdevsim.ko built for this kernel."""
    command("modprobe", "psample")
    command("insmod", module)
    pathlib.Path("/sys/bus/netdevsim/new_device").write_text("1337 1")
    # The switch starts to drop when its port is up.
    (port,) = os.listdir("/sys/bus/netdevsim/devices/netdevsim1337/net")
    command("ip", "link", "set", port, "up")
    # The cookie that a tc rule would have; this switch has one for all.
    if not os.path.ismount("/sys/kernel/debug"):
        command("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    debug = pathlib.Path("/sys/kernel/debug/netdevsim/netdevsim1337")
    (debug / "trap_flow_action_cookie").write_text(COOKIE + "\n")  # EINVAL without the newline.
    for trap in traps:
        hardware_trap(trap, "trap")
    # What netdevsim invents: nsim_dev_trap_skb_build() in drivers/net/netdevsim/dev.c.
    invented = {"ifname": port, "src": "192.0.2.1", "dst": "198.51.100.1", "proto": 17}
    return [
        {"trap": trap, "cookie": COOKIE if trap.endswith("_flow_action_drop") else None} | invented
        for trap in traps
    ]


def hardware_trap(trap, action):
    """Turns the reporting of one trap on (`trap`) or off (`drop`)."""
    command("devlink", "trap", "set", SWITCH, "trap", trap, "action", action)


def main(arguments):
    match arguments:
        case ["setup"]:
            setup()
        case ["list"]:
            for name, make in CASES.items():
                print(f"{name:<20}  {' '.join(make.__doc__.split())}")
        case ["run", *names]:
            for facts in run(names):
                print(json.dumps(facts))
        case ["marker", text]:
            marker(text)
        case ["hardware", module, *traps]:
            for facts in hardware_setup(module, *([traps] if traps else [])):
                print(json.dumps(facts))
        case ["teardown"]:
            teardown()
        case _:
            sys.exit(__doc__.split("\n\n")[3])


if __name__ == "__main__":
    main(sys.argv[1:])
