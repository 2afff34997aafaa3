#!/usr/bin/env python3
"""How long `--why` takes from a drop to the rule that is guilty, among so many rules, on the machine's own kernel.

    look.py DWDUMP [RULES [RUNS]]      as root; a release build

Plants a rule that drops behind RULES (1,000) that do not, in a network namespace of its own, sends one datagram to it
RUNS times (9), each beside a dwdump that has not looked yet, and prints from the sending to the answer on standard
output: shortest, median, longest. Beside it, in turns, `nft -j list ruleset` alone, which every such look runs.
"""

import pathlib
import statistics
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "guest"
sys.path[:0] = [str(TESTS / "why"), str(TESTS)]
from reading import Reading
from scene import PORT, Scene, chain

# Seconds after which there will be no answer.
PATIENCE = 20


def answer(dwdump, scene):
    """Returns the seconds from the sending to the answer, and the answer."""
    reading = Reading(dwdump, "--why", "--json", "--source", "ebpf", "udp", "port", str(PORT))
    sent = time.monotonic()
    scene.send(count=1)
    while not reading.objects and time.monotonic() < sent + PATIENCE:
        time.sleep(0.001)
    took = time.monotonic() - sent
    (found, *_) = reading.end()
    return took, found["why"]


def listing(scene):
    """Returns the seconds that nft takes for the same rules."""
    started = time.monotonic()
    command = ["ip", "netns", "exec", scene.names["host"], "nft", "-j", "list", "ruleset"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - started


def main(dwdump, count="1000", runs="9"):
    rules = "".join(f"udp dport {10_000 + number} drop\n" for number in range(int(count)))
    times = {"from the drop to the answer": [], "nft -j list ruleset": []}
    with Scene() as scene:
        scene.listen("host")
        scene.nft("host", chain("input", f"{rules}udp dport {PORT} drop"))
        guilty = f"rule inet t c handle {scene.handle('host', 'inet t c', f'dport {PORT} ')}"
        for _ in range(int(runs)):
            took, why = answer(dwdump, scene)
            assert (why["object"], why["grade"]) == (guilty, "certain"), why
            for seconds, of in zip((took, listing(scene)), times.values()):
                of.append(seconds)
    print(f"| ms, {count} rules, {runs} runs | shortest | median | longest |\n| --- | --: | --: | --: |")
    for what, of in times.items():
        print("|", " | ".join([what, *(f"{1000 * act(of):.0f}" for act in (min, statistics.median, max))]), "|")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
