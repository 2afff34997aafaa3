"""Takes a running process over, as an attacker would who has found a hole in it: makes system calls in its place, with
ptrace(2). x86_64 alone."""

import ctypes
import errno
import os
import signal
import time

PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS = 7, 9, 12, 13
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
# struct user_regs_struct (sys/user.h).
REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
    "ds es fs gs"
).split()
NUMBERS = {
    "open": 2, "mprotect": 10, "getpid": 39, "socket": 41, "connect": 42, "fork": 57, "execve": 59, "kill": 62,
    "ptrace": 101, "setuid": 105, "mount": 165, "init_module": 175, "openat": 257, "unlinkat": 263, "bpf": 321,
}
# How far below the stack's end strings are written: beyond the red zone, and what a signal handler takes.
BELOW = 1 << 16


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, pid, address=None, data=None):
    if libc.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Takeover:
    """Stops a process that waits in a system call; afterwards it goes on as if nothing had happened."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        # It may be busy with what it was just sent.
        for _ in range(300):
            ptrace(PTRACE_ATTACH, self.pid)
            self.wait()
            self.saved = self.registers()
            if self.is_in_call():
                return self
            ptrace(PTRACE_DETACH, self.pid)
            time.sleep(0.1)
        raise AssertionError("it never waits in a system call")

    def is_in_call(self):
        with open(f"/proc/{self.pid}/mem", "rb") as memory:
            memory.seek(self.saved.rip - 2)
            return self.saved.orig_rax < 1 << 63 and memory.read(2) == b"\x0f\x05"

    def __exit__(self, *_):
        ptrace(PTRACE_SETREGS, self.pid, None, ctypes.addressof(self.saved))
        ptrace(PTRACE_DETACH, self.pid)

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSTOPPED(status), f"ended with status {status:#x}"
        return os.WSTOPSIG(status)

    def registers(self):
        registers = Registers()
        ptrace(PTRACE_GETREGS, self.pid, None, ctypes.addressof(registers))
        return registers

    def call(self, name, *arguments):
        """Makes a system call; returns its result, or the name of its error. Arguments are numbers or bytes."""
        place, numbers = self.saved.rsp - BELOW, []
        with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
            for argument in arguments:
                if isinstance(argument, bytes):
                    memory.seek(place)
                    memory.write(argument)
                    argument, place = place, place + len(argument) + 16 & ~15
                numbers.append(argument & (1 << 64) - 1)
        registers = Registers.from_buffer_copy(self.saved)
        # At the instruction by which it waits, and nothing to be started again.
        registers.rip -= 2
        registers.orig_rax = (1 << 64) - 1
        registers.rax = NUMBERS[name]
        for register, number in zip("rdi rsi rdx r10 r8 r9".split(), numbers):
            setattr(registers, register, number)
        # Its own stack stays as it is, whatever a handler puts there.
        registers.rsp = self.saved.rsp - 2 * BELOW & ~15
        ptrace(PTRACE_SETREGS, self.pid, None, ctypes.addressof(registers))
        pending = 0
        # A call that is refused raises SIGSYS, whose handler runs before it returns.
        for _ in range(100_000):
            ptrace(PTRACE_SINGLESTEP, self.pid, None, pending)
            stopped = self.wait()
            pending = 0 if stopped == signal.SIGTRAP else stopped
            registers = self.registers()
            if not pending and registers.rip == self.saved.rip:
                break
        else:
            raise AssertionError(f"{name} did not return")
        result = ctypes.c_longlong(registers.rax).value
        return errno.errorcode[-result] if -4096 < result < 0 else result
