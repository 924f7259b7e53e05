"""What reaches the world: each function, and of which kind it is."""

from __future__ import annotations

from snapshot.debugger.world import clocks, files, processes, scanning, sockets
from snapshot.debugger.world.calls import (
    also,
    aside,
    fills,
    forking,
    gives_data,
    gives_descriptor,
    gives_descriptors,
    on_paths,
    plain,
    quietly,
    reads_clock,
    starts_thread,
)
from snapshot.debugger.world.choosing import Kind

# Each kind with the names of those that are of it.
Kinds = tuple[tuple[Kind, str], ...]

# Functions by module. Where one is not there, or is not built in, there is nothing to replace:
# what is written in Python calls others.
FUNCTIONS: dict[str, Kinds] = {
    "time": (
        (plain, "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time"),
        (plain, "process_time_ns thread_time thread_time_ns clock_gettime clock_gettime_ns sleep"),
        (plain, "clock_settime clock_settime_ns"),
        (reads_clock(0), "localtime gmtime ctime asctime"),
        (reads_clock(1), "strftime"),
    ),
    "os": (
        (plain, "urandom getrandom getpid getppid getloadavg cpu_count sched_getaffinity times"),
        (plain, "uname get_terminal_size getpgid getpgrp getsid getpriority getlogin getcwd"),
        (plain, "getcwdb"),
        # descriptors
        (files.opens_descriptor, "open"),
        (gives_descriptor, "memfd_create eventfd pidfd_open timerfd_create posix_openpt"),
        (gives_descriptors, "pipe pipe2 openpty"),
        (files.duplicates, "dup"),
        (files.copies, "dup2"),
        (also, "close"),
        (quietly, "set_blocking set_inheritable"),
        (plain, "get_blocking get_inheritable isatty ttyname fstat fstatvfs fpathconf"),
        (gives_data(None), "read"),
        (gives_data(2), "pread"),
        (fills(lambda fd, buffers, *_: buffers), "readv preadv"),
        (fills(lambda fd, buffer: [buffer]), "readinto"),
        (files.raw_seeks, "lseek"),
        (plain, "write pwrite writev pwritev ftruncate fsync fdatasync sync sendfile splice"),
        (plain, "copy_file_range posix_fallocate posix_fadvise lockf eventfd_read eventfd_write"),
        (plain, "fchmod fchown tcgetpgrp tcsetpgrp timerfd_settime timerfd_settime_ns"),
        (plain, "timerfd_gettime timerfd_gettime_ns"),
        # paths
        (on_paths, "stat lstat statvfs access listdir mkdir rmdir unlink remove rename replace"),
        (on_paths, "link symlink readlink chmod lchmod chown lchown utime truncate mkfifo mknod"),
        (on_paths, "getxattr setxattr removexattr listxattr pathconf"),
        (scanning.scans, "scandir"),
        (also, "chdir fchdir umask"),
        # processes
        (forking, "fork forkpty"),
        (on_paths, "posix_spawn posix_spawnp execv execve"),
        (plain, "waitpid wait wait3 wait4 waitid killpg system nice setsid setpgid setpgrp"),
        (plain, "setpriority"),
        (processes.kills, "kill"),
    ),
    "builtins": ((files.opens, "open"), (clocks.asks, "input")),
    "_posixsubprocess": ((forking, "fork_exec"),),
    "_thread": (
        (plain, "get_native_id"),
        (starts_thread, "start_new_thread start_new start_joinable_thread"),
    ),
    "_uuid": ((plain, "generate_time_safe"),),
    "resource": ((plain, "getrusage getrlimit setrlimit prlimit"),),
    "gc": (
        (processes.collects, "collect"),
        (processes.sets_thresholds, "set_threshold"),
        (processes.tells_thresholds, "get_threshold"),
        (plain, "get_count get_stats get_freeze_count"),
    ),
    "fcntl": ((plain, "fcntl flock lockf"),),
    "termios": ((plain, "tcgetattr tcsetattr tcsendbreak tcdrain tcflush tcflow tcgetwinsize"),),
    "select": ((sockets.selects, "select"),),
    "_socket": (
        (plain, "gethostname sethostname getaddrinfo getnameinfo gethostbyname gethostbyname_ex"),
        (plain, "gethostbyaddr getservbyname getservbyport getprotobyname"),
        (files.duplicates, "dup"),
        (also, "close"),
    ),
    "_ssl": ((plain, "RAND_bytes"),),
    # What these read is the program's code, not its input.
    "linecache": ((aside, "updatecache checkcache"),),
}

# Methods by type, in whose own dictionary they are exchanged: it stays the type that it is.
METHODS: dict[str, Kinds] = {
    "_io.FileIO": (
        (files.raw_reads, "read readall"),
        (fills(lambda file, buffer: [buffer], descriptor=files.number), "readinto"),
        (files.raw_writes, "write"),
        (plain, "tell truncate seekable"),
        (files.raw_seeks, "seek"),
        (files.asks_terminal, "isatty _isatty_open_only"),
        (quietly, "close"),
    ),
    "_socket.socket": (
        (plain, "connect connect_ex bind listen recv recvfrom recvmsg send sendall sendto"),
        (plain, "sendmsg sendmsg_afalg shutdown getsockname getpeername getsockopt setsockopt"),
        (sockets.receives, "recv_into"),
        (sockets.receives_from, "recvfrom_into"),
        (sockets.receives_messages, "recvmsg_into"),
        (sockets.accepts, "_accept"),
        (quietly, "close settimeout setblocking"),
    ),
    "socket.socket": ((sockets.begins, "__init__"),),
    "select.epoll": ((plain, "poll"), (also, "register modify unregister")),
    "select.poll": ((plain, "poll"),),
    "_ssl._SSLSocket": (
        (plain, "do_handshake write pending getpeercert get_channel_binding cipher version"),
        (plain, "shared_ciphers selected_alpn_protocol compression verify_client_post_handshake"),
        (sockets.encrypted_reads, "read"),
        (sockets.encrypted_ends, "shutdown"),
    ),
    "_ssl.MemoryBIO": ((plain, "read write write_eof"),),
    "datetime.datetime": ((clocks.tells_now, "now"), (clocks.tells_utc, "utcnow")),
    "_random.Random": ((clocks.seeds, "seed"),),
    "_frozen_importlib_external.FileLoader": ((aside, "get_data"),),
    "_frozen_importlib_external.SourceFileLoader": ((aside, "set_data"),),
}
