"""The cases: each makes the kernel drop a packet in a known place, for a known reason."""

import contextlib
import os
import pathlib
import socket
import struct
import time

from network import (
    CLOSED_PORT, ESP_PORT, LEFT4, LEFT6, LEFT_IFINDEX, LEFT_MAC, NFT_PORT, OTHER_MAC, RCVBUF_PORT,
    RIGHT4, RIGHT6, RIGHT_MAC, TC_EGRESS_PORT, TC_INGRESS_PORT, TUN_IFINDEX, checksum,
    connect_in_vain, ethernet, ipv4, ipv6, namespace, send_datagram, send_frame, send_ip, tcp_syn,
    tun_device, udp,
)
from registry import case

V4 = {"src": LEFT4, "dst": RIGHT4}
V6 = {"src": LEFT6, "dst": RIGHT6}


def dropped_by_udp(port):
    """How many packets the sockets of a port dropped, in the namespace of this thread."""
    sockets = pathlib.Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    fields = [line.split() for line in sockets]
    return sum(int(field[-1]) for field in fields if field[1].endswith(f":{port:04X}"))


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
        # They arrive in their own time, and one that finds room again is not dropped.
        deadline = time.monotonic() + 5
        while dropped_by_udp(RCVBUF_PORT) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
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
    send_ip(ipv4(17, udp(other_host_v4.tag)), dst=OTHER_MAC)


@case("ip6_rcv_core", "OTHERHOST", **V6, proto=17, dport=CLOSED_PORT)
def other_host_v6():
    """The same over IPv6."""
    packet = ipv6(17, udp(other_host_v6.tag, src=LEFT6, dst=RIGHT6))
    send_ip(packet, dst=OTHER_MAC)


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
