"""Runs in the guest, as a part of session.py: drops of another host, which is this one, through a
real sshd that only this one can reach."""

import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time

import harness
import pcapng
import registry
from extcap import ExtcapTest, Fifo, children

PORT = 2222
HOST = "127.0.0.1"
SHADOW = "/etc/shadow"
START_UP = pathlib.Path("/root/.bashrc")
CONFIG = pathlib.Path("/etc/ssh/ssh_config.d")
# What an ended connection may take on the other host: less than two seconds, but this is emulated.
SOON = 8


class Ssh(ExtcapTest):
    """The interface drops-ssh."""

    soon = SOON

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", cls.folder / name], check=True
            )
        # The user's own folder is the host's, which is read only.
        cls.known = cls.folder / "known_hosts"
        subprocess.run(["mount", "-t", "tmpfs", "ssh", CONFIG], check=True)
        (CONFIG / "dwdump.conf").write_text(f"UserKnownHostsFile {cls.known}\n")
        # The guest's own says that all accounts are locked, and sshd lets nobody in then.
        shadow = cls.folder / "shadow"
        shadow.write_text("root:*:::::::\nsshd:*:::::::\n")
        subprocess.run(["mount", "--bind", shadow, SHADOW], check=True)
        # A shell that sshd starts reads this machine's own start-up file, which may have something to say.
        cls.mounted = [CONFIG, SHADOW]
        if START_UP.exists():
            subprocess.run(["mount", "--bind", "/dev/null", START_UP], check=True)
            cls.mounted.append(START_UP)
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        cls.sshd = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", cls.folder / "host", "-p", str(PORT),
             "-o", f"ListenAddress={HOST}", "-o", "PermitRootLogin=yes", "-o", "StrictModes=no",
             "-o", f"AuthorizedKeysFile={cls.folder / 'user.pub'}", "-o", "PasswordAuthentication=no",
             "-o", "Banner=/etc/hostname"],
            stderr=(harness.TALK / "sshd").open("w"),
        )
        harness.wait_until(lambda: "listening" in (harness.TALK / "sshd").read_text())
        cls.before = harness.settings()

    @classmethod
    def tearDownClass(cls):
        cls.sshd.terminate()
        cls.sshd.wait()
        subprocess.run(["umount", *cls.mounted], check=True)

    def setUp(self):
        super().setUp()
        key = (self.folder / "host.pub").read_text().split()
        self.known.write_text(f"[{HOST}]:{PORT} {key[0]} {key[1]}\n")

    def begin(self, *arguments, started=True):
        fifo = Fifo()
        run = harness.Running(
            "--capture", "--extcap-interface", "drops-ssh", "--fifo", fifo.path,
            "--remote-host", HOST, "--remote-port", PORT, "--ssh-key", self.folder / "user",
            "--remote-program", harness.DWDUMP, *arguments, started=None,
        )
        if started:
            try:
                fifo.wait_for(b"\x0a\x0d\x0d\x0a")
            except AssertionError as error:
                raise AssertionError(run.talk()) from error
        return run, fifo

    def test_packets_reasons_and_loss_come(self):
        run, fifo = self.begin("--extcap-capture-filter", "udp port 9 and not reason \"'; touch x\"")
        registry.marker("from afar")
        fifo.wait_for(b"from afar")
        fifo.wait_for(b"reason: NO_SOCKET")
        begin = time.monotonic()
        status, talk = run.stop(signal.SIGTERM)
        self.check_soon_restored(begin)
        self.assertEqual(status, 0)
        # The name crossed whole.
        self.assertEqual(talk, f"{HOST}: dwdump: no known kernel has the drop reason '; TOUCH X\n")
        # The statistics are the last block: dumpcap's part reads on.
        while select.select([fifo.fd], [], [], 1)[0] and (more := os.read(fifo.fd, 65536)):
            fifo.data += more
        file = harness.OUT / "ssh.pcapng"
        file.write_bytes(fifo.data)
        captured = pcapng.read(file)
        self.assertEqual(captured["loss"], {"queue": 0, "socket": 0})
        self.assertEqual({packet["reason"] for packet in captured["packets"]}, {"NO_SOCKET"})
        self.assertFalse(pathlib.Path("x").exists() or pathlib.Path("/root/x").exists())

    def test_ssh_dies(self):
        run, _fifo = self.begin("--extcap-capture-filter", "port 1")
        begin = time.monotonic()
        os.kill(children(run.process.pid)["ssh"], signal.SIGKILL)
        self.check_soon_restored(begin)
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn(f"{HOST}: the capture ended", talk)

    def test_this_process_dies(self):
        run, _fifo = self.begin("--extcap-capture-filter", "port 1")
        begin = time.monotonic()
        run.process.kill()
        self.check_soon_restored(begin)

    def test_nobody_reads(self):
        run, fifo = self.begin("--extcap-capture-filter", "port 1")
        begin = time.monotonic()
        fifo.close()
        self.check_soon_restored(begin)
        self.assertEqual(run.wait(), (0, ""))

    def test_an_unknown_host_key(self):
        self.known.write_text("")
        run, _fifo = self.begin(started=False)
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn(f"{HOST}: the host key is unknown: ", talk)
        self.assertEqual(self.known.read_text(), "")

    def test_another_host_key(self):
        key = (self.folder / "user.pub").read_text().split()
        self.known.write_text(f"[{HOST}]:{PORT} {key[0]} {key[1]}\n")
        run, _fifo = self.begin(started=False)
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn(f"{HOST}: the host key has changed: ", talk)

    def test_a_key_that_is_refused(self):
        run, _fifo = self.begin("--ssh-key", self.folder / "host", started=False)
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn(f"{HOST}: the login was refused: ", talk)

    def test_there_is_no_dwdump(self):
        run, _fifo = self.begin("--remote-program", "/nowhere/dwdump", started=False)
        status, talk = run.wait()
        self.assertEqual(status, 1)
        self.assertIn(f"{HOST}: there is no dwdump in the PATH there: ", talk)
