"""What a variant of a cause is: a setting that is planted, the traffic that it drops, and what dwdump has to say
of it. The families' files define them as subclasses."""

import dataclasses
import os
import pathlib
import shutil
import subprocess

from scene import COUNT, IN4

KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
VARIANTS = {}
FAMILIES = {}
ANSWERED = set()
GRADES = ("unknown", "likely", "certain")


def family(number, title, is_answered=False):
    """Names a family, and returns its number. Where it is not answered, `--why` may leave its causes unknown: what
    it claims has to be right all the same."""
    FAMILIES[number] = title
    if is_answered:
        ANSWERED.add(number)
    return number


@dataclasses.dataclass
class Suspect:
    """A setting that looks guilty and is not: taking it away changes nothing."""

    plant: str
    undo: str
    # A pattern of what would name it.
    object: str
    side: str = "host"


# Settings that look guilty and are innocent of most drops.
STRICT = Suspect("sysctl -w net.ipv4.conf.in0.rp_filter=1", "sysctl -w net.ipv4.conf.in0.rp_filter=0", "rp_filter")
OTHER_RULE = Suspect(
    "nft add table inet w; nft add chain inet w d '{ type filter hook prerouting priority 0; }'; "
    "nft add rule inet w d udp dport 7001 counter drop",
    "nft delete table inet w",
    r"\binet w\b",
)
OTHER_BLACKHOLE = Suspect(
    "ip route add blackhole 198.51.100.0/24", "ip route del blackhole 198.51.100.0/24", r"198\.51\.100"
)
OTHER_QUEUE = Suspect(
    "tc qdisc add dev in0 root tbf rate 1mbit burst 10k limit 10k", "tc qdisc del dev in0 root", r"\btbf\b"
)


class Variant:
    """A planted setting. A subclass with a `name` is one; one without is what several share."""

    name = None
    family = None
    # What is planted, for the list.
    planted = ""
    # In whose namespace packets are dropped.
    side = "host"
    # The drops' reason is one of these, kernels differ; none: nothing is dropped.
    reasons = ()
    # A pattern of the function that drops.
    place = ""
    # Their destination, where others are dropped in the same place.
    to = None
    # How many packets it drops at least.
    least = COUNT
    # How many of them arrive all the same, at most.
    passing = 0
    # How many arrive when it is cured, at least.
    arriving = COUNT
    # Patterns which what is named as guilty has to contain, all of them.
    object = ()
    # The least grade that is acceptable.
    grade = "certain"
    # Patterns that no object may contain.
    never = ()
    # The suspicious setting is there and not guilty.
    is_twin = False
    # A pattern of a counter that counts at the end, where no drop is reported.
    counter = None
    # A command that takes the guilty setting away, in `cure_side`. None: there is none.
    cure = None
    cure_side = "host"
    # A remedy is to be printed with the effect "now". Any that is has to do the same.
    has_remedy = True
    # Nothing else is left that drops the same packets.
    is_cured_by_remedy = True
    suspects = ()
    # A pattern of what the traffic itself changes on the host.
    changing = None
    # Keys that are planted, as bytes: no output may have them, in whatever form.
    secrets = ()
    # It changes the whole machine.
    is_for_guest = False
    modules = ()
    # Functions that the kernel has to have.
    functions = ()
    programs = ()
    since = (5, 18)

    def __init_subclass__(cls):
        if cls.__dict__.get("name"):
            assert cls.name not in VARIANTS and cls.family in FAMILIES, cls.name
            VARIANTS[cls.name] = cls

    def plant(self, scene):
        """Makes the setting and who receives."""

    def send(self, scene):
        """Makes the traffic."""
        scene.send("near", IN4)

    def arrived(self, scene):
        """Returns how many packets arrived since the last time."""
        return scene.arrived()

    def heal(self, scene):
        """Takes the guilty setting away; is not called where `cure` is None."""
        scene.sh(self.cure_side, self.cure)

    def guilty(self, scene):
        """Returns the patterns of the guilty object."""
        return self.object

    def flows(self, scene):
        """Returns the patterns of each guilty object, where there are several, each of a part of the traffic."""
        return [self.guilty(scene)]

    def missing(self):
        """Returns what this host lacks, or None."""
        if KERNEL < self.since:
            return f"needs Linux {self.since[0]}.{self.since[1]}"
        for program in self.programs:
            if not shutil.which(program):
                return f"needs the program {program}"
        for module in self.modules:
            done = subprocess.run(["modprobe", "--quiet", module], check=False, stderr=subprocess.DEVNULL)
            # Where there are no modules at all, planting is refused, or a function is missing.
            if done.returncode and pathlib.Path("/proc/modules").exists():
                return f"this kernel has no {module}"
        for function in self.functions:
            if not has_function(function):
                return f"this kernel has no {function}"
        return None


def has_function(name):
    # Searched as one text: lines by the hundred thousand take seconds in a guest.
    symbols = pathlib.Path("/proc/kallsyms").read_text()
    return f" {name}\n" in symbols or f" {name}\t[" in symbols
