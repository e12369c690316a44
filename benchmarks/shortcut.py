"""Builds and attaches shortcut.bpf.c while a block runs. Needs root, clang, libbpf's headers and bpftool."""

import contextlib
import platform
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("shortcut.bpf.c")
PINS = Path("/sys/fs/bpf/benchhydra_shortcut")


def call(*words):
    subprocess.run(words, check=True)


def mount_point(kind):
    """Where a file system of that kind is mounted, or None."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return next((m[1] for m in mounts if m[2] == kind), None)


@contextlib.contextmanager
def shortcut(port):
    """Context manager: connections to the port that are made inside it bypass TCP and IP."""
    cgroups = mount_point("cgroup2")
    if cgroups is None:
        raise SystemExit("--shortcut: no cgroup2 is mounted")
    if mount_point("bpf") is None:
        call("mount", "-t", "bpf", "bpf", PINS.parent)
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    with tempfile.NamedTemporaryFile(suffix=".o") as program:
        call("clang", "-O2", "-g", "-target", "bpf", f"-DPORT={port}", headers, "-c", SOURCE, "-o", program.name)
        call("bpftool", "prog", "loadall", program.name, PINS, "pinmaps", PINS)
    established = ("sock_ops", "pinned", PINS / "established")
    past_tcp = ("pinned", PINS / "past_tcp", "sk_msg_verdict", "pinned", PINS / "sockets")
    try:
        call("bpftool", "prog", "attach", *past_tcp)
        call("bpftool", "cgroup", "attach", cgroups, *established)
        yield
    finally:
        subprocess.run(["bpftool", "cgroup", "detach", cgroups, *established], check=False)
        subprocess.run(["bpftool", "prog", "detach", *past_tcp], check=False)
        for pin in PINS.iterdir():
            pin.unlink()
        PINS.rmdir()
