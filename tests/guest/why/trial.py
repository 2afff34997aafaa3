"""One variant, tried: what is dropped, what `dwdump --why` says of it, and whether that is true, by taking away
what is suspicious and then what was named."""

import base64
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import host
from reading import PATIENCE, Reading, is_expected, is_of_scene, summary
from scene import Refused
from variant import ANSWERED, GRADES

WHY = ("--why", "--json")
EFFECTS = ("now", "new sockets", "after restart", "none")
# Seconds in which a drop that is still on its way is reported.
SETTLING = 0.2
# Nobody listens there.
SIGN_PORT = 9


@dataclasses.dataclass
class Result:
    """What a trial found."""

    variant: type
    grade: str = ""
    object: str = ""
    skipped: str = ""
    # What is not as it should be.
    faults: list = dataclasses.field(default_factory=list)
    is_right: bool = False
    # `--why` does not know this family yet.
    is_unanswered: bool = False
    wrong_claims: int = 0
    facts: str = ""

    def text(self):
        if self.skipped:
            return f"SKIPPED: {self.skipped}"
        return "; ".join(self.faults) or ("not answered yet" if self.is_unanswered else "ok")


class Trial:
    """A variant in its scene."""

    # The folder for what is recorded.
    record = None
    # Seconds before sending, on top of what it takes.
    pause = 0

    def __init__(self, dwdump, kind, drops, scenes, plant_only=False, is_guest=False):
        self.dwdump, self.scenes, self.plant_only, self.is_guest = dwdump, scenes, plant_only, is_guest
        # A dwdump that goes on from one trial to the next: to start it takes seconds in a guest.
        self.reading = drops
        self.variant = kind()
        self.result = Result(kind)
        self.scene = None
        # What it said, and what of it was wrong.
        self.block, self.blocks, self.wrong = None, [], []
        self.patience = PATIENCE

    def run(self):
        self.result.skipped = self.variant.missing() or ""
        if self.variant.is_for_guest and not self.is_guest:
            self.result.skipped = "it changes the whole machine, and this is no guest"
        if self.result.skipped:
            return self.result
        try:
            with self.scenes.take() as self.scene:
                self.try_it()
        except Refused as error:
            self.result.skipped = f"this host refuses {error}"
        except AssertionError as error:
            self.fault(str(error))
        return self.result

    def fault(self, text):
        self.result.faults.append(text)

    def try_it(self):
        variant, scene = self.variant, self.scene
        variant.plant(scene)
        for suspect in variant.suspects:
            scene.sh(suspect.side, suspect.plant)
        time.sleep(self.pause)
        if not self.plant_only:
            self.ask()
            time.sleep(self.pause)
        self.counterfactual()

    # What dwdump says

    def ask(self):
        """Has dwdump say why, and compares that with what is true."""
        variant, scene = self.variant, self.scene
        scene.settle()
        names = [scene.names["host"]]
        before = host.snapshot(names)
        file = scene.folder / "why.pcapng"
        to_file = ("-w", file) if variant.secrets else ()
        # In the sandbox nothing can be recorded.
        recording = ("--sandbox", "off") if self.record else ()
        if self.record:
            os.environ["DWDUMP_RECORD_LOOKS"] = str(scene.folder)
        reading = Reading(self.dwdump, *WHY, *recording, *to_file)
        try:
            scene.arrived()
            variant.send(scene)
            if variant.reasons:
                reading.take(lambda one: "why" in one and is_expected(one, variant, scene), 1, self.patience)
            time.sleep(SETTLING)
            objects = reading.end()
        finally:
            reading.kill()
        # Where all arrives, nothing is written.
        if variant.secrets and variant.reasons:
            self.judge_secrets(reading.talk + json.dumps(objects, ensure_ascii=False), file)
        for difference in host.differences(before, host.snapshot(names)):
            if not (variant.changing and re.search(variant.changing, difference)):
                self.fault(f"changed: {difference}")
        blocks = [one for one in objects if "why" in one and is_of_scene(one, scene)]
        found = [one for one in blocks if is_expected(one, variant, scene)]
        others = [one for one in blocks if one not in found]
        if self.record and found:
            self.keep_look(found[0]["why"])
        self.judge_names(blocks)
        if variant.reasons:
            self.judge(found, summary(others))
        self.judge_end(objects[-1] if objects else {})
        self.result.wrong_claims = len(self.wrong)
        self.result.facts = summary(others)

    def keep_look(self, why):
        """Keeps the look that led to this."""
        for file in sorted(self.scene.folder.glob("look-*.json")):
            look = json.loads(file.read_text())
            finding = look["finding"]
            if (finding["claim"], finding["grade"]) == (why["claim"], why["grade"]):
                text = json.dumps(look, ensure_ascii=False, indent=1, sort_keys=True)
                # Lists of numbers, which packets are.
                text = re.sub(r"\[\s+([-0-9,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
                pathlib.Path(self.record, f"{self.variant.name}.json").write_text(f"{text}\n")
                return
        self.fault("no look was recorded")

    def judge_secrets(self, printed, file):
        """No key that is planted is in anything that is written: JSON, the capture file, text."""
        written = file.read_bytes()
        if b"why: " not in written:
            self.fault("the capture file does not say why")
        texts = {"JSON": printed, "file": written.decode("latin-1")}
        for option in ("--print", "--json"):
            done = subprocess.run([self.dwdump, "-r", file, option], capture_output=True, text=True, check=True)
            if "why" not in done.stdout:
                self.fault(f"-r {option} does not say why")
            texts[f"-r {option}"] = done.stdout + done.stderr
        dwdump = subprocess.Popen(
            [self.dwdump, "--why"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            dwdump.stdout.readline()
            self.variant.send(self.scene)
            time.sleep(SETTLING)
            dwdump.send_signal(signal.SIGINT)
            texts["text"] = dwdump.communicate(timeout=PATIENCE)[0]
        finally:
            dwdump.kill()
            dwdump.wait()
        if "\n  why " not in texts["text"]:
            self.fault("the text does not say why")
        for secret in self.variant.secrets:
            for what, text in texts.items():
                if any(form in text.lower() for form in forms(secret)):
                    self.fault(f"the {what} has a key")

    def judge_names(self, blocks):
        """Nothing innocent is named, whatever was dropped."""
        innocent = [*self.variant.never, *(suspect.object for suspect in self.variant.suspects)]
        for block in blocks:
            named = block["why"].get("object") or ""
            if any(re.search(pattern, named) for pattern in innocent):
                self.wrong.append(block)
                self.fault(f"names what is not guilty: {named!r} ({block['why'].get('grade')})")

    def judge(self, found, others):
        """The block of the drops that are expected names what is guilty."""
        if not found:
            self.fault(f"no block for {self.variant.reasons} in {self.variant.place}; others: {others}")
            return
        flows = self.variant.flows(self.scene)
        patterns = self.variant.guilty(self.scene)
        self.block = max(found, key=lambda one: rank(one["why"].get("grade")))
        self.blocks = found
        for block in found:
            why = block["why"]
            self.result.faults += malformed(why)
            grade, named = why.get("grade"), why.get("object") or ""
            is_right = any(matches(one, named) for one in flows)
            if any(flows) and not is_right and grade != "unknown" and block not in self.wrong:
                self.wrong.append(block)
                self.fault(f"claims {named!r} ({grade}): {why.get('claim')}")
            if grade != "unknown" and not why.get("evidence"):
                self.fault("claims without evidence")
        why = self.block["why"]
        self.result.grade, self.result.object = why.get("grade", ""), why.get("object") or ""
        self.result.is_right = any(matches(one, self.result.object) for one in flows)
        if self.result.grade == "unknown" and self.variant.family not in ANSWERED:
            self.result.is_unanswered = True
            self.block = None
        elif patterns and not self.variant.is_twin:
            if rank(self.result.grade) < rank(self.variant.grade):
                self.fault(f"{self.result.grade} instead of {self.variant.grade}: {why.get('claim')}")
            elif not self.result.is_right:
                self.fault(f"the object {self.result.object!r}")
            for one in flows:
                if not any(matches(one, block["why"].get("object") or "") for block in found):
                    self.fault(f"not named: {one}")

    def judge_end(self, last):
        """The object at the end counts the cause, and has the counter."""
        if "causes" not in last:
            self.fault(f"the last object has no causes: {last}")
            return
        if self.block and self.result.object:
            counts = [one["count"] for one in last["causes"] if one.get("object") == self.result.object]
            least = self.variant.least // len(self.variant.flows(self.scene))
            if sum(counts) < least:
                self.fault(f"counts {counts} drops of {least}")
            if len(self.variant.flows(self.scene)) > 1 and sum(counts) > least and self.result.grade != "unknown":
                self.wrong.append(counts)
                self.fault(f"counts {counts} drops of {least}: those of another object, too")
        if self.variant.counter:
            counters = [one for one in last.get("counters", []) if re.search(self.variant.counter, one["name"])]
            counters = [one for one in counters if self.is_here(one.get("netns")) and one["count"] > 0]
            if not counters and not self.variant.is_twin and self.variant.family not in ANSWERED:
                self.result.is_unanswered = True
            elif not counters and not self.variant.is_twin:
                self.fault(f"no counter {self.variant.counter}: {last.get('counters')}")
            if counters and self.variant.is_twin:
                self.fault(f"counts what is not there: {counters}")
                self.wrong.append(counters)

    def is_here(self, netns):
        name = self.scene.names[self.variant.side]
        return netns in (name, self.scene.number(self.variant.side))

    # Whether it is true

    def counterfactual(self):
        """Without each suspect drops go on; without what is guilty they stop, and the packets arrive."""
        variant, scene = self.variant, self.scene
        before = self.kernel_counts()
        if self.plant_only or not variant.suspects:
            self.must_drop("as planted")
        if variant.counter and (self.kernel_counts() > before) == variant.is_twin:
            self.fault(f"{variant.counter}: {before} before, {self.kernel_counts()} after")
        for suspect in variant.suspects:
            scene.sh(suspect.side, suspect.undo)
            self.must_drop(f"without {suspect.undo!r}")
        if self.plant_only:
            self.heal()
        elif self.block and not variant.is_twin:
            self.apply_remedy()

    def kernel_counts(self):
        """The sum of the kernel's counters that the variant's pattern matches."""
        with self.scene.inside(self.variant.side):
            lines = pathlib.Path("/proc/thread-self/net/netstat").read_text().splitlines()
        names = [name for line in lines[::2] for name in line.split()[1:]]
        counts = [int(count) for line in lines[1::2] for count in line.split()[1:]]
        wanted = self.variant.counter
        return sum(count for name, count in zip(names, counts, strict=True) if wanted and re.search(wanted, name))

    def drops(self, enough, patience):
        variant, scene = self.variant, self.scene
        if not enough:
            self.sync()
        drops = self.reading.take(lambda one: is_expected(one, variant, scene), enough, patience)
        expected = [one for one in drops if is_expected(one, variant, scene)]
        here = [one for one in drops if is_of_scene(one, scene) and one not in expected and not is_sign(one)]
        return len(expected), summary(here)

    def must_drop(self, what):
        variant, scene = self.variant, self.scene
        self.flush()
        variant.send(scene)
        if not variant.reasons:
            self.must_arrive(what)
            return
        count, others = self.drops(variant.least, self.patience)
        time.sleep(SETTLING / 2)
        arrived = variant.arrived(scene)
        if count < variant.least:
            self.fault(f"{what}: {count} drops of {variant.least}; others: {others}")
        if arrived > variant.passing:
            self.fault(f"{what}: {arrived} packets arrived")
        self.result.facts = f"{count} dropped; others: {others}"

    def must_arrive(self, what):
        """What is wrong, if the traffic that was just sent does not arrive, or is dropped."""
        variant, scene = self.variant, self.scene
        # A drop is a fault already: nothing more is to be waited for.
        has_dropped = lambda: any(is_expected(one, variant, scene) for one in self.reading.unread())  # noqa: E731
        arrived, deadline = 0, time.monotonic() + self.patience
        while arrived < variant.arriving and time.monotonic() < deadline and not has_dropped():
            arrived += variant.arrived(scene)
            time.sleep(0.05)
        time.sleep(SETTLING)
        count, others = self.drops(0, 1)
        fault = []
        if count:
            fault.append(f"{what}: still {count} drops")
        if arrived < variant.arriving:
            fault.append(f"{what}: {arrived} of {variant.arriving} packets arrived; others: {others}")
        if what:
            self.result.faults += fault
        return fault

    def heal(self):
        """Takes away what is guilty, as the variant knows to."""
        if self.variant.cure is not None:
            self.variant.heal(self.scene)
            self.flush()
            self.variant.send(self.scene)
            self.must_arrive("cured")

    def flush(self):
        """Forgets what was dropped and arrived so far."""
        time.sleep(SETTLING / 2)
        self.sync()
        self.reading.take(lambda one: False, 1, 0)
        self.variant.arrived(self.scene)

    def sync(self):
        """Waits until all drops before this are read: makes one more, in near, and waits for it."""
        port = self.scene.send("near", "127.0.0.1", port=SIGN_PORT, count=1).getsockname()[1]
        is_this = lambda one: is_sign(one) and one.get("sport") == port  # noqa: E731
        deadline = time.monotonic() + PATIENCE
        while not any(map(is_this, self.reading.unread())):
            assert time.monotonic() < deadline, f"dwdump does not show a drop in near: {self.reading.talk}"
            time.sleep(0.05)

    def apply_remedy(self):
        """Runs the printed commands that help at once, until one does."""
        remedy = [one for block in self.blocks for one in block["why"].get("remedy", [])]
        commands = [one["command"] for one in remedy if one.get("effect") == "now" and "command" in one]
        if not commands and self.variant.has_remedy:
            self.fault("no remedy that helps now")
        fault = []
        for command in commands:
            if not self.is_ours(command):
                self.fault(f"the remedy is not about the scene: {command}")
                return
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
            if done.returncode:
                self.fault(f"the remedy {command!r}: {done.stderr.strip()}")
                return
            self.flush()
            self.variant.send(self.scene)
            fault = self.must_arrive("")
            if not fault:
                return
        if commands and self.variant.is_cured_by_remedy:
            self.fault(f"the remedy {commands} does not help: {fault}")

    def is_ours(self, command):
        """A guest may be changed as a whole, another machine must not."""
        words = [*self.scene.names.values(), *(f" {process.pid}" for process in self.scene.processes)]
        return self.is_guest or any(word in command for word in words)


def forms(secret):
    """The ways in which bytes may be written, in small letters."""
    numbers = list(secret)
    forms = [secret.hex(), secret.hex(":"), secret.hex(" "), base64.b64encode(secret).decode().rstrip("=")]
    forms += [", ".join(map(str, numbers)), ",".join(map(str, numbers)), secret.decode("latin-1")]
    return [form.lower() for form in forms]


def matches(patterns, named):
    """Returns whether all patterns are found in what is named."""
    return all(re.search(pattern, named) for pattern in patterns)


def malformed(why):
    """Returns what is not as other programs may rely on."""
    faults = [f"no {key}: {why}" for key in ("cause", "claim") if not isinstance(why.get(key), str) or not why[key]]
    if why.get("grade") not in GRADES:
        faults.append(f"the grade {why.get('grade')!r}")
    for one in why.get("evidence", []):
        if set(one) != {"source", "value"} or not all(isinstance(value, str) for value in one.values()):
            faults.append(f"the evidence {one}")
    for one in why.get("remedy", []):
        words = [one[key] for key in ("advice", "command") if key in one]
        if not words or not all(isinstance(word, str) for word in words) or one.get("effect") not in EFFECTS:
            faults.append(f"the remedy {one}")
    return faults


def is_sign(drop):
    """Returns whether it is the drop that a trial makes to see how far dwdump has come."""
    return drop.get("dst") == "127.0.0.1" and drop.get("dport") == SIGN_PORT


def rank(grade):
    return GRADES.index(grade) if grade in GRADES else -1
