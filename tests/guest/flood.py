"""Runs in the guest, as a part of session.py: drops that come as a flood. What is asserted does
not depend on how fast the machine is; `benches/flood` measures that."""

import os
import pathlib
import re
import signal
import struct
import threading
import time

import harness
import pcapng
import pktgen

# Of the whole process, the symbol table included.
MAX_MEMORY_KB = 32 * 1024


def packets(data):
    """Packets of the flood in a pcapng file, and others."""
    flood = others = 0
    for kind, body in pcapng.blocks(data):
        if kind == pcapng.PACKET:
            is_flood = body[20:26] == pktgen.DESTINATION
            flood, others = flood + is_flood, others + (not is_flood)
    return flood, others


def peak_memory_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


class Floods(harness.SessionTest):
    """Captured or counted: none is missing."""

    COUNT = 60_000

    @classmethod
    def setUpClass(cls):
        pktgen.setup()
        cls.addClassCleanup(pktgen.teardown)

    def check(self, captured_data, talk, count=COUNT):
        """Nothing is missing, and the counts are those of the file."""
        captured, queue, buffer = harness.loss(talk)
        flood, others = packets(captured_data)
        self.assertEqual(captured, flood + others)
        self.assertEqual(flood + queue + buffer, count, f"{others} others\n{talk}")
        *_, statistics = (
            body
            for kind, body in pcapng.blocks(captured_data)
            if kind == pcapng.STATISTICS and struct.unpack_from("<I", body) == (0,)
        )
        found = dict(pcapng.options(statistics[12:]))
        written = [struct.unpack("<Q", found[code])[0] for code in (pcapng.ISB_IFDROP, pcapng.ISB_OSDROP)]
        self.assertEqual(written, [queue + buffer, queue])
        return queue, buffer

    def capture(self, *options):
        """The losses of a flood, and what was said."""
        file = harness.OUT / "flood.pcapng"
        run = harness.Running("-o", "sw", "-w", file, *options)
        pktgen.flood(self.COUNT)
        memory = peak_memory_kb(run.process.pid)
        # At once: what the kernel still holds belongs to the flood.
        status, talk = run.stop()
        self.assertEqual(status, 0, talk)
        self.assertLess(memory, MAX_MEMORY_KB)
        data = file.read_bytes()
        file.unlink()
        return *self.check(data, talk), talk

    def test_with_the_defaults(self):
        queue, buffer, talk = self.capture()
        # The queue alone would hold all of them.
        self.assertEqual((queue, buffer), (0, 0), talk)

    def test_lost_in_a_short_queue(self):
        queue, _, talk = self.capture("-l", "100")
        self.assertGreater(queue, 0, talk)

    def test_lost_in_a_small_buffer(self):
        queue, buffer, talk = self.capture("-l", "100000", "-b", "4k")
        self.assertEqual(queue, 0, talk)
        self.assertGreater(buffer, 0, talk)

    def test_lost_in_both(self):
        queue, buffer, talk = self.capture("-l", "100", "-b", "4k")
        self.assertGreater(queue, 0, talk)
        self.assertGreater(buffer, 0, talk)

    def test_a_disk_too_small_for_the_flood(self):
        before = harness.settings()
        with harness.small_disk("4m") as disk:
            file = disk / "full.pcapng"
            run = harness.Running("-o", "sw", "-w", file)
            # It ends in the midst of the reports, but not of the packets: an emulated CPU that drops
            # them while the kernel takes its tracepoint out meets half of the instruction (int3).
            run.process.send_signal(signal.SIGSTOP)
            pktgen.flood(self.COUNT)
            time.sleep(2)
            run.process.send_signal(signal.SIGCONT)
            status, talk = run.wait()
            self.assertEqual(status, 1, talk)
            self.assertIn("No space left on device", talk)
            self.assertIn("hint: ", talk)
            self.assertEqual(harness.settings(), before)
            data = file.read_bytes()
        self.assertEqual(len(data), 4 << 20)
        written, _ = packets(data)
        counted, *_ = harness.loss(talk)
        # A packet takes some two hundred bytes, and one buffer was not written.
        self.assertGreater(written, 15_000)
        self.assertLess(counted - written, 256 * 1024 // 100)

    def test_a_writer_that_stalls_for_two_seconds(self):
        reader, writer = os.pipe()
        run = harness.Running("-o", "sw", "-w", "-", stdout=writer)
        os.close(writer)
        got, goes_on = bytearray(), threading.Event()

        def read():
            goes_on.wait()
            while data := os.read(reader, 1 << 20):
                got.extend(data)

        thread = threading.Thread(target=read)
        thread.start()
        timer = threading.Timer(2, goes_on.set)
        timer.start()
        begin = time.monotonic()
        # Twice as many as the two seconds bring: the pipe holds few of them.
        pktgen.flood(80_000, rate=20_000)
        self.assertGreater(time.monotonic() - begin, 3)
        status, talk = run.stop()
        thread.join()
        os.close(reader)
        self.assertEqual(status, 0, talk)
        self.assertEqual(self.check(bytes(got), talk, 80_000), (0, 0), talk)
