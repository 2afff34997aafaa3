"""Queues that are full, and programs on a packet's way that drop it."""

import os
import socket
import struct
import time

import ebpf_scene
import tracepoint
from scene import COUNT, FAR4, IN4, PORT, chain, ethernet, payloads
from variant import OTHER_RULE, STRICT, Suspect, Variant, family

QDISC = family(16, "a queueing discipline drops", is_answered=True)
PROGRAM = family(17, "a tc filter, XDP, a cgroup's program or a socket's filter drops", is_answered=True)
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
SLOW = "rate 8kbit burst 1540"


class Queue(Variant):
    """near sends to far faster than out0 may send."""

    family = QDISC
    reasons = ("QDISC_DROP", "QDISC_OVERLIMIT", "FQ_BAND_LIMIT")
    place = "__dev_queue_xmit|kfree_skb_list_reason|__tcf_kfree_skb_list|__dev_xmit_skb|qdisc_drop.*|tcf_kfree_skb_list"
    qdiscs = ()
    least, passing = 5, 5
    cure = "tc qdisc del dev out0 root"
    grade = "likely"

    def plant(self, scene):
        scene.tc("host", "".join(f"{line}\n" for line in self.qdiscs))
        scene.watch("far", "far0")

    def send(self, scene):
        scene.send("near", FAR4, padding=1000)


class Tbf(Queue):
    name = "qdisc-tbf"
    planted = "tbf with a short queue on out0, another on in0 is innocent"
    modules = ("sch_tbf",)
    qdiscs = (
        f"qdisc add dev out0 root handle 5: tbf {SLOW} limit 3000",
        f"qdisc add dev in0 root handle 6: tbf {SLOW} limit 3000",
    )
    object, never = (r"\btbf\b", r"\bout0\b"), (r"\bin0\b",)
    suspects = (
        Suspect("ip link set out0 mtu 1400", "ip link set out0 mtu 1500", r"(?i)\bmtu\b"),
        STRICT,
    )


class Fifo(Queue):
    name = "qdisc-pfifo-in-htb"
    planted = "a class of htb with a pfifo of two packets; the pfifo is full"
    modules = ("sch_htb",)
    qdiscs = (
        "qdisc add dev out0 root handle 1: htb default 1",
        "class add dev out0 parent 1: classid 1:1 htb rate 8kbit burst 1540",
        "qdisc add dev out0 parent 1:1 handle 10: pfifo limit 2",
    )
    object = (r"\bpfifo\b", r"\bout0\b")


class FqCodel(Queue):
    name = "qdisc-fq-codel"
    planted = "fq_codel with a limit of two packets in a tbf"
    modules = ("sch_tbf", "sch_fq_codel")
    qdiscs = (
        f"qdisc add dev out0 root handle 1: tbf {SLOW} limit 100000",
        "qdisc add dev out0 parent 1:1 handle 10: fq_codel limit 2",
    )
    object = (r"\bfq_codel\b", r"\bout0\b")
    # fq_codel drops the oldest ones of the fattest flow, in batches.
    place = Queue.place + "|fq_codel_.*|rtnl_kfree_skbs"


class Netem(Queue):
    name = "qdisc-netem-limit"
    planted = "netem with a delay and a limit of two packets"
    modules = ("sch_netem",)
    qdiscs = ("qdisc add dev out0 root handle 5: netem delay 20s limit 2",)
    object = (r"\bnetem\b", r"\bout0\b")


class Loss(Queue):
    name = "qdisc-netem-loss"
    planted = "netem that loses every packet"
    modules = ("sch_netem",)
    qdiscs = ("qdisc add dev out0 root handle 5: netem loss 100%",)
    object = (r"\bnetem\b", r"\bout0\b")
    least, passing = 10, 0
    grade = "certain"


class Fast(Queue):
    name = "qdisc-tbf-fast"
    planted = "a tbf that is fast enough, and a slow one on in0, where packets only come in: all arrives"
    modules = ("sch_tbf",)
    qdiscs = (
        "qdisc add dev out0 root handle 5: tbf rate 1gbit burst 100k limit 1000k",
        f"qdisc add dev in0 root handle 6: tbf {SLOW} limit 3000",
    )
    is_twin = True
    reasons, never, cure = (), (r"\btbf\b",), None


class SlowInnocent(Queue):
    name = "qdisc-tbf-and-rule"
    planted = "a full tbf of other traffic, and a rule in FORWARD that drops"
    modules = ("sch_tbf",)
    qdiscs = Tbf.qdiscs[:1]
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never, cure = (r"\binet t\b",), (r"\btbf\b",), None
    least, passing = 10, 0
    grade = "certain"

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("forward", f"udp dport {PORT} drop"))
        scene.send("near", FAR4, port=7001, padding=1000)
        time.sleep(0.3)
        scene.arrived()


# By classic BPF: of a datagram to this port, TC_ACT_SHOT; go on otherwise.
BYTECODE = "'4,40 0 0 36,21 0 1 {port},6 0 0 2,6 0 0 4294967295'"
BY_BPF = "bpf da bytecode " + BYTECODE


class Filter(Variant):
    """A filter of tc drops datagrams to the port."""

    family = PROGRAM
    reasons = ("TC_INGRESS",)
    place = "__netif_receive_skb_core.*|sch_handle_ingress|tc_run"
    device, hook, destination = "in0", "ingress", IN4
    rule = BY_BPF
    modules = ("sch_ingress", "cls_bpf")
    object = (r"\bin0\b", r"ingress", r"pref 5\b")
    cure = "tc filter del dev in0 ingress pref 5"

    def plant(self, scene):
        lines = f"qdisc add dev {self.device} clsact\n"
        for preference, port in ((4, 7001), (5, PORT), (6, 7002)):
            rule = self.rule.format(port=port)
            lines += f"filter add dev {self.device} {self.hook} protocol ip pref {preference} {rule}\n"
        scene.tc("host", lines)
        if self.destination == FAR4:
            scene.watch("far", "far0")
        else:
            scene.listen("host")

    def send(self, scene):
        scene.send("near", self.destination)


class Ingress(Filter):
    name = "tc-ingress-bpf"
    suspects = (STRICT, OTHER_RULE)
    planted = "the second of three filters at the ingress of in0 (cls_bpf)"


class IngressU32(Filter):
    name = "tc-ingress-u32"
    planted = "the second of three filters at the ingress of in0 (u32, action drop)"
    modules = ("sch_ingress", "cls_u32", "act_gact")
    rule = "u32 match ip dport {port} 0xffff action drop"


class IngressFlower(Filter):
    name = "tc-ingress-flower"
    planted = "the second of three filters at the ingress of in0 (flower, action drop)"
    modules = ("sch_ingress", "cls_flower", "act_gact")
    rule = "flower ip_proto udp dst_port {port} action drop"


class IngressPolice(Filter):
    name = "tc-ingress-police"
    planted = "a policer at the ingress of in0, for the port"
    modules = ("sch_ingress", "cls_u32", "act_police")
    rule = "u32 match ip dport {port} 0xffff action police rate 8bit burst 10 drop"
    least, passing = 8, 2


class EgressBpf(Filter):
    name = "tc-egress-bpf"
    planted = "the second of three filters at the egress of out0 (cls_bpf)"
    reasons = ("TC_EGRESS",)
    place = "__dev_queue_xmit|sch_handle_egress"
    device, hook, destination = "out0", "egress", FAR4
    object = (r"\bout0\b", r"egress", r"pref 5\b")
    cure = "tc filter del dev out0 egress pref 5"


class EgressU32(EgressBpf):
    name = "tc-egress-u32"
    planted = "the second of three filters at the egress of out0 (u32, action drop)"
    modules = ("sch_ingress", "cls_u32", "act_gact")
    rule = IngressU32.rule


class FilterInnocent(Filter):
    name = "tc-ingress-other-port"
    planted = "filters for other ports; nobody listens on this one"
    rule = BY_BPF.replace("{port}", "1{port}")
    is_twin = True
    reasons, place = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv"
    object, never, cure = (rf"\b{PORT}\b",), (r"\bpref\b", r"(?i)\btc\b"), None

    def plant(self, scene):
        super().plant(scene)
        scene.open.pop().close()
        scene.receivers.clear()


class Xdp(Variant):
    """Generic XDP of in0 drops frames of a type."""

    family = PROGRAM
    name = "xdp-generic"
    planted = "a program at the generic XDP of in0, attached with a link"
    reasons = ("XDP", "NOT_SPECIFIED")
    place = "do_xdp_generic"
    object = (r"\bin0\b", r"(?i)xdp")
    cure = "the link is closed"
    # The program's owner has to close it.
    has_remedy = False
    kind = ebpf_scene.XDP_TYPE

    def plant(self, scene):
        with scene.inside("host"):
            self.link = ebpf_scene.drop_by_xdp(socket.if_nametoindex("in0"))
        scene.keep(open(self.link, "rb", buffering=0))
        scene.watch("host", "in0")

    def send(self, scene):
        scene.frames(ethernet(self.kind, payload.ljust(60, b".")) for payload in payloads())

    def heal(self, scene):
        scene.open[0].close()


class XdpOfDevice(Xdp):
    name = "xdp-generic-of-device"
    planted = "a program at the generic XDP of in0, attached as `ip link` does"
    cure = "ip link set dev in0 xdpgeneric off"
    has_remedy = True
    flags = 1 << 1

    def plant(self, scene):
        program = ebpf_scene.xdp_program()
        with scene.inside("host"):
            attach_xdp(socket.if_nametoindex("in0"), program, self.flags)
        os.close(program)
        scene.watch("host", "in0")

    def heal(self, scene):
        scene.sh("host", self.cure)


class XdpOfDriver(XdpOfDevice):
    name = "xdp-driver"
    planted = "a program at the XDP of in0's own driver, that of pairs of virtual devices"
    place = "veth_xdp_rcv_skb"
    cure = "ip link set dev in0 xdpdrv off"
    flags = 1 << 2


def attach_xdp(device_index, program, flags):
    """Gives the program to the device, in this thread's namespace (linux/if_link.h)."""
    set_link, request_and_ack, nested = 19, 5, 0x8000
    attribute, of_program, of_flags = 43, 1, 3
    inside = struct.pack("=HHiHHI", 8, of_program, program, 8, of_flags, flags)
    body = struct.pack("=BxHiII", 0, 0, device_index, 0, 0)
    body += struct.pack("=HH", 4 + len(inside), attribute | nested) + inside
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.send(struct.pack("=IHHII", 16 + len(body), set_link, request_and_ack, 1, 0) + body)
        (error,) = struct.unpack_from("=i", link.recv(4096), 16)
    assert error == 0, f"XDP is refused: {error}"


class XdpInnocent(Xdp):
    name = "xdp-generic-passes"
    planted = "the same program, and packets of another type: it lets them pass; the port is closed"
    is_twin = True
    reasons, place = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv"
    object, never, cure = (rf"\b{PORT}\b",), (r"(?i)xdp",), None
    # The socket that counts sees them.
    passing = COUNT

    def send(self, scene):
        scene.send("near", IN4)


class SocketFilter(Variant):
    name = "socket-filter"
    family = PROGRAM
    planted = "a filter of the socket takes nothing"
    reasons = ("SOCKET_FILTER",)
    place = "udp_queue_rcv_one_skb|udp_queue_rcv_skb|__udp4_lib_rcv|udp_unicast_rcv_skb"
    object = (rf"\b{PORT}\b",)
    cure = "the socket's filter is taken off"
    # Its owner alone can.
    has_remedy = False
    grade = "likely"
    code = 0

    def plant(self, scene):
        self.socket = scene.listen("host")
        program, self.code_bytes = filter_of(self.code)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def heal(self, scene):
        self.socket.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def filter_of(value):
    """The bytes of a sock_fprog whose program returns this value, and what they point to."""
    code = tracepoint.buffer(struct.pack("=HBBI", 6, 0, 0, value))
    return struct.pack("HxxxxxxP", 1, tracepoint.address(code)), code


class SocketFilterTakes(SocketFilter):
    name = "socket-filter-takes"
    planted = "a filter of the socket takes all: all arrives"
    is_twin = True
    reasons, object, never, cure = (), (), (r"(?i)filter",), None
    code = 0xFFFF
