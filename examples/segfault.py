"""Call code that crashes, and live on: the crash stays in a disposable fork."""

import ctypes

from snapshot import fork_call
from snapshot.errors import ForkKilled


def read_text_at(address: int) -> bytes:
    """What a C program would do with a pointer that it believes in."""
    return ctypes.string_at(address)


greeting = ctypes.create_string_buffer(b"hello")
print(fork_call(read_text_at, ctypes.addressof(greeting)).decode())

try:
    fork_call(read_text_at, 0)
except ForkKilled as error:
    print(error)

print("and we are still here")
