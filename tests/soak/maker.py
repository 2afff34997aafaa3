"""Makes the drops of the soak, a part of session.py. What the books are balanced against is here: the log of what was
sent, and perf's count of the tracepoint at which the kernel drops. Neither shares code with dwdump."""

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import struct
import time

from frames import FIRST_SINGLE, KINDS, MAGIC, PLACE, REJECTED_TYPE, ROW, kinds

import network
from harness import wait_until
from tracepoint import Fired

BATCH = 50
# Frames a second, and the faster rate for one second of ten.
RATES = 5000, 20000


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(IoVec)),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Message(ctypes.Structure):
    _fields_ = [("header", Header), ("sent", ctypes.c_uint)]


class FiredHere(Fired):
    """perf's count of the drops whose protocol is one of those made here. Netlink messages, which the kernel frees at
    the same tracepoint, have none."""

    def __init__(self):
        super().__init__()
        set_filter = 0x40082406  # PERF_EVENT_IOC_SET_FILTER
        text = f"protocol == {0x0800} || protocol == {REJECTED_TYPE}\0".encode()
        for event in self.events:
            fcntl.ioctl(event, set_filter, text)


class Maker:
    """A process that makes drops until it is told to pause, and drops that are made one at a time."""

    def __init__(self, log):
        self.fired = FiredHere()
        self.singles = 0
        # Asked to run; running; frames made.
        self.shared = mmap.mmap(-1, 24)
        self.child = os.fork()
        if self.child == 0:
            try:
                self.make(log)
            finally:
                os._exit(1)

    def word(self, place, value=None):
        if value is None:
            return struct.unpack_from("=Q", self.shared, place)[0]
        struct.pack_into("=Q", self.shared, place, value)
        return value

    def go(self):
        """Returns when it makes drops: else a pause that follows at once could find it not running yet."""
        self.word(0, 1)
        while not self.word(8):
            time.sleep(0.005)

    def pause(self):
        """Returns how many drops were made, and how many the kernel counted, when all are made."""
        self.word(0, 0)
        while self.word(8):
            time.sleep(0.005)
        frames = self.word(16)
        # What was sent may still wait for the receiving side.
        wait_until(lambda: self.fired.read() >= frames + self.singles)
        return {"frames": frames, "singles": self.singles, "fired": self.fired.read()}

    def next_single(self):
        """The number of a frame that is sent on its own."""
        self.singles += 1
        return FIRST_SINGLE + KINDS * (self.singles - 1)

    def wait_for_more(self, frames):
        """Returns when that many more are made."""
        enough = self.word(16) + frames
        wait_until(lambda: self.word(16) >= enough)

    def end(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self.fired.close()

    def make(self, path):
        templates = [kinds()[number % KINDS] for number in range(BATCH)]
        buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in templates]
        vectors = [IoVec(ctypes.addressof(buffer), len(buffer)) for buffer in buffers]
        messages = (Message * BATCH)(
            *(Message(Header(iov=ctypes.pointer(vector), iovlen=1)) for vector in vectors)
        )
        libc = ctypes.CDLL(None, use_errno=True)
        with network.namespace("left"):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            wire.bind(("left0", 0))
        number = 0
        # Monotonic: the other clock is set while this runs.
        start, made = time.monotonic(), 0
        with open(path, "wb", buffering=0) as log:
            while True:
                if not self.word(0):
                    self.word(8, 0)
                    time.sleep(0.005)
                    start, made = time.monotonic(), 0
                    continue
                self.word(8, 1)
                now = time.monotonic()
                rate = RATES[now % 10 < 1]
                if made > (now - start) * rate:
                    time.sleep(BATCH / rate / 2)
                    continue
                if (now - start) * rate - made > 2 * rate:
                    # It cannot keep up: it does not try to make up for it.
                    start, made = now, 0
                for place, buffer in enumerate(buffers):
                    struct.pack_into("!Q", buffer, PLACE + len(MAGIC), number + place)
                begin, sent = time.time_ns(), 0
                while sent < BATCH:
                    rest = ctypes.byref(messages, sent * ctypes.sizeof(Message))
                    done = libc.sendmmsg(wire.fileno(), rest, BATCH - sent, 0)
                    # ENOBUFS: the device's queue is full, and what was not sent is sent again.
                    sent += max(done, 0)
                log.write(ROW.pack(begin, time.time_ns(), number, BATCH))
                number += BATCH
                made += BATCH
                self.word(16, number)
