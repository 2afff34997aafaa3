#!/usr/bin/python3
"""Looks into the packages and the image: every part is there, the program is static and small, nothing tells where it was
built.

    contents.py DEB RPM IMAGE
"""

import io
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tarfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
# With the C library, and without what only a debugger reads.
MOST_OF_PROGRAM = 8_300_000
MOST_OF_IMAGE = 8_000_000
PT_INTERP = 3
# Of every package; the folders that differ are below.
PARTS = [
    "usr/bin/dwdump",
    "usr/share/bash-completion/completions/dwdump",
    "usr/share/fish/vendor_completions.d/dwdump.fish",
    "usr/lib/systemd/system/dwdump@.service",
    "usr/lib/systemd/system/dwdump@.service.d/packaged.conf",
    "usr/lib/sysusers.d/dwdump.conf",
    "usr/lib/tmpfiles.d/dwdump.conf",
    "usr/libexec/wireshark/extcap/dwdump",
    *(f"usr/share/wireshark/profiles/Drops/{path.name}" for path in (PROJECT / "packaging/wireshark").iterdir()),
]
PAGES = ["man1/dwdump.1", *sorted(f"man7/{path.name}" for path in (PROJECT / "man").glob("*.7"))]


class Failed(Exception):
    """A part is missing or wrong."""


def run(command):
    return subprocess.run(command, capture_output=True, check=True).stdout


def check_program(program, what):
    """Static, small, without symbols, and a panic of it names its line and no folder of this machine."""
    if len(program) > MOST_OF_PROGRAM:
        raise Failed(f"{what}: the program has {len(program)} bytes, more than {MOST_OF_PROGRAM}")
    offset, size, count = struct.unpack_from("<Q14xHH", program, 32)
    kinds = [struct.unpack_from("<I", program, offset + size * index)[0] for index in range(count)]
    if program[:5] != b"\x7fELF\x02" or PT_INTERP in kinds:
        raise Failed(f"{what}: the program is not static")
    if b".symtab\0" in program or b".debug_line\0" in program:
        raise Failed(f"{what}: the program is not stripped")
    for wanted in [rb"src/run/\w+\.rs", rb"/cargo/registry/src/[\w.-]+/clap_builder-[\w.]+/src/[\w/]+\.rs"]:
        if not re.search(wanted, program):
            raise Failed(f"{what}: a panic would not tell {wanted.decode()}")
    for folder in {str(PROJECT), os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo")), os.getcwd()}:
        if folder.encode() in program:
            raise Failed(f"{what}: the program has {folder} in it")


def expect_parts(names, wanted, what):
    missing = sorted(set(wanted) - set(names))
    if missing:
        raise Failed(f"{what} has no {missing}, but {sorted(names)}")


def check_deb(path):
    files = {}
    with tarfile.open(fileobj=io.BytesIO(run(["dpkg-deb", "--fsys-tarfile", path]))) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            files[name] = tar.extractfile(member).read() if member.isfile() else member.linkname.encode()
            if member.uid or member.gid or (member.isdir() and member.mode != 0o755):
                raise Failed(f"{path}: {name} is {member.uid}:{member.gid} {member.mode:o}")
    triplet = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[
        run(["dpkg-deb", "--field", path, "Architecture"]).decode().strip()
    ]
    wanted = [
        *PARTS,
        *(f"usr/share/man/{page}.gz" for page in PAGES),
        "usr/share/zsh/vendor-completions/_dwdump",
        f"usr/lib/{triplet}/wireshark/extcap/dwdump",
        f"usr/lib/{triplet}/wireshark/plugins/dwdump.lua",
        "usr/share/doc/dwdump/copyright",
    ]
    expect_parts(files, wanted, path)
    for link in [f"usr/lib/{triplet}/wireshark/extcap/dwdump", "usr/libexec/wireshark/extcap/dwdump"]:
        if os.path.normpath(os.path.join(os.path.dirname(link), files[link].decode())) != "usr/bin/dwdump":
            raise Failed(f"{path}: {link} leads to {files[link]}")
    return files["usr/bin/dwdump"]


def check_rpm(path):
    names = run(["rpm", "-qp", "--nosignature", "--list", path]).decode().split()
    wanted = [
        *PARTS,
        *(f"usr/share/man/{page}" for page in PAGES),
        "usr/share/zsh/site-functions/_dwdump",
        "usr/lib64/wireshark/extcap/dwdump",
        "usr/lib64/wireshark/plugins/dwdump.lua",
    ]
    expect_parts([name.removeprefix("/") for name in names], wanted, path)
    if run(["rpm", "-qp", "--nosignature", "--conflicts", path]).decode().split() != ["dropwatch"]:
        raise Failed(f"{path} does not conflict with dropwatch")
    for required in run(["rpm", "-qp", "--nosignature", "--requires", path]).decode().splitlines():
        if not required.startswith(("rpmlib(", "/bin/sh")):
            raise Failed(f"{path} requires {required}")
    if b"digests OK" not in run(["rpm", "-K", "--nosignature", path]):
        raise Failed(f"{path} is damaged")


def check_image(path):
    if os.path.getsize(path) > MOST_OF_IMAGE:
        raise Failed(f"{path} has {os.path.getsize(path)} bytes, more than {MOST_OF_IMAGE}")
    with tarfile.open(path) as tar:
        read = lambda name: tar.extractfile(name).read()
        [saved] = json.loads(read("manifest.json"))
        index = json.loads(read("index.json"))
        manifest = json.loads(read("blobs/" + index["manifests"][0]["digest"].replace(":", "/")))
        if [saved["Config"]] != ["blobs/" + manifest["config"]["digest"].replace(":", "/")]:
            raise Failed(f"{path}: the two manifests name different configurations")
        with tarfile.open(fileobj=io.BytesIO(read(saved["Layers"][0]))) as layer:
            return layer.extractfile("usr/bin/dwdump").read()


def main():
    deb, rpm, image = sys.argv[1:]
    program = check_deb(deb)
    check_program(program, deb)
    check_rpm(rpm)
    if check_image(image) != program:
        raise Failed("the image and the package have different programs")
    print(f"program {len(program)} bytes, deb {os.path.getsize(deb)}, rpm {os.path.getsize(rpm)}, image {os.path.getsize(image)}")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"contents: {failure}")
