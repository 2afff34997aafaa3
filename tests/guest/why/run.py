#!/usr/bin/env python3
"""Plants causes of drops and checks what `dwdump --why` says of them, on the kernel that runs this.

    run.py DWDUMP [--plant-only] [--guest] [--brief] [--verbose] [--pause=SECONDS] [VARIANT|FAMILY …]    as root
    run.py DWDUMP --record=FOLDER [--guest] [--brief] [VARIANT|FAMILY …]
    run.py --list

Everything happens in network namespaces of its own. `--plant-only` checks without `--why` that each planted
setting makes the drops, that its suspects do not, and that they stop without it. `--guest`: a remedy may change
the machine, not only these namespaces. `--brief`: of each family the first certain variant, two twins, and what a
machine's own kernel often cannot. `--pause` waits before sending, as a busy machine does: nothing that is
planted may pass by itself. `--list` prints the tables of README.md.

`--record`, with a DWDUMP of `cargo build --features recording`, leaves in FOLDER for each variant what its look saw:
the recorded hosts of fixtures/hosts.
"""

import pathlib
import platform
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import families  # noqa: F401: registers the variants
from reading import Reading
from scene import ScenesAhead
from trial import Trial
from variant import FAMILIES, VARIANTS


PLAIN = ("--source", "ebpf", "--json")
# Multicast groups and rules of nftables.
TWINS_IN_BRIEF = (1, 5)
# Their look runs a program that needs a right of its own, or their kernel is often a guest's alone.
ALSO_IN_BRIEF = (
    "iptables-legacy-input",
    "udp-in-vrf",
    "neighbour-table-full",
    "bridge-vlan-not-allowed",
    "fragments-first-missing",
)
HEADER = "| variant | planted | reason | object contains | grade |"


def chosen(words):
    """The variants with these names, or in families with these numbers; all, without words."""
    unknown = [word for word in words if word not in VARIANTS and not is_family(word)]
    if unknown:
        sys.exit(f"run.py: no such variant: {' '.join(unknown)}")
    kinds = sorted(VARIANTS.values(), key=lambda kind: kind.family)
    return [kind for kind in kinds if not words or kind.name in words or str(kind.family) in words]


def brief(kinds):
    """The first certain variant of each family, and a twin each of two that everybody meets."""
    found = {}
    for kind in kinds:
        if kind.name in ALSO_IN_BRIEF:
            found[kind.name] = kind
            continue
        if not kind.is_twin and kind.grade == "certain" or kind.is_twin and kind.family in TWINS_IN_BRIEF:
            found.setdefault((kind.family, kind.is_twin), kind)
    return list(found.values())


def is_family(word):
    return word.isdecimal() and int(word) in FAMILIES


def row(kind):
    """A variant in the list."""
    text = " ".join(kind.object).replace("|", r"\|")
    expected = "twin" if kind.is_twin else kind.grade
    reasons = ", ".join(kind.reasons) or "none"
    return f"| {kind.name} | {kind.planted} | {reasons} | {text and f'`{text}`'} | {expected} |"


def table():
    """The list for README.md."""
    lines = []
    for number, title in sorted(FAMILIES.items()):
        lines += [f"## {number}. {title[0].upper()}{title[1:]}", "", HEADER, "|---|---|---|---|---|"]
        lines += [row(kind) for kind in chosen([str(number)])] + [""]
    return "\n".join(lines)


def report(results, plant_only=False):
    """Prints the table and the counts, and returns whether all is well."""
    kernel = platform.release()
    for result in results:
        kind = result.variant
        print(f"{kind.family:2} {kind.name:32} {kernel:20} {result.grade:8} {result.object[:60]:40} {result.text()}")
    tried = [result for result in results if not result.skipped]
    failed = [result for result in tried if result.faults]
    if not plant_only:
        claims = [result for result in tried if result.variant.object and result.variant.reasons]
        print(
            f"right object: {sum(result.is_right for result in claims)} of {len(claims)}, "
            f"certain: {sum(result.grade == 'certain' and result.is_right for result in claims)}, "
            f"wrong claims: {sum(result.wrong_claims for result in tried)}, "
            f"not answered yet: {sum(result.is_unanswered for result in tried)}"
        )
    print(f"{len(tried)} variants tried, {len(results) - len(tried)} SKIPPED, {len(failed)} failed")
    # Once more, where whoever reads the end of a long log finds them.
    for result in failed:
        print(f"FAILED: {result.variant.name} on {kernel}: {result.text()}")
    return not failed and bool(tried)


def main():
    words = sys.argv[1:]
    if words == ["--list"]:
        print(table())
        return
    settings = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    options = {word for word in words if word.startswith("--") and "=" not in word}
    words = [word for word in words if not word.startswith("--")]
    flags, named = {"--plant-only", "--guest", "--brief", "--verbose"}, {"--record", "--pause"}
    if not words or options - flags or settings.keys() - named:
        sys.exit(__doc__)
    dwdump, *names = words
    if not names and table() not in (HERE / "README.md").read_text():
        sys.exit("run.py: README.md is to end with what --list prints")
    results = []
    # An unknown name ends it, before anything is made.
    kinds = chosen(names)
    drops, scenes = Reading(dwdump, *PLAIN), ScenesAhead()
    for kind in brief(kinds) if "--brief" in options else kinds:
        begin = time.monotonic()
        trial = Trial(dwdump, kind, drops, scenes, "--plant-only" in options, "--guest" in options)
        trial.record, trial.pause = settings.get("--record"), float(settings.get("--pause", 0))
        result = trial.run()
        results.append(result)
        more = f" ({result.facts})" if "--verbose" in options else ""
        print(f"{kind.family} {kind.name}: {result.text()}{more}, {time.monotonic() - begin:.1f} s", flush=True)
    scenes.end()
    drops.end()
    sys.exit(0 if report(results, "--plant-only" in options) else 1)


if __name__ == "__main__":
    main()
