"""Limits of a whole machine, and programs of a control group."""

import os
import pathlib
import struct
import subprocess

import tracepoint
from scene import FAR4, PORT, TAG, chain, ethernet, payloads
from variant import Variant, family

PROGRAM = 17
BACKLOG = family(18, "the CPU's backlog is full", is_answered=True)
NEIGHBOURS = 15
TRACKING = family(23, "the table of connections is full", is_answered=True)
PROG_ATTACH, PROG_DETACH, CGROUP_SKB, CGROUP_INGRESS = 8, 9, 8, 0
# Joins the control group of its first argument, and counts datagrams in the file of its second.
MEMBER = """
import os, socket, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 7000))
print("ready", flush=True)
count = 0
while True:
    count += b"why:" in one.recv(2000)
    with open(sys.argv[2] + ".new", "w") as out:
        out.write(str(count))
    os.replace(sys.argv[2] + ".new", sys.argv[2])
"""


def cgroup_root():
    """The folder of the control groups, version 2."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return pathlib.Path(line.split()[1])
    return None


class ControlGroup(Variant):
    """A program at a control group's ingress returns this."""

    family = PROGRAM
    name = "cgroup-ingress"
    planted = "a program at the ingress of the receiver's control group drops"
    reasons = ("SOCKET_FILTER", "BPF_CGROUP_INGRESS")
    place = "udp_queue_rcv_one_skb|udp_queue_rcv_skb|__udp4_lib_rcv|udp_unicast_rcv_skb"
    value = 0
    cure = "the program is detached"
    # bpftool could, which not every host has.
    has_remedy = False
    grade = "likely"

    def missing(self):
        return super().missing() or (None if cgroup_root() else "no control groups of version 2 are mounted")

    def plant(self, scene):
        self.group = cgroup_root() / f"why-{TAG}"
        self.group.mkdir(exist_ok=True)
        scene.undo.append(self.group.rmdir)
        self.file, self.seen = scene.folder / "count", 0
        scene.python("host", MEMBER, self.group, self.file)
        code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, self.value, 0x95, 0, 0, 0)
        instructions, licence = tracepoint.buffer(code), tracepoint.buffer(b"GPL\0")
        attributes = struct.pack("=IIQQ", CGROUP_SKB, 2, tracepoint.address(instructions), tracepoint.address(licence))
        self.program, _ = tracepoint.bpf(tracepoint.PROG_LOAD, attributes)
        self.at_group(PROG_ATTACH)
        scene.undo.insert(0, lambda: os.close(self.program))

    def at_group(self, command):
        folder = os.open(self.group, os.O_RDONLY)
        tracepoint.bpf(command, struct.pack("=IIII", folder, self.program, CGROUP_INGRESS, 0))
        os.close(folder)

    def guilty(self, scene):
        return (rf"why-{TAG}",)

    def arrived(self, scene):
        total = int(self.file.read_text()) if self.file.exists() else 0
        found, self.seen = total - self.seen, total
        return found

    def heal(self, scene):
        self.at_group(PROG_DETACH)


class ControlGroupPasses(ControlGroup):
    name = "cgroup-ingress-passes"
    planted = "a program at the ingress of the control group lets all pass: all arrives"
    is_twin = True
    value = 1
    reasons, never, cure = (), (r"why-\d+", r"(?i)cgroup"), None

    def guilty(self, scene):
        return ()


class CpuBacklog(Variant):
    name = "cpu-backlog"
    family = BACKLOG
    planted = "net.core.netdev_max_backlog is 1, and a bridge of near floods each frame to twelve devices of the host"
    reasons = ("CPU_BACKLOG",)
    place = "enqueue_to_backlog"
    object = (r"net\.core\.netdev_max_backlog",)
    is_for_guest = True
    modules = ("bridge",)
    passing, arriving = 100, 100
    cure = "the limit is raised"
    grade = "likely"
    ports = 12

    def plant(self, scene):
        lines = "link add flood type bridge mcast_snooping 0\nlink set flood up\n"
        lines += "link add in type veth peer name start\nlink set in master flood up\nlink set start up\n"
        host = scene.names["host"]
        for number in range(self.ports):
            lines += f"link add f{number} type veth peer name g{number} netns {host}\n"
            lines += f"link set f{number} master flood up\n"
        scene.ip("near", lines)
        scene.ip("host", "".join(f"link set g{number} up\n" for number in range(self.ports)))
        scene.change_machine("net/core/netdev_max_backlog", 1)
        for number in range(self.ports):
            scene.watch("host", f"g{number}")

    def send(self, scene):
        frames = (ethernet(0x88B5, payload.ljust(60, b"."), dst=b"\xff" * 6) for payload in payloads())
        scene.frames(frames, device="start")

    def heal(self, scene):
        pathlib.Path("/proc/sys/net/core/netdev_max_backlog").write_text("1000")


class NeighbourTable(Variant):
    name = "neighbour-table-full"
    family = NEIGHBOURS
    planted = "net.ipv4.neigh.default.gc_thresh3 is less than the neighbours that there are"
    reasons = ("NEIGH_CREATEFAIL", "NOT_SPECIFIED")
    place = "ip_finish_output2|ip_finish_output|__neigh_create|ip_output"
    object = (r"gc_thresh3|neighbour table",)
    is_for_guest = True
    cure = "the limits are raised"
    grade = "likely"

    def plant(self, scene):
        scene.watch("far", "far0")
        # They answer once they may be asked for.
        scene.ip("far", "".join(f"address add 10.2.0.{last}/24 dev far0\n" for last in range(200, 210)))
        self.unused = iter(range(100, 200))
        self.fill(scene)
        for name in ("gc_thresh1", "gc_thresh2", "gc_thresh3"):
            scene.change_machine(f"net/ipv4/neigh/default/{name}", 1)

    def fill(self, scene):
        """Adds neighbours. All namespaces share the table: where it is full, the kernel throws away, for the first
        neighbour alone, what any of them does not need any more, as those that were added here long before."""
        far = "lladdr 02:00:00:00:03:04 dev out0 nud reachable"
        lines = "".join(f"neighbour add 10.2.0.{next(self.unused)} {far}\n" for _ in range(5))
        with scene.inside("host"):
            subprocess.run(["ip", "-force", "-batch", "-"], input=lines, text=True, stderr=subprocess.DEVNULL)

    def send(self, scene):
        self.fill(scene)
        # To another one each time, which has no entry yet.
        one = scene.socket("near")
        for last, payload in enumerate(payloads(), start=200):
            one.sendto(payload, (f"10.2.0.{last}", PORT))

    def heal(self, scene):
        for name in ("gc_thresh1", "gc_thresh2", "gc_thresh3"):
            pathlib.Path("/proc/sys/net/ipv4/neigh/default", name).write_text("1024")
        far = "lladdr 02:00:00:00:03:04 dev out0"
        scene.ip("host", "".join(f"neighbour replace 10.2.0.{last} {far}\n" for last in range(200, 210)))


class Tracked(Variant):
    name = "conntrack-full"
    family = TRACKING
    planted = "net.netfilter.nf_conntrack_max is two, and each datagram is a connection of its own"
    reasons = ("NETFILTER_DROP",)
    place = "nf_hook_slow|nf_conntrack_in|nft_do_chain|nf_hook_run_bpf|ipv4_conntrack_in"
    object = (r"nf_conntrack_max",)
    is_for_guest = True
    modules = ("nf_conntrack", "nft_ct")
    least, passing = 7, 3
    cure = "the limit is raised"
    limit = 2

    def plant(self, scene):
        scene.nft("host", chain("forward", "ct state established accept"))
        scene.watch("far", "far0")
        scene.change_machine("net/netfilter/nf_conntrack_max", self.limit)

    def send(self, scene):
        for number in range(10):
            scene.send("near", FAR4, port=9000 + number, count=1)

    def heal(self, scene):
        pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max").write_text("65536")


class TrackedWithRoom(Tracked):
    name = "conntrack-with-room"
    planted = "connections are tracked, the table has room; a rule in FORWARD drops what is new"
    is_twin = True
    place = "nft_do_chain|nf_hook_slow"
    object, never, cure = (r"\binet t\b",), (r"nf_conntrack_max",), None
    least, passing, limit = 10, 0, 10000

    def plant(self, scene):
        super().plant(scene)
        scene.sh("host", "nft add rule inet t c ct state new drop")
