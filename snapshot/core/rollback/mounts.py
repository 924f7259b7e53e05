"""Mounts that one process and its children have for themselves: the system calls, and the table.

A process that may mount gets a mount namespace; any other gets a user namespace as well, in which
it may: mount_namespaces(7), user_namespaces(7). What is mounted there vanishes with the last
process in it, whatever ended that.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# unshare(2), mount(2), umount2(2)
_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_BIND, _REC, _SLAVE = 0x1000, 0x4000, 0x80000
_DETACH = 2
_GET_DUMPABLE, _SET_DUMPABLE = 3, 4  # prctl(2)
_SYS_ADMIN = 1 << 21  # capabilities(7)

_libc = ctypes.CDLL(None, use_errno=True)


class Rights(NamedTuple):
    """What this process may do.

    mount: whether it may mount in a mount namespace alone.
    trusted: whether it may set the attributes by which an overlay of the administrator's remembers
        what was renamed and removed (`trusted.overlay.*`); else it uses `user.overlay.*`.
    """

    mount: bool
    trusted: bool

    @classmethod
    def here(cls) -> Rights:
        status = Path("/proc/self/status").read_text()
        capabilities = re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)
        mount = capabilities is not None and bool(int(capabilities[1], 16) & _SYS_ADMIN)
        try:
            users = Path("/proc/self/uid_map").read_text().split()
        except FileNotFoundError:  # this kernel has no user namespaces: all are in the first
            return cls(mount, mount)
        return cls(mount, mount and users == ["0", "0", "4294967295"])


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo, see proc(5).

    point: where it is. type: of its file system. number, parent: its own, and that of the mount in
    which its point lies.
    """

    point: str
    type: str
    number: int
    parent: int


def table() -> list[Mount]:
    """The mounts that this process can reach: nothing lies over them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        number, parent, _, _, name, *_ = before.split()
        point = re.sub(r"\\(\d{3})", lambda each: chr(int(each[1], 8)), name)
        found.append(Mount(point, after.split()[0], int(number), int(parent)))
    numbered = {each.number: each for each in found}
    over = {
        each.parent: each
        for each in found
        if each.parent in numbered and numbered[each.parent].point == each.point
    }

    def is_reached(mount: Mount) -> bool:
        parent = numbered.get(mount.parent)
        if parent is None or parent is mount:
            return True
        return over.get(parent.number) in (None, mount) and is_reached(parent)

    return [each for each in found if each.number not in over and is_reached(each)]


def part(rights: Rights) -> None:
    """Give this process, which has one thread, mounts of its own. Raises OSError.

    Its user and group stay what they are. What is mounted outside later is seen here, too.
    """
    if rights.mount:
        _check(_libc.unshare(_NEWNS), "unshare(CLONE_NEWNS)")
    else:
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_NEWUSER | _NEWNS), "unshare(CLONE_NEWUSER)")
        with _writable_proc():
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{user} {user} 1")
            _write("/proc/self/gid_map", f"{group} {group} 1")
    _mount(None, "/", None, _REC | _SLAVE, None)


def mount_memory(directory: str, limit: int) -> None:
    """A file system in memory that takes `limit` bytes at most. Raises OSError."""
    _mount("snapshot", directory, "tmpfs", 0, f"size={limit},mode=700")


def bind(fd: int, directory: str) -> None:
    """Mount a directory at another one, too. Raises OSError."""
    _mount(f"/proc/self/fd/{fd}", directory, None, _BIND, None)


def mount_overlay(
    directory: str, lower: Sequence[int], upper: int, work: int, *, trusted: bool
) -> None:
    """Descriptors of directories: those that are read, topmost first, and that which is written.

    Raises OSError.
    """
    # As descriptors: a name may have any character in it, and may be hidden by another mount.
    below = ":".join(f"/proc/self/fd/{fd}" for fd in lower)
    options = f"lowerdir={below},upperdir=/proc/self/fd/{upper},workdir=/proc/self/fd/{work}"
    flags = os.statvfs(f"/proc/self/fd/{lower[-1]}").f_flag
    kept = flags & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)  # the same bits in mount(2)
    how = ",redirect_dir=on" if trusted else ",userxattr"
    _mount("snapshot", directory, "overlay", kept, options + how)


def unmount(directory: str) -> None:
    """Take the topmost mount off; what is open in it stays open. Raises OSError."""
    _check(_libc.umount2(os.fsencode(directory), _DETACH), f"umount2({directory!r})")


def try_out(directories: tuple[str, ...]) -> None:
    """In a process that is there for this alone: end with the reason, if it cannot be done."""
    rights = Rights.here()
    try:
        part(rights)
        lower = [os.open(each, os.O_PATH) for each in directories]
        mount_memory(directories[0], 1 << 20)
        memory = os.open(directories[0], os.O_RDONLY)
        for number, (directory, fd) in enumerate(zip(directories, lower, strict=True)):
            layers = []
            for name in (f"upper{number}", f"work{number}"):
                os.mkdir(name, dir_fd=memory)
                layers.append(os.open(name, os.O_PATH, dir_fd=memory))
            mount_overlay(directory, [fd], *layers, trusted=rights.trusted)
    except OSError as error:
        print(why_not(error))
        raise SystemExit(1) from None


def why_not(error: OSError) -> str:
    """Why there is no mount, in words that say what to look at."""
    if str(error.filename).startswith("unshare"):
        if error.errno == errno.ENOSPC:
            return "no more namespaces are allowed (sysctl user.max_user_namespaces)"
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL):
            return (
                "this system lets it make no namespaces (sysctl user.max_user_namespaces, "
                "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, "
                f"a container's seccomp profile): {error.filename}: {error.strerror}"
            )
    if error.errno == errno.ENODEV:
        return f"this kernel has no overlay file system: {error.filename}: {error.strerror}"
    return f"{error.filename}: {error.strerror}"


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None
) -> None:
    result = _libc.mount(
        _encoded(source),
        os.fsencode(target),
        _encoded(kind),
        ctypes.c_ulong(flags),
        _encoded(options),
    )
    _check(result, f"mount of {kind or source} on {target!r}")


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


@contextlib.contextmanager
def _writable_proc() -> Iterator[None]:
    """The files in /proc of a process that was another user's once are the administrator's."""
    dumpable = _libc.prctl(_GET_DUMPABLE)
    _libc.prctl(_SET_DUMPABLE, 1)
    try:
        yield
    finally:
        _libc.prctl(_SET_DUMPABLE, dumpable)


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"unshare, then writing {file}") from None
