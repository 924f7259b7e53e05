"""What a file has beside its content: owner, mode, extended attributes, times."""

from __future__ import annotations

import contextlib
import os
import stat

# What overlays remember in attributes of what they wrote, see the kernel's overlayfs.rst.
OVERLAY = ("trusted.overlay.", "user.overlay.")

_COMPARED = ("user.", "system.posix_acl_")


def copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file or directory, by no link, the attributes of another one.

    What the system does not let this user give is left out: an owner, an attribute of a kind that
    the file system does not know.
    """
    status = os.stat(source)
    with contextlib.suppress(OSError):
        os.chown(target, status.st_uid, status.st_gid)
    for name, value in extended(source).items():
        with contextlib.suppress(OSError):
            os.setxattr(target, name, value)
    os.chmod(target, stat.S_IMODE(status.st_mode))  # after the owner, which takes bits away
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_of_link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """The same for a symbolic link itself."""
    status = os.lstat(source)
    with contextlib.suppress(OSError):
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def extended(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """The extended attributes, without those of overlays."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(path):
            if not name.startswith(OVERLAY):
                with contextlib.suppress(OSError):
                    found[name] = os.getxattr(path, name)
    return found


def alike(
    one: str | os.PathLike[str], other: str | os.PathLike[str], *, times: bool = True
) -> bool:
    """Whether two files that are no links have the same, but for when they were last read.

    times: False to leave out when they were written, too.
    """
    first, second = os.stat(one), os.stat(other)
    fields = ["st_mode", "st_uid", "st_gid", *(["st_mtime_ns"] if times else [])]
    if any(getattr(first, name) != getattr(second, name) for name in fields):
        return False
    return _compared(one) == _compared(other)


def _compared(path: str | os.PathLike[str]) -> dict[str, bytes]:
    return {name: value for name, value in extended(path).items() if name.startswith(_COMPARED)}
