"""Runs in the guest, as a part of session.py: what `--source ebpf` captures on this kernel, by the checks of
`ebpf.py`."""

import pathlib
import tempfile
import unittest

import ebpf
import ebpf_scene
import harness
import network
import openvswitch
import pcapng
import registry
import tracepoint
import wireless


class Ebpf(harness.SessionTest):
    """Every drop is captured once and counted."""

    @classmethod
    def setUpClass(cls):
        tracepoint.IS_GUEST = True
        cls.scene = cls.enterClassContext(ebpf_scene.Scene())
        # In memory.
        cls.folder = pathlib.Path(tempfile.mkdtemp())

    def check(self, name):
        ebpf.CHECKS[name](harness.DWDUMP, self.folder, self.scene)

    def test_a_flood_that_overflows_is_counted(self):
        self.check("flood")

    def test_drops_during_the_capture_of_another_are_counted(self):
        self.check("recursion")

    def test_kill_leaves_nothing_attached(self):
        self.check("killed")

    def test_an_ordinary_user_needs_two_capabilities(self):
        self.check("rights")

    def test_each_kind_of_drop_is_captured_once_and_net_dm_sees_no_other(self):
        self.check("beside")

    @unittest.skipIf(registry.KERNEL < (6, 12), "SKIPPED: this kernel's modules have no drop reasons")
    def test_a_module_that_is_loaded_during_the_run_names_its_reasons(self):
        def open_vswitch():
            network.command("modprobe", "openvswitch")
            openvswitch.make_switch()
            return lambda number, payload: openvswitch.send(payload)

        def mac80211():
            radios = wireless.Radios()
            self.addCleanup(radios.close)
            return lambda number, payload: radios.send_twice(1 + number, payload)

        for module, users, load, reason in (
            ("openvswitch", [], open_vswitch, "OVS_DROP_LAST_ACTION"),
            ("mac80211", ["mac80211_hwsim"], mac80211, "RX_DROP_U_DUP"),
        ):
            with self.subTest(module):
                # Another test may have loaded it.
                network.command("modprobe", "-r", *users, module)
                loaded = pathlib.Path("/proc/modules").read_text()
                self.assertNotIn(f"\n{module} ", loaded)
                file = self.folder / f"{module}.pcapng"
                capture = tracepoint.Capture(harness.DWDUMP, file)
                send = load()
                payloads = [b"[%s %d]" % (module.encode(), number) for number in range(10)]
                for number, payload in enumerate(payloads):
                    send(number, payload)
                text, _, _ = capture.end()
                found = pcapng.read(file)["packets"]
                for payload in payloads:
                    dropped = [packet for packet in found if payload in packet["data"] and packet["reason"] == reason]
                    self.assertEqual(len(dropped), 1, text)
                    self.assertIn(f"[{module}]", dropped[0]["facts"]["location"])
