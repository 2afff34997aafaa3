#!/usr/bin/python3
"""Makes the kernel drop packets, each in a known place.

Two network namespaces, `left` and `right`, are joined by a veth pair, and every
case sends what the kernel is going to drop:

    left0   02:00:00:00:00:04   10.10.2.4/24   fd00::4/64   ifindex 104
    right0  02:00:00:00:00:02   10.10.2.2/24   fd00::2/64   ifindex 102

    drops.py setup                  namespaces, addresses, rules
    drops.py list                   the cases
    drops.py run [CASE…]            one JSON line a case: how to recognise its drops
    drops.py marker TEXT            one UDP packet with that payload to a closed port
    drops.py hardware KO [TRAP…]    a simulated switch that drops, for these traps
    drops.py teardown               removes the namespaces

Needs root and, since it fills the machine's kernel with rules and devices, a
guest of its own. Also a module, for `run(names)`, `of_case(case, packets)` and `marker(text)`.
"""

import json
import sys

import cases  # Registers them. # noqa: F401
from hardware import hardware_setup
from network import setup, teardown
from registry import CASES, marker, of_case, run  # noqa: F401


def main(arguments):
    match arguments:
        case ["setup"]:
            setup()
        case ["list"]:
            for name, make in CASES.items():
                print(f"{name:<20}  {' '.join(make.__doc__.split())}")
        case ["run", *names]:
            for facts in run(names):
                print(json.dumps(facts))
        case ["marker", text]:
            marker(text)
        case ["hardware", module, *traps]:
            for facts in hardware_setup(module, *([traps] if traps else [])):
                print(json.dumps(facts))
        case ["teardown"]:
            teardown()
        case _:
            sys.exit(__doc__.split("\n\n")[3])


if __name__ == "__main__":
    main(sys.argv[1:])
