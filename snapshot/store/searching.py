"""What is searched for: words, each of which must be found somewhere."""

from __future__ import annotations

import re
from typing import Any

from snapshot.store.database import Database

Condition = tuple[str, list[Any]]  # SQL that is true or not, and its values


def words(search: str | None) -> list[str]:
    """Those of a search; nothing in them is a pattern."""
    return [] if search is None else search.split()


def storable(text: str) -> str:
    """A text as a database takes it: PostgreSQL has no place for a null character."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def in_text(database: Database, column: str, word: str) -> Condition:
    """Whether a text has a word in it, in upper or lower case."""
    word = _lower(storable(word))
    text, values = column, []
    # The database knows the lower case of ASCII letters alone.
    for letter in sorted({each for each in word if not each.isascii()}):
        if (upper := letter.upper()) != letter and _lower(upper) == letter:
            text = f"replace({text}, ?, ?)"
            values += [upper, letter]
    sql, part = database.has(text, word)
    rest = max(re.split(r"[^\x00-\x7f]+", word), key=len)
    if not (values and rest):
        return sql, [*values, part]
    first, found = database.has(column, rest)  # which takes less time, and is seldom there
    return f"({first} AND {sql})", [found, *values, part]


def _lower(text: str) -> str:
    """Each letter that is the upper case of its lower one: not İ, whose lower case is two letters,
    nor ẞ and the sign of Kelvin, whose lower case is that of other letters."""
    return "".join(lower if (lower := each.lower()).upper() == each else each for each in text)


def in_bytes(database: Database, column: str, word: str) -> Condition:
    """Whether a pickle has a word in it, as it is written."""
    return database.words["in_bytes"].format(column), [word.encode("utf-8", "surrogatepass")]


def either(conditions: list[Condition]) -> Condition:
    """Whether one of them is true."""
    sql = " OR ".join(each for each, _ in conditions)
    return f"({sql})", [value for _, values in conditions for value in values]
