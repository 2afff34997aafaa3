#!/usr/bin/python3
"""Balances the books of a soak, on the host: what was made is what was written, rejected, lost, or made at a time
that a file states as not monitored.

    books.py OUTDIR
"""

import datetime
import json
import mmap
import pathlib
import re
import struct
import sys

from frames import FIRST_SINGLE, KINDS, MAGIC, PLACE, ROW, is_rejected

import pcapng

ISB_STARTTIME, ISB_ENDTIME = 2, 3
SECOND = 10**9
# How far what is reported may be from what was planted, on a machine whose processes take at most twice their time:
# the drops alone are work for two CPUs. A slower one has as much more time.
TOLERANCE, USUAL_SLOWNESS = 2 * SECOND, 2
# The most bytes by which memory may grow once everything has been used for a twelfth of the time: five minutes of
# an hour.
GROWTH, WARM_UP = 1 << 20, 1 / 12
# The bytes that dwdump says a file may lack at its end when the disk is full.
BUFFERED = 256 << 10


class Capture:
    """A file, what happened while it was written, and what is wrong with it."""

    def __init__(self, out, events, bursts):
        self.out, self.events, self.bursts = out, events, bursts
        self.start, self.end = self.only("start"), self.only("end")
        self.name = self.start["file"]
        self.first, self.last = (event["made"]["frames"] for event in (self.start, self.end))
        # How often each frame of the flood is in the file.
        self.flood = bytearray(self.last - self.first)
        self.singles, self.others = [], 0
        # What the file states: begin, end, and since when drops may be missing.
        self.begin = self.finish = self.since = None
        # The latest packet.
        self.latest = 0
        self.faults = []
        self.tolerance = TOLERANCE * max(1, self.end["slowness"] / USUAL_SLOWNESS)
        self.read()

    def only(self, what):
        found = [event for event in self.events if event["what"] == what]
        return found[0] if found else None

    def check(self, is_right, fault):
        if not is_right:
            self.faults.append(f"{self.name}: {fault}")

    def read(self):
        path = self.out / self.name
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for kind, body in pcapng.blocks(data):
                if kind == pcapng.PACKET:
                    self.add_packet(body)
                elif kind == pcapng.STATISTICS and struct.unpack_from("<I", body) == (0,):
                    self.add_statistics(body)
        self.bytes = path.stat().st_size
        self.packets = len(self.flood) - self.flood.count(0) + len(set(self.singles)) + self.others

    def add_packet(self, body):
        high, low = struct.unpack_from("<II", body, 4)
        self.latest = max(self.latest, high << 32 | low)
        at = 20 + PLACE
        if body[at : at + len(MAGIC)] != MAGIC:
            self.others += 1
            return
        (number,) = struct.unpack_from("!Q", body, at + len(MAGIC))
        if number >= FIRST_SINGLE:
            single = (number - FIRST_SINGLE) // KINDS
            is_own = self.start["made"]["singles"] <= single < self.end["made"]["singles"]
            self.singles.append(single)
        elif is_own := self.first <= number < self.last:
            self.flood[number - self.first] += 1
        if not is_own or is_rejected(number):
            self.faults.append(f"{self.name}: drop {number} was made at another time, or should have been rejected")

    def add_statistics(self, body):
        for code, value in pcapng.options(body[12:]):
            if code in (ISB_STARTTIME, ISB_ENDTIME):
                high, low = struct.unpack("<II", value)
                if code == ISB_STARTTIME:
                    self.begin = high << 32 | low
                else:
                    self.finish = high << 32 | low
            elif code == pcapng.COMMENT:
                said = re.match(r"incomplete: .* missing from (\S+)\.(\d{9})Z to the end", value.decode())
                if said:
                    moment = datetime.datetime.fromisoformat(f"{said[1]}+00:00")
                    self.since = int(moment.timestamp()) * SECOND + int(said[2])

    def written(self, after, until):
        """How many of the drops between two looks are in the file."""
        flood = self.flood[after["frames"] - self.first : until["frames"] - self.first]
        singles = sum(after["singles"] <= single < until["singles"] for single in set(self.singles))
        return len(flood) - flood.count(0) + singles

    def balance(self):
        """A row for each time that somebody looked."""
        twice = sum(count - 1 for count in self.flood if count > 1) + len(self.singles) - len(set(self.singles))
        self.check(not twice, f"{twice} drops are there twice")
        if self.only("full"):
            row = self.balance_full()
        elif self.only("interference") and self.start["source"] != "ebpf":
            row = self.balance_interfered()
        else:
            return self.balance_whole()
        return [row]

    def row(self, after, until, before, told, **more):
        made = {what: until["made"][what] - after["made"][what] for what in ("frames", "singles", "fired")}
        row = {
            "file": self.name, "made": made["frames"] + made["singles"],
            "written": self.written(after["made"], until["made"]),
            **{what: told[what] - before[what] for what in ("rejected", "lost")},
            "slowness": round(self.end["slowness"], 1), **more,
        }
        # Of others there are none: nobody else is on this host.
        self.check(
            made["fired"] == row["made"], f"{row['made']} drops were made, and the kernel counted {made['fired']}"
        )
        row["rest"] = row["made"] - row["written"] - row["rejected"] - row["lost"]
        return row

    def balance_whole(self):
        """Nothing is missing, from look to look."""
        self.check(self.since is None, "it says that drops may be missing, and nothing was planted")
        self.check_times(self.only("stop")["time"], self.end["ended"])
        rows, before = [], {"captured": 0, "rejected": 0, "lost": 0}
        looks = [event for event in self.events if event["what"] == "look"]
        for after, until in zip([self.start, *looks], [*looks, self.end]):
            row = self.row(after, until, before, until["told"], unmonitored=0)
            seconds = max(1, (until["time"] - after["time"]) / SECOND)
            row["rate"] = round(row["made"] / seconds)
            row["pss"] = f"{until['pss'] / 2**20:.2f}" if "pss" in until else ""
            captured = until["told"]["captured"] - before["captured"]
            self.check(not row["rest"], f"{row['rest']} drops are missing: {row}")
            self.check(captured == row["written"], f"{captured} were told, and {row['written']} are there")
            before = until["told"]
            rows.append(row)
        if looks:
            self.check(self.end["told"]["lost"], "nothing was lost while it stood still")
            self.check_memory(looks)
        return rows

    def check_memory(self, looks):
        begin, end = self.start["time"], looks[-1]["time"]
        warm = next(look for look in looks if look["time"] >= begin + (end - begin) * WARM_UP)
        self.check(warm is not looks[-1], "nobody looked at its memory twice")
        grown = looks[-1]["pss"] - warm["pss"]
        self.check(grown <= GROWTH, f"its memory grew by {grown} bytes: {[look['pss'] for look in looks]}")

    def balance_interfered(self):
        """What is missing was made from the time on that the file states, and that is when it happened."""
        planted = self.only("interference")
        row = self.row(self.start, self.end, {"rejected": 0, "lost": 0}, self.end["told"])
        row["unmonitored"], row["rest"] = row["rest"], 0
        told = self.end["told"]["captured"]
        self.check(told == row["written"], f"{told} were told, and {row['written']} are there")
        self.check(self.since is not None, "it does not say from when on drops may be missing")
        if self.since is None:
            return row
        self.check_times(planted["begun"], self.end["ended"])
        # Between these two it happened.
        begun, done = planted["begun"], planted["done"]
        row["since"] = f"{(self.since - begun) / SECOND:+.2f}"
        row["end"] = f"{((self.finish or 0) - done) / SECOND:+.2f}"
        least = max(begun - self.tolerance, self.start["spawned"])
        self.check(least <= self.since <= done, f"the beginning is wrong: {row}")
        self.check(begun <= (self.finish or 0) <= done + self.tolerance, f"the end is wrong: {row}")
        # Whatever was made before has to be there.
        bursts = (burst for burst in self.bursts if burst[1] >= self.since and burst[2] >= self.first)
        first = min((burst[2] for burst in bursts), default=self.last) - self.first
        numbers = range(self.first, self.first + first)
        rejected = sum(map(is_rejected, numbers))
        missing = len(numbers) - rejected - (first - self.flood[:first].count(0))
        missing += max(0, rejected - row["rejected"])
        self.check(missing <= row["lost"], f"{missing} drops are missing that were made before: {row}")
        self.check(
            0 <= row["unmonitored"] <= self.last - self.first - first, f"more are missing than were made then: {row}"
        )
        return row

    def balance_full(self):
        """The file ends where the disk was full. What is before is whole."""
        row = self.row(self.start, self.end, {"rejected": 0, "lost": 0}, self.end["told"])
        row["unmonitored"], row["rest"] = row["rest"], 0
        self.check("No space left on device" in self.end["talk"], f"a full disk was not told: {self.end['talk']}")
        there = len(self.flood.rstrip(b"\0"))
        missing = there - sum(map(is_rejected, range(self.first, self.first + there))) - self.packets
        self.check(self.packets and missing == row["lost"], f"{missing} drops are missing before the end: {row}")
        most = BUFFERED * self.packets / self.bytes
        lacking = self.end["told"]["captured"] - self.packets
        self.check(0 <= lacking <= most, f"{lacking} captured drops are not in the file, and {most} may be")
        full = self.only("full")["time"]
        row["since"] = f"{(self.latest - full) / SECOND:+.2f}"
        row["end"] = f"{(self.end['ended'] - full) / SECOND:+.2f}"
        self.check(abs(self.latest - full) <= self.tolerance, f"the file ends at another time: {row}")
        self.check(self.end["ended"] - full <= self.tolerance, f"it did not end at once: {row}")
        return row

    def check_times(self, least, most):
        """The file states when it begins and ends."""
        is_right = self.begin is not None and self.start["spawned"] <= self.begin <= self.start["time"]
        self.check(is_right, f"the beginning that it states is wrong: {self.begin}")
        is_right = self.finish is not None and least <= self.finish <= most
        self.check(is_right, f"the end that it states is wrong: {self.finish}")


def show(rows):
    names = ["file", "made", "rate", "written", "rejected", "lost", "unmonitored", "rest", "since", "end", "slowness", "pss"]
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row.get(name, "")) for name in names) + " |")


def main(out):
    bursts = list(ROW.iter_unpack((out / "made.log").read_bytes()))
    events = {}
    for line in (out / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        events.setdefault(event["file"], []).append(event)
    rows, faults = [], []
    for name, of_file in events.items():
        if of_file[-1]["what"] != "end":
            faults.append(f"{name}: it did not end")
            continue
        capture = Capture(out, of_file, bursts)
        rows += capture.balance()
        faults += capture.faults
    show(rows)
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{sum(row['made'] for row in rows)} drops in {len(events)} captures, {len(faults)} faults")
    sys.exit(1 if faults or not rows else 0)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
