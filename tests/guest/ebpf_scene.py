"""Two network namespaces with a cable between them, and all that the kinds of drops in `ebpf_kinds.py` need
there. What a kernel lacks is left out, and named."""

import os
import socket
import struct
import subprocess
import time

import network
import tracepoint

# Of this run: others may make drops on this machine, too.
TAG = f"{os.getpid():06}"
NEAR, FAR = f"dwdump-{TAG}-a", f"dwdump-{TAG}-b"
NEAR_MAC, FAR_MAC = bytes.fromhex("020000000901"), bytes.fromhex("020000000902")
NEAR4, FAR4 = "10.9.0.1", "10.9.0.2"
# A machine that only this program plays.
GHOST4 = "10.9.0.9"
# That of another device in this process's namespace, if there is one: its name is not that of the drops'.
FAR_INDEX = max((index for index, name in socket.if_nameindex() if name != "lo"), default=202)
NEAR_INDEX = FAR_INDEX + 2
# Of Ethernet frames that a rule drops.
XDP_TYPE, TC_TYPE, INGRESS_TYPE = 0x88B6, 0x88B7, 0x88B8
MODULES = """veth vxlan ip_gre esp4 xfrm_user nf_tables nft_chain_nat bridge sch_ingress cls_bpf sch_netem sch_fq
    sch_fq_codel sch_tbf tun""".split()

NEAR_RULES = """
table inet t {
    chain input { type filter hook input priority 0; udp dport 1112 drop; }
    chain output {
        type filter hook output priority 0
        udp dport 1111 drop
        tcp dport 1113 meta length > 200 drop
    }
    chain postrouting {
        type filter hook postrouting priority 0
        udp dport 4789 drop
        ip protocol { gre, esp } drop
    }
}
"""
FAR_RULES = f"""
table inet t {{
    chain prerouting {{ type filter hook prerouting priority 0; udp dport 1115 drop; }}
    chain forward {{ type filter hook forward priority 0; udp dport 1114 drop; }}
}}
"""
INGRESS_RULES = f"""
table netdev n {{
    chain ingress {{ type filter hook ingress device far priority 0; ether type {INGRESS_TYPE:#x} drop; }}
}}
"""
# Queues, each on a device of its own: 10.20.NUMBER.1, with a neighbour 2.
QUEUES = {
    "tbf": "tbf rate 80bit burst 3000 limit 3000",
    "netem_loss": "netem loss 100%",
    "netem_reset": "netem delay 200s 100s",
    "fq_limit": "fq flow_limit 5 horizon 1000s",
    "fq_reset": "fq horizon 1000s",
    "fq_codel": "handle 1: tbf rate 80bit burst 3000 limit 100000",
}


def run(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True)


def queue_address(name, host):
    return f"10.20.{list(QUEUES).index(name)}.{host}"


class Scene:
    """The namespaces, as a context."""

    def __enter__(self):
        # Those that the kernel has built in, or not at all, are no error.
        run(f"modprobe --quiet --all {' '.join(MODULES)}", check=False)
        self.missing = {}
        network.ip(f"netns add {NEAR}\nnetns add {FAR}\n")
        for side in (NEAR, FAR):
            with network.namespace(side):
                # Of no device but loopback, which has its own already: the kernel's own IPv6 packets would be drops
                # that nobody made, for minutes.
                network.sysctl("ipv6/conf/default/disable_ipv6", 1)
                for conf in ("all", "default"):
                    network.sysctl(f"ipv4/conf/{conf}/rp_filter", 0)
        network.ip(
            f"""
            link add near index {NEAR_INDEX} address {NEAR_MAC.hex(":")} mtu 9000 netns {NEAR} type veth \
                peer name far index {FAR_INDEX} address {FAR_MAC.hex(":")} mtu 9000 netns {FAR}
            link add near-b netns {NEAR} type veth peer name far-b netns {FAR}
            link add narrow mtu 600 netns {FAR} type veth peer name narrow-b mtu 600 netns {FAR}
            """
        )
        network.ip(
            f"""
            link set lo up
            address add {NEAR4}/24 dev near
            neighbour add {FAR4} lladdr {FAR_MAC.hex(":")} dev near
            link set near up
            link set near-b up
            """,
            inside=NEAR,
        )
        network.ip(
            f"""
            link set lo up
            address add {FAR4}/24 dev far
            neighbour add {NEAR4} lladdr {NEAR_MAC.hex(":")} dev far
            neighbour add {GHOST4} lladdr {NEAR_MAC.hex(":")} dev far
            link set far up
            link set narrow up
            link set narrow-b up
            address add 10.55.0.1/24 dev narrow
            neighbour add 10.55.0.2 lladdr 02:00:00:00:09:55 dev narrow
            route add blackhole 10.66.0.0/24
            """,
            inside=FAR,
        )
        with network.namespace(NEAR):
            network.command("nft", "-f", "-", stdin=NEAR_RULES)
            # An unknown neighbour has failed after a tenth of a second.
            network.sysctl("ipv4/neigh/near/mcast_solicit", 1)
            network.sysctl("ipv4/neigh/near/retrans_time_ms", 100)
        with network.namespace(FAR):
            network.command("nft", "-f", "-", stdin=FAR_RULES)
            network.sysctl("ipv4/ip_forward", 1)
            network.sysctl("ipv4/ipfrag_time", 1)
        self.tunnels()
        self.others()
        self.queues()
        # So that nothing of what a device says when it comes up is on its way any more.
        time.sleep(0.5)
        return self

    def optional(self, kind, side, words, program="ip"):
        """Commands that this kernel may refuse, in a namespace."""
        command = ["nft", "-f", "-"] if program == "nft" else [program, "-n", side, "-batch", "-"]
        with network.namespace(side):
            done = subprocess.run(command, input=words, capture_output=True, text=True)
        if done.returncode:
            self.missing[kind] = done.stderr.strip().splitlines()[0]

    def tunnels(self):
        self.optional(
            "vxlan",
            NEAR,
            f"""
            link add vxlan7 type vxlan id 7 remote {FAR4} dstport 4789 dev near
            address add 10.10.1.1/24 dev vxlan7
            link set vxlan7 up
            neighbour add 10.10.1.2 lladdr 02:00:00:00:00:02 dev vxlan7
            """,
        )
        self.optional(
            "gre",
            NEAR,
            f"""
            link add gre7 type gre local {NEAR4} remote {FAR4}
            address add 10.10.2.1/24 dev gre7
            link set gre7 up
            """,
        )
        # No encryption, so that the payload of what is dropped can be read.
        self.optional(
            "esp",
            NEAR,
            f"""
            xfrm state add src {NEAR4} dst {FAR4} proto esp spi 0x1000 mode transport \
                auth hmac(sha1) 0x{"11" * 20} enc ecb(cipher_null) ""
            xfrm policy add src {NEAR4} dst {FAR4} proto udp dport 5004 dir out \
                tmpl src {NEAR4} dst {FAR4} proto esp mode transport
            """,
        )

    def others(self):
        self.optional(
            "bridge",
            FAR,
            """
            link add bridge0 type bridge
            link set far-b master bridge0
            link set far-b up
            link set bridge0 up
            """,
        )
        self.optional("nft_ingress", FAR, INGRESS_RULES, "nft")
        # Of the frame's type: this one is dropped (TC_ACT_SHOT), others go on.
        bytecode = f"4,40 0 0 12,21 0 1 {TC_TYPE},6 0 0 2,6 0 0 0"
        for kind, side, device, hook in (("tc_ingress", FAR, "far", "ingress"), ("tc_egress", NEAR, "near-b", "egress")):
            self.optional(
                kind,
                side,
                f"qdisc add dev {device} clsact\nfilter add dev {device} {hook} bpf da bytecode '{bytecode}'\n",
                "tc",
            )

    def queues(self):
        every = range(len(QUEUES))
        network.ip("".join(f"link add q{n} type veth peer name p{n}\n" for n in every), inside=NEAR)
        lines = """
            link set q{0} up
            link set p{0} up
            address add 10.20.{0}.1/24 dev q{0}
            neighbour add 10.20.{0}.2 lladdr 02:00:00:00:20:99 dev q{0}
            """
        network.ip("".join(lines.format(number) for number in every), inside=NEAR)
        for name in QUEUES:
            self.add_queue(name)

    def add_queue(self, name):
        device = f"q{list(QUEUES).index(name)}"
        lines = f"qdisc add dev {device} root {QUEUES[name]}\n"
        if name == "fq_codel":
            lines += f"qdisc add dev {device} parent 1:1 fq_codel limit 8\n"
        self.optional(name, NEAR, lines, "tc")

    def renew_queue(self, name):
        """What waits in it is dropped."""
        device = f"q{list(QUEUES).index(name)}"
        network.command("tc", "-n", NEAR, "qdisc", "del", "dev", device, "root")
        self.add_queue(name)

    def __exit__(self, *_):
        for process in tracepoint.PROCESSES:
            process.kill()
            process.wait()
        for name in (NEAR, FAR):
            run(f"ip netns del {name}", check=False)


def xdp_program(kind=XDP_TYPE):
    """Loads a program of XDP that drops frames of a type, as a rule one of ours, and returns it."""
    code = [
        (0x61, 2, 1, 0, 0),  # r2 = data
        (0x61, 3, 1, 4, 0),  # r3 = data_end
        (0xBF, 4, 2, 0, 0),  # r4 = r2 + 14
        (0x07, 4, 0, 0, 14),
        (0xB7, 0, 0, 0, 2),  # XDP_PASS
        (0x2D, 4, 3, 3, 0),  # if r4 > r3: exit
        (0x69, 5, 2, 12, 0),  # r5 = the type
        (0x55, 5, 0, 1, int.from_bytes(kind.to_bytes(2, "big"), "little")),
        (0xB7, 0, 0, 0, 1),  # XDP_DROP
        (0x95, 0, 0, 0, 0),
    ]
    code = b"".join(struct.pack("=BBhi", op, to | source << 4, offset, value) for op, to, source, offset, value in code)
    instructions, licence = tracepoint.buffer(code), tracepoint.buffer(b"GPL\0")
    attributes = struct.pack(
        "=IIQQ", 6, len(code) // 8, tracepoint.address(instructions), tracepoint.address(licence)
    )  # BPF_PROG_TYPE_XDP
    return tracepoint.bpf(tracepoint.PROG_LOAD, attributes)[0]


def drop_by_xdp(device_index):
    """Has the generic XDP of a device in this thread's namespace drop frames of a type of ours. Returns
    what has to be closed."""
    program = xdp_program()
    generic = 1 << 1  # XDP_FLAGS_SKB_MODE
    link, _ = tracepoint.bpf(tracepoint.LINK_CREATE, struct.pack("=IIII", program, device_index, 37, generic))
    os.close(program)
    return link
