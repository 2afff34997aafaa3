"""Runs in the guest, for `flood`: dwdump and the C tool in turns, on the same floods of drops.
Prints a table for each question, medians of several runs. What is not a matter of speed is
asserted: captured + lost is what was sent, and memory stays below 32 MB."""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent / "tests" / "guest"))
import pktgen

C_DWDUMP = "/usr/bin/dwdump"
# In memory: no disk's speed is measured, nor that of the file system that the programs come from.
FOLDER = pathlib.Path("/tmp/flood")
MAX_MEMORY_KB = 32 * 1024
# With its buffers.
MAX_EBPF_MEMORY_KB = 96 * 1024
PARTS = ("loss", "cpu", "ebpf", "memory", "stall")
DWDUMP = None
# Another build of dwdump, to be compared with: None without --before.
BEFORE = None


@dataclasses.dataclass
class Run:
    """One capture of one flood."""

    sent: int
    captured: int
    queue: int | None
    socket: int | None
    # In eBPF's perf buffers.
    buffers: int | None
    rate: int
    seconds: float
    memory_kb: int

    @property
    def cpu(self):
        """Microseconds for a captured packet."""
        return self.seconds * 1e6 / max(1, self.captured)


def references():
    return int(pathlib.Path("/sys/module/drop_monitor/refcnt").read_text())


def records(path):
    """Packets in a file, counted without the program's own code."""
    data, found, start = path.read_bytes(), 0, 0
    if path.suffix == ".pcapng":
        while len(data) - start >= 12:
            kind, length = struct.unpack_from("<II", data, start)
            found += kind == 6
            start += length
        return found
    # The C tool's: netlink messages behind 16 bytes of a cooked header. Not the controller's.
    start = 24
    while len(data) - start >= 16:
        (length,) = struct.unpack_from("=I", data, start + 8)
        (kind,) = struct.unpack_from("=H", data, start + 16 + 16 + 4)
        found += kind > 0x10 and data[start + 16 + 16 + 16] == 5
        start += 16 + length
    return found


def capture(program, options, count, rate=None, size=60, file=None, pause=None):
    """`file` is where to write, None for a file that is counted and removed. With `pause`, the
    output is a pipe whose reader does nothing for these many seconds."""
    suffix = ".pcap" if program == C_DWDUMP else ".pcapng"
    path = file or FOLDER / f"capture{suffix}"
    log = (FOLDER / "log").open("w+")
    is_ebpf = "ebpf" in options
    origin = [] if is_ebpf else ["-o", "sw"]
    command = [program, *origin, *options, "-w", "/dev/stdout" if pause else path]
    users = references()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE if pause else subprocess.DEVNULL, stderr=log
    )
    while "capturing" not in (FOLDER / "log").read_text() if is_ebpf else references() == users:
        assert process.poll() is None, (FOLDER / "log").read_text()
        time.sleep(0.01)
    time.sleep(0.3)
    reader = None
    if pause:
        reader = subprocess.Popen(
            ["sh", "-c", f"sleep {pause}; exec cat >{path}"], stdin=process.stdout
        )
        process.stdout.close()
    reached = pktgen.flood(count, rate, size)
    settle(process.pid)
    memory = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())
    process.send_signal(signal.SIGINT)
    _, status, usage = os.wait4(process.pid, 0)
    # Reaped above; Popen has to know.
    process.returncode = os.waitstatus_to_exitcode(status)
    if reader:
        reader.wait()
    log.seek(0)
    talk = log.read()
    lost = [
        re.findall(rf"^(\d+) packets? {what}", talk, re.MULTILINE)
        for what in (
            "captured",
            "lost in the kernel's queue",
            "lost in the socket buffer",
            "lost in the perf buffers",
        )
    ]
    told, queue, buffer, perf = (int(numbers[-1]) if numbers else None for numbers in lost)
    captured = told
    if not file:
        captured = records(path)
        path.unlink()
    run = Run(
        count, captured, queue, buffer, perf, reached, usage.ru_utime + usage.ru_stime, int(memory[1])
    )
    if program != C_DWDUMP:
        assert process.returncode == 0, talk
        assert captured == told, (captured, talk)
        # A stray drop of the guest's own would be one too many.
        assert captured + (queue or 0) + (buffer or 0) + (perf or 0) == count, talk
        assert run.memory_kb < (MAX_EBPF_MEMORY_KB if is_ebpf else MAX_MEMORY_KB), run
    return run


def settle(pid):
    """Waits until the process has had nothing to do for a second: the C tool's STOP throws away
    what still waits in the kernel."""
    idle_since, used = time.monotonic(), None
    while time.monotonic() - idle_since < 1:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        now = int(fields[11]) + int(fields[12])
        if now != used:
            idle_since, used = time.monotonic(), now
        time.sleep(0.1)


def in_turns(repeat, cases):
    """The runs of each case, the cases one after another, all of them `repeat` times."""
    runs = [[] for _ in cases]
    for _ in range(repeat):
        for found, case in zip(runs, cases, strict=True):
            found.append(case())
    return runs


def median(runs, what):
    return statistics.median(getattr(run, what) for run in runs)


def table(title, columns, rows):
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def percent(runs):
    """Of 100 drops, in the worst and the best run, rounded down: 100 is all."""
    found = sorted(run.captured * 1000 // run.sent / 10 for run in runs)
    return f"{found[0]:g}" if found[0] == found[-1] else f"{found[0]:g}–{found[-1]:g}"


def lost(runs):
    queue, socket = median(runs, "queue"), median(runs, "socket")
    return f"{queue:.0f} + {socket:.0f}"


def ratio(ours, theirs, what):
    return f"{median(ours, what) / median(theirs, what):.2f}"


SAME_OPTIONS = (
    ["-l", "1000"],
    ["-l", "10000"],
    ["-l", "100000"],
    ["-l", "100000", "-b", "1000000"],
)


def full_speed(repeat, count):
    """Who captures how much of a flood, with each one's own defaults and with the same options.
    Returns the options with which dwdump captured less."""
    rows, worse = [], []
    for options in ([], *SAME_OPTIONS):
        cases = [
            lambda program=program, options=options: capture(program, options, count)
            for program in (DWDUMP, C_DWDUMP)
        ]
        ours, theirs = in_turns(repeat, cases)
        words = f"`{' '.join(options)}`" if options else "defaults"
        if median(ours, "captured") < median(theirs, "captured"):
            worse.append(words)
        rows.append(
            [
                words,
                percent(ours),
                percent(theirs),
                lost(ours),
                f"{median(ours, 'rate'):.0f}",
                f"{median(theirs, 'rate'):.0f}",
            ]
        )
    table(
        f"Of 100 drops, captured: {count} packets at full speed, {repeat} runs",
        [
            "options",
            "dwdump",
            "C tool",
            "dwdump says it lost: queue + socket",
            "flood, packets/s",
            "beside the C tool",
        ],
        rows,
    )
    return worse


def processor(repeat, counts):
    """What each source takes, beside the C tool and an earlier build, which is asked for nothing but the drop monitor."""
    queue = ["-l", "100000"]
    programs = {
        "dwdump": (DWDUMP, queue),
        "`--source netdm`": (DWDUMP, ["--source", "netdm", *queue]),
        "`--source ebpf`": (DWDUMP, ["--source", "ebpf"]),
        "C tool": (C_DWDUMP, queue),
    }
    if BEFORE:
        programs["before"] = (BEFORE, queue)
    rows = []
    for name, rate, count in (("full speed", None, counts[0]), ("20,000/s", 20_000, counts[1])):
        cases = [
            lambda program=program, options=options: capture(program, options, count, rate)
            for program, options in programs.values()
        ]
        runs = dict(zip(programs, in_turns(repeat, cases), strict=True))
        for program, found in runs.items():
            others = [runs["C tool"]] + ([runs["before"]] if BEFORE else [])
            ratios = [ratio(found, other, "cpu") for other in others]
            rows.append([f"{count}, {name}", program, f"{median(found, 'cpu'):.2f} µs", *ratios, f"{median(found, 'rate'):.0f}"])
    columns = ["packets", "program", "CPU", "ratio to the C tool"]
    columns += ["to before"] if BEFORE else []
    table(
        f"CPU for a captured packet, the start included, with `-l 100000` for the drop monitor, median of {repeat}",
        [*columns, "flood, packets/s"],
        rows,
    )


def ebpf(repeat, count):
    """eBPF with its defaults beside the C tool with its own, and with a queue that holds the flood."""
    cases = [
        lambda program=program, options=options: capture(program, options, count)
        for program, options in (
            (DWDUMP, ["--source", "ebpf"]),
            (C_DWDUMP, []),
            (C_DWDUMP, ["-l", "100000"]),
            (DWDUMP, ["-l", "100000"]),
        )
    ]
    runs = in_turns(repeat, cases)
    ours = runs[0]
    rows = [
        [
            name,
            percent(found),
            f"{median(found, 'rate'):.0f}",
            ratio(ours, found, "rate"),
            f"{median(found, 'cpu'):.1f} µs",
            ratio(ours, found, "cpu"),
            f"{max(run.memory_kb for run in found) / 1024:.1f} MB",
        ]
        for name, found in zip(
            (
                "`--source ebpf`",
                "C tool",
                "C tool, `-l 100000`",
                "dwdump, NET_DM, `-l 100000`",
            ),
            runs,
            strict=True,
        )
    ]
    table(
        f"eBPF beside the drop monitor: {count} packets at full speed, {repeat} runs in turns, medians",
        [
            "program",
            "of 100 drops, captured",
            "flood, packets/s",
            "eBPF's rate: ratio",
            "CPU a captured packet",
            "eBPF's CPU: ratio",
            "VmHWM, the most",
        ],
        rows,
    )


def memory(counts):
    null = pathlib.Path("/dev/null")
    rows = []
    for count in counts:
        run = capture(DWDUMP, [], count, file=null)
        rows.append([count, run.captured, f"{run.memory_kb / 1024:.1f} MB"])
    table("Peak memory, with the defaults", ["packets sent", "captured", "VmHWM"], rows)


def stall():
    """A disk that stalls, as a pipe: it holds 64 KB, and who writes to it waits."""
    rows = []
    for size in (60, 1500):
        run = capture(DWDUMP, [], 80_000, 20_000, size, pause=2)
        rows.append([size, f"{run.rate}", run.captured, f"{run.queue} + {run.socket}"])
    table(
        "A reader that stalls for two seconds: 80000 drops, 20,000/s, with the defaults",
        ["bytes", "packets/s", "captured", "lost: queue + socket"],
        rows,
    )


def main():
    global DWDUMP, C_DWDUMP, BEFORE
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dwdump")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the median")
    parser.add_argument("--before", help="another build of dwdump, for the table of CPU time")
    parser.add_argument("--long", action="store_true", help="10 million records, minutes more")
    arguments = parser.parse_args()
    FOLDER.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", FOLDER], check=True)
    DWDUMP = shutil.copy(arguments.dwdump, FOLDER / "dwdump")
    if arguments.before:
        BEFORE = shutil.copy(arguments.before, FOLDER / "before")
    C_DWDUMP = shutil.copy(C_DWDUMP, FOLDER / "c-dwdump")
    subprocess.run(["modprobe", "drop_monitor"], check=True)
    pktgen.setup()
    bare = statistics.median(pktgen.flood(100_000) for _ in range(arguments.repeat))
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, emulated; the flood alone: {bare:.0f} packets/s")
    worse = []
    wanted = arguments.only or PARTS
    if "loss" in wanted:
        worse = full_speed(arguments.repeat, 100_000)
    if "cpu" in wanted:
        processor(arguments.repeat, (200_000, 200_000))
    if "ebpf" in wanted:
        ebpf(arguments.repeat, 100_000)
    if "memory" in wanted:
        memory((100_000, 1_000_000, *([10_000_000] if arguments.long else [])))
    if "stall" in wanted:
        stall()
    if worse:
        sys.exit(f"fewer packets than the C tool with {', '.join(worse)}")


if __name__ == "__main__":
    main()
