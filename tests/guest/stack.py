#!/usr/bin/env python3
"""Captures with `dwdump --stack` on the kernel that runs this: in a guest, or on the machine itself.

    stack.py check DWDUMP OUTDIR     as root; makes drops in a network namespace of its own

Drops whose path through the kernel is known have to have that call stack, and their place as its first frame.
"""

import bisect
import pathlib
import re
import signal
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pcapng

COUNT = 10
# What a packet passes on its way from the socket to a closed port, the innermost first: names that were the same
# on all kernels; the compiler may inline others.
PATHS = {
    "udp": [r"__udp4_lib_rcv|udp_rcv", r"ip_protocol_deliver_rcu", r"ip_local_deliver.*", r"process_backlog",
            r"net_rx_action", r"ip_output|ip_send_skb", r"udp_sendmsg", r"do_syscall_64|do_el0_svc"],
    "udp6": [r"__udp6_lib_rcv|udpv6_rcv", r"ip6_protocol_deliver_rcu", r"ip6_input.*", r"process_backlog",
             r"net_rx_action", r"ip6_output|ip6_send_skb", r"udpv6_sendmsg", r"do_syscall_64|do_el0_svc"],
    "tcp": [r"tcp_v4_rcv", r"ip_protocol_deliver_rcu", r"ip_local_deliver.*", r"net_rx_action", r"__tcp_transmit_skb",
            r"tcp_connect", r"tcp_v4_connect"],
}  # fmt: skip
TRACEPOINT = r"bpf_|__bpf|__traceiter|kfree_skb|skb_reason_drop"


def make_drops():
    """In a namespace of its own: to closed ports."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            for number in range(COUNT):
                one.sendto(f"MARK:{number:03}:".encode(), (address, 9))
    for number in range(COUNT):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.connect_ex(("127.0.0.1", 9))


def kind(packet):
    """The kind of a drop that was made here; None for any other."""
    data = packet["data"][14:]
    if b"MARK:" in data:
        return {(0x40, 17): "udp", (0x60, 17): "udp6"}.get((data[0] & 0xF0, data[9 if data[0] & 0xF0 == 0x40 else 6]))
    # A SYN to port 9.
    is_syn = len(data) >= 40 and data[0] == 0x45 and data[9] == 6 and data[33] == 2
    return "tcp" if is_syn and data[22:24] == b"\0\x09" else None


def capture(dwdump, *arguments):
    """Makes the drops while dwdump captures, and returns what it says."""
    process = subprocess.Popen([dwdump, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        opening = process.stderr.readline()
        assert "eBPF" in opening, opening + process.stderr.read()
        subprocess.run(["unshare", "-n", sys.executable, __file__, "drops"], check=True)
        process.send_signal(signal.SIGINT)
        output, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, text
    return output, text


def functions(stack):
    return [frame.split("+")[0] for frame in stack]


class Kallsyms:
    """The function at an address, read independently of dwdump."""

    def __init__(self):
        found = {}
        for line in pathlib.Path("/proc/kallsyms").read_text().splitlines():
            address, letter, name, *_ = line.split()
            if letter in "tTwW":
                found.setdefault(int(address, 16), name)
        self.symbols = sorted(found.items())
        self.addresses = [address for address, _ in self.symbols]

    def find(self, address):
        return self.symbols[bisect.bisect(self.addresses, address) - 1]


def check_stack(packet, path, kallsyms):
    stack = packet["facts"]["stack"].split(";")
    names = functions(stack)
    assert len(stack) <= 24, stack
    # The first frame is the place, and the place is the return address.
    assert stack[0] == packet["facts"]["location"], (stack, packet["facts"])
    start, name = kallsyms.find(packet["pc"])
    assert re.match(rf"{re.escape(name)}\+{packet['pc'] - start:#x}/", stack[0]), (name, stack)
    assert not [name for name in names if re.match(TRACEPOINT, name)], names
    # What is on the way comes in this order.
    at = 0
    for wanted in path:
        found = [number for number in range(at, len(names)) if re.fullmatch(wanted, names[number].split(".")[0])]
        assert found, f"no {wanted} in {names[at:]}, of {names}"
        at = found[0] + 1


def check(dwdump, out):
    out = pathlib.Path(out)
    kallsyms = Kallsyms()
    file = out / "stack.pcapng"
    capture(dwdump, "--stack", "-w", file)
    counts, length = dict.fromkeys(PATHS, 0), 0
    packets = pcapng.read(file)["packets"]
    for packet in packets:
        made = kind(packet)
        if made:
            # A softirq may also run in a thread of its own, whose stack does not begin with a system call.
            is_own = not re.search(r"ksoftirqd|irq_exit", packet["facts"]["stack"])
            check_stack(packet, PATHS[made] if is_own else PATHS[made][:3], kallsyms)
            counts[made] += is_own
            length = max(length, len(packet["facts"]["stack"].split(";")))
    print(f"{counts} drops with the stack that they must have, of at most {length} frames")
    assert all(count > COUNT / 2 for count in counts.values()), counts

    # Only so many frames.
    short = out / "short.pcapng"
    capture(dwdump, "--stack=3", "-w", short)
    stacks = [packet["facts"]["stack"].split(";") for packet in pcapng.read(short)["packets"] if kind(packet)]
    assert stacks and all(len(stack) == 3 for stack in stacks), stacks
    longest = out / "long.pcapng"
    capture(dwdump, "--stack=64", "-w", longest)
    stacks = [packet["facts"]["stack"].split(";") for packet in pcapng.read(longest)["packets"] if kind(packet)]
    longest = max(len(stack) for stack in stacks)
    assert length <= longest <= 64, (length, longest)

    # Folded, live and from the file.
    output, _ = capture(dwdump, "--folded")
    check_folded(output)
    done = subprocess.run([dwdump, "-r", file, "--folded"], capture_output=True, text=True, check=True)
    assert check_folded(done.stdout) == len(packets), done.stdout
    # The filter keeps what has the function.
    done = subprocess.run([dwdump, "-r", file, "--json", "stack", "tcp_v4_connect"], capture_output=True, text=True, check=True)
    kept = len(done.stdout.splitlines())
    wanted = [packet for packet in packets if "tcp_v4_connect" in functions(packet["facts"].get("stack", "").split(";"))]
    assert kept == len(wanted) >= 1, (kept, len(wanted))
    print("all is well")


def check_folded(output):
    """Returns the sum of the counts."""
    total, found = 0, 0
    for line in output.splitlines():
        stack, count = line.rsplit(" ", 1)
        total += int(count)
        assert "+0x" not in line, line
        found += bool(re.search(r"udp_sendmsg;.*net_rx_action;.*ip_local_deliver.*;(__udp4_lib_rcv|udp_rcv)", stack))
    assert found >= 1, output
    return total


def main():
    match sys.argv[1:]:
        case ["check", dwdump, out]:
            check(dwdump, out)
        case ["drops"]:
            make_drops()
        case _:
            sys.exit(__doc__)


main()
