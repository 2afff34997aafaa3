"""A program in a terminal, and what is on its screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time

COLUMNS, ROWS = 100, 24
PATIENCE = 60


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


class Terminal:
    """The program runs until it ends by itself."""

    def __init__(self, *command, folder=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.written = b""
        environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, command)],
            stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder,
        )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            self.written += os.read(self.master, 65536)

    def screen(self):
        """What the table writes: text, and where it goes. Colours do not matter."""
        lines = [[" "] * COLUMNS for _ in range(ROWS)]
        row, column = 0, 0
        text = self.written.decode(errors="replace")
        for sequence, places, end, character in re.findall(
            r"(\x1b\[([\d;?]*)([A-Za-z]))|([^\x1b])", text
        ):
            if not sequence:
                if character == "\n":
                    row += 1
                elif character == "\r":
                    column = 0
                elif row < ROWS and column < COLUMNS:
                    lines[row][column] = character
                    column += 1
            elif end == "H":
                row, column = (int(place or 1) - 1 for place in (places or "1;1").split(";"))
            elif end == "J" or places == "?1049":
                lines = [[" "] * COLUMNS for _ in range(ROWS)]
                row, column = 0, 0
        return "\n".join("".join(line).rstrip() for line in lines)

    def wait_for(self, pattern):
        try:
            wait_until(lambda: re.search(pattern, self.screen(), re.MULTILINE))
        except AssertionError:
            raise AssertionError(f"{pattern!r} is not on:\n{self.screen()}") from None

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        status = self.process.wait(PATIENCE)
        wait_until(lambda: b"\x1b[?1049l" in self.written)
        wait_until(lambda: b"drops counted" in self.written)
        return status, self.written.split(b"\x1b[?1049l")[-1].decode()
