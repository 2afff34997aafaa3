"""Runs in the guest, as a part of session.py: what `dwdump --why` says of planted causes, by `why/run.py`."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import ebpf_scene
import harness
import network

sys.path.append(str(pathlib.Path(__file__).parent / "why"))
from queues import attach_xdp

RUN = pathlib.Path(__file__).resolve().parent / "why" / "run.py"
RULESETS = RUN.with_name("rulesets.py")


class Why(harness.SessionTest):
    """Each planted cause is named, and nothing innocent."""

    def test_a_certain_cause_of_each_family_is_named(self):
        # All of them take most of an hour in a guest.
        command = [sys.executable, RUN, harness.DWDUMP, "--guest", "--brief"]
        self.assertEqual(subprocess.run(command, check=False).returncode, 0)


    def test_xdp_of_a_real_driver_is_told_by_its_counter(self):
        """The card's driver drops before the kernel makes a packet: no tracepoint sees it."""
        subprocess.run(["modprobe", "virtio_net"], check=True)
        (card,) = [one.name for one in pathlib.Path("/sys/class/net").iterdir() if (one / "device").exists()]
        network.ip(f"address add 10.0.2.15/24 dev {card}\nlink set {card} up\n")
        program = ebpf_scene.xdp_program(0x0806)
        attach_xdp(socket.if_nametoindex(card), program, 1 << 2)
        os.close(program)
        answers = harness.OUT / "why-xdp.json"
        with answers.open("w") as out:
            run = harness.Running("--why", "--json", stdout=out)
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.sendto(b"?", ("10.0.2.2", 9))
            # Three requests, a second each.
            time.sleep(5)
            status, talk = run.stop()
        network.ip(f"link set {card} xdpdrv off\nlink set {card} down\n")
        self.assertEqual(status, 0, talk)
        end = json.loads(answers.read_text().splitlines()[-1])
        found = [one for one in end["counters"] if one["name"].startswith(f"{card} driver ") and "xdp_drop" in one["name"]]
        self.assertTrue(found and found[0]["count"] >= 1, end)
        self.assertIn("XDP program dropped packets", found[0]["meaning"])


class Rulesets(harness.SessionTest):
    """Of random rules, the one is named that the kernel took."""

    def test_the_rule_is_the_one_that_the_kernel_took(self):
        command = [sys.executable, RULESETS, harness.DWDUMP, "60"]
        self.assertEqual(subprocess.run(command, check=False).returncode, 0)
