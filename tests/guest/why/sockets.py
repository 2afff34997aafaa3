"""Sockets that do not take what comes for them: nobody listens, or elsewhere, or the queue is full."""

import pathlib
import signal
import socket
import time

from scene import FAR4, IN4, IN6, MACS, NEAR4, OUT4, PORT, chain, payloads, tcp
from variant import OTHER_QUEUE, OTHER_RULE, STRICT, Suspect, Variant, family

NOBODY = family(9, "nobody listens there", is_answered=True)
BUFFER = family(10, "the receive buffer is full", is_answered=True)
BACKLOG = family(11, "the accept queue is full", is_answered=True)
OTHER_HOST = family(12, "for another machine's MAC address", is_answered=True)
NO_IPV6 = family(13, "IPv6 is off on the interface", is_answered=True)
SYN, ACK, SYN_ACK = 0x02, 0x10, 0x12


class Nobody(Variant):
    """near sends datagrams to a port of the host."""

    family = NOBODY
    reasons = ("NO_SOCKET",)
    place = "__udp4_lib_rcv|udp_rcv"
    object = (rf"\b{PORT}\b",)
    cure = "somebody listens"
    # A program has to be started, or started otherwise.
    has_remedy = False
    address = IN4

    def send(self, scene):
        scene.send("near", self.address)

    def heal(self, scene):
        scene.listen("host", self.address)


class NobodyAtAll(Nobody):
    name = "udp-nobody"
    planted = "nobody listens on port 7000; somebody on 7001"
    never = (r"\b7001\b",)
    suspects = (
        Suspect(
            "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; "
            "nft add rule inet t c udp dport 7001 drop",
            "nft delete table inet t",
            "inet t",
        ),
    )

    def plant(self, scene):
        scene.listen("host", port=7001)


class Loopback(Nobody):
    name = "udp-loopback-only"
    suspects = (STRICT, OTHER_RULE)
    planted = "a listener on 127.0.0.1 alone"
    object = (r"127\.0\.0\.1:7000",)

    def plant(self, scene):
        scene.listen("host", "127.0.0.1")


class OtherAddress(Nobody):
    name = "udp-other-address"
    planted = "a listener on the address of out0 alone"
    object = (r"10\.2\.0\.1:7000",)

    def plant(self, scene):
        scene.listen("host", OUT4)


class OtherDevice(Nobody):
    name = "udp-other-device"
    planted = "a listener bound to the device out0"
    object = (r"\b7000\b", r"\bout0\b")

    def plant(self, scene):
        scene.listen("host", device="out0")


class OtherVrf(Nobody):
    name = "udp-in-vrf"
    planted = "in0 belongs to a VRF, the listener to none, udp_l3mdev_accept off"
    object = (r"\b7000\b", r"\bblue\b|l3mdev_accept")
    modules = ("vrf",)
    cure = "sysctl -w net.ipv4.udp_l3mdev_accept=1"
    grade = "likely"

    def plant(self, scene):
        scene.ip("host", "link add blue type vrf table 10\nlink set blue up\nlink set in0 master blue\n")
        scene.ip("host", f"neighbour replace {NEAR4} lladdr {MACS['near0'].hex(':')} dev in0 nud permanent\n")
        scene.listen("host")

    def heal(self, scene):
        scene.sh("host", self.cure)


class OtherNamespace(Nobody):
    name = "udp-other-namespace"
    planted = "a listener on port 7000 of another network namespace"
    object = (r"\b7000\b", r"-other\b")
    grade = "likely"

    def plant(self, scene):
        scene.add_namespace("other")
        scene.listen("other")


class SixOnly(Nobody):
    name = "udp-ipv6-only"
    planted = "a listener for IPv6 alone (IPV6_V6ONLY)"
    object = (r"\[?::\]?:7000",)

    def plant(self, scene):
        scene.listen("host", "::")


class FourOnly(Nobody):
    name = "udp6-ipv4-only"
    planted = "IPv6 datagrams; a listener for IPv4 alone"
    address = IN6
    place = "__udp6_lib_rcv|udpv6_rcv"
    object = (r"0\.0\.0\.0:7000|\*:7000",)

    def plant(self, scene):
        scene.listen("host")


class Connected(Nobody):
    name = "udp-connected"
    planted = "a socket on port 7000 that is connected to another peer"
    object = (r"\b7000\b", r"10\.2\.0\.2")

    def plant(self, scene):
        scene.listen("host").connect((FAR4, 9))


class ListenerInnocent(Nobody):
    name = "udp-listener-and-rule"
    planted = "a listener on 127.0.0.1 alone, but a rule in INPUT drops before"
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never = (r"\binet t\b",), (r"127\.0\.0\.1",)
    cure = None

    def plant(self, scene):
        scene.listen("host", "127.0.0.1")
        scene.nft("host", chain("input", f"udp dport {PORT} drop"))


class Listening(Nobody):
    name = "udp-two-listeners"
    planted = "a listener on 127.0.0.1 and one on all addresses: all arrives"
    is_twin = True
    reasons, object, cure, never = (), (), None, (r"127\.0\.0\.1",)

    def plant(self, scene):
        scene.listen("host", "127.0.0.1")
        scene.listen("host")


class Refused4(Nobody):
    """near sends SYNs with data, each of a port of its own."""

    place = "tcp_v4_rcv"
    cure = None

    def send(self, scene):
        scene.frames(tcp(payload, SYN, source_port=50000 + number) for number, payload in enumerate(payloads()))


class TcpNobody(Refused4):
    name = "tcp-nobody"
    planted = "nobody listens on TCP port 7000; somebody on UDP port 7000"

    def plant(self, scene):
        scene.listen("host")


class TcpLoopback(Refused4):
    name = "tcp-loopback-only"
    suspects = (OTHER_RULE,)
    planted = "a TCP listener on 127.0.0.1 alone"
    object = (r"127\.0\.0\.1:7000",)

    def plant(self, scene):
        one = scene.socket("host", kind=socket.SOCK_STREAM)
        one.bind(("127.0.0.1", PORT))
        one.listen()


# Receives on port 7000 from argument 1 with a small buffer, and counts the packets in the file of argument 2. Its
# third argument tells how: at once, never (it sleeps), or as the file "go" beside that one comes.
READER = """
import os, signal, socket, sys, time
address, file, how = sys.argv[1:]
one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
one.bind((address, 7000))
print("ready", flush=True)
while how == "sleeps" and not os.path.exists(file + ".go"):
    time.sleep(0.05)
if how == "stops":
    os.kill(os.getpid(), signal.SIGSTOP)
count = 0
while True:
    count += b"why:" in one.recv(2000)
    with open(file + ".new", "w") as out:
        out.write(str(count))
    os.replace(file + ".new", file)
"""


class Full(Variant):
    """near sends datagrams to a program with a small buffer, which does not read."""

    family = BUFFER
    reasons = ("SOCKET_RCVBUFF",)
    place = "__udp_enqueue_schedule_skb|udp_queue_rcv_one_skb|__udp_queue_rcv_skb|udpv6_queue_rcv_one_skb"
    least = 6
    passing = 4
    arriving = 1
    how = "stops"
    address = IN4
    cure = "the program reads"
    object = (r"\b7000\b",)

    def plant(self, scene):
        self.file = scene.folder / "count"
        self.process = scene.python("host", READER, self.address, self.file, self.how)
        self.seen = 0
        time.sleep(0.1)

    def guilty(self, scene):
        return (*self.object, rf"\b{self.process.pid}\b")

    def send(self, scene):
        # So slowly that a program which reads gets them all.
        scene.send("near", self.address, padding=1000, pause=0.03)

    def arrived(self, scene):
        total = int(self.file.read_text()) if self.file.exists() else 0
        found, self.seen = total - self.seen, total
        return found

    def heal(self, scene):
        self.process.send_signal(signal.SIGCONT)


class Stopped(Full):
    name = "rcvbuf-stopped"
    planted = "the program that listens is stopped (SIGSTOP)"


class Stopped6(Full):
    name = "rcvbuf6-stopped"
    planted = "the same by IPv6"
    address = IN6


class Sleeping(Full):
    name = "rcvbuf-sleeping"
    suspects = (STRICT, OTHER_RULE, OTHER_QUEUE)
    planted = "the program that listens does not read"
    how = "sleeps"
    has_remedy = False

    def heal(self, scene):
        pathlib.Path(f"{self.file}.go").touch()


class FullInnocent(Full):
    name = "rcvbuf-other-port"
    planted = "a stopped program with a full buffer on port 7000; the packets go to port 7002, where nobody listens"
    is_twin = True
    reasons, place = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv"
    object, never = (r"\b7002\b",), (r"\b7000\b",)
    passing, least, cure = 0, 10, None

    def plant(self, scene):
        super().plant(scene)
        scene.send("near", IN4, padding=1000)
        time.sleep(0.2)

    def guilty(self, scene):
        return self.object

    def send(self, scene):
        scene.send("near", IN4, port=7002)


class FullOfNobody(Full):
    name = "rcvbuf-small-read"
    planted = "the buffer is as small, but the program reads: all arrives"
    is_twin = True
    how = "reads"
    reasons, cure, never, arriving = (), None, (r"\b7000\b",), 10


class Backlog(Variant):
    """A ghost beside near opens connections: all SYNs first, then all final ACKs."""

    family = BACKLOG
    reasons = ("NOT_SPECIFIED", "TCP_LISTEN_OVERFLOW")
    place = "tcp_v4_rcv|tcp_check_req"
    object = (r"\b7000\b",)
    least = 8
    passing = 2
    grade = "likely"
    # The program has to accept, or to be started with a longer queue.
    has_remedy = False
    cure = "a long queue, and the program accepts"
    ghost = "10.1.0.9"
    cookies = 0
    rounds, short = 0, 0

    def plant(self, scene):
        scene.sysctl("host", "ipv4/tcp_syncookies", self.cookies)
        self.listener = scene.socket("host", kind=socket.SOCK_STREAM)
        self.listener.bind((IN4, PORT))
        self.listener.setblocking(False)
        scene.ip("host", f"neighbour add {self.ghost} lladdr {MACS['near0'].hex(':')} dev in0 nud permanent\n")
        self.wire = scene.socket("near", socket.AF_PACKET, socket.SOCK_RAW)
        self.wire.bind(("near0", 0x0800))
        self.wire.settimeout(0.5)

    def send(self, scene):
        self.rounds += 1
        # Where the queue of half-open connections is as short, no SYN would be answered.
        self.listener.listen(30)
        ports = [40000 + 100 * self.rounds + number for number in range(10)]
        for port in ports:
            self.wire.send(tcp(b"", SYN, source_port=port, src=self.ghost))
        answers = self.answers(ports)
        self.listener.listen(self.short)
        for port, number in answers.items():
            self.wire.send(tcp(b"", ACK, source_port=port, seq=2, ack=number + 1, src=self.ghost))

    def answers(self, ports):
        """The sequence numbers of the SYN-ACKs to these ports."""
        found = {}
        try:
            while len(found) < len(ports):
                data = self.wire.recv(2000)
                port = int.from_bytes(data[36:38], "big")
                if data[23] == 6 and data[47] == SYN_ACK and port in ports:
                    found[port] = int.from_bytes(data[38:42], "big")
        except TimeoutError:
            pass
        return found

    def arrived(self, scene):
        count = 0
        while self.short:
            try:
                scene.keep(self.listener.accept()[0])
            except BlockingIOError:
                break
            count += 1
        return count

    def heal(self, scene):
        self.short = 30


class FinalAck(Backlog):
    name = "accept-queue-ack"
    planted = "a TCP listener that does not accept, with a queue of one, and ten final ACKs"


class FullQueueAndRule(Variant):
    name = "accept-queue-and-rule"
    family = BACKLOG
    planted = "a full accept queue, but a rule in INPUT drops the SYNs before"
    is_twin = True
    reasons, place = ("NETFILTER_DROP",), "nft_do_chain|nf_hook_slow"
    object, never = (r"\binet t\b",), (r"\b7000\b.*(queue|backlog)|(queue|backlog).*\b7000\b",)

    def plant(self, scene):
        listener = scene.socket("host", kind=socket.SOCK_STREAM)
        listener.bind((IN4, PORT))
        listener.listen(0)
        scene.socket("near", kind=socket.SOCK_STREAM).connect((IN4, PORT))
        scene.nft("host", chain("input", f"tcp dport {PORT} tcp flags syn drop"))

    def send(self, scene):
        scene.frames(tcp(payload, SYN, source_port=50000 + number) for number, payload in enumerate(payloads()))


class OtherMac(Variant):
    """near sends IP packets of the host in frames for somebody else."""

    family = OTHER_HOST
    reasons = ("OTHERHOST",)
    place = "ip_rcv_core|ip_rcv|ip6_rcv_core.*"
    object = (r"02:00:00:00:00:99",)
    name = "other-mac"
    planted = "near has a wrong MAC address for the host"
    cure_side = "near"
    cure = f"ip neigh replace {IN4} lladdr {MACS['in0'].hex(':')} dev near0 nud permanent"
    # It is near that has to be mended.
    has_remedy = False

    def plant(self, scene):
        scene.sh("near", f"ip neigh replace {IN4} lladdr 02:00:00:00:00:99 dev near0 nud permanent")
        scene.listen("host")


class OtherMacAlias(OtherMac):
    name = "other-mac-beside-suspects"
    planted = "the same, in0 in promiscuous mode and with a strict rp_filter, both innocent"
    suspects = (
        STRICT,
        Suspect("ip link set in0 promisc on", "ip link set in0 promisc off", "promisc"),
    )


class RightMac(OtherMac):
    name = "other-mac-and-right"
    planted = "in0 in promiscuous mode, frames with the right address; nobody listens"
    is_twin = True
    reasons, place = ("NO_SOCKET",), "__udp4_lib_rcv|udp_rcv"
    object, never, cure = (rf"\b{PORT}\b",), (r"(?i)mac\b|02:00:00:00", r"promisc"), None

    def plant(self, scene):
        scene.sh("host", "ip link set in0 promisc on")


class Off(Variant):
    """near sends IPv6 packets to an interface that has IPv6 off."""

    family = NO_IPV6
    reasons = ("IPV6DISABLED",)
    place = "ip6_rcv_core.*|ipv6_rcv"
    object = (r"net\.ipv6\.conf\.in0\.disable_ipv6",)
    settings = ("in0",)
    # With IPv6, the interface lost its address, which dwdump cannot know.
    is_cured_by_remedy = False
    cure = f"sysctl -w net.ipv6.conf.in0.disable_ipv6=0; ip address replace {IN6}/64 dev in0 nodad"

    def plant(self, scene):
        scene.listen("host", "::")
        scene.sysctl("host", "ipv6/conf/in0/keep_addr_on_down", 1)
        for name in self.settings:
            scene.sysctl("host", f"ipv6/conf/{name}/disable_ipv6", 1)

    def send(self, scene):
        scene.send("near", IN6)


class OffOnInterface(Off):
    name = "ipv6-off-interface"
    planted = "net.ipv6.conf.in0.disable_ipv6 1"
    suspects = (
        Suspect(
            "sysctl -w net.ipv6.conf.default.disable_ipv6=1",
            "sysctl -w net.ipv6.conf.default.disable_ipv6=0",
            r"default\.disable",
        ),
    )


class OffOnAll(Off):
    name = "ipv6-off-all"
    planted = "net.ipv6.conf.all.disable_ipv6 1"
    settings = ("all",)
    object = (r"net\.ipv6\.conf\.(all|in0)\.disable_ipv6",)
    cure = f"sysctl -w net.ipv6.conf.all.disable_ipv6=0; ip address replace {IN6}/64 dev in0 nodad"


class OffOnOther(Off):
    name = "ipv6-off-other-interface"
    planted = "net.ipv6.conf.out0.disable_ipv6 1: all arrives"
    settings = ("out0",)
    is_twin = True
    reasons, object, cure, never = (), (), None, (r"disable_ipv6",)
