"""Measures how much slower the guest is than at its best, a part of session.py: others use the machine, too, and what
dwdump does in time there, it cannot do on a machine that hardly runs."""

import mmap
import os
import signal
import struct
import time

from harness import wait_until

# So short that some have a CPU for themselves, whatever else runs.
PARTS = 40
PAUSE = 0.2
WORDS = struct.Struct("=QQQ")


class Pace:
    """A process that does the same work again and again, and measures the time that it takes."""

    def __init__(self):
        # How many parts were done, the nanoseconds that they took, and the shortest.
        self.shared = mmap.mmap(-1, WORDS.size)
        self.child = os.fork()
        if self.child == 0:
            try:
                self.work()
            finally:
                os._exit(1)

    def work(self):
        count, total, best = 0, 0, 1 << 60
        while True:
            for _ in range(PARTS):
                begun = time.perf_counter_ns()
                sum(range(5000))
                took = time.perf_counter_ns() - begun
                count, total, best = count + 1, total + took, min(best, took)
            WORDS.pack_into(self.shared, 0, count, total, best)
            time.sleep(PAUSE)

    def read(self):
        return WORDS.unpack_from(self.shared)

    def slowness(self, since):
        """How many times its shortest time the work has taken since a reading, once it is done again."""
        now = self.read()
        wait_until(lambda: self.read() != now)
        count, total, best = self.read()
        return (total - since[1]) / (count - since[0]) / best

    def end(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
