"""Tun devices that nobody reads, and ports of a bridge that do not pass a frame on."""

import struct
import time

from scene import FAR4, MACS, chain, ethernet, payloads
from variant import OTHER_RULE, STRICT, Suspect, Variant, family

TUN = family(19, "a tun device without a reader", is_answered=True)
BRIDGE = family(21, "a port of a bridge does not pass the frame on", is_answered=True)
TUNSETIFF, TUNSETPERSIST, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x400454CB, 0x0001, 0x1000
# Opens tun0, as long as its input is open; reads and counts, if its argument is a file.
HOLDER = f"""
import fcntl, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, {TUNSETIFF}, struct.pack("16sH22x", b"tun0", {IFF_TUN | IFF_NO_PI}))
print("ready", flush=True)
sys.stdin.readline()
count = 0
while True:
    count += b"why:" in os.read(tun, 2000)
    with open(sys.argv[1] + ".new", "w") as out:
        out.write(str(count))
    os.replace(sys.argv[1] + ".new", sys.argv[1])
"""


class Tun(Variant):
    """near sends to 10.7.0.5, which is behind tun0."""

    family = TUN
    reasons = ("FULL_RING",)
    place = "tun_net_xmit"
    object = (r"\btun0\b",)
    modules = ("tun",)
    destination = "10.7.0.5"
    cure = "the program reads"
    # Nobody else can.
    has_remedy = False

    def plant(self, scene):
        self.file = scene.folder / "count"
        self.seen = 0
        self.process = scene.python("host", HOLDER, self.file)
        self.open(scene)

    def open(self, scene):
        scene.ip("host", "address add 10.7.0.1/24 dev tun0\nlink set tun0 txqueuelen 1 up\n")
        # Filled, so that all that follows is dropped.
        scene.send("near", self.destination)
        time.sleep(0.1)

    def send(self, scene):
        scene.send("near", self.destination, pause=0.02)

    def arrived(self, scene):
        total = int(self.file.read_text()) if self.file.exists() else 0
        found, self.seen = total - self.seen, total
        return found

    def heal(self, scene):
        self.process.stdin.write("read\n")
        self.process.stdin.flush()


class TunNotRead(Tun):
    name = "tun-not-read"
    suspects = (STRICT, OTHER_RULE)
    planted = "a program holds tun0 open and does not read"

    def guilty(self, scene):
        return (*self.object, rf"\b{self.process.pid}\b|\bpython")


class TunClosed(Tun):
    name = "tun-no-program"
    planted = "tun0 is persistent, and no program has it open"
    reasons = ("QDISC_DROP", "DEV_READY", "NOT_SPECIFIED")
    place = "__dev_queue_xmit|tun_net_xmit|kfree_skb_list_reason|__dev_xmit_skb|noop_enqueue|__tcf_kfree_skb_list"
    cure = "a program opens it and reads"

    def plant(self, scene):
        self.file = scene.folder / "count"
        self.seen = 0
        scene.sh("host", "ip tuntap add dev tun0 mode tun")
        self.open(scene)

    def heal(self, scene):
        self.process = scene.python("host", HOLDER, self.file)
        super().heal(scene)
        time.sleep(0.3)


class TunInnocent(Tun):
    name = "tun-not-read-and-rule"
    planted = "a full tun0 of other traffic; a rule in FORWARD drops what goes to far"
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never, cure = (r"\binet t\b",), (r"\btun0\b",), None

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("forward", f"ip daddr {FAR4} drop"))

    def send(self, scene):
        scene.send("near", FAR4)


class Bridged(Variant):
    """in0 and out0 are ports of a bridge, and near sends frames to far."""

    family = BRIDGE
    reasons = ("NOT_SPECIFIED",)
    place = "br_handle_frame.*|br_flood|br_forward|__br_forward|br_allowed_ingress|__allowed_ingress"
    object = (r"\bin0\b",)
    modules = ("bridge",)
    # Of the bridge, and what is set once the ports are in it.
    options, settings = "", ()
    grade = "likely"

    def plant(self, scene):
        scene.ip(
            "host",
            f"link add br0 type bridge mcast_snooping 0 {self.options}\nlink set br0 up\n"
            "link set in0 master br0\nlink set out0 master br0\n",
        )
        scene.wait_for_ports(2)
        for setting in self.settings:
            scene.sh("host", setting)
        scene.watch("far", "far0")

    def send(self, scene):
        scene.frames(ethernet(0x88B5, payload.ljust(60, b"."), dst="far0") for payload in payloads())


class VlanIngress(Bridged):
    name = "bridge-vlan-untagged"
    planted = "the bridge filters VLANs, in0 has none for untagged frames"
    options = "vlan_filtering 1"
    reasons = ("NOT_SPECIFIED", "BRIDGE_INGRESS_VLAN", "VLAN_FILTER")
    settings = ("bridge vlan del vid 1 dev in0",)
    cure = "bridge vlan add vid 1 dev in0 pvid untagged"
    object = (r"\bin0\b", r"(?i)vlan|pvid")


class VlanUnknown(Bridged):
    name = "bridge-vlan-not-allowed"
    planted = "frames of VLAN 30, which in0 is not a member of"
    options = "vlan_filtering 1"
    cure = "bridge vlan add vid 30 dev in0; bridge vlan add vid 30 dev out0"
    object = (r"\bin0\b", r"\b30\b")

    def send(self, scene):
        tag = struct.pack("!HH", 30, 0x88B5)
        scene.frames(ethernet(0x8100, tag + payload.ljust(60, b"."), dst="far0") for payload in payloads())


class VlanEgress(Bridged):
    name = "bridge-vlan-egress"
    planted = "in0's frames are of VLAN 10, out0's port has VLAN 20 alone"
    options = "vlan_filtering 1"
    settings = (
        "bridge vlan add vid 10 dev in0 pvid untagged; bridge vlan del vid 1 dev in0",
        "bridge vlan add vid 20 dev out0 pvid untagged; bridge vlan del vid 1 dev out0",
    )
    reasons = ("NOT_SPECIFIED", "NO_TX_TARGET")
    cure = "bridge vlan add vid 10 dev out0 untagged"
    object = (r"\bout0\b", r"\b10\b|(?i)vlan".replace("(?i)", ""))


class Isolated(Bridged):
    name = "bridge-isolated"
    planted = "both ports are isolated"
    settings = ("bridge link set dev in0 isolated on; bridge link set dev out0 isolated on",)
    reasons = ("NOT_SPECIFIED", "NO_TX_TARGET")
    cure = "bridge link set dev out0 isolated off"
    object = (r"isolated",)


class IsolatedKnown(Isolated):
    name = "bridge-isolated-known"
    planted = "the same, far's address is in the bridge's table"
    settings = (*Isolated.settings, f"bridge fdb replace {MACS['far0'].hex(':')} dev out0 master static")


class Blocking(Bridged):
    name = "bridge-stp-disabled"
    planted = "in0's state in the bridge is disabled"
    reasons = ("NOT_SPECIFIED", "BRIDGE_INGRESS_STP_STATE")
    settings = ("bridge link set dev in0 state 0",)
    cure = "bridge link set dev in0 state 3"
    object = (r"\bin0\b", r"(?i)state|stp")
    suspects = (
        Suspect("bridge link set dev in0 isolated on", "bridge link set dev in0 isolated off", "isolated"),
    )


class Learning(Bridged):
    name = "bridge-stp-learning"
    planted = "in0's state is learning: frames are looked at and not passed on"
    # With one, a port that learns passes on 15 s after it came up.
    options = "forward_delay 0"
    reasons = Blocking.reasons
    settings = ("bridge link set dev in0 state 2",)
    cure, object = Blocking.cure, Blocking.object


class BlockingOut(Bridged):
    name = "bridge-stp-out"
    planted = "out0's state is disabled: there is no port to pass the frame on to"
    reasons = ("NOT_SPECIFIED", "NO_TX_TARGET")
    settings = ("bridge link set dev out0 state 0",)
    cure = "bridge link set dev out0 state 3"
    object = (r"\bout0\b", r"(?i)state|stp")


class Passing(Bridged):
    name = "bridge-isolated-one"
    planted = "in0 alone is isolated, and the bridge filters VLANs that fit: all arrives"
    options = "vlan_filtering 1"
    settings = ("bridge link set dev in0 isolated on",)
    is_twin = True
    reasons, object, never = (), (), (r"isolated", r"(?i)vlan")


class BridgeRule(Bridged):
    name = "bridge-isolated-and-rule"
    planted = "in0 alone is isolated; a rule in the bridge's FORWARD drops"
    settings = Passing.settings
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain.*|nf_hook_slow"
    object, never = (r"\bbridge t\b", r"\bc\b"), (r"isolated",)
    cure = "nft delete table bridge t"
    grade = "certain"

    def plant(self, scene):
        super().plant(scene)
        scene.nft("host", chain("forward", "ether type 0x88b5 drop", table="bridge t"))
