"""Another distribution's programs: its root becomes ours, and nothing of it is changed.

A tree as `debootstrap` makes it, of a newer release say. What these scripts need and it lacks is taken from this machine:
their python, busybox, and the libraries of both.
"""
import glob
import os
import re
import shutil
import subprocess

from processes import do

PYTHON = "/usr/bin/python3"


def enter(folder, root, gangplank):
    """The tree below what is written here, as root of this process; /tmp stays. Where a copy of gangplank is then."""
    copy = shutil.copy(gangplank, os.path.join(folder, "gangplank-here"))
    base = os.path.join(folder, "elsewhere")
    os.mkdir(base)
    do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", base)
    upper, work, merged = (os.path.join(base, name) for name in ("upper", "work", "merged"))
    for name in (upper, work, merged):
        os.mkdir(name)
    do("mount", "-t", "overlay", "-o", f"lowerdir={os.path.abspath(root)},upperdir={upper},workdir={work}", "overlay", merged)
    bring(merged)
    for place in ("/proc", "/dev", "/sys"):
        do("mount", "--rbind", place, merged + place)
    # Without what is mounted there, which is this very tree.
    do("mount", "--bind", "/tmp", merged + "/tmp")
    do("pivot_root", merged, merged + "/mnt")
    os.chdir("/")
    do("umount", "--lazy", "/mnt")
    return copy


def bring(merged):
    """python as it runs here, and busybox."""
    python = os.path.realpath(PYTHON)
    modules = f"/usr/lib/{os.path.basename(python)}"
    shutil.copytree(modules, merged + modules, symlinks=True, dirs_exist_ok=True)
    programs = {PYTHON: python, "/usr/bin/busybox": shutil.which("busybox")}
    for name, program in programs.items():
        if program and not os.path.lexists(merged + name):
            shutil.copy(program, merged + name)
    wanted = [python, *glob.glob(f"{modules}/lib-dynload/*.so")]
    said = subprocess.run(["ldd", *wanted], capture_output=True, text=True).stdout
    for library in sorted(set(re.findall(r"=> (/\S+)", said))):
        if not os.path.exists(merged + os.path.realpath(library)) and not os.path.exists(merged + library):
            os.makedirs(os.path.dirname(merged + library), exist_ok=True)
            shutil.copy(os.path.realpath(library), merged + library)
