#!/usr/bin/env python3
"""Checks that what dwdump installs into Wireshark works, and that removing it leaves nothing.

    install.py DWDUMP CAPTURE HOME ENTER ROOT…

HOME is an empty folder. Each ROOT is the folder of another suite's tshark, which ENTER runs a command
in.
"""

import os
import pathlib
import struct
import subprocess
import sys

NOBODY = 65534
HEADINGS = ["Cause", "Function", "Interface"]
# struct vfs_cap_data of include/uapi/linux/capability.h: version 2, effective; numbers 12, 21, 34.
CAPABILITIES = struct.pack("<IIIII", 0x02000001, 1 << 12 | 1 << 21, 0, 1 << (34 - 32), 0)


class Failed(Exception):
    """A check failed."""


def run(command, status=0, **options):
    """Runs a command and returns what it printed."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    if result.returncode != status:
        raise Failed(f"{command}: status {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def expect(wanted, text):
    if wanted not in text:
        raise Failed(f"'{wanted}' is not in: {text}")


def tree(folder):
    """Every file and folder, whose appearance, change and disappearance counts."""
    found = set()
    for path in pathlib.Path(folder).rglob("*"):
        status = path.lstat()
        # A folder's time changes with what comes and goes in it.
        time = None if path.is_dir() else status.st_mtime_ns
        found.add((str(path), status.st_mode, status.st_uid, status.st_gid, time))
    return found


def check_user(dwdump, capture, home):
    """A user's plug-in and profile."""
    environment = {**os.environ, "HOME": home}
    environment.pop("XDG_CONFIG_HOME", None)
    before = tree(home)
    for _ in range(2):
        said = run([dwdump, "--install-wireshark"], env=environment)
    for part in ["profile Drops: ", "plug-in: ", "hint: for root"]:
        expect(part, said)
    list_ = run(["tshark", "-C", "Drops", "-r", capture, "-T", "psml"], env=environment)
    for heading in [*HEADINGS, "NO_SOCKET", "__udp4_lib_rcv"]:
        expect(f"<section>{heading}</section>", list_)
    buttons = pathlib.Path(home, ".config/wireshark/profiles/Drops/dfilter_buttons").read_text().splitlines()
    filters = [line.split('","')[2].replace("\\x22", '"') for line in buttons if line.startswith('"')]
    colors = pathlib.Path(home, ".config/wireshark/profiles/Drops/colorfilters").read_text().splitlines()
    filters += [line.split("@")[2] for line in colors if line.startswith("@")]
    if len(filters) < 6 + 3:
        raise Failed(f"buttons and colours are {filters}")
    for filter_ in filters:
        run(["tshark", "-r", capture, "-Y", filter_], env=environment)
    said = run([dwdump, "--uninstall-wireshark"], env=environment)
    expect("dwdump.lua", said)
    if tree(home) != before:
        raise Failed(f"left behind: {tree(home) ^ before}")
    expect("nothing was installed", run([dwdump, "--uninstall-wireshark"], env=environment))


def check_own_profile(dwdump, home):
    """A profile of that name that a user made is left alone."""
    environment = {**os.environ, "HOME": home}
    environment.pop("XDG_CONFIG_HOME", None)
    folder = pathlib.Path(home, ".config/wireshark/profiles/Drops")
    folder.mkdir(parents=True)
    before = tree(home)
    said = run([dwdump, "--install-wireshark"], status=1, env=environment)
    expect("is a profile that dwdump did not install", said)
    run([dwdump, "--uninstall-wireshark"], env=environment)
    if tree(home) != before:
        raise Failed("the user's own profile was changed")
    os.removedirs(folder)
    pathlib.Path(home).mkdir(exist_ok=True)


def check_users_interfaces(dwdump, enter, root):
    """In Wireshark after 4.0, a user's own folder brings the interfaces."""
    before = tree(root)
    inside = [enter, root]
    user = {**os.environ, "DWDUMP_TEST_USER": str(NOBODY)}
    said = run([*inside, dwdump, "--install-wireshark"], env=user)
    expect(f"/extcap/dwdump, a link to {dwdump}", said)
    try:
        listed = run([*inside, "tshark", "-D"], env=user)
        expect(". drops (Packets that the kernel dropped)", listed)
        expect(". drops-ssh (Packets that another host's kernel dropped)", listed)
    finally:
        run([*inside, dwdump, "--uninstall-wireshark"], env=user)
    if tree(root) != before:
        raise Failed(f"left behind: {tree(root) ^ before}")


def check_without_tshark(dwdump, home):
    """The error names the package; the interface can be placed all the same."""
    environment = {"PATH": "/nonexistent", "HOME": home}
    said = run([dwdump, "--install-wireshark"], status=1, env=environment)
    expect("install the package tshark", said)
    folder = pathlib.Path(home, "somewhere")
    run([dwdump, "--install-wireshark", "--extcap-dir", folder], env=environment)
    if (folder / "dwdump").resolve() != pathlib.Path(dwdump).resolve():
        raise Failed("the interface is no link to the program")
    run([dwdump, "--uninstall-wireshark", "--extcap-dir", folder], env=environment)
    if tree(folder):
        raise Failed(f"left behind: {tree(folder)}")
    folder.rmdir()


def check_members(program, group, enter, root):
    """What the members of the group may do with the copy, and what not; others may not even run it."""
    inside = [enter, root, program]
    member = {**os.environ, "DWDUMP_TEST_USER": str(NOBODY), "DWDUMP_TEST_GROUPS": str(group)}
    expect("interface {value=drops}", run([*inside, "--extcap-interfaces"], env=member))
    for option in ["-e", "--force", "-b 1000M"]:
        said = run([*inside, *option.split()], status=2, env=member)
        expect(f"dwdump: {option.split()[0]}", said)
        expect("is for root, not for users who capture by this file's capabilities", said)
    # The drop monitor answers them as it answers root, on a kernel that has one and on others; root
    # gets other hints.
    by_member, by_root = (
        subprocess.run([*inside, "-q"], env=environment, capture_output=True, text=True, check=False)
        for environment in [member, os.environ]
    )
    if by_member.returncode != by_root.returncode or by_member.stderr[:60] != by_root.stderr[:60]:
        raise Failed(f"-q says to a member {by_member}, and to root {by_root}")
    secret = pathlib.Path(os.environ["DWDUMP_TEST_SHARED"], "secret")
    secret.touch(mode=0o600)
    expect("Permission denied", run([*inside, "-r", secret], status=1, env=member))
    secret.unlink()
    stranger = {**member, "DWDUMP_TEST_GROUPS": ""}
    expect("Permission denied", run([*inside, "--extcap-interfaces"], status=126, env=stranger))


def check_copy(path, enter, root):
    """The copy's owner, mode and capabilities, and who may do what with it."""
    status = os.stat(path)
    if (status.st_mode & 0o7777, status.st_uid) != (0o750, 0) or status.st_gid == 0:
        raise Failed(f"{path} is {status}")
    capabilities = os.getxattr(path, "security.capability")
    if capabilities != CAPABILITIES:
        raise Failed(f"the capabilities of {path} are {capabilities.hex()}")
    check_members(path.removeprefix(root), status.st_gid, enter, root)


def check_system(dwdump, enter, root):
    """Everybody's, with a copy of the program that a group may run."""
    before = tree(root)
    inside = [enter, root, dwdump]
    missing = [*inside, "--install-wireshark", "--system", "--group", "nobody-has-it"]
    expect("dpkg-reconfigure wireshark-common", run(missing, status=1))
    if tree(root) != before:
        raise Failed("something was installed for a group that does not exist")
    said = run([*inside, "--install-wireshark", "--system", "--group", "wireshark"])
    expect("0750 root:wireshark, with cap_net_admin,cap_sys_admin,cap_syslog", said)
    try:
        check_copy(root + said.split("interface: ")[1].split(",")[0], enter, root)
    finally:
        run([*inside, "--uninstall-wireshark", "--system"])
    if tree(root) != before:
        raise Failed(f"left behind: {tree(root) ^ before}")


def main():
    dwdump, capture, home, enter, *roots = sys.argv[1:]
    check_user(dwdump, capture, home)
    check_own_profile(dwdump, home)
    check_without_tshark(dwdump, home)
    for root in roots:
        check_users_interfaces(dwdump, enter, root)
    check_system(dwdump, enter, roots[-1])
    print("installed, used and removed without a trace")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"install: {failure}")
