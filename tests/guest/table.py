"""The live table of `dwdump --summary` in a terminal, a part of session.py."""

import re
import signal
import termios

import cases
import harness
import network
import pcapng
from terminal import Terminal as AnyTerminal


class Terminal(AnyTerminal):
    """A dwdump in a terminal."""

    def __init__(self, *arguments):
        super().__init__(harness.DWDUMP, *arguments)
        harness.PROCESSES.append(self.process)


def for_another_host(count):
    network.for_another_host(count, b"[table]".ljust(600, b"."))


class Table(harness.SessionTest):
    """Counts as they come, and what keys change in the kernel."""

    def test_the_kernel_counts_until_packets_are_needed(self):
        before = harness.settings()
        terminal = Terminal("--summary", "-o", "sw")
        terminal.wait_for("software drops by location, counted by the kernel")
        self.assertIn("Alert mode: summary", harness.settings())
        for_another_host(300)
        terminal.wait_for(r"^[> ].* 300 .* ip_rcv_core")
        terminal.press("i")
        terminal.wait_for("alert mode +summary")
        terminal.press("\x1b")
        terminal.wait_for("ip_rcv_core")

        # Reasons are known of packets alone.
        terminal.press("g")
        terminal.wait_for("the kernel sends packets now")
        self.assertRegex(harness.settings(), "Alert mode: packet\nTruncation length: 256")
        for_another_host(200)
        terminal.wait_for(r"^[> ].* 200 .* OTHERHOST")
        terminal.wait_for("counted without a packet")

        # A capture of one row has whole packets.
        file = harness.OUT / "row.pcapng"

        def selected():
            found = re.search("^>.* (counted|[A-Z_]{6,}) ", terminal.screen(), re.MULTILINE)
            return found and found[1]

        # By total, lest the order change meanwhile.
        terminal.press("s")
        terminal.wait_for("▼total")
        while (reason := selected()) != "OTHERHOST":
            # The C tool's unread answer was dropped first (QUEUE_PURGE), or not yet.
            terminal.press("k" if reason == "QUEUE_PURGE" else "j")
            # Pressed again before that is drawn, the key would pass the row.
            harness.wait_until(lambda: selected() not in (None, reason))
        terminal.press("w")
        terminal.wait_for("write to: drops-OTHERHOST-")
        terminal.press(f"\x15{file}\r")
        terminal.wait_for("writing .*row.pcapng: 0 packets")
        self.assertIn("Truncation length: 0\n", harness.settings())
        for_another_host(50)
        # Another reason, which is not in the file.
        cases.udp_closed_v4()
        terminal.wait_for("row.pcapng: 50 packets")
        terminal.press("w")
        terminal.wait_for("wrote 50 packets to")
        self.assertIn("Truncation length: 256", harness.settings())
        packets = pcapng.read(file)["packets"]
        self.assertEqual(len(packets), 50)
        self.assertTrue(all(len(packet["data"]) > 600 for packet in packets))

        terminal.press("/reason OTHERHOST\r")
        terminal.wait_for("^0 drops")
        for_another_host(20)
        terminal.wait_for("^20 drops")
        terminal.press("\r")
        # Above it stands what a look at the host found.
        terminal.wait_for("^  The frame is addressed to another machine's MAC")
        terminal.press("\x1b[F")
        terminal.wait_for(r"^\d\d:\d\d:\d\d\.\d{6} \S+ IP 10\.10\.2\.4")
        terminal.press("q")
        status, talk = terminal.end()
        self.assertEqual(status, 0, talk)
        self.assertIn("20 drops counted", talk)
        self.assertIn("0 packets lost in the kernel's queue", talk)
        self.assertEqual(harness.settings(), before)
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_enter_looks_for_the_cause_of_the_last_packet(self):
        terminal = Terminal("--by", "reason", "--source", "ebpf", "reason", "OTHERHOST")
        terminal.wait_for("drops by reason")
        for_another_host(10)
        terminal.wait_for(r"^> .* 10 .* OTHERHOST")
        terminal.press("\r")
        # Until then the programs counted, without packets.
        terminal.wait_for("the kernel sends packets now")
        for_another_host(10)
        terminal.wait_for("Why the last packet was dropped:")
        terminal.wait_for(rf"^  why +.*{network.OTHER_MAC.hex(':')}.* certain$")
        # The same key goes back to the rows.
        terminal.press("\r")
        terminal.wait_for(r"^> .* 20 .* OTHERHOST")
        terminal.press("q")
        status, talk = terminal.end()
        self.assertEqual(status, 0, talk)

    def test_a_signal_puts_settings_and_terminal_back(self):
        before = harness.settings()
        for how in (signal.SIGTERM, signal.SIGINT):
            terminal = Terminal("--by", "flow", "-o", "sw")
            terminal.wait_for("drops by flow")
            for_another_host(10)
            terminal.wait_for(r"^[> ].* 10 .* udp ")
            terminal.process.send_signal(how)
            status, talk = terminal.end()
            self.assertEqual(status, 0, talk)
            self.assertIn("of udp", talk)
            self.assertEqual(harness.settings(), before)
            self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_somebody_elses_counts_stay_counts(self):
        self.assertEqual(harness.net_dm(harness.CONFIG, {harness.ALERT_MODE: b"\0"}), 0)
        self.assertEqual(harness.net_dm(harness.START, {harness.SW_DROPS: b""}), 0)
        terminal = Terminal("--summary", "-p")
        terminal.wait_for("drops of another program's monitoring by location")
        for_another_host(30)
        terminal.wait_for("ip_rcv_core")
        terminal.press("g")
        terminal.wait_for("another program's monitoring sends counts")
        self.assertIn("Alert mode: summary", harness.settings())
        terminal.press("q")
        self.assertEqual(terminal.end()[0], 0)
        # It goes on.
        self.assertNotEqual(harness.net_dm(harness.CONFIG, {}), 0)
