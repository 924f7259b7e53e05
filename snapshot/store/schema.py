"""The tables of a store, version by version.

A store of an earlier version is brought forward when it is opened for writing; one of a later
version is refused by name.
"""

from __future__ import annotations

# What is added by each version. `{id}`, `{bytes}` and `{shown}` are words of the database's own.
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
        # The objects that the writer of a spool file may refer to, while there is the file.
        """CREATE TABLE held (
            spool TEXT NOT NULL,
            object BIGINT NOT NULL,
            PRIMARY KEY (spool, object)
        )""",
        "CREATE TABLE functions (id {id}, key TEXT NOT NULL UNIQUE)",
        # What a function was when it was called. digest: of what it would do. facts: JSON, with
        # the source. facts_digest: of it, since PostgreSQL's indexes take no long texts.
        """CREATE TABLE versions (
            id {id},
            function BIGINT NOT NULL,
            digest {bytes} NOT NULL,
            facts TEXT NOT NULL,
            facts_digest {bytes} NOT NULL,
            UNIQUE (function, digest, facts_digest)
        )""",
        # A process that has recorded. writer: of its spool. session: the writer of the process
        # that it was forked from first. forked: what that process had counted to. facts: JSON.
        """CREATE TABLE processes (
            id {id},
            writer TEXT NOT NULL UNIQUE,
            session TEXT NOT NULL,
            parent TEXT,
            forked BIGINT NOT NULL,
            facts TEXT NOT NULL
        )""",
        "CREATE TABLE threads (id {id}, process BIGINT NOT NULL, facts TEXT NOT NULL)",
        # What stands for the numbers that a process has given. what: `function`, `thread`.
        """CREATE TABLE numbers (
            process BIGINT NOT NULL,
            what TEXT NOT NULL,
            number BIGINT NOT NULL,
            id BIGINT NOT NULL,
            PRIMARY KEY (process, what, number)
        )""",
        # Calls that a process has counted one after the other have ids one after the other.
        """CREATE TABLE ranges (
            process BIGINT NOT NULL,
            number BIGINT NOT NULL,
            call BIGINT NOT NULL,
            count BIGINT NOT NULL,
            PRIMARY KEY (process, number)
        )""",
        # Times in microseconds, started since 1970. A value is a pickle here if it is small, else
        # an object. arguments: as (args, kwargs). after: what they were when the call ended, if
        # that is something else. duration: NULL while it runs.
        """CREATE TABLE calls (
            id {id},
            version BIGINT NOT NULL,
            thread BIGINT NOT NULL,
            parent BIGINT,
            started BIGINT NOT NULL,
            duration BIGINT,
            outcome INTEGER NOT NULL,
            arguments {bytes},
            arguments_object BIGINT,
            result {bytes},
            result_object BIGINT,
            after BIGINT,
            surroundings BIGINT
        )""",
        # Of the calls that raised an exception.
        """CREATE TABLE errors (
            call BIGINT PRIMARY KEY,
            type TEXT NOT NULL,
            text TEXT NOT NULL,
            traceback TEXT NOT NULL
        )""",
    ),
    (
        # XXH3-128 of digest and data, which takes a tenth of the time of SHA-256 to verify; NULL
        # where nobody had the data at hand.
        "ALTER TABLE objects ADD COLUMN checksum {bytes}",
        *(
            f"CREATE INDEX calls_{column} ON calls ({column}) WHERE {column} IS NOT NULL"
            for column in ("arguments_object", "result_object", "after", "surroundings")
        ),
        "CREATE INDEX held_object ON held (object)",
        # What memo keeps. floor: what the entry was worth that was evicted last.
        """CREATE TABLE groups (
            id {id},
            name TEXT NOT NULL UNIQUE,
            floor DOUBLE PRECISION NOT NULL
        )""",
        # A memoized function. state: the one that it was in when it was called last. saved:
        # seconds that its hits did not take.
        """CREATE TABLE memoized (
            id {id},
            name TEXT NOT NULL UNIQUE,
            "group" BIGINT NOT NULL,
            state BIGINT,
            hits BIGINT NOT NULL,
            misses BIGINT NOT NULL,
            saved DOUBLE PRECISION NOT NULL
        )""",
        # A state of such a function: all that a key has but the arguments. digest: of it. facts:
        # JSON, an object. count, size: of its entries, in bytes with what they take here.
        """CREATE TABLE states (
            id {id},
            function BIGINT NOT NULL,
            digest {bytes} NOT NULL,
            facts BIGINT,
            used DOUBLE PRECISION NOT NULL,
            count BIGINT NOT NULL,
            size BIGINT NOT NULL,
            UNIQUE (function, digest)
        )""",
        "CREATE INDEX states_facts ON states (facts) WHERE facts IS NOT NULL",
        # Results by their keys. data: a checksum, and a pickle if that is small, else the name of
        # the object that has it. arguments: JSON, what is shown of them, and their digests. size:
        # bytes. cost: seconds that it took. created, used: seconds since 1970.
        """CREATE TABLE results (
            key {bytes} PRIMARY KEY,
            state BIGINT NOT NULL,
            data {bytes} NOT NULL,
            object BIGINT,
            arguments TEXT NOT NULL,
            size BIGINT NOT NULL,
            cost DOUBLE PRECISION NOT NULL,
            created DOUBLE PRECISION NOT NULL,
            used DOUBLE PRECISION NOT NULL,
            hits BIGINT NOT NULL,
            worth DOUBLE PRECISION NOT NULL
        )""",
        "CREATE INDEX results_worth ON results (state, worth)",
        "CREATE INDEX results_object ON results (object) WHERE object IS NOT NULL",
    ),
    (
        # What heat knows. A deployment keeps the sums of its processes apart from others.
        """CREATE TABLE heat_deployments (
            id {id},
            application TEXT NOT NULL,
            name TEXT NOT NULL,
            UNIQUE (application, name)
        )""",
        # The functions that a traced process has found in the source. archived: when they were
        # found to be gone, in seconds since 1970.
        """CREATE TABLE heat_functions (
            application TEXT NOT NULL,
            key TEXT NOT NULL,
            path TEXT NOT NULL,
            line INTEGER NOT NULL,
            archived DOUBLE PRECISION,
            PRIMARY KEY (application, key)
        )""",
        # A function as it was when it ran. text: a digest of its source.
        """CREATE TABLE heat_versions (
            id {id},
            deployment BIGINT NOT NULL,
            key TEXT NOT NULL,
            digest {bytes} NOT NULL,
            line INTEGER NOT NULL,
            python TEXT NOT NULL,
            path TEXT NOT NULL,
            text TEXT NOT NULL,
            UNIQUE (deployment, key, digest, line, python)
        )""",
        # How often it ran on a day, counted from 1970. mode: how that was counted.
        """CREATE TABLE heat_hits (
            version BIGINT NOT NULL,
            day INTEGER NOT NULL,
            mode INTEGER NOT NULL,
            hits BIGINT NOT NULL,
            first DOUBLE PRECISION NOT NULL,
            last DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (version, day, mode)
        )""",
    ),
    (
        "CREATE INDEX calls_parent ON calls (parent) WHERE parent IS NOT NULL",
        # Of values: all that a list of them has, so that it need not read past their data.
        "CREATE INDEX objects_shown ON objects ({shown}) WHERE type IS NOT NULL",
        # Calls that were put aside together, for a while in which they can be taken back. put:
        # seconds since 1970. label: what they are, in words.
        """CREATE TABLE asides (
            id {id},
            put DOUBLE PRECISION NOT NULL,
            label TEXT NOT NULL
        )""",
        # These calls, under their ids, and what they raised: see `calls` and `errors`.
        """CREATE TABLE aside_calls (
            id {id},
            aside BIGINT NOT NULL,
            version BIGINT NOT NULL,
            thread BIGINT NOT NULL,
            parent BIGINT,
            started BIGINT NOT NULL,
            duration BIGINT,
            outcome INTEGER NOT NULL,
            arguments {bytes},
            arguments_object BIGINT,
            result {bytes},
            result_object BIGINT,
            after BIGINT,
            surroundings BIGINT
        )""",
        """CREATE TABLE aside_errors (
            call BIGINT PRIMARY KEY,
            type TEXT NOT NULL,
            text TEXT NOT NULL,
            traceback TEXT NOT NULL
        )""",
        "CREATE INDEX aside_calls_of ON aside_calls (aside)",
        *(
            f"CREATE INDEX aside_calls_{column} ON aside_calls ({column})"
            f" WHERE {column} IS NOT NULL"
            for column in ("arguments_object", "result_object", "after", "surroundings")
        ),
    ),
)

VERSION = len(MIGRATIONS)
