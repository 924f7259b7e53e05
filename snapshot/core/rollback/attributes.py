"""What a file has beside its content: owner, mode, extended attributes, times."""

from __future__ import annotations

import contextlib
import os
import stat

Path = str | os.PathLike[str]

# What overlays remember in attributes of what they wrote, see the kernel's overlayfs.rst.
OVERLAY = ("trusted.overlay.", "user.overlay.")

_COMPARED = ("user.", "system.posix_acl_")


class Attributes:
    """Those of a file or directory, or of what a link leads to."""

    def __init__(self, path: Path) -> None:
        self._status, self._extended = os.stat(path), extended(path)

    def give(self, target: Path) -> None:
        """Give them to another one, or back.

        What the system does not let this user give is left out: an owner, an attribute of a kind
        that the file system does not know.
        """
        with contextlib.suppress(OSError):
            os.chown(target, self._status.st_uid, self._status.st_gid)
        for name in extended(target).keys() - self._extended.keys():
            with contextlib.suppress(OSError):
                os.removexattr(target, name)
        for name, value in self._extended.items():
            with contextlib.suppress(OSError):
                os.setxattr(target, name, value)
        os.chmod(target, stat.S_IMODE(self._status.st_mode))  # after the owner, which takes bits
        os.utime(target, ns=(self._status.st_atime_ns, self._status.st_mtime_ns))


def copy(source: Path, target: Path) -> None:
    """Give a file or directory, or what a link leads to, the attributes of another one."""
    Attributes(source).give(target)


def copy_of_link(source: Path, target: Path) -> None:
    """The same for a symbolic link itself."""
    status = os.lstat(source)
    with contextlib.suppress(OSError):
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def extended(path: Path) -> dict[str, bytes]:
    """The extended attributes, without those of overlays."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(path):
            if not name.startswith(OVERLAY):
                with contextlib.suppress(OSError):
                    found[name] = os.getxattr(path, name)
    return found


def alike(one: Path, other: Path, *, times: bool = True) -> bool:
    """Whether two files that are no links have the same, but for when they were last read.

    times: False to leave out when they were written, too.
    """
    first, second = os.stat(one), os.stat(other)
    fields = ["st_mode", "st_uid", "st_gid", *(["st_mtime_ns"] if times else [])]
    if any(getattr(first, name) != getattr(second, name) for name in fields):
        return False
    return _compared(one) == _compared(other)


def alike_links(one: Path, other: Path) -> bool:
    """The same for two symbolic links themselves."""
    first, second = os.lstat(one), os.lstat(other)
    fields = ("st_uid", "st_gid", "st_mtime_ns")
    return all(getattr(first, name) == getattr(second, name) for name in fields)


def _compared(path: Path) -> dict[str, bytes]:
    return {name: value for name, value in extended(path).items() if name.startswith(_COMPARED)}
