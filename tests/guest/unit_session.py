"""Runs in a guest whose PID 1 is systemd: installs the package, and has its unit record.

    unit_session.py PACKAGE OUTDIR [TEST …]
"""

import itertools
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import harness
import pcapng
import sandbox
from harness import wait_until

DWDUMP = "/usr/bin/dwdump"
# That of dropwatch's package, which has the other name when this one is not installed.
C_TOOL = pathlib.Path("/usr/bin/dwdump.dropwatch")
# The first argument.
PACKAGE = None
# Units that failed before the package was installed: Debian's newest is not finished.
FAILED_BEFORE = set()
UNIT = pathlib.Path("/usr/lib/systemd/system/dwdump@.service")
SETTINGS = pathlib.Path("/etc/systemd/system/dwdump@.service.d")
FOLDER = pathlib.Path("/var/log/dwdump")
NET_ADMIN, SYS_ADMIN = 1 << 12, 1 << 21
# The limits of the ring that is tried, in KiB.
FILE, ALL = 10, 30
# More than 39 characters, of which the drop monitor sends no more.
LONG = "__netif_receive_skb_core."


def command(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def package(*words):
    return command("dpkg", *words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def failed_units():
    listed = command("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    return {line.split()[0] for line in listed.splitlines()}


def settings():
    """The kernel's settings, and whether it monitors."""
    busy = harness.net_dm(harness.CONFIG, {}) != 0
    return command(C_TOOL if C_TOOL.exists() else DWDUMP, "-q"), busy


class Recorder:
    """The unit with this source; its settings are `systemctl edit`'s."""

    def __init__(self, source):
        self.source, self.name = source, f"dwdump@{source}.service"

    def start(self):
        command("systemctl", "start", self.name)
        self.wait_for("capturing")
        wait_until(self.is_confined)
        # Before it waits for the first drop.
        time.sleep(0.3)

    def is_confined(self):
        """It has given up the capabilities that systemd gave it, and has its second thread again."""
        threads = sandbox.status_of(self.pid())
        return len(threads) >= 2 and not any(int(thread["CapAmb"][0], 16) for thread in threads)

    def stop(self):
        """The log of the run that ends."""
        invocation = self.show("InvocationID")
        command("systemctl", "stop", self.name)
        return self.log(invocation)

    def show(self, name):
        return command("systemctl", "show", "--property", name, "--value", self.name).strip()

    def pid(self):
        return int(self.show("MainPID"))

    def log(self, invocation=None):
        command("journalctl", "--sync")
        invocation = invocation or self.show("InvocationID")
        return command("journalctl", "--output", "cat", f"_SYSTEMD_INVOCATION_ID={invocation}")

    def wait_for(self, pattern):
        def is_there():
            log = self.log()
            is_found = re.search(pattern, log)
            assert is_found or self.show("ActiveState") in ("active", "activating"), f"no {pattern!r}: {log}"
            return is_found

        wait_until(is_there)

    def processes(self):
        group = pathlib.Path("/sys/fs/cgroup" + self.show("ControlGroup"))
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]

    def files(self):
        """The oldest first. The names are those of the time, with a number behind."""
        files = FOLDER.glob(f"{self.source}-*.pcapng*")
        return sorted(files, key=lambda file: (file.name[: -len(file.suffix)], len(file.name), file.name))


def edit(text):
    """What `systemctl edit` does."""
    SETTINGS.mkdir(exist_ok=True)
    (SETTINGS / "tried.conf").write_text(f"[Service]\n{text}\n")
    command("systemctl", "daemon-reload")


def small_ring():
    """The unit's own command, with smaller numbers."""
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart="))
    for old, new in {
        "--stats-interval 60 ": "--stats-interval 2 ", "-C 100M ": f"-C {FILE}k ", "--max-total 1G ": f"--max-total {ALL}k ",
    }.items():
        assert old in line, line
        line = line.replace(old, new)
    return f"ExecStart=\n{line}\nRestartSec=1"


def suggested():
    """The settings that the unit's comment suggests."""
    lines = UNIT.read_text().splitlines()
    first = lines.index("#   [Service]") + 1
    return "\n".join(line[4:] for line in itertools.takewhile(lambda line: line.startswith("#   "), lines[first:]))


# Drops, of kinds that both sources see.


def datagram(payload):
    """To a port where nobody listens: NO_SOCKET."""
    sandbox.drop(payload)


def bad_checksum(payload):
    """UDP_CSUM"""
    address = socket.inet_aton("127.0.0.1")
    udp = struct.pack(">HHHH", 1, sandbox.PORT, 8 + len(payload), 0xDEAD) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0, address, address)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.sendto(ip + udp, ("127.0.0.1", 0))


def unknown_protocol(payload):
    """UNHANDLED_PROTO"""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("lo", 0))
        sender.send(bytes(12) + b"\x88\xb5" + payload)


KINDS = {"NO_SOCKET": datagram, "UDP_CSUM": bad_checksum, "UNHANDLED_PROTO": unknown_protocol}


def make_drops(first, count):
    for number in range(first, first + count):
        for make in KINDS.values():
            make(b"RECORDED:%06d" % number)
        if number % 20 == 0:
            time.sleep(0.02)


def number_of(packet):
    found = re.search(rb"RECORDED:(\d{6})", packet["data"])
    return found and int(found[1])


class Sender:
    """A process that sends from a network namespace of its own, in which it was started by these words."""

    SCRIPT = f'ip link set lo up; while read -r word; do printf %s "$word" >/dev/udp/127.0.0.1/{sandbox.PORT}; done'

    def __init__(self, *words):
        own = os.stat("/proc/self/ns/net").st_ino
        self.process = subprocess.Popen([*words, "bash", "-c", self.SCRIPT], stdin=subprocess.PIPE, text=True)
        wait_until(lambda: self.namespace() != own)

    def namespace(self):
        return os.stat(f"/proc/{self.process.pid}/ns/net").st_ino

    def send(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self):
        self.process.communicate()


class Unit(unittest.TestCase):
    """In the order of the suite: each test leaves a host on which nothing records."""

    def setUp(self):
        self.before = settings()
        self.assertFalse(self.before[1])
        shutil.rmtree(SETTINGS, ignore_errors=True)
        edit(small_ring())

    def tearDown(self):
        command("systemctl", "stop", "dwdump@*.service")

    def test_the_package(self):
        """The system user, and the folder that is its own."""
        user = pwd.getpwnam("dwdump")
        self.assertLess(user.pw_uid, 1000)
        self.assertIn("nologin", user.pw_shell)
        found = FOLDER.stat()
        self.assertEqual((found.st_mode & 0o777, found.st_uid, found.st_gid), (0o750, user.pw_uid, user.pw_gid))
        self.assertEqual(failed_units() - FAILED_BEFORE, set())
        command("systemd-analyze", "verify", "--man=no", "dwdump@auto.service")

    def test_its_exposure(self):
        shown = command("systemd-analyze", "security", "--no-pager", "dwdump@auto.service")
        exposure = re.search(r"Overall exposure level for dwdump@auto.service: (\d+\.\d) ", shown)[1]
        print(f"systemd-analyze security: {exposure}", flush=True)
        self.assertLessEqual(float(exposure), 1.6, shown)

    def test_each_source(self):
        for source in ("auto", "ebpf", "netdm"):
            with self.subTest(source=source):
                began = time.monotonic()
                self.record(Recorder(source))
                print(f"{source}: {time.monotonic() - began:.0f} s", flush=True)
        self.check_next_run(Recorder("netdm"))

    def record(self, recorder):
        recorder.start()
        self.check_confined(recorder)
        make_drops(0, 30)
        sandbox.take_over(recorder.pid(), sandbox.open_socket(recorder.pid()))
        make_drops(30, 70)
        recorder.wait_for(r"in 2 s received \d+ = \d+ written \+ 0 rejected \+ 0 lost; since the start")
        time.sleep(1)
        log = recorder.stop()
        ended = [recorder.show(name) for name in ("Result", "ExecMainStatus", "ActiveState")]
        self.assertEqual(ended, ["success", "0", "inactive"], log)
        self.assertEqual(settings(), self.before, log)
        self.assertIn("the sandbox refused 14 system calls: ", log)
        # Exactly what was sent, and what is no packet.
        self.assertRegex(log, r"(?m)^0 packets lost in the kernel's queue\n0 packets lost in the socket buffer$")
        self.check_ring(recorder.files(), 100, log)

    def check_confined(self, recorder):
        """The user, and no right that is not needed, of each of its processes."""
        user, main = pwd.getpwnam("dwdump").pw_uid, recorder.pid()
        sandbox.check_status(main, NET_ADMIN, "2", user, bounding=NET_ADMIN | SYS_ADMIN)
        others = [thread for pid in recorder.processes() if pid != main for thread in sandbox.status_of(pid)]
        self.assertTrue(others)
        for thread in others:
            self.assertEqual(thread["Uid"], [str(user)] * 4)
            # That of the process that enters namespaces, and that of the one that opens files.
            self.assertIn(int(thread["CapPrm"][0], 16), (SYS_ADMIN, 0), thread)
            self.assertEqual((thread["NoNewPrivs"], thread["Seccomp"]), (["1"], ["2"]), thread)

    def check_ring(self, files, count, log):
        """The newest drops, in whole files."""
        self.assertGreater(len(files), 2, log)
        self.assertLessEqual(sum(file.stat().st_size for file in files), (ALL + FILE) << 10)
        found, reasons = [], set()
        for file in files:
            status = file.stat()
            self.assertEqual((status.st_mode & 0o777, status.st_uid), (0o600, pwd.getpwnam("dwdump").pw_uid))
            packets = pcapng.read(file)["packets"]
            shown = command(DWDUMP, "-r", file, "--json").splitlines()
            self.assertEqual(len(shown), len(packets))
            for line, packet in zip(shown, packets, strict=True):
                self.assertEqual(json.loads(line).get("reason"), packet["reason"])
                if number_of(packet) is not None:
                    found.append(number_of(packet))
                    reasons.add(packet["reason"])
        self.assertEqual(reasons, set(KINDS))
        # The oldest have made room, and nothing is missing since.
        first = min(found)
        self.assertGreater(first, 0)
        self.assertEqual(sorted(set(found)), list(range(first, count)))
        self.assertEqual(found.count(first) + len(KINDS) * (count - first - 1), len(found))

    def check_next_run(self, recorder):
        """It leaves the files of the one before alone."""
        before = {file: file.read_bytes() for file in recorder.files()}
        recorder.start()
        datagram(b"once more")
        time.sleep(1)
        recorder.stop()
        for file, content in before.items():
            self.assertEqual(file.read_bytes(), content, file)
        (new,) = set(recorder.files()) - set(before)
        self.assertTrue(any(b"once more" in packet["data"] for packet in pcapng.read(new)["packets"]))

    def test_one_that_was_killed_records_on(self):
        recorder = Recorder("auto")
        recorder.start()
        pid = recorder.pid()
        command("systemctl", "kill", "--signal", "KILL", recorder.name)
        wait_until(lambda: recorder.pid() not in (0, pid))
        # Not with eBPF alone, because the drop monitor was left on.
        recorder.wait_for("capturing software and hardware drops")
        datagram(b"after the kill")
        time.sleep(1)
        log = recorder.stop()
        self.assertNotIn("refused", log)
        last = pcapng.read(recorder.files()[-1])["packets"]
        self.assertTrue(any(b"after the kill" in packet["data"] for packet in last), log)
        self.assertEqual(settings(), self.before, log)

    def test_a_second_one_does_not_take_over(self):
        first, second = Recorder("auto"), Recorder("netdm")
        first.start()
        command("systemctl", "start", second.name)
        second.wait_for(rf"by another dwdump \(process {first.pid()}\)")
        self.assertEqual(second.stop().count("capturing"), 0)
        datagram(b"for the first")
        time.sleep(1)
        first.stop()
        last = pcapng.read(first.files()[-1])["packets"]
        self.assertTrue(any(b"for the first" in packet["data"] for packet in last))
        self.assertEqual(settings(), self.before)

    def test_an_unknown_source_is_tried_once(self):
        recorder = Recorder("nonsense")
        command("systemctl", "start", recorder.name)
        wait_until(lambda: recorder.show("ActiveState") == "failed")
        self.assertIn("expected one of auto, netdm, ebpf", recorder.log())
        time.sleep(3)
        self.assertEqual((recorder.show("ActiveState"), recorder.show("NRestarts")), ("failed", "0"))
        command("systemctl", "reset-failed", recorder.name)

    def test_what_the_unit_leaves_out_can_be_added(self):
        command("ip", "netns", "add", "blue")
        self.addCleanup(command, "ip", "netns", "del", "blue")
        senders = {"named": Sender("ip", "netns", "exec", "blue"), "nameless": Sender("unshare", "--net")}
        for sender in senders.values():
            self.addCleanup(sender.end)
        ring = small_ring()
        for added, seen, is_cut in (
            ("", set(), True),
            ("RestrictNamespaces=net", {"named"}, None),
            (suggested(), {"named", "nameless"}, False),
        ):
            with self.subTest(added=added):
                edit(f"{ring}\n{added}")
                drops = self.recorded("ebpf", lambda: [sender.send(word) for word, sender in senders.items()])
                drops = [drop for drop in drops if drop.get("transport") == "udp"]
                found = {word: drop for word in senders for drop in drops if drop["payload"].endswith(word)}
                self.assertEqual(set(found), set(senders))
                self.assertEqual({word for word, drop in found.items() if drop.get("device") == "lo"}, seen)
                for word in seen:
                    self.assertEqual(found[word]["netns"], senders[word].namespace())
                self.assertEqual(found["named"].get("netns_name"), "blue" if "named" in seen else None)
                if is_cut is not None:
                    drops = self.recorded("netdm", lambda: unknown_protocol(b"long"))
                    (place,) = {drop["location"] for drop in drops if drop["location"].startswith(LONG)}
                    self.assertEqual(len(place) <= 39, is_cut, place)

    def recorded(self, source, make):
        """What a run has captured, as JSON, with the end of the packet."""
        recorder = Recorder(source)
        before = set(recorder.files())
        recorder.start()
        make()
        time.sleep(1)
        recorder.stop()
        drops = []
        for file in set(recorder.files()) - before:
            shown = map(json.loads, command(DWDUMP, "-r", file, "--json").splitlines())
            for drop, packet in zip(shown, pcapng.read(file)["packets"], strict=True):
                drops.append(drop | {"payload": packet["data"].decode("latin-1")})
        return drops

    def test_started_by_root_it_goes_on_as_the_system_user(self):
        folder = pathlib.Path("/root/by-root")
        folder.mkdir(mode=0o755)
        run = sandbox.Running(
            DWDUMP, "-v", "-C", "1k", "-w", folder / "ring.pcapng", env=sandbox.environment({})
        )
        user = pwd.getpwnam("dwdump")
        sandbox.check_status(run.process.pid, NET_ADMIN, "2", user.pw_uid)
        self.assertNotEqual(settings(), self.before)
        make_drops(0, 10)
        time.sleep(0.5)
        status, talk = run.stop(signal.SIGTERM)
        self.assertEqual((status, "refused" in talk), (0, False), talk)
        self.assertIn("going on as dwdump, group dwdump, with CAP_NET_ADMIN\n", talk)
        self.assertEqual(settings(), self.before, talk)
        # Another process of its own, which stayed root, has created them, and given them to the user.
        owners = {(file.stat().st_mode & 0o777, file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()}
        self.assertEqual(owners, {(0o600, user.pw_uid, user.pw_gid)})
        packets = [packet for file in folder.iterdir() for packet in pcapng.read(file)["packets"]]
        reasons = [packet["reason"] for packet in packets if number_of(packet) is not None]
        self.assertEqual(sorted(reasons), sorted([*KINDS] * 10))
        self.assertGreater(len(list(folder.iterdir())), 3)

    def test_the_installed_program_taken_over(self):
        # With its module, eBPF has hardware drops from the drop monitor, and CAP_NET_ADMIN.
        command("modprobe", "--remove", "drop_monitor")
        for name in ("status", "takeover", "reading"):
            with self.subTest(name=name):
                sandbox.CHECKS[name](DWDUMP, harness.OUT)

    def test_without_the_package_systemd_makes_the_user(self):
        (SETTINGS / "packaged.conf").symlink_to("/dev/null")
        command("systemctl", "daemon-reload")
        command("userdel", "dwdump")
        shutil.rmtree(FOLDER)
        drops = self.recorded("auto", lambda: datagram(b"by a dynamic user"))
        self.assertTrue(any("by a dynamic user" in drop["payload"] for drop in drops))
        self.assertEqual(settings(), self.before)
        FOLDER.unlink()
        shutil.rmtree("/var/log/private/dwdump")
        package("--install", PACKAGE)

    def test_removed_it_records_no_longer_and_what_it_recorded_stays(self):
        recorder = Recorder("auto")
        recorder.start()
        pid = recorder.pid()
        package("--remove", "dwdump")
        self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())
        self.assertEqual(settings(), self.before)
        self.assertTrue(recorder.files())
        package("--purge", "dwdump")
        self.assertFalse(FOLDER.exists())


def main():
    global PACKAGE
    PACKAGE, out, *only = sys.argv[1:]
    harness.OUT = pathlib.Path(out)
    FAILED_BEFORE.update(failed_units())
    if FAILED_BEFORE:
        print(f"failed before: {' '.join(sorted(FAILED_BEFORE))}", flush=True)
    package("--install", PACKAGE)
    print(command(DWDUMP, "--version").splitlines()[0], flush=True)
    names = only or [name for name in vars(Unit) if name.startswith("test_")]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(map(Unit, names)))
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


if __name__ == "__main__":
    main()
