"""The two halves of `sync`.

    sync_session.py capture DWDUMP FOLDER    in the guest: captures on its disk, and crashes
    sync_session.py check FOLDER             on the host: looks at the files that it left
"""

import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pcapng
import rings

# In the order in which the guest has them.
DISKS = ["synced", "left"]
MOUNT = pathlib.Path("/tmp/disks")
SECONDS = 12
# What --sync 1 allows to be lost, and what the emulated machine takes to write.
LATEST = 1 + 4


def capture(dwdump, folder):
    for module in ("virtio_blk", "ext4"):
        subprocess.run(["modprobe", module], check=False)
    for name, disk in zip(DISKS, ("/dev/vda", "/dev/vdb"), strict=True):
        (MOUNT / name).mkdir(parents=True)
        # By itself, ext4 would commit what it has every 5 s.
        subprocess.run(["mount", "-t", "ext4", "-o", "commit=600", disk, MOUNT / name], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, options in (("left", ()), ("synced", ("--sync", "1"))):
        file = MOUNT / name / "r.pcapng"
        command = [dwdump, "--source", "ebpf", "-w", file, "-C", "20k", *options, *rings.FILTER]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = process.stderr.readline()
        assert "capturing" in line, line + process.stderr.read()
    sender, started = rings.Sender(), time.monotonic()
    # The host keeps what is written here, whatever happens to the guest.
    with (pathlib.Path(folder) / "progress").open("w") as progress:
        while (now := time.monotonic()) < started + SECONDS:
            sender.send(10)
            print(f"{now - started:.2f} {sender.number} {rings.MARK.decode()}", file=progress, flush=True)
            time.sleep(0.1)
    pathlib.Path("/proc/sysrq-trigger").write_text("b")
    time.sleep(60)


def check(folder):
    folder = pathlib.Path(folder)
    lines = [line.split() for line in (folder / "progress").read_text().splitlines()]
    rings.MARK = lines[0][2].encode()
    end = float(lines[-1][0])
    assert end > SECONDS - 2, end
    early = [int(number) for sent, number, _ in lines if float(sent) < end - LATEST][-1]
    missing = {}
    for name in DISKS:
        files = rings.in_order(folder / "files" / name)
        found = []
        for file in files:
            packets = pcapng.read(file)["packets"]
            found += [int(packet["data"].rpartition(rings.MARK)[2][:9]) for packet in packets]
        assert found == sorted(set(found)), f"{name}: not in order, or twice"
        missing[name] = sorted(set(range(early)) - set(found))
        print(f"{folder.name}, {name}: {len(found)} drops in {len(files)} files; {len(missing[name])} are missing of "
              f"{early} that were made more than {LATEST} s before the crash", flush=True)
    assert not missing["synced"], missing["synced"][:10]
    assert missing["left"], "nothing is lost without --sync either"


if __name__ == "__main__":
    {"capture": capture, "check": check}[sys.argv[1]](*sys.argv[2:])
