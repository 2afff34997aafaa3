"""dwdump in use, a part of session.py: beside the C tool, in tshark, of a switch."""

import collections
import pathlib
import re
import subprocess
import time

import alerts
import drops
import hardware
import harness
import pcapng
import registry
from harness import PATIENCE, TALK, CTool, Running, SessionTest, between, loss, wait_until


class BesideTheCTool(SessionTest):
    """The same drops, captured by both at once, are the same to the last byte."""

    def compare(self, active):
        for attempt in (1, 2):
            ours, theirs = harness.OUT / f"beside-{active}.pcapng", harness.OUT / f"beside-{active}.pcap"
            if active == "ours":
                us = Running("--source", "netdm", "-o", "sw", "-w", ours)
                them = CTool(theirs, "-p")
            else:
                them = CTool(theirs, "-o", "sw", "-l", "10000")
                us = Running("-p", "-w", ours)
            # The C tool's format from us, a third listener.
            also = Running("-p", "-w", harness.OUT / f"beside-{active}-ours.pcap")
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
        also = [normalized(alert) for alert in alerts.alerts(harness.OUT / f"beside-{active}-ours.pcap")]
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
                mine = drops.of_case(case, packets)
                self.assertEqual(len(mine), case["count"])
                for packet in mine:
                    index = case["ifindex"]
                    place = "locally generated" if index is None else f"ifindex {index}"
                    self.assertEqual(packet["interface"]["description"], f"{place}, software")
                    self.assertEqual(packet["interface"]["link"], case["link"])

    def test_ours_passive_and_the_c_tool_active(self):
        self.compare("theirs")


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
            rf"NO_SOCKET {registry.function_here('__udp4_lib_rcv')}\+0x[0-9a-f]+/0x[0-9a-f]+\n$",
        )

    def test_an_interface_is_selected(self):
        run = Running("-i", "102", "-c", "1", "-w", harness.OUT / "interface.pcapng")
        drops.run(["loopback-v4"])
        drops.marker("over the wire")
        status, talk = run.wait()
        self.assertEqual(status, 0, talk)
        (packet,) = pcapng.read(harness.OUT / "interface.pcapng")["packets"]
        self.assertIn(b"over the wire", packet["data"])

    def test_files_of_one_link_type(self):
        # Looked at with tcpdump on the host.
        for link in ("ethernet", "raw", "sll2"):
            run = Running("--link-type", link, "-w", harness.OUT / f"one-{link}.pcapng")
            list(drops.run())
            time.sleep(1)
            status, talk = run.stop()
            self.assertEqual(status, 0, talk)
            (harness.OUT / f"one-{link}.talk").write_text(talk)


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
        (harness.OUT / "reasons.txt").write_text("\n".join(names))


class Hardware(SessionTest):
    """Real hardware drops, of a simulated switch."""

    def test_traps_groups_names_and_cookies(self):
        # As the kernel's own selftest has it, which asks tshark about the file; the host does.
        run = Running("-o", "hw", "-w", harness.OUT / "hardware.pcap")
        also = Running("-p", "-w", harness.OUT / "hardware.pcapng")
        hardware.hardware_setup(harness.NETDEVSIM, ["blackhole_route", "ingress_flow_action_drop"])
        time.sleep(2)
        for one in (also, run):
            status, talk = one.stop()
            self.assertEqual(status, 0, talk)
        packets = pcapng.read(harness.OUT / "hardware.pcapng")["packets"]
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
        run = Running("-o", "sw", "-w", harness.OUT / "software.pcap")
        also = Running("-p", "-w", harness.OUT / "software.pcapng")
        list(drops.run())
        time.sleep(1)
        for one in (also, run):
            status, talk = one.stop()
            self.assertEqual(status, 0, talk)
