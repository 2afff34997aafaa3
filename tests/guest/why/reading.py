"""Dwdumps that write JSON while a variant sends: plain drops, or what `--why` says of them."""

import json
import re
import signal
import subprocess
import threading
import time

from scene import FAR4, FAR6, IN4, IN6, NEAR4, NEAR6

ADDRESSES = (NEAR4, IN4, FAR4, NEAR6, IN6, FAR6)
# Emulated machines are slow, and others use the machine, too.
PATIENCE = 40


class Reading:
    """A dwdump in the background, and the objects that it has written."""

    def __init__(self, dwdump, *arguments):
        self.process = subprocess.Popen(
            [dwdump, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.objects, self.talk, self.read, self.has_ended = [], "", 0, False
        self.ready = threading.Event()
        self.readers = [threading.Thread(target=act, daemon=True) for act in (self.listen, self.hear)]
        for reader in self.readers:
            reader.start()
        if not self.ready.wait(PATIENCE) or self.process.poll() is not None:
            self.process.kill()
            raise AssertionError(f"dwdump did not start: {self.talk}")

    def listen(self):
        for line in self.process.stdout:
            self.objects.append(json.loads(line))
        self.has_ended = True

    def hear(self):
        for line in self.process.stderr:
            self.talk += line
            if line.startswith("dwdump: "):
                self.ready.set()
        self.ready.set()

    def unread(self):
        """Returns the objects since the last time, which stay where they are."""
        return self.objects[self.read :]

    def take(self, wanted, enough, patience):
        """Returns the objects since the last time, once so many are wanted ones, or after some seconds."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if sum(map(wanted, self.unread())) >= enough:
                break
            assert not self.has_ended, f"dwdump ended: {self.talk}"
            time.sleep(0.05)
        end = len(self.objects)
        found, self.read = self.objects[self.read : end], end
        return found

    def end(self):
        """Returns all objects."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"dwdump does not end: {self.talk}") from None
        for reader in self.readers:
            reader.join(PATIENCE)
        assert status == 0, f"dwdump ended with status {status}: {self.talk}"
        return self.objects

    def kill(self):
        self.process.kill()
        self.process.wait()


def function(drop):
    """The function that dropped, without the compiler's suffixes."""
    return re.split(r"[+. ]", drop.get("location", ""))[0]


def is_expected(drop, variant, scene):
    """Returns whether this is a drop that the variant plants."""
    # Without a device, the namespace is that of the packet's socket, if of any.
    if "device" in drop and drop.get("netns") != scene.number(variant.side):
        return False
    if not is_of_scene(drop, scene):
        return False
    if variant.to and drop.get("dst") != variant.to:
        return False
    return drop.get("reason") in variant.reasons and bool(re.fullmatch(variant.place, function(drop)))


def is_of_scene(drop, scene):
    """Returns whether it happened in one of the scene's namespaces. Where the kernel does not tell in which, the
    addresses do."""
    if drop.get("netns") is None:
        return drop.get("src") in ADDRESSES or drop.get("dst") in ADDRESSES
    return drop["netns"] in {scene.number(side) for side in scene.names}


def summary(drops):
    """Counts by reason, place and namespace, for messages."""
    counts = {}
    for drop in drops:
        key = f"{drop.get('reason')} {drop.get('location')} {drop.get('netns_name', drop.get('netns'))}"
        counts[key] = counts.get(key, 0) + 1
    return ", ".join(f"{count} × {key}" for key, count in sorted(counts.items())) or "none"
