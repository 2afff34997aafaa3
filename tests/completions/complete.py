#!/usr/bin/python3
"""Types command lines into bash, zsh and fish, presses Tab, and looks at what stands there.

    complete.py FOLDER

FOLDER has the completions, named as packages install them but for bash's.
"""

import os
import pathlib
import pty
import select
import subprocess
import sys
import tempfile
import time

# What is typed, and what stands there after Tab. None: nothing is added.
CASES = [
    # Options.
    ("dwdump --pass", "dwdump --passive "),
    ("dwdump --uninst", "dwdump --uninstall-wireshark "),
    ("dwdump -v --kernel-f", "dwdump -v --kernel-filter "),
    # Values.
    ("dwdump --source ebp", "dwdump --source ebpf "),
    ("dwdump --link-type sl", "dwdump --link-type sll2 "),
    ("dwdump --format netl", "dwdump --format netlink "),
    ("dwdump -o h", "dwdump -o hw "),
    # Groupings.
    ("dwdump --by unit", "dwdump --by unit "),
    ("dwdump --by rea", "dwdump --by reason "),
    # Reasons and functions.
    ("dwdump --explain NETFILTER_D", "dwdump --explain NETFILTER_DROP "),
    ("dwdump --explain noi", "dwdump --explain noise "),
    ("dwdump reason NETFILTER_D", "dwdump reason NETFILTER_DROP "),
    ("dwdump --why reason NETFILTER_D", "dwdump --why reason NETFILTER_DROP "),
    ("dwdump -d locat", "dwdump -d location "),
    ("dwdump reason netfilter_d", "dwdump reason NETFILTER_DROP "),
    ("dwdump tcp and location gre_rc", "dwdump tcp and location gre_rcv "),
    # Words of the filter.
    ("dwdump tcp and not loca", "dwdump tcp and not location "),
    ("dwdump -i eth0 broadc", "dwdump -i eth0 broadcast "),
    ("dwdump origin h", "dwdump origin hw "),
    ("dwdump iface l", "dwdump iface lo "),
    # Files and folders.
    ("dwdump -r lonely-cap", "dwdump -r lonely-capture.pcapng "),
    ("dwdump --read lonely-cap", "dwdump --read lonely-capture.pcapng "),
    ("dwdump --modules lonely-fo", "dwdump --modules lonely-folder/"),
    # No file stands where a filter does.
    ("dwdump tcp and lonely-cap", None),
]
PATIENCE = 10


class Failed(Exception):
    """A shell does not complete as it should."""


class Terminal:
    """A shell on a terminal of its own; Ctrl-G writes the line to a file."""

    def __init__(self, command, folder, setup):
        self.line = pathlib.Path(folder, "line")
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "TERM": "dumb", "LANG": "C.UTF-8"}
            os.execvpe(command[0], command, environment)
        for line in setup:
            self.type(line + "\n")
        # The last line of the setup makes it.
        self.wait_for(pathlib.Path(folder, "ready"))

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, path):
        """Waits until a file has a whole line, and takes it away."""
        end = time.monotonic() + PATIENCE
        seen = b""
        while time.monotonic() < end:
            # What the shell shows must be read, or it would wait.
            if select.select([self.terminal], [], [], 0.02)[0]:
                seen += os.read(self.terminal, 65536)
            if path.exists() and (text := path.read_text()).endswith("\n"):
                path.unlink()
                return text[:-1]
        raise Failed(f"no {path.name} within {PATIENCE} s; the terminal has {seen[-2000:]!r}")

    def complete(self, typed):
        """What stands there after Tab."""
        self.type(typed + "\t")
        # Not in one: a shell may throw away what is typed while it completes.
        self.pause()
        self.type("\x07")
        line = self.wait_for(self.line)
        self.type("\x15")
        return line

    def pause(self):
        """Waits until the shell shows nothing more."""
        quiet = 0
        end = time.monotonic() + PATIENCE
        while quiet < 2 and time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.05)[0]:
                os.read(self.terminal, 65536)
                quiet = 0
            else:
                quiet += 1

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def bash(completions, folder):
    """The file is found by its name, as bash-completion finds it."""
    place = pathlib.Path(folder, ".local/share/bash-completion/completions")
    place.mkdir(parents=True)
    (place / "dwdump").symlink_to(completions / "dwdump.bash")
    return Terminal(
        ["bash", "--norc", "--noprofile", "-i"],
        folder,
        [
            ". /usr/share/bash-completion/bash_completion",
            "bind 'set bell-style none'",
            r"""bind -x '"\C-g": printf "%s\n" "$READLINE_LINE" >line'""",
            "echo >ready",
        ],
    ).complete


def zsh(completions, folder):
    """The file is found in a folder of zsh's functions."""
    return Terminal(
        ["zsh", "-f", "-i"],
        folder,
        [
            f"fpath=({completions} $fpath)",
            "autoload -U compinit && compinit -u -D",
            "unsetopt beep auto_remove_slash zle_bracketed_paste; zstyle ':completion:*' menu no",
            'show() { print -r -- "$BUFFER" >line }; zle -N show; bindkey "^G" show; bindkey "^U" kill-whole-line',
            "echo >ready",
        ],
    ).complete


def fish(completions, folder):
    """fish tells what Tab would offer; a terminal of its own asks more than this one answers."""
    place = pathlib.Path(folder, ".config/fish/completions")
    place.mkdir(parents=True)
    (place / "dwdump.fish").symlink_to(completions / "dwdump.fish")
    environment = {**os.environ, "HOME": folder}

    def complete(typed):
        command = ["fish", "--command", "complete --do-complete $argv[1]", typed]
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
        if run.stderr:
            raise Failed(f"fish says {run.stderr}")
        words = {line.split("\t")[0] for line in run.stdout.splitlines()}
        if len(words) != 1:
            return typed
        word = words.pop()
        return typed[: typed.rindex(" ") + 1] + word + ("" if word.endswith("/") else " ")

    return complete


def main():
    completions = pathlib.Path(sys.argv[1]).resolve()
    wrong = []
    for shell in [bash, zsh, fish]:
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "lonely-capture.pcapng").touch()
            pathlib.Path(folder, "lonely-folder").mkdir()
            complete = shell(completions, folder)
            for typed, wanted in CASES:
                found = complete(typed)
                if found.rstrip() != (wanted or typed).rstrip():
                    wrong.append(f"{shell.__name__}: '{typed}' becomes '{found}', not '{wanted or typed}'")
    if wrong:
        raise Failed("\n".join(wrong))
    print(f"{len(CASES)} lines completed in bash, zsh and fish")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"completions: {failure}")
