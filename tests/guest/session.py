#!/usr/bin/python3
"""Runs in the guest: the dwdump under test on a real kernel, next to the C tool.

    session.py DWDUMP OUTDIR [NETDEVSIM] [--only CLASS[.TEST] …]

Each test is one way to use dwdump, and what has to be true afterwards. Files that the
host looks at with tshark are left in OUTDIR.
"""

import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import alerts
import drops
import pcapng

DWDUMP, OUT, NETDEVSIM = None, None, None
# What dwdumps say, each in a file. In the guest's memory: Linux 7.2 may answer ENODATA to who reads a
# file of the host's (9p) while it grows.
TALK = pathlib.Path(tempfile.mkdtemp(prefix="talk-"))
# All that were started, so that a test that fails leaves nothing to the next.
PROCESSES = []
C_DWDUMP = "/usr/bin/dwdump"
# Emulated, and others use the machine too.
PATIENCE = 60
# Whether this kernel takes netlink messages for packets when it frees them: alerts, first of all.
REPORTS_NETLINK = drops.KERNEL > (6, 1)


class Running:
    """A dwdump in the background whose talk is watched."""

    def __init__(self, *arguments, prefix=(), stdout=subprocess.DEVNULL, started="drops|monitoring,"):
        self.log = TALK / str(time.monotonic_ns())
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*prefix, DWDUMP, *map(str, arguments)], stdout=stdout, stderr=log
            )
        PROCESSES.append(self.process)
        if started:
            self.wait_for(started)

    def talk(self):
        return self.log.read_text()

    def wait_for(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.talk()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{pattern!r} was never said, but: {self.talk()}")
            time.sleep(0.05)

    def wait(self):
        status = self.process.wait(PATIENCE)
        return status, self.talk()

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        return self.wait()


def dwdump(*arguments, prefix=()):
    """A dwdump that ends by itself: status, stdout, talk."""
    done = subprocess.run(
        [*prefix, DWDUMP, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


def settings():
    """The kernel's settings, as the C tool reads them."""
    return subprocess.run([C_DWDUMP, "-q"], capture_output=True, text=True, check=True).stdout


class CTool:
    """The C dwdump in the background."""

    def __init__(self, file, *arguments):
        users = references()
        self.process = subprocess.Popen(
            [C_DWDUMP, "-w", file, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        PROCESSES.append(self.process)
        # It says nothing. Its first record is written once it is ready to listen; when it
        # starts monitoring itself, the module is in use from then on.
        is_passive = "-p" in arguments
        wait_until(lambda: pathlib.Path(file).exists() and (is_passive or references() > users))
        time.sleep(1 if is_passive else 0.2)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)


def references():
    return int(pathlib.Path("/sys/module/drop_monitor/refcnt").read_text())


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.05)


def loss(talk):
    """What the closing lines say: captured, lost in the queue, lost in the socket."""
    numbers = [
        re.findall(rf"^(\d+) packets? {what}", talk, re.MULTILINE)
        for what in ("captured", "lost in the kernel's queue", "lost in the socket buffer")
    ]
    return [int(found[-1]) for found in numbers]


def between(found, payload, first, last):
    """The alerts between two markers, in time order."""
    found = sorted(found, key=lambda alert: alert["time"])
    places = [
        next(place for place, alert in enumerate(found) if marker in payload(alert))
        for marker in (first, last)
    ]
    return found[places[0] + 1 : places[1]]


def without_privileges(*kept):
    """Runs what follows as root without capabilities but these."""
    return ["setpriv", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in kept)])]


class SessionTest(unittest.TestCase):
    """Leaves the drop monitor idle, with the kernel's own settings."""

    def tearDown(self):
        while PROCESSES:
            process = PROCESSES.pop()
            process.kill()
            process.wait()
        net_dm(STOP, {SW_DROPS: b"", HW_DROPS: b""})
        net_dm(CONFIG, {ALERT_MODE: b"\0", TRUNC_LEN: bytes(4), QUEUE_LEN: struct.pack("=I", 1000)})


# linux/net_dropmon.h
CONFIG, START, STOP = 2, 3, 4
ALERT_MODE, TRUNC_LEN, QUEUE_LEN, SW_DROPS, HW_DROPS = 1, 9, 11, 20, 21


def net_dm(command, attributes):
    """One request to the drop monitor, and its errno."""

    def exchange(family, version, command, attributes):
        body = struct.pack("=BBH", command, version, 0)
        for kind, value in attributes.items():
            body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        request_and_ack = 5
        link.send(struct.pack("=IHHII", 16 + len(body), family, request_and_ack, 0, 0) + body)
        return link.recv(65536)

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as link:
        get_family, family_name = 3, 2
        answer = exchange(0x10, 2, get_family, {family_name: b"NET_DM\0"})
        (family,) = struct.unpack_from("=H", answer, answer.index(b"NET_DM\0") + 12)
        link.recv(65536)
        return -struct.unpack_from("=i", exchange(family, 2, command, attributes), 16)[0]


class BesideTheCTool(SessionTest):
    """The same drops, captured by both at once, are the same to the last byte."""

    def compare(self, active):
        for attempt in (1, 2):
            ours, theirs = OUT / f"beside-{active}.pcapng", OUT / f"beside-{active}.pcap"
            if active == "ours":
                us = Running("-o", "sw", "-w", ours)
                them = CTool(theirs, "-p")
            else:
                them = CTool(theirs, "-o", "sw", "-l", "10000")
                us = Running("-p", "-w", ours)
            # The C tool's format from us, a third listener.
            also = Running("-p", "-w", OUT / f"beside-{active}-ours.pcap")
            drops.marker(f"begin-{active}-{attempt}")
            facts = list(drops.run())
            time.sleep(1)
            drops.marker(f"end-{active}-{attempt}")
            # The kernel sends from a work queue, and STOP purges it.
            time.sleep(1)
            if active == "ours":
                them.stop(), also.stop()
                status, talk = us.stop()
            else:
                also.stop()
                status, talk = us.stop()
                them.stop()
            self.assertEqual(status, 0, talk)
            _, queue, buffer = loss(talk)
            if queue + buffer == 0:
                break
            # Void: repeated once.
        self.assertEqual((queue, buffer), (0, 0), talk)
        first, last = (f"{what}-{active}-{attempt}".encode() for what in ("begin", "end"))

        def normalized(alert):
            payload = bytes.fromhex(alert.get("payload", ""))
            return {**alert, "time": alert["timestamp"], "data": payload}

        theirs = [normalized(alert) for alert in alerts.alerts(theirs)]
        also = [normalized(alert) for alert in alerts.alerts(OUT / f"beside-{active}-ours.pcap")]
        ours = pcapng.read(ours)["packets"]
        kinds = [
            between(found, lambda alert: alert["data"], first, last)
            for found in (theirs, ours, also)
        ]
        multisets = [
            collections.Counter(
                (alert["pc"], alert["time"], alert["data"], alert["original_len"]) for alert in kind
            )
            for kind in kinds
        ]
        self.assertGreater(sum(multisets[0].values()), 50)
        self.assertEqual(multisets[1], multisets[0])
        self.assertEqual(multisets[2], multisets[0])
        return facts, kinds[1]

    def test_ours_active_and_the_c_tool_passive(self):
        facts, packets = self.compare("ours")
        for case in facts:
            with self.subTest(case=case["case"]):
                mine = [
                    packet
                    for packet in packets
                    if case["tag"].encode() in packet["data"]
                    and packet["function"] == case["function"]
                    and packet["reason"] == case["reason"]
                    and case.get("original_len") in (None, packet["original_len"])
                ]
                self.assertEqual(len(mine), case["count"])
                for packet in mine:
                    index = case["ifindex"]
                    place = "locally generated" if index is None else f"ifindex {index}"
                    self.assertEqual(packet["interface"]["description"], f"{place}, software")
                    self.assertEqual(packet["interface"]["link"], case["link"])

    def test_ours_passive_and_the_c_tool_active(self):
        self.compare("theirs")


class Endings(SessionTest):
    """However a run ends, the kernel's settings are what they were, and monitoring is off."""

    def setUp(self):
        # The C tool never puts settings back, so it is good for making odd ones.
        CTool("/dev/null", "-o", "sw", "-t", "123", "-l", "77").stop()
        self.before = settings()
        self.assertIn("77", self.before)
        self.file = OUT / "ending.pcapng"

    def check(self, status, talk, expected=0):
        self.assertEqual(status, expected, talk)
        self.assertEqual(settings(), self.before)
        self.assertEqual(dwdump("-e")[2], "dwdump: monitoring was off already\n")

    def test_signals(self):
        ending = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
        for how in (*ending, signal.SIGALRM, signal.SIGXCPU, signal.SIGRTMIN):
            with self.subTest(signal=how.name):
                run = Running("-w", self.file, "-t", "64", "-l", "4321")
                self.assertIn("4321", settings())
                drops.marker(how.name)
                time.sleep(0.5)
                self.check(*run.stop(how))
                packets = pcapng.read(self.file)["packets"]
                self.assertIn(64, [len(packet["data"]) for packet in packets] + [64])
                self.assertTrue(any(how.name.encode() in packet["data"] for packet in packets))

    def test_a_closed_pipe(self):
        reader, writer = os.pipe()
        run = Running("-w", "-", stdout=writer)
        os.close(writer)
        os.close(reader)
        # Noticed at once, without a drop.
        self.check(*run.wait())

    def test_sigpipe_itself_is_ignored(self):
        run = Running("-w", self.file)
        run.process.send_signal(signal.SIGPIPE)
        time.sleep(0.5)
        self.assertIsNone(run.process.poll())
        self.check(*run.stop())

    def test_a_full_disk(self):
        with small_disk() as disk:
            run = Running("-U", "-w", disk / "full.pcapng")
            for number in range(300):
                if run.process.poll() is not None:
                    break
                drops.marker(f"{number} " + "x" * 1000)
            status, talk = run.wait()
            self.check(status, talk, expected=1)
            self.assertIn("cannot write to", talk)
            self.assertIn("No space left on device", talk)
            self.assertIn("hint: ", talk)
            self.assertGreater(len(pcapng.read(disk / "full.pcapng")["packets"]), 10)

    def test_a_reader_that_does_not_read(self):
        # The pipe is full and the write blocks: the kernel's settings are put back all the same.
        reader, writer = os.pipe()
        run = Running("-U", "-w", "-", stdout=writer)
        os.close(writer)
        for number in range(100):
            drops.marker(f"{number} " + "x" * 1000)
        time.sleep(1)
        run.process.send_signal(signal.SIGINT)
        wait_until(lambda: settings() == self.before)
        run.process.send_signal(signal.SIGINT)
        status, talk = run.wait()
        os.close(reader)
        self.check(status, talk, expected=1)
        self.assertIn("interrupted again", talk)

    def test_a_number_of_packets(self):
        run = Running("-c", "2", "-w", self.file)
        drops.marker("one"), drops.marker("two"), drops.marker("three")
        self.check(*run.wait())
        self.assertEqual(len(pcapng.read(self.file)["packets"]), 2)

    def test_a_duration(self):
        begin = time.monotonic()
        run = Running("--duration", "1.5", "-w", self.file)
        self.check(*run.wait())
        self.assertGreater(time.monotonic() - begin, 1.5)

    def test_an_output_that_cannot_be_created(self):
        status, _, talk = dwdump("-w", "/nonexistent/x.pcapng")
        self.check(status, talk, expected=1)
        self.assertIn("cannot create /nonexistent/x.pcapng: No such file or directory", talk)


@contextlib.contextmanager
def small_disk(size="64k"):
    mount = pathlib.Path("/tmp/small")
    mount.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


class Busy(SessionTest):
    """One global switch, and others who use it."""

    def test_a_killed_dwdump_is_no_dead_end(self):
        before = settings()
        run = Running("-w", OUT / "killed.pcapng")
        drops.marker("before the kill")
        time.sleep(1)
        self.assertLess(run.stop(signal.SIGKILL)[0], 0)
        # What was flushed while idle is there.
        self.assertTrue(pcapng.read(OUT / "killed.pcapng")["packets"])

        unharmed = OUT / "unharmed.pcapng"
        unharmed.write_text("somebody's file")
        status, _, talk = dwdump("-w", unharmed)
        self.assertEqual(status, 1)
        self.assertIn("drops are being monitored already", talk)
        for way_out in ("-p", "--force", "-e"):
            self.assertIn(way_out, talk)
        self.assertEqual(unharmed.read_text(), "somebody's file")

        run = Running("--force", "-c", "1", "-w", OUT / "forced.pcapng")
        drops.marker("after the kill")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        self.assertIn("took over", talk)
        self.assertIn("monitoring is off now", talk)
        self.assertEqual(dwdump("-e")[2], "dwdump: monitoring was off already\n")
        # Not those that the killed one made.
        self.assertEqual(settings(), before)

    def test_the_c_tool_is_not_disturbed(self):
        theirs = CTool(OUT / "undisturbed.pcap", "-o", "sw")
        self.assertEqual(dwdump("-w", "/tmp/x.pcapng")[0], 1)
        drops.marker("still there")
        time.sleep(1)
        theirs.stop()
        found = alerts.alerts(OUT / "undisturbed.pcap")
        self.assertTrue(any("still there".encode().hex() in alert["payload"] for alert in found))

    def test_another_processs_stop_is_noticed(self):
        run = Running("-w", OUT / "stopped.pcapng")
        drops.marker("before the stop")
        time.sleep(0.5)
        status, _, talk = dwdump("-e")
        self.assertEqual((status, talk), (0, "dwdump: stopped monitoring, software and hardware\n"))
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn("monitoring was stopped by another process", talk)
        read = pcapng.read(OUT / "stopped.pcapng")
        self.assertTrue(read["packets"])
        self.assertEqual(read["loss"], {"queue": 0, "socket": 0})

    def test_a_passive_listener_outlives_a_stop(self):
        run = Running("-p", "-w", OUT / "patient.pcapng")
        run.wait_for("monitoring is off: nothing arrives until somebody starts it")
        active = Running("-c", "1", "-w", "/dev/null")
        drops.marker("for both")
        active.wait()
        time.sleep(5)
        self.assertIsNone(run.process.poll())
        status, talk = run.stop()
        self.assertEqual(status, 0)
        self.assertEqual(talk.count("monitoring is off"), 2, talk)
        packets = pcapng.read(OUT / "patient.pcapng")["packets"]
        self.assertTrue(any(b"for both" in packet["data"] for packet in packets))

    def test_a_passive_listener_is_warned_of_summary_mode(self):
        self.assertEqual(net_dm(CONFIG, {ALERT_MODE: b"\0"}), 0)
        self.assertEqual(net_dm(START, {SW_DROPS: b""}), 0)
        run = Running("-p", "-w", OUT / "summary.pcapng")
        drops.marker("only counted")
        time.sleep(2.5)
        status, talk = run.stop()
        self.assertEqual(status, 0)
        self.assertIn("the kernel is in summary mode", talk)
        self.assertRegex(talk, r"\d+ summary alerts? without packets arrived")
        self.assertEqual(pcapng.read(OUT / "summary.pcapng")["packets"], [])


class Loss(SessionTest):
    """Every drop that did not arrive is counted, at the place where it was lost."""

    FLOOD = 3000
    AT_ONCE = 200

    def flood(self):
        """Frames for another host: each is one drop (OTHERHOST)."""
        frame = drops.ethernet(0x0800, drops.ipv4(17, drops.udp(b"[flood]")), dst=b"\2\0\0\0\0\x99")
        with drops.namespace("left"):
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sender.bind(("left0", 0))
        with sender:
            for _ in range(self.FLOOD):
                sender.send(frame)
        time.sleep(2)

    def check(self, run, file, dropped):
        run.process.send_signal(signal.SIGUSR1)
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        captured, queue, buffer = loss(talk)
        read = pcapng.read(file)
        flood = [packet for packet in read["packets"] if b"[flood]" in packet["data"]]
        self.assertEqual(len(read["packets"]), captured)
        self.assertEqual(captured - len(flood), 0, "something else was dropped meanwhile")
        self.assertEqual(captured + queue + buffer, dropped, talk)
        self.assertEqual(read["loss"], {"queue": queue, "socket": buffer})
        return queue, buffer, talk

    def flood_at_once(self):
        """Packets that a tun device holds, dropped by one call when it is closed: no worker can
        empty a queue in between."""
        with drops.tun_device("left") as tun:
            with drops.namespace("left"):
                pathlib.Path("/proc/sys/net/ipv6/conf/tun0/disable_ipv6").write_text("1")
            drops.ip("link set tun0 txqueuelen 400", inside="left")
            with contextlib.suppress(BlockingIOError):
                while os.read(tun, 65536):
                    pass
            for _ in range(self.AT_ONCE):
                drops.send_datagram(b"[flood]", "10.10.7.2", 9)
        time.sleep(2)

    def test_in_the_kernels_queue(self):
        file = OUT / "queue.pcapng"
        run = Running("-l", "10", "-o", "sw", "-w", file)
        self.flood_at_once()
        queue, buffer, talk = self.check(run, file, self.AT_ONCE)
        self.assertGreater(queue, self.AT_ONCE // 2)
        self.assertEqual(buffer, 0)
        self.assertIn("hint: -l N", talk)

    def test_in_the_socket_buffer(self):
        file = OUT / "socket.pcapng"
        run = Running("-b", "10k", "-o", "sw", "-w", file)
        run.process.send_signal(signal.SIGSTOP)
        self.flood()
        run.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        _, buffer, talk = self.check(run, file, self.FLOOD)
        self.assertGreater(buffer, 0)
        self.assertIn("hint: -b BYTES", talk)

    def test_nothing_with_the_defaults(self):
        file = OUT / "defaults.pcapng"
        run = Running("-o", "sw", "-w", file)
        self.flood()
        queue, buffer, _ = self.check(run, file, self.FLOOD)
        self.assertEqual((queue, buffer), (0, 0))


class Live(SessionTest):
    """Looking on while it happens."""

    def test_a_drop_shows_at_once_in_tshark(self):
        run = Running("-w", "-", stdout=subprocess.PIPE)
        shown = TALK / "shown"
        with shown.open("w") as output:
            tshark = subprocess.Popen(
                ["tshark", "-l", "-r", "-", "-T", "fields", "-e", "data.text", "-e", "data.data"],
                stdin=run.process.stdout,
                stdout=output,
                stderr=subprocess.DEVNULL,
            )
        run.process.stdout.close()
        wanted = b"live-marker".hex()
        # The first tshark in a guest takes its time to start, minutes where the machine is busy:
        # not ours to measure.
        deadline = time.monotonic() + 4 * PATIENCE
        while wanted not in shown.read_text() and time.monotonic() < deadline:
            drops.marker("live-marker")
            time.sleep(1)
        seen = shown.read_text().count(wanted)
        self.assertGreater(seen, 0)
        begin = time.monotonic()
        drops.marker("live-marker")
        wait_until(lambda: shown.read_text().count(wanted) > seen)
        self.assertLess(time.monotonic() - begin, 5)
        tshark.kill()
        tshark.wait()
        # The reader is gone: a quiet end.
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)

    def test_a_pipe_is_pcapng_and_print_is_text(self):
        run = Running("-o", "sw", "-c", "1", stdout=subprocess.PIPE)
        drops.marker("into the pipe")
        output, _ = run.process.communicate(timeout=PATIENCE)
        self.assertEqual(output[:4], b"\x0a\x0d\x0d\x0a")
        run = Running("-o", "sw", "-c", "1", "--print", stdout=subprocess.PIPE)
        drops.marker("as text")
        output, _ = run.process.communicate(timeout=PATIENCE)
        self.assertRegex(
            output.decode(),
            r"^\d\d:\d\d:\d\d\.\d{6} if102 IP 10\.10\.2\.4\.\d+ > 10\.10\.2\.2\.9: UDP, length 7 "
            rf"NO_SOCKET {drops.function_here('__udp4_lib_rcv')}\+0x[0-9a-f]+/0x[0-9a-f]+\n$",
        )

    def test_an_interface_is_selected(self):
        run = Running("-i", "102", "-c", "1", "-w", OUT / "interface.pcapng")
        drops.run(["loopback-v4"])
        drops.marker("over the wire")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        (packet,) = pcapng.read(OUT / "interface.pcapng")["packets"]
        self.assertIn(b"over the wire", packet["data"])

    def test_files_of_one_link_type(self):
        # Looked at with tcpdump on the host.
        for link in ("ethernet", "raw", "sll2"):
            run = Running("--link-type", link, "-w", OUT / f"one-{link}.pcapng")
            list(drops.run())
            time.sleep(1)
            status, talk = run.stop()
            self.assertEqual(status, 0, talk)
            (OUT / f"one-{link}.talk").write_text(talk)


def addresses(alert):
    """Source and destination of the outermost IP header or ARP message, behind VLAN tags; and
    the IP version."""
    data, offset, ethertype = bytes.fromhex(alert.get("payload", "")), 0, alert.get("protocol")
    # The kernel names no link type: in these drops, Ethernet has the protocol in its header.
    if len(data) > 14 and int.from_bytes(data[12:14]) == ethertype:
        offset = 14
        while ethertype in (0x8100, 0x88A8):
            ethertype = int.from_bytes(data[offset + 2 : offset + 4])
            offset += 4
    packet = data[offset:]
    # As tcpdump does: by the type alone, whatever version the header claims.
    if ethertype == 0x0800 and len(packet) >= 20:
        return packet[12:16], packet[16:20], 4
    if ethertype == 0x86DD and len(packet) >= 40:
        return packet[8:24], packet[24:40], 6
    if ethertype == 0x0806:
        return packet[14:18], packet[24:28], None
    return None, None, None


def as_alert(packet):
    """A packet of our files as the C tool's alert of it."""
    data, facts = packet["data"], packet["facts"]
    if packet["interface"]["link"] == "ethernet":
        protocol = int.from_bytes(data[12:14])
    else:
        protocol = {4: 0x0800, 6: 0x86DD}.get(data[0] >> 4, 0)
    if "protocol" in facts:
        protocol = int(facts["protocol"], 16)
    return {
        "payload": data.hex(),
        "protocol": protocol,
        "reason": packet["reason"],
        "symbol": facts["location"],
        "original_len": packet["original_len"],
    }


class Filters(SessionTest):
    """Each keeps exactly the drops that it should, while all the others happen."""

    def from_address(text):
        return lambda alert: addresses(alert)[0] == socket.inet_aton(text)

    CASES = {
        "saddr 10.10.2.4": from_address("10.10.2.4"),
        "saddr 10.10.2.2 and module gre": lambda alert: (
            addresses(alert)[0] == socket.inet_aton("10.10.2.2")
            and alert["symbol"].endswith(" [gre]")
        ),
        "saddr 172.16.14.2": from_address("172.16.14.2"),
        "reason NETFILTER_DROP and ip6": lambda alert: (
            alert["reason"] == "NETFILTER_DROP" and addresses(alert)[2] == 6
        ),
        "not (udp or tcp) and location nft_*": lambda _: False,
    }

    def test_all_at_once(self):
        # The C tool listens from before our START to after our STOP: it sees what we see.
        theirs = CTool(OUT / "filters.pcap", "-p")
        first, *others = self.CASES
        active = Running("-o", "sw", "-w", OUT / "filter-0.pcapng", *first.split())
        runs = [active] + [
            Running("-p", "-w", OUT / f"filter-{number}.pcapng", expression)
            for number, expression in enumerate(others, 1)
        ]
        list(drops.run())
        time.sleep(2)
        talks = [run.stop() for run in reversed(runs)][::-1]
        time.sleep(0.5)
        theirs.stop()
        them = list(alerts.alerts(OUT / "filters.pcap"))
        self.assertGreater(len(them), 50)
        for number, (expression, is_wanted) in enumerate(self.CASES.items()):
            with self.subTest(filter=expression):
                status, talk = talks[number]
                self.assertEqual(status, 0, talk)
                kept = pcapng.read(OUT / f"filter-{number}.pcapng")["packets"]
                wanted = [alert for alert in them if is_wanted(alert)]
                self.assertEqual(
                    collections.Counter((packet["pc"], packet["time"]) for packet in kept),
                    collections.Counter((alert["pc"], alert["timestamp"]) for alert in wanted),
                )
                self.assertEqual(bool(wanted), not expression.startswith("not"))
                captured, queue, buffer = loss(talk)
                (rejected,) = map(int, re.findall(r"(\d+) packets? rejected", talk))
                self.assertEqual(captured + rejected + queue + buffer, len(them))

    def test_an_unknown_reason_is_doubted(self):
        status, _, talk = dwdump("--duration", "0.1", "-w", "/dev/null", "reason", "NETFILTER_DORP")
        self.assertEqual(status, 0, talk)
        self.assertIn("no kernel known here has the drop reason NETFILTER_DORP", talk)
        self.assertIn("hint: did you mean NETFILTER_DROP?", talk)


class KernelFilters(SessionTest):
    """The kernel rejects, and nothing is missing that should have been kept."""

    SAID = "rejected by the filter: not counted (filtered in the kernel)"

    def from_address(text):
        return lambda alert: addresses(alert)[0] == socket.inet_aton(text)

    # Each with what the kernel does of it.
    CASES = {
        "saddr 10.10.2.4": ("the whole filter", from_address("10.10.2.4")),
        "reason NETFILTER_DROP and ip6": (
            "the whole filter",
            lambda alert: alert["reason"] == "NETFILTER_DROP" and addresses(alert)[2] == 6,
        ),
        "saddr 10.10.2.2 and module gre": (
            "saddr 10.10.2.2; the rest here",
            lambda alert: (
                addresses(alert)[0] == socket.inet_aton("10.10.2.2")
                and alert["symbol"].endswith(" [gre]")
            ),
        ),
        "not (reason NETFILTER_DROP or reason NO_SOCKET)": (
            "the whole filter",
            lambda alert: alert["reason"] not in ("NETFILTER_DROP", "NO_SOCKET"),
        ),
        "len > 200": ("the whole filter", lambda alert: alert["original_len"] > 200),
        "saddr 192.0.2.99": ("the whole filter", from_address("192.0.2.99")),
    }

    def test_all_at_once(self):
        """Where the kernel reports rejected alerts, none filters beside others: see no_packets.py."""
        theirs = CTool(OUT / "kernel-filters.pcap", "-p")
        first, *others = self.CASES
        file = OUT / "kernel-filter-{}.pcapng"
        active = Running(
            "-o", "sw", "--kernel-filter", "-w", str(file).format(0), *first.split()
        )
        runs = [active] + [
            Running("-p", "--kernel-filter", "-w", str(file).format(number), expression)
            for number, expression in enumerate(others, 1)
        ]
        list(drops.run())
        time.sleep(2)
        talks = [run.stop() for run in reversed(runs)][::-1]
        time.sleep(0.5)
        theirs.stop()
        them = list(alerts.alerts(OUT / "kernel-filters.pcap"))
        self.assertGreater(len(them), 50)
        for number, (expression, (part, is_wanted)) in enumerate(self.CASES.items()):
            with self.subTest(filter=expression):
                status, talk = talks[number]
                self.assertEqual(status, 0, talk)
                said = f"dwdump: filtering in the kernel: {part}\n"
                self.assertEqual(said in talk, not REPORTS_NETLINK, talk)
                self.assertEqual(f"\n{self.SAID}\n" in talk, not REPORTS_NETLINK, talk)
                kept = pcapng.read(str(file).format(number))
                wanted = [alert for alert in them if is_wanted(alert)]
                self.assertEqual(
                    collections.Counter(
                        (packet["pc"], packet["time"]) for packet in kept["packets"]
                    ),
                    collections.Counter((alert["pc"], alert["timestamp"]) for alert in wanted),
                )
                self.assertEqual(bool(wanted), "192.0.2.99" not in expression)
                self.assertEqual(loss(talk), [len(wanted), 0, 0])
                self.assertEqual(kept["loss"], {"queue": 0, "socket": 0})

    def test_one_after_the_other(self):
        """Each alone, on drops that are made again and are told by their tags."""
        file = OUT / "kernel-filter-alone.pcapng"

        def capture(*options):
            run = Running("-o", "sw", "-w", file, *options)
            tags = [fact["tag"].encode() for fact in drops.run()]
            time.sleep(1)
            status, talk = run.stop()
            self.assertEqual(status, 0, talk)
            self.assertEqual(loss(talk)[1:], [0, 0])
            packets = [
                (tag, packet)
                for packet in pcapng.read(file)["packets"]
                for tag in tags
                if tag in packet["data"]
            ]
            return packets, talk

        def counted(packets, is_wanted=lambda _: True):
            return collections.Counter(
                (tag, packet["function"], packet["reason"], packet["original_len"])
                for tag, packet in packets
                if is_wanted(as_alert(packet))
            )

        everything, _ = capture()
        self.assertGreater(len(everything), 50)
        for expression, (part, is_wanted) in self.CASES.items():
            with self.subTest(filter=expression):
                kept, talk = capture("--kernel-filter", expression)
                self.assertIn(f"dwdump: filtering in the kernel: {part}\n", talk)
                self.assertIn(f"\n{self.SAID}\n", talk)
                self.assertEqual(counted(kept), counted(everything, is_wanted))
                self.assertEqual(bool(kept), "192.0.2.99" not in expression)

    def test_what_is_rejected_takes_no_room(self):
        """As Loss.test_in_the_socket_buffer, where this flood is too much for the buffer."""
        file = OUT / "kernel-filter-flood.pcapng"
        run = Running("-b", "10k", "-o", "sw", "--kernel-filter", "-w", file, "not udp")
        run.process.send_signal(signal.SIGSTOP)
        Loss.flood(self)
        run.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        run.process.send_signal(signal.SIGUSR1)
        run.wait_for(re.escape(self.SAID))
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        self.assertEqual(talk.count(self.SAID), 2, talk)
        self.assertEqual(loss(talk), [0, 0, 0], talk)
        self.assertNotIn("nothing was dropped", talk)
        read = pcapng.read(file)
        self.assertEqual((read["packets"], read["loss"]), ([], {"queue": 0, "socket": 0}))

    FLOOD = Loss.FLOOD

    def test_what_does_not_fit_is_left_out(self):
        """Linux before 6.7 has 20480 bytes for a socket's filter."""
        sysctl = pathlib.Path("/proc/sys/net/core/optmem_max")
        before = sysctl.read_text()
        self.addCleanup(sysctl.write_text, before)
        sysctl.write_text("20480")
        hosts = " or ".join(f"host 10.0.0.{number}" for number in range(2, 42))
        for words, said in (
            (f"ip and ({hosts})", "dwdump: filtering in the kernel: ip; the rest here\n"),
            (
                hosts,
                "dwdump: --kernel-filter: cannot attach the filter to the socket: Cannot allocate memory\n"
                "hint: it is too long for `sysctl net.core.optmem_max`",
            ),
        ):
            with self.subTest(filter=words):
                arguments = ["--duration", "0.5", "--kernel-filter", "-w", "/dev/null", words]
                status, _, talk = dwdump(*arguments)
                self.assertEqual(status, 0, talk)
                self.assertIn(said, talk)

    def test_what_cannot_be_done_is_told(self):
        words = ["--duration", "0.5", "--kernel-filter", "-w", "/dev/null", "location", "ip_rcv"]
        status, _, talk = dwdump(*words)
        self.assertEqual(status, 0, talk)
        self.assertIn("--kernel-filter: no part of this filter can run in the kernel\nhint: ", talk)
        self.assertIn("0 packets rejected by the filter", talk)


class Reasons(SessionTest):
    def test_the_kernels_list_is_left_for_the_host(self):
        for module in ("mac80211", "openvswitch"):
            subprocess.run(["modprobe", module], check=True)
        tracing = pathlib.Path("/sys/kernel/tracing")
        if not (tracing / "events").exists():
            subprocess.run(["mount", "-t", "tracefs", "none", tracing], check=True)
        text = (tracing / "events/skb/kfree_skb/format").read_text()
        names = re.findall(r'"(\w+)" }', text.split("__print_symbolic(REC->reason")[1])
        self.assertGreater(len(names), 50)
        # The enumeration's end, which no packet has.
        names.remove("MAX")
        (OUT / "reasons.txt").write_text("\n".join(names))


class Refusals(SessionTest):
    """What cannot be done, and what is said then."""

    def test_questions_need_no_privilege(self):
        prefix = ["setpriv", "--reuid", "65534", "--clear-groups", *without_privileges()[1:]]
        status, output, talk = dwdump("-q", prefix=prefix)
        self.assertEqual((status, talk), (0, ""))
        self.assertRegex(output, r"^Alert mode: (Summary|Packet)\nTruncation length: \d+\nQueue length: \d+\n$")
        status, output, talk = dwdump("-s", prefix=prefix)
        self.assertEqual((status, talk), (0, ""))
        lines = r"^Software statistics:\nTail dropped: \d+\nHardware statistics:\nTail dropped: \d+\n$"
        self.assertRegex(output, lines)

    def test_a_closed_standard_output_is_an_error(self):
        for option in ("-q", "-s"):
            done = subprocess.run(
                ["sh", "-c", f"exec {DWDUMP} {option} >&-"], capture_output=True, text=True
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot write to standard output", done.stderr)

    def test_a_missing_capability_is_named(self):
        status, _, talk = dwdump("-w", "/tmp/x.pcapng", prefix=without_privileges())
        self.assertEqual(status, 1)
        self.assertIn("Operation not permitted", talk)
        self.assertIn("CAP_NET_ADMIN", talk)
        status, _, talk = dwdump("-e", prefix=without_privileges())
        self.assertEqual(status, 1)
        self.assertIn("CAP_NET_ADMIN", talk)
        # Listening: CAP_SYS_ADMIN since 6.7, and in stable kernels of that time.
        status, _, talk = dwdump("-p", "-w", "/tmp/x.pcapng", prefix=without_privileges("net_admin"))
        self.assertEqual(status, 1)
        self.assertIn("cannot listen to the drop monitor: Operation not permitted", talk)
        self.assertIn("CAP_SYS_ADMIN", talk)

    def test_a_clamped_buffer_is_told(self):
        run = Running(
            "-p", "-b", "64M", "-w", "/dev/null", prefix=without_privileges("sys_admin")
        )
        run.wait_for("the socket buffer is \\d+ bytes, not the 67108864 asked for")
        self.assertEqual(run.stop()[0], 0)
        run = Running("-o", "sw", "-b", "64M", "-w", "/dev/null")
        status, talk = run.stop()
        self.assertEqual(status, 0)
        self.assertNotIn("socket buffer is", talk)

    def test_another_namespace_is_named(self):
        status, _, talk = dwdump("-q", prefix=["ip", "netns", "exec", "left"])
        self.assertEqual(status, 1)
        self.assertIn("cannot find the NET_DM netlink family", talk)
        self.assertIn("nsenter -t 1 -n", talk)

    def test_a_missing_module_is_named(self):
        helper = pathlib.Path("/proc/sys/kernel/modprobe")
        loader = helper.read_text()
        wait_until(lambda: references() == 0)
        subprocess.run(["rmmod", "drop_monitor"], check=True)
        helper.write_text("/bin/false")
        try:
            status, _, talk = dwdump("-w", "/tmp/x.pcapng")
        finally:
            helper.write_text(loader)
        self.assertEqual(status, 1)
        self.assertEqual(
            talk,
            "dwdump: cannot find the NET_DM netlink family: No such file or directory\n"
            "hint: load it with `modprobe drop_monitor`, "
            "or check that the kernel has CONFIG_NET_DROP_MONITOR\n",
        )
        # Asking for the family loads the module where that is allowed.
        self.assertEqual(dwdump("-q")[0], 0)


class Hardware(SessionTest):
    """Real hardware drops, of a simulated switch."""

    def test_traps_groups_names_and_cookies(self):
        # As the kernel's own selftest has it, which asks tshark about the file; the host does.
        run = Running("-o", "hw", "-w", OUT / "hardware.pcap")
        also = Running("-p", "-w", OUT / "hardware.pcapng")
        drops.hardware_setup(NETDEVSIM, ["blackhole_route", "ingress_flow_action_drop"])
        time.sleep(2)
        for one in (also, run):
            status, talk = one.stop()
            self.assertEqual(status, 0, talk)
        packets = pcapng.read(OUT / "hardware.pcapng")["packets"]
        hole = [packet for packet in packets if packet["facts"]["trap"] == "blackhole_route"]
        self.assertGreater(len(hole), 3)
        for packet in hole:
            self.assertEqual(packet["comments"], ["trap: blackhole_route", "trap_group: l3_drops"])
            self.assertRegex(packet["interface"]["description"], r"^ifindex \d+, hardware$")
            self.assertEqual(packet["interface"]["name"], "eth0")
            self.assertEqual(packet["original_len"], 142)
        cookies = {packet["facts"].get("cookie") for packet in packets}
        self.assertEqual(len(cookies), 2, cookies)
        acl = [packet for packet in packets if "cookie" in packet["facts"]]
        self.assertEqual(acl[0]["facts"]["trap_group"], "acl_drops")
        self.assertRegex(acl[0]["facts"]["cookie"], r"^[0-9a-f]{8,}$")


class ForTheHost(SessionTest):
    """One more run of everything, for tshark on the host."""

    def test_everything_once(self):
        run = Running("-o", "sw", "-w", OUT / "software.pcap")
        also = Running("-p", "-w", OUT / "software.pcapng")
        list(drops.run())
        time.sleep(1)
        for one in (also, run):
            status, talk = one.stop()
            self.assertEqual(status, 0, talk)


def suite(only):
    """All tests; those of hardware drops where there is a simulated switch. Or only these."""
    loader = unittest.defaultTestLoader
    import extcap  # Not before: they build on what is defined here.
    import flood
    import no_packets
    import rights
    import sharing
    import ssh
    import summary
    import symbols
    import table

    kinds = [BesideTheCTool, Busy, Endings, Filters, ForTheHost, KernelFilters, Live, Loss]
    kinds += [extcap.Extcap, rights.Rights, ssh.Ssh, no_packets.AlertsAboutAlerts, no_packets.NotPackets]
    kinds += [Reasons, Refusals, flood.Floods, sharing.Sharing, summary.Summary]
    kinds += [symbols.Symbols, table.Table]
    # The simulated switch is made by the first.
    kinds += [Hardware, summary.Traps] if NETDEVSIM else []
    if only:
        names = {kind.__name__: kind for kind in kinds}
        chosen = [name.partition(".") for name in only]
        return unittest.TestSuite(
            names[kind](test) if test else loader.loadTestsFromTestCase(names[kind])
            for kind, _, test in chosen
        )
    return unittest.TestSuite(loader.loadTestsFromTestCase(kind) for kind in kinds)


def main():
    global DWDUMP, OUT, NETDEVSIM
    arguments, only = sys.argv[1:], []
    if "--only" in arguments:
        place = arguments.index("--only")
        arguments, only = arguments[:place], arguments[place + 1 :]
    DWDUMP, OUT, *switch = arguments
    OUT = pathlib.Path(OUT)
    NETDEVSIM = switch[0] if switch else None
    subprocess.run(["modprobe", "drop_monitor"], check=True)
    drops.setup()
    result = unittest.TextTestRunner(verbosity=2).run(suite(only))
    shutil.copytree(TALK, OUT / "talk", dirs_exist_ok=True)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


if __name__ == "__main__":
    main()
