#!/usr/bin/env python3
"""Captures into files that follow one another, with `dwdump --source ebpf`, on the kernel that runs this: in a guest,
or on the machine itself.

    rings.py CHECK DWDUMP OUTDIR [FILES [SOURCE]]    as root; makes drops in a network namespace of its own, or for the
                                                     drop monitor (netdm) where it is

    load        of drops with numbers in them none is missing in FILES files (300), and none is there twice
    loss        what is lost while the program stands still is in the statistics of the files, once
    times       -G and -W: as many files, on time, without any drop, and with the names that tcpdump gives
    hangup      SIGHUP begins another file without a terminal, and ends the run with one
    trigger     drops around a match are there, and no others
"""

import contextlib
import fcntl
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
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import network
import pcapng
from tracepoint import PROCESSES, Capture, counted, inside_new_namespace

TAG = f"{os.getpid():06}"
INSIDE = f"dwdump-{TAG}-r"
MARK = f"RING:{TAG}:".encode()
PORT = 20000 + os.getpid() % 10000
# Drops a second.
RATE = 5000
FILTER = ["udp", "dst", "port", str(PORT)]
# Every conversion of the C locale, and some that are none.
NAME = "a%a.%A.%b.%B.%C.%d.%e.%F.%g.%G.%h.%H.%I.%j.%k.%l.%m.%M.%n.%p.%P.%R.%S.%s.%T.%u.%U.%V.%w.%W.%y.%Y.%z.%Z.%%"
NAME += ".%Ey.%Od.%-d.%_H.%010Y.%^a.%#Z.%+4Y.%Q.%L.%f.%N.%i.%E.%"


# Without a terminal; and SIGHUP may be ignored here, as by nohup.
SERVICE = ["env", "--default-signal=HUP", "setsid"]


class Sender:
    """Sends datagrams to a port where nobody listens."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.number = 0

    def send(self, count, word=b""):
        for self.number in range(self.number, self.number + count):
            payload = MARK + b"%09d:" % self.number + word
            # The second of two would be refused because of the first.
            self.socket.sendto(payload, ("127.0.0.1", PORT))
        self.number += 1


def in_order(folder):
    """The files of a ring with unlimited numbers, from the first to the last."""
    def number(path):
        return int(path.name.partition("pcapng")[2] or 0)

    return sorted(folder.glob("r.pcapng*"), key=number)


def numbers(files):
    """The numbers in the payloads, and the loss that the files have."""
    found, loss = [], 0
    for file in files:
        read = pcapng.read(file)
        assert read["loss"] is not None, f"{file} has no statistics"
        loss += sum(read["loss"].values())
        found += [int(packet["data"].rpartition(MARK)[2][:9]) for packet in read["packets"]]
    return found, loss


def check_load(dwdump, _, count, source):
    # In memory: this is about files that follow one another, and not about a disk that makes a write wait.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        load(dwdump, pathlib.Path(folder), count, source)


def load(dwdump, out, count, source):
    capture = Capture(dwdump, out / "r.pcapng", "-C", "8k", *FILTER, source=source)
    sender, started = Sender(), time.monotonic()
    # A guest has the drop monitor, and emulates each instruction.
    rate = RATE if source == "ebpf" else 500
    while len(os.listdir(out)) < count:
        sender.send(rate // 20)
        # Else the buffers would overflow some time: a file for each few drops takes longer than to drop them.
        time.sleep(max(0, started + sender.number / rate - time.monotonic()))
        assert time.monotonic() - started < 600, f"{len(os.listdir(out))} files"
    elapsed = time.monotonic() - started
    text, _, _ = capture.end()
    files = in_order(out)
    found, loss = numbers(files)
    assert loss == counted(text)["lost"] == 0, text
    expected = list(range(sender.number))
    missing = sorted(set(expected) - set(found))
    # The drop monitor has a queue for each CPU, and dwdump does not wait to put their drops in order.
    in_turn = found if source == "ebpf" else sorted(found)
    assert in_turn == expected, f"{len(found)} of {len(expected)}; missing {missing[:10]}"
    for number, file in enumerate(files, 1):
        assert f"ring: file {number} of the run".encode() in file.read_bytes(), file
    print(f"{len(found)} drops in {len(files)} files, {len(files) / elapsed:.0f} files/s, none lost")


def check_loss(dwdump, out, *_):
    capture = Capture(dwdump, out / "r.pcapng", "-C", "64k", "-b", "256k", *FILTER)
    sender = Sender()
    for _ in range(3):
        sender.send(100)
        time.sleep(0.3)
        capture.process.send_signal(signal.SIGSTOP)
        sender.send(10000)
        capture.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    text, _, _ = capture.end()
    files = in_order(out)
    found, loss = numbers(files)
    told = counted(text)["lost"]
    assert loss == told > 1000, text
    assert found == sorted(set(found)) and len(found) + told >= sender.number, text
    with_loss = [file.name for file in files if sum(pcapng.read(file)["loss"].values())]
    assert 3 <= len(with_loss) < len(files), (with_loss, len(files))
    print(f"{len(found)} drops in {len(files)} files; {told} lost, in {len(with_loss)} of them")


def run(dwdump, *arguments):
    """A run that ends by itself."""
    command = [dwdump, "--source", "ebpf", *arguments, *FILTER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def check_times(dwdump, out, *_):
    started = time.monotonic()
    text = run(dwdump, "-G", "1", "-W", "3", "-w", out / "t-%s.pcapng")
    elapsed = time.monotonic() - started
    assert "another file every 1 s, until there are 3 files" in text, text
    names = sorted(path.name for path in out.glob("t-*"))
    seconds = [int(re.fullmatch(r"t-(\d+)\.pcapng", name)[1]) for name in names]
    assert len(seconds) == 3 and seconds[2] - seconds[0] in (2, 3), names
    assert 2.9 < elapsed < 8, elapsed
    print(f"-G 1 -W 3: {names} in {elapsed:.1f} s")
    text = run(dwdump, "-G", "1", "--duration", "1.5", "-w", out / "same.pcapng")
    assert "is the name of every file" in text, text
    assert list(out.glob("same*")) == [out / "same.pcapng"]
    check_names(dwdump, out)


def check_names(dwdump, out):
    tcpdump = os.environ.get("DWDUMP_TEST_TCPDUMP", "tcpdump")
    if not shutil.which(tcpdump):
        print(f"names SKIPPED: {tcpdump} is not installed")
        return
    empty = out / "empty.pcap"
    empty.write_bytes(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
    zones = ("UTC", "Asia/Kathmandu", "America/St_Johns", "<+0330>-3:30")
    sizes = ([], ["-C", "1"], ["-C", "1", "-W", "12"], ["-C", "1", "-W", "1"])
    for zone, size in zip(zones, sizes, strict=True):
        os.environ["TZ"] = zone
        for _ in range(20):
            before = int(time.time())
            folders = [out / f"names-{whose}" for whose in ("theirs", "ours")]
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            theirs, ours = folders
            words = ["-r", empty, "-G", "1000", *size, "-Z", "root", "-w", theirs / NAME]
            subprocess.run([tcpdump, *words], check=True, capture_output=True)
            run(dwdump, "-G", "1000", *size, "--duration", "0.01", "-w", ours / NAME)
            if int(time.time()) == before:
                break
        # The program's start may take longer than the rest of a second: then only the time may differ.
        names = [os.listdir(folder) for folder in folders]
        assert int(time.time()) > before or names[0] == names[1], names
        assert len(names[0]) == len(names[1]) == 1, names
        if names[0] == names[1]:
            print(f"TZ={zone} {size}: as tcpdump: {names[0][0]!r}")
            continue
        digits = [re.sub(r"\d+", "0", name[0]) for name in names]
        assert digits[0] == digits[1], names
        print(f"TZ={zone} {size}: as tcpdump but for the time, which went on")


def check_hangup(dwdump, out, *_):
    capture = Capture(dwdump, out / "h-%s.pcapng", "-G", "1000", *FILTER, prefix=SERVICE)
    time.sleep(1.1)
    capture.process.send_signal(signal.SIGHUP)
    until(lambda: len(list(out.glob("h-*"))) == 2)
    assert capture.process.poll() is None
    # The next file would have the name of this one.
    capture.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    text, _, _ = capture.end()
    assert "the next file would replace" in text or len(list(out.glob("h-*"))) > 2, text
    capture = Capture(dwdump, out / "same.pcapng", "-C", "1", *FILTER, prefix=SERVICE)
    capture.process.send_signal(signal.SIGHUP)
    until(lambda: (out / "same.pcapng1").exists())
    capture.end()
    terminal, own = os.openpty()

    def take_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(own, termios.TIOCSCTTY, 0)

    command = [dwdump, "--source", "ebpf", "-C", "1", "-w", out / "tty.pcapng", *FILTER]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=take_terminal)
    PROCESSES.append(process)
    assert "capturing" in process.stderr.readline()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=20) == 0 and not (out / "tty.pcapng1").exists()
    os.close(terminal)
    print("SIGHUP begins another file, and with a terminal ends the run")


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def check_trigger(dwdump, out, *_):
    file = out / "around.pcapng"
    words = ["--trigger", "udp[18:4] = 0x21212121", "--before", "1", "--after", "1", *FILTER]
    # The number ends at the 17th byte behind the UDP header's 8.
    offset = 8 + len(MARK) + 10
    words[1] = f"udp[{offset}:4] = 0x21212121"
    capture = Capture(dwdump, file, *words)
    sender = Sender()
    for word, pause in ((b"early", 1.5), (b"near", 0.2), (b"!!!!", 0.2), (b"after", 1.5), (b"late", 0.1)):
        sender.send(10, word)
        time.sleep(pause)
    text, _, _ = capture.end()
    found = [packet["data"].rpartition(b":")[2] for packet in pcapng.read(file)["packets"]]
    assert found == [b"near"] * 10 + [b"!!!!"] * 10 + [b"after"] * 10, found
    assert "10 packets matched --trigger\n20 packets not near one\n" in text, text
    print("drops around a match are kept, and no others")


CHECKS = {
    "load": check_load,
    "loss": check_loss,
    "times": check_times,
    "hangup": check_hangup,
    "trigger": check_trigger,
}

if __name__ == "__main__":
    name, dwdump, folder, *more = sys.argv[1:]
    folder = pathlib.Path(folder) / name
    folder.mkdir(parents=True)
    count, source = int((more or [300])[0]), (more[1:] or ["ebpf"])[0]
    with inside_new_namespace(INSIDE) if source == "ebpf" else contextlib.nullcontext():
        CHECKS[name](dwdump, folder, count, source)
