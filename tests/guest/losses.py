"""Drops that do not arrive, a part of session.py."""

import contextlib
import os
import pathlib
import signal
import time

import harness
import network
import pcapng
from harness import Running, SessionTest, loss


class Loss(SessionTest):
    """Every drop that did not arrive is counted, at the place where it was lost."""

    FLOOD = 3000
    AT_ONCE = 200

    def flood(self):
        network.for_another_host(self.FLOOD, b"[flood]")
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
        with network.tun_device("left") as tun:
            with network.namespace("left"):
                pathlib.Path("/proc/sys/net/ipv6/conf/tun0/disable_ipv6").write_text("1")
            network.ip("link set tun0 txqueuelen 400", inside="left")
            with contextlib.suppress(BlockingIOError):
                while os.read(tun, 65536):
                    pass
            for _ in range(self.AT_ONCE):
                network.send_datagram(b"[flood]", "10.10.7.2", 9)
        time.sleep(2)

    def test_in_the_kernels_queue(self):
        file = harness.OUT / "queue.pcapng"
        run = Running("-l", "10", "-o", "sw", "-w", file)
        self.flood_at_once()
        queue, buffer, talk = self.check(run, file, self.AT_ONCE)
        self.assertGreater(queue, self.AT_ONCE // 2)
        self.assertEqual(buffer, 0)
        self.assertIn("hint: -l N", talk)

    def test_in_the_socket_buffer(self):
        file = harness.OUT / "socket.pcapng"
        run = Running("-b", "10k", "-o", "sw", "-w", file)
        run.process.send_signal(signal.SIGSTOP)
        self.flood()
        run.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        _, buffer, talk = self.check(run, file, self.FLOOD)
        self.assertGreater(buffer, 0)
        self.assertIn("hint: -b BYTES", talk)

    def test_nothing_with_the_defaults(self):
        file = harness.OUT / "defaults.pcapng"
        run = Running("-o", "sw", "-w", file)
        self.flood()
        queue, buffer, _ = self.check(run, file, self.FLOOD)
        self.assertEqual((queue, buffer), (0, 0))
