#!/usr/bin/env python3
"""Takes a running capture over, and has it try what an attacker would: each try is refused, told at the end, and the
capture ends as it should.

    sandbox.py CHECK DWDUMP OUTDIR    as root; makes drops in network namespaces of its own, with --source ebpf

    status      a capture has no capability, no new privileges, another user, and a filter of system calls
    takeover    what it tries is refused, and it captures on
    off         --sandbox off leaves all of that but the capabilities
    rotation    a hundred files in a folder that is root's, under each user, and the rights of the command of -z
    command     the command of -z puts another file in the place of each, under each user
    table       the live table, whose keys attach programs and create a file
    reading     the same for `-r`, while it waits for the rest of a pipe
"""

import os
import pathlib
import pwd
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pcapng
from takeover import Takeover
from terminal import Terminal

PORT = 4950
NOBODY = 65534
AT_FDCWD = -100
O_WRONLY_CREAT = os.O_WRONLY | os.O_CREAT
PROT_EXEC = 4


def status_of(pid):
    """The lines of /proc/PID/status that say what a process may do, of each of its threads."""
    wanted = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    threads = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            # A thread that has ended meanwhile.
            continue
        lines = (line.split(":", 1) for line in text.splitlines())
        threads.append({name: value.split() for name, value in lines if name in wanted})
    return threads


def check_status(pid, capabilities, seccomp, user, bounding=None):
    """Of all threads: these capabilities and no others, this user with its group alone. Who could not limit the
    `bounding` set has more in it."""
    threads = status_of(pid)
    assert len(threads) >= 2, threads
    for thread in threads:
        for kind in ("CapPrm", "CapEff", "CapBnd"):
            expected = capabilities if bounding is None or kind != "CapBnd" else bounding
            assert int(thread[kind][0], 16) == expected, f"{kind}: {thread}"
        for kind in ("CapInh", "CapAmb"):
            assert int(thread[kind][0], 16) == 0, f"{kind}: {thread}"
        assert thread["NoNewPrivs"] == ["1"], thread
        assert thread["Seccomp"] == [seccomp], thread
        if user is not None:
            assert thread["Uid"] == [str(user)] * 4, thread
            assert "0" not in thread["Gid"] + thread["Groups"], thread


def tries(held):
    """What an attacker would try, with what may come of it. `held` is a socket or a pipe that the process has."""
    elsewhere = b"/tmp/dwdump-was-here\0"
    address = struct.pack("<H", socket.AF_INET) + struct.pack(">H", 80) + socket.inet_aton("127.0.0.1") + bytes(8)
    arguments = struct.pack("<QQ", 0, 0)
    return [
        (("openat", AT_FDCWD, b"/etc/shadow\0", os.O_RDONLY), ["EACCES"]),
        # Everybody may read it: Landlock alone refuses.
        (("openat", AT_FDCWD, b"/etc/passwd\0", os.O_RDONLY), ["EACCES"]),
        (("open", b"/etc/shadow\0", os.O_RDONLY), ["EPERM"]),
        (("openat", AT_FDCWD, elsewhere, O_WRONLY_CREAT, 0o600), ["EPERM"]),
        (("unlinkat", AT_FDCWD, b"/etc/shadow\0", 0), ["EPERM", "EACCES"]),
        (("socket", socket.AF_INET, socket.SOCK_STREAM, 0), ["EPERM"]),
        (("connect", held, address, 16), ["EPERM"]),
        (("execve", b"/bin/sh\0", arguments, arguments), ["EPERM"]),
        (("fork",), ["EPERM"]),
        (("setuid", 0), ["EPERM"]),
        (("kill", 1, 0), ["EPERM"]),
        (("ptrace", 16, 1, 0, 0), ["EPERM"]),
        (("mount", b"none\0", b"/mnt\0", b"tmpfs\0", 0, 0), ["EPERM"]),
        (("init_module", 0, 0, b"\0"), ["EPERM"]),
        # BPF_PROG_LOAD
        (("bpf", 5, bytes(128), 128), ["EPERM"]),
        (("mprotect", 0, 4096, PROT_EXEC), ["EPERM"]),
    ]


def take_over(pid, held=0, lax=False):
    """Has a process try everything. `lax` has it do only what no sandbox refuses, to prove that the tries work."""
    with Takeover(pid) as process:
        # The tries themselves work: what is allowed is done.
        assert process.call("getpid") == pid if lax else process.call("openat", AT_FDCWD, b"/sys/kernel/btf\0", 0) >= 0
        if lax:
            opened = process.call("openat", AT_FDCWD, b"/etc/passwd\0", os.O_RDONLY)
            assert isinstance(opened, int), opened
            return
        for arguments, expected in tries(held):
            result = process.call(*arguments)
            assert result in expected, f"{arguments}: {result}"


def is_confined(pid):
    """Whether a process has given up its rights, and has its second thread again, for signals."""
    threads = status_of(pid)
    return len(threads) >= 2 and all(thread["NoNewPrivs"] == ["1"] for thread in threads)


class Running:
    """A capture that runs."""

    def __init__(self, dwdump, *arguments, opening=b"capturing", **options):
        self.process = subprocess.Popen(
            [dwdump, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **options
        )
        self.talk = b""
        while opening not in self.talk:
            byte = os.read(self.process.stderr.fileno(), 4096)
            assert byte, self.talk.decode()
            self.talk += byte
        # Confined a moment later, before it waits for the first drop.
        self.wait_until(lambda: is_confined(self.process.pid))
        time.sleep(0.3)

    @staticmethod
    def wait_until(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.02)

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.talk += self.process.communicate(timeout=60)[1]
        return self.process.returncode, self.talk.decode()


def drop(mark):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(mark, ("127.0.0.1", PORT))


def ebpf(dwdump, file, *options):
    return Running(dwdump, "--source", "ebpf", "-w", file, *options, f"udp port {PORT}")


def check_capture(dwdump, out):
    """Taken over, it captures on, and ends with all that it has."""
    file = out / "taken.pcapng"
    run = ebpf(dwdump, file, "-Z", "nobody", "--sandbox", "strict")
    check_status(run.process.pid, 0, "2", NOBODY)
    drop(b"before")
    held = open_socket(run.process.pid)
    take_over(run.process.pid, held)
    drop(b"behind")
    time.sleep(0.3)
    status, talk = run.stop()
    assert status == 0, talk
    # As many as were tried, but for those that Landlock refuses.
    assert "the sandbox refused 14 system calls: " in talk, talk
    for name in ("open", "connect", "execve", "fork", "bpf", "ptrace", "mprotect"):
        assert name in talk.split("system calls: ")[1].split("\n")[0], talk
    packets = [packet["data"][-6:] for packet in pcapng.read(file)["packets"]]
    assert packets == [b"before", b"behind"], packets
    assert not pathlib.Path("/tmp/dwdump-was-here").exists()


def open_socket(pid):
    """The number of a socket, or of any file, that a process has open."""
    for file in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(file)
        except FileNotFoundError:
            # Closed meanwhile.
            continue
        if target.startswith("socket:"):
            return int(file.name)
    return 0


def identities():
    """Each way to choose a user: options, variables of the environment, and its number."""
    of_package = next((user.pw_uid for user in pwd.getpwall() if user.pw_name == "dwdump"), 0)
    return [
        (["-Z", "nobody"], {}, NOBODY),
        (["-Z", "root"], {}, 0),
        ([], {"SUDO_UID": "4000", "SUDO_GID": "4001"}, 4000),
        ([], {}, of_package),
    ]


def environment(variables):
    """That of this process with these variables; of sudo, it has none but these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")} | variables


def check_statuses(dwdump, out):
    """Each way to choose a user."""
    for options, variables, user in identities():
        file = out / "status.pcapng"
        file.unlink(missing_ok=True)
        arguments = ["-v", "--source", "ebpf", "-w", file, *options, f"udp port {PORT}"]
        run = Running(dwdump, *arguments, env=environment(variables))
        check_status(run.process.pid, 0, "2", user or None)
        drop(b"seen")
        time.sleep(0.3)
        status, talk = run.stop(signal.SIGTERM)
        assert (status, "refused" in talk) == (0, False), talk
        assert ("going on as " in talk) == (user != 0), talk
        assert len(pcapng.read(file)["packets"]) == 1
        assert file.stat().st_uid == user, file.stat()
    unknown = subprocess.run(
        [dwdump, "-Z", "no such user", "-w", "/dev/null"], capture_output=True, text=True, check=False
    )
    assert unknown.returncode == 1 and 'there is no user "no such user"' in unknown.stderr, unknown.stderr


def check_off(dwdump, out):
    """Without the sandbox, capabilities and user are gone all the same, and the tries of this test succeed."""
    run = ebpf(dwdump, out / "off.pcapng", "-Z", "nobody", "--sandbox", "off")
    check_status(run.process.pid, 0, "0", NOBODY)
    take_over(run.process.pid, lax=True)
    status, talk = run.stop()
    assert (status, "refused" in talk) == (0, False), talk


def check_reading(dwdump, out):
    """A file that somebody else wrote is parsed in the sandbox."""
    file = out / "to-read.pcapng"
    run = ebpf(dwdump, file)
    drop(b"one")
    time.sleep(0.3)
    run.stop()
    reader, writer = os.pipe()
    whole = file.read_bytes()
    copy = out / "read.pcapng"
    copy.unlink(missing_ok=True)
    # Of the beginning alone: the rest comes when it was taken over.
    os.write(writer, whole[:-8])
    reading = Running(
        dwdump, "--sandbox", "strict", "-r", "-", "-w", copy, stdin=reader, opening=b"reading"
    )
    os.close(reader)
    check_status(reading.process.pid, 0, "2", None)
    take_over(reading.process.pid, held=writer)
    os.write(writer, whole[-8:])
    os.close(writer)
    talk = reading.talk.decode() + reading.process.communicate(timeout=60)[1].decode()
    assert reading.process.returncode == 0, talk
    # Removing a file is allowed as long as the new one is empty, in its folder.
    assert "the sandbox refused 13 system calls: " in talk, talk
    assert len(pcapng.read(copy)["packets"]) == 1


def record(dwdump, folder, command, count, *options, variables):
    """Fills a ring with so many files, each of which `command` gets. Returns the number of packets, and the talk."""
    run = Running(
        dwdump, "--source", "ebpf", *options, "-C", "1k", "-W", "1000", "-z", command, "--sync", "1",
        "-w", folder / "ring.pcapng", f"udp port {PORT}", env=environment(variables),
    )
    for number in range(1, 2000):
        drop(b"%04d" % number)
        time.sleep(0.003)
        if number % 50 == 0 and len(os.listdir(folder)) > count:
            break
    time.sleep(0.3)
    status, talk = run.stop()
    assert (status, "refused" in talk) == (0, False), talk
    return number, talk


def check_rotation(dwdump, out):
    """A hundred files, in a folder that is root's, under each identity. The command of -z for each is the same user's,
    can read it, and has no rights beside."""
    out.chmod(0o755)
    log = out / "finished.log"
    script = out / "finished"
    rights = "Uid|Cap...|NoNewPrivs"
    script.write_text(f'#!/bin/sh\necho "$1" $(wc -c <"$1") $(grep -E "^({rights}):" /proc/self/status) >>{log}\n')
    script.chmod(0o755)
    for options, variables, user in identities():
        folder = out / "ring"
        folder.mkdir(mode=0o755)
        log.write_text("")
        log.chmod(0o666)
        number, talk = record(dwdump, folder, script, 100, *options, variables=variables)
        told = f"who may create no file in {folder}"
        assert (told in talk) == (user != 0), talk
        files = sorted(folder.iterdir(), key=lambda file: file.stat().st_ctime_ns)
        assert len(files) > 100, f"{len(files)} files: {talk}"
        found = sorted(packet["data"][-4:] for file in files for packet in pcapng.read(file)["packets"])
        assert found == [b"%04d" % place for place in range(1, number + 1)], f"{len(found)} of {number}"
        owner = {file.stat().st_uid for file in files}
        assert owner == {user}, owner
        finished = [line.split(" ", 2) for line in log.read_text().splitlines()]
        sizes = {str(file): str(file.stat().st_size) for file in files}
        assert {name: size for name, size, _ in finished} == sizes, f"{len(finished)} of {len(files)}: {talk}"
        none = "0" * 16
        kinds = " ".join(f"Cap{kind}: {none}" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
        expected = f"Uid: {user} {user} {user} {user} {kinds} NoNewPrivs: 1"
        assert {rights for _, _, rights in finished} == {expected}, finished[0]
        subprocess.run(["rm", "-r", folder], check=True)


def check_command(dwdump, out):
    """The command of -z puts another file in the place of each, in a folder that is the user's, under each identity."""
    out.chmod(0o755)
    for options, variables, user in identities():
        folder = out / "own"
        folder.mkdir(mode=0o700)
        os.chown(folder, user, user)
        number, talk = record(dwdump, folder, "gzip", 5, "-v", *options, variables=variables)
        told = [line for line in talk.splitlines() if "-z" in line]
        assert len(told) == 1 and told[0].endswith("with no capability"), talk
        assert "failed" not in talk, talk
        files = list(folder.iterdir())
        assert files and {file.suffix for file in files} == {".gz"}, files
        assert {file.stat().st_uid for file in files} == {user}
        subprocess.run(["gzip", "-t", *files], check=True)
        subprocess.run(["gunzip", *files], check=True)
        packets = sum(len(pcapng.read(file)["packets"]) for file in folder.iterdir())
        assert packets == number, f"{packets} of {number}"
        subprocess.run(["rm", "-r", folder], check=True)


def check_table(dwdump, out):
    """The table keeps what attaches programs, and no more; and with that alone, it writes a row."""
    with open("/proc/sys/kernel/perf_event_paranoid") as file:
        is_paranoid = int(file.read()) > 2
    programs = 1 << 14 | 1 << 38 | 1 << 39 | is_paranoid << 21
    for source, capabilities in (["--source", "ebpf"], programs), (["--source", "ebpf", f"udp port {PORT}"], 0):
        table = Terminal(dwdump, "--summary", "-Z", "nobody", *source, folder=out)
        pid = table.process.pid
        Running.wait_until(lambda: is_confined(pid))
        table.wait_for("q quit")
        check_status(pid, capabilities, "2", NOBODY)
        drop(b"counted")
        table.wait_for("^> ")
        table.press("w")
        table.wait_for("write to: drops-")
        name = out / f"row-{capabilities}.pcapng"
        # Relative to the folder in which it was started.
        table.press(f"\x15{name.name}\r")
        table.wait_for("writing ")
        for number in range(5):
            drop(b"%04d" % number)
        table.wait_for(": 5 packets")
        table.press("w")
        table.wait_for("wrote 5 packets")
        # Nothing of the host's is overwritten, nor created under another name.
        for other in "/etc/shadow", "/tmp/dwdump-was-here":
            table.press("w")
            table.wait_for("write to: drops-")
            table.press(f"\x15{other}\r")
            table.wait_for("ending in .pcapng")
            table.press("\x1b")
            table.wait_for("q quit")
        check_status(pid, capabilities, "2", NOBODY)
        table.press("q")
        status, talk = table.end()
        assert (status, "refused" in talk) == (0, False), talk
        packets = pcapng.read(name)["packets"]
        assert [packet["data"][-4:] for packet in packets] == [b"%04d" % number for number in range(5)], packets
        assert name.stat().st_uid == NOBODY


CHECKS = {
    "rotation": check_rotation,
    "command": check_command,
    "table": check_table,
    "status": check_statuses,
    "takeover": check_capture,
    "off": check_off,
    "reading": check_reading,
}


def main():
    name, dwdump, out = sys.argv[1:]
    CHECKS[name](dwdump, pathlib.Path(out))
    print(f"{name}: as it should be")


if __name__ == "__main__":
    main()
