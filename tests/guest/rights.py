"""Runs in the guest, as a part of session.py: a copy of dwdump that may capture by its file's
capabilities, used by somebody who may do nothing."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import harness
import pcapng
import registry

NOBODY = 65534
CAPABILITIES = "cap_net_admin,cap_sys_admin,cap_syslog=ep"
KPTR_RESTRICT = pathlib.Path("/proc/sys/kernel/kptr_restrict")
FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "fixtures/made/own.pcapng"


class Rights(harness.SessionTest):
    """What such a copy does for everybody, and what not."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        # Of its own: /tmp may ignore capabilities (nosuid).
        subprocess.run(["mount", "-t", "tmpfs", "rights", cls.folder], check=True)
        cls.folder.chmod(0o755)
        cls.program = cls.folder / "dwdump"
        shutil.copy(harness.DWDUMP, cls.program)
        cls.program.chmod(0o755)
        subprocess.run(["setcap", CAPABILITIES, cls.program], check=True)
        cls.capture = cls.folder / "capture.pcapng"
        shutil.copy(FIXTURE, cls.capture)
        cls.home = cls.folder / "home"
        cls.home.mkdir()
        os.chown(cls.home, NOBODY, NOBODY)
        cls.before = harness.settings()

    @classmethod
    def tearDownClass(cls):
        subprocess.run(["umount", cls.folder], check=True)

    def words(self, *arguments):
        who = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [*who, self.program, *map(str, arguments)]

    def run_copy(self, *arguments, **environment):
        return subprocess.run(
            self.words(*arguments), capture_output=True, text=True, timeout=harness.PATIENCE,
            env={**os.environ, **environment},
        )

    def test_everybody_may_capture(self):
        file = self.home / "drops.pcapng"
        users = harness.references()
        run = subprocess.Popen(
            self.words("-o", "sw", "-c", "1", "-w", file, "udp port 9"),
            stderr=subprocess.PIPE, text=True,
        )
        harness.PROCESSES.append(run)
        harness.wait_until(lambda: harness.references() > users)
        deadline = time.monotonic() + harness.PATIENCE
        while run.poll() is None and time.monotonic() < deadline:
            registry.marker("by nobody")
            time.sleep(0.2)
        talk = run.communicate()[1]
        self.assertEqual(run.returncode, 0, talk)
        self.assertEqual(len(pcapng.read(file)["packets"]), 1)
        self.assertEqual(file.stat().st_uid, NOBODY)
        self.assertEqual(harness.settings(), self.before)

    def test_what_disturbs_others_is_refused(self):
        other = harness.Running("-o", "sw", "-w", "/dev/null")
        for option in (["-e"], ["--force", "-w", "/dev/null"], ["--summary", "--force"],
                       ["-b", "1000M", "-w", "/dev/null"]):
            done = self.run_copy(*option)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertRegex(done.stderr, "is for root, not for users who capture by this file")
            self.assertIn("hint: ", done.stderr)
        # Root may, of the same copy.
        subprocess.run([self.program, "-e"], check=True, stderr=subprocess.DEVNULL)
        status, _ = other.wait()
        self.assertEqual(status, 1)

    def test_files_are_opened_with_the_callers_rights(self):
        done = self.run_copy("-o", "sw", "-w", "/root/not-yours.pcapng")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot create /root/not-yours.pcapng: ", done.stderr)
        before = KPTR_RESTRICT.read_text()
        KPTR_RESTRICT.write_text("1")
        try:
            # The error shows the beginning of the file: to those with CAP_SYSLOG, addresses.
            root = subprocess.run(
                [harness.DWDUMP, "-d", "-F", "/proc/kallsyms"], capture_output=True, text=True
            ).stderr
            self.assertRegex(root, r"[1-9a-f][0-9a-f]{3,15} [A-Za-z] ")
            for more in (["-d"], ["-w", "/dev/null"]):
                done = self.run_copy(*more, "-F", "/proc/kallsyms")
                self.assertRegex(done.stderr, r"0{16} [A-Za-z] ")
                self.assertNotRegex(done.stderr, r"[1-9a-f][0-9a-f]{3,15} [A-Za-z] ")
        finally:
            KPTR_RESTRICT.write_text(before)

    def test_the_environment_names_no_file(self):
        zone = self.home / "zone"
        shutil.copy("/usr/share/zoneinfo/Asia/Tokyo", zone)
        shown = {
            value: self.run_copy("-r", self.capture, "--print", TZ=value).stdout
            for value in ("UTC", "Asia/Tokyo", str(zone), f":{zone}")
        }
        self.assertTrue(shown["UTC"])
        self.assertNotEqual(shown["Asia/Tokyo"], shown["UTC"])
        for path in (str(zone), f":{zone}"):
            self.assertNotEqual(shown[path], shown["Asia/Tokyo"])
