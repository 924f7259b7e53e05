"""The tables of a store, version by version.

A store of an earlier version is brought forward when it is opened for writing; one of a later
version is refused by name.
"""

from __future__ import annotations

# What is added by each version. `{id}` and `{bytes}` are words of the database's own.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # An object is named by the digest of its content. data: None where a file has it.
        # type, text: what is shown of a value, since showing must not load it; None for a buffer.
        """CREATE TABLE objects (
            id {id},
            digest {bytes} NOT NULL UNIQUE,
            size BIGINT NOT NULL,
            data {bytes},
            type TEXT,
            text TEXT
        )""",
        # The buffers of a value, in their order: objects, too.
        """CREATE TABLE buffers (
            object BIGINT NOT NULL,
            position INTEGER NOT NULL,
            buffer BIGINT NOT NULL,
            PRIMARY KEY (object, position)
        )""",
        "CREATE INDEX buffers_of ON buffers (buffer)",
        # How far each spool file has been folded in, in bytes.
        """CREATE TABLE spools (
            name TEXT PRIMARY KEY,
            folded BIGINT NOT NULL
        )""",
    ),
)

VERSION = len(MIGRATIONS)
