"""Runs in the guest, as a part of session.py: the names that dwdump gives to places, beside
/proc/kallsyms."""

import pathlib
import socket
import time

import drops
import harness
import network
import pcapng


def kallsyms():
    """Address, name and module of all symbols, in the order of the file."""
    lines = pathlib.Path("/proc/kallsyms").read_text().splitlines()
    for address, _, name, *module in map(str.split, lines):
        yield int(address, 16), name, module[0].strip("[]") if module else None


class Table:
    """What the kernel's %pS says, worked out slowly and plainly. The size is None for the last
    function of a module: the table has no end for it."""

    def __init__(self):
        self.first, modules = {}, {}
        for address, name, module in kallsyms():
            self.first.setdefault(address, (name, module))
            modules.setdefault(module, set()).add(address)
        self.sorted = {module: sorted(found) for module, found in modules.items()}

    def place(self, pc):
        start, module = max(
            (max(address for address in found if address <= pc), module)
            for module, found in self.sorted.items()
            if found[0] <= pc
        )
        end = min((address for address in self.sorted[module] if address > start), default=None)
        name = self.first[start][0]
        suffix = f" [{module}]" if module else ""
        size = end - start if end and end - start < 0x10000 else None
        return f"{name}+{pc - start:#x}/", size, suffix


class Symbols(harness.SessionTest):
    """Whole, whatever the kernel cuts off."""

    def capture(self, make, *options, prefix=()):
        """What was captured while `make` made drops: packets, and what was said."""
        file = harness.OUT / "symbols.pcapng"
        run = harness.Running("-o", "sw", "-w", file, *options, prefix=prefix)
        make()
        time.sleep(2)
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        return pcapng.read(file)["packets"], talk

    def check(self, packets):
        table = Table()
        for location, pc in {(packet["facts"]["location"], packet["pc"]) for packet in packets}:
            with self.subTest(location=location):
                place, size, module = table.place(pc)
                self.assertTrue(location.startswith(place), place)
                self.assertTrue(location.endswith(module), module)
                if size is not None:
                    self.assertEqual(location, f"{place}{size:#x}{module}")

    def test_all_are_what_kallsyms_says(self):
        packets, talk = self.capture(drops.run)
        self.assertNotIn("addresses", talk)
        self.check(packets)
        functions = {packet["facts"]["location"].split("+")[0] for packet in packets}
        self.assertIn("gre_rcv", functions)
        long = [name for name in functions if name.startswith("__netif_receive_skb_core.")]
        self.assertTrue(long, functions)
        self.assertTrue(any(len(packet["facts"]["location"]) > 39 for packet in packets))

    def test_a_module_that_is_loaded_during_the_capture(self):
        self.assertFalse(pathlib.Path("/sys/module/macvlan").exists())
        network.ip("link add sa type veth peer name sb\nlink set sa up\nlink set sb up\n")
        self.addCleanup(network.ip, "link del sa\n")

        def make():
            drops.marker("the table is read before the module is there")
            # The table is not read again at once.
            time.sleep(10)
            # Down, so that it drops what it gets for itself.
            network.ip("link add link sb name sc type macvlan mode passthru\n")
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
                for _ in range(3):
                    wire.sendto(network.ethernet(0x0800, bytes(100), dst=bytes([2] * 6)), ("sa", 0))
                    time.sleep(0.1)

        packets, _ = self.capture(make)
        self.check(packets)
        mine = [packet for packet in packets if packet["function"] == "macvlan_handle_frame"]
        self.assertGreaterEqual(len(mine), 3)
        for packet in mine:
            # The kernel's own string breaks off before the module's name ends.
            self.assertGreater(len(packet["facts"]["location"]), 39)
            self.assertTrue(packet["facts"]["location"].endswith(" [macvlan]"))

    def test_hidden_addresses_are_told_once(self):
        restrict = pathlib.Path("/proc/sys/kernel/kptr_restrict")
        before = restrict.read_text()
        restrict.write_text("2")
        try:
            packets, talk = self.capture(lambda: drops.run(["unknown-ethertype", "lldp"]))
        finally:
            restrict.write_text(before)
        self.assertEqual(talk.count("hides its addresses"), 1, talk)
        self.assertIn("CAP_SYSLOG", talk)
        cut = [packet["facts"]["location"] for packet in packets]
        self.assertTrue(all(len(location) <= 39 for location in cut), cut)
        self.assertTrue(any(len(location) == 39 for location in cut), cut)
