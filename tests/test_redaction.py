"""Redaction: what has one of the names is in no file of the store, nor is a text that holds it.

Each program has its secrets from the environment, since the sources that are stored are code.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snapshot.replay.executions import opened
from snapshot.store.calls import Call, Stored
from tests.libraries import require
from tests.processes import Result

Run = Callable[..., Result]

SECRET = "S3CRET"

BEGINNING = """
import asyncio, collections, copyreg, dataclasses, datetime, decimal, enum, functools, json, os
import pathlib, types, typing, uuid
from snapshot.replay import lost, record, recording

SECRET = os.environ["SECRET"]
_count = 0

def secret():
    '''Another one.'''
    global _count
    _count += 1
    return f"{SECRET}-{_count:03d}"

def attempt(function, *args, **kwargs):
    '''Call a function to its end, whatever comes of it.'''
    try:
        value = function(*args, **kwargs)
        if isinstance(value, types.CoroutineType):
            return asyncio.run(value)
        return list(value) if isinstance(value, types.GeneratorType) else value
    except Exception as error:
        return error
"""


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A store that is not there yet, with nothing else in its folder."""
    return tmp_path / "stored" / "store.db"


@pytest.fixture
def hides(python: Run, where: Path) -> Callable[..., list[Call]]:
    """Run a program; nothing of a secret is in any file, before and after they are folded in.

    Returns the calls, in the order in which they were made.
    """

    def ran(source: str, also: tuple[str | bytes, ...] = ()) -> list[Call]:
        program = textwrap.dedent(BEGINNING) + textwrap.dedent(source) + "\nassert not lost()\n"
        env = {"SNAPSHOT_STORE": str(where), "SECRET": SECRET}
        result = python(program, env=env, options=["-W", "error"])
        assert (result.code, result.stderr) == (0, ""), result
        found = [*leaks(where, also)]
        with opened(where) as store:
            calls = sorted(store.calls.find(), key=lambda each: each.id)
        assert calls
        assert not [*found, *leaks(where, also)]
        return calls

    return ran


def leaks(where: Path, also: tuple[str | bytes, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Where in the files of a store something is that must be nowhere."""
    texts = [each.encode() if isinstance(each, str) else each for each in (SECRET, *also)]
    texts += [SECRET.encode(each) for each in ("utf-16-le", "utf-32-le")]
    files = [each for each in where.parent.rglob("*") if each.is_file()]
    assert where in files
    for file in files:
        content = file.read_bytes()
        for text in texts:
            for found in re.finditer(re.escape(text), content):
                yield file.name, content[max(0, found.start() - 200) : found.end() + 30]


def loaded(where: Path, value: Stored | None) -> Any:
    assert value is not None
    with opened(where) as store:
        return store.calls.load(value)


# Parameters.


@pytest.mark.parametrize("how", ["record", "recording"])
def test_all_that_a_parameter_takes_is_hidden(
    hides: Callable[..., list[Call]], where: Path, how: str
) -> None:
    calls = hides(f"""
        how = {how!r}
        names = ["secrets", "fields"]
        mark = record(redact=names) if how == "record" else lambda function: function

        @mark
        def many(*secrets, **fields): return secrets, fields, str(fields)
        @mark
        def fails(first, *secrets, k=1, **fields): raise ValueError(first, secrets, fields)
        @mark
        def some(first, *rest, secrets=None, **fields): return rest
        class Has:
            @mark
            def method(self, *secrets, **fields): return fields
            @classmethod
            @mark
            def of(cls, *secrets): return [*secrets]
        @mark
        def numbers(*secrets):
            yield secrets
            yield secrets[-1]
            return [*secrets]
        @mark
        async def later(**fields): return fields

        def work():
            attempt(many, secret(), secret(), pin=secret(), other=[secret()])
            attempt(fails, 1, secret(), secret(), k=2, pin=secret())
            attempt(some, 1, 2, 3, secrets=secret(), pin=secret())
            attempt(Has().method, secret(), pin=secret())
            attempt(Has.of, secret(), secret())
            attempt(numbers, secret(), secret())
            attempt(later, pin=secret())

        if how == "record":
            work()
        else:
            with recording("__main__", exclude=["*work", "*secret", "*attempt"], redact=names):
                work()
    """)
    names = [each.function.key.partition(":")[2] for each in calls]
    assert names == ["many", "fails", "some", "Has.method", "Has.of", "numbers", "later"]
    args, kwargs = loaded(where, calls[0].arguments)
    assert [each.reason for each in (*args, *kwargs.values())] == ["redacted"] * 4
    assert [*kwargs] == ["pin", "other"]
    args, kwargs = loaded(where, calls[1].arguments)
    assert (args[0], kwargs["k"]) == (1, 2)
    args, _ = loaded(where, calls[2].arguments)
    assert args == (1, 2, 3)


def test_what_no_parameter_takes_is_hidden(hides: Callable[..., list[Call]]) -> None:
    hides("""
        @record(redact="password")
        def login(user, password): return user
        @record(redact="password")
        def only(password, /, user): return user
        attempt(login, "bob", secret(), secret())
        attempt(login, "bob", pasword=secret())
        attempt(only, user="bob", password=secret())
    """)


def test_defaults_of_any_type_are_hidden(hides: Callable[..., list[Call]]) -> None:
    hides("""
        class Token:
            def __init__(self, text): self.text = text
        def nested(text):
            @record(redact=["token", "path"])
            def inner(user, token=Token(text), *, path=pathlib.Path("/home", text)):
                return token.text, str(path), token
            @record(redact=["token"])
            def fails(token=Token(text)): raise ValueError(token.text)
            return inner, fails
        inner, fails = nested(secret())
        attempt(inner, "bob")
        attempt(fails)
    """)


# Values of any type.


VALUES = """
class Said:
    def __init__(self, text): self._text = text
    def __str__(self): return self._text
class Shown(Said):
    __slots__ = ()
    def __str__(self): return "nothing"
    def __repr__(self): return f"Shown({self._text})"
    def __format__(self, how): return self._text + how
class Computed:
    __slots__ = ("parts",)
    def __init__(self, text): self.parts = [text[:3], text[3:]]
    def __str__(self): return "".join(self.parts)
class Rude(Said):
    def __str__(self): raise ValueError
    def __repr__(self): raise RuntimeError
@dataclasses.dataclass
class Data:
    text: str
@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    text: str
class Text(str):
    def __str__(self): return "hidden"
class Holder:
    def __init__(self, held): self.held = held
class Odd(Exception): pass

def values():
    text = secret()
    yield from (Said(text), Shown(text), Computed(text), Rude(text), Data(text), Slotted(text))
    yield from (Text(text), Holder({"a": [Slotted(text)]}), Holder(Holder(Holder(text))))
    yield from (pathlib.Path("/home", text), pathlib.PurePosixPath(text), bytearray(text.encode()))
    yield from (memoryview(text.encode()), [bytearray(text.encode())], {1: Said(text)})
    yield from (types.SimpleNamespace(a=text), collections.deque([text]), Odd(text), Odd([text]))
    yield from (collections.UserDict(a=text), collections.UserString(text), text.encode())
    yield from (functools.partial(print, text, a=1), functools.partial(print, a=text))
    yield from (enum.Enum("Kind", {"one": text}).one, enum.StrEnum("Kinds", {"one": text}).one)
    yield from (types.MappingProxyType({1: text}), collections.OrderedDict(a=text), iter([text]))
    error = Odd("x")
    error.told = Said(text)
    yield error
    circle = [text]
    circle.append(circle)
    yield circle

def text_of(value):
    if isinstance(value, memoryview | bytearray): return bytes(value).decode()
    return f"{value}|{value!s}|{value!r}|{vars(value) if hasattr(value, '__dict__') else 0}"
def parts_of(value):
    if isinstance(value, memoryview): return [bytes(value), bytearray(value)]
    return [value, [value], {"x": value}, (value, Holder(value))]
"""


@pytest.mark.parametrize("how", ["record", "recording"])
def test_a_value_of_any_type_is_in_no_text(hides: Callable[..., list[Call]], how: str) -> None:
    calls = hides(
        VALUES
        + f"""
how = {how!r}
mark = record(redact="token") if how == "record" else lambda function: function

@mark
def says(token): return text_of(token)
@mark
def returns(token): return parts_of(token)
@mark
def fails(token): raise RuntimeError(f"refused: {{text_of(token)}}")
@mark
def fails_with(token):
    error = ValueError(*parts_of(token))
    error.add_note(text_of(token))
    raise error from KeyError(token)
@mark
def group(token): raise ExceptionGroup("several", [ValueError(token), KeyError(text_of(token))])
@mark
def changes(token, box): box.extend(parts_of(token))
@mark
def numbers(token):
    yield token
    yield text_of(token)
    yield parts_of(token)
    raise ValueError(text_of(token))
@mark
async def later(token): return parts_of(token), text_of(token)
class Has:
    @mark
    def method(self, token): self.kept = parts_of(token); return self

def work():
    for function in (says, returns, fails, fails_with, group, numbers, later):
        for each in values():
            attempt(function, each)
            attempt(function, token=[each])
    for each in values():
        attempt(changes, each, [])
        attempt(Has().method, each)

if how == "record":
    work()
else:
    names = ["says", "returns", "fails*", "group", "changes", "numbers", "later", "Has.method"]
    with recording([f"__main__:{{each}}" for each in names], redact="token"):
        work()
"""
    )
    assert len(calls) > 400


def test_what_has_no_text_in_it_is_hidden_too(hides: Callable[..., list[Call]]) -> None:
    number = 987654321
    day = b"\x07\xbc\x01\x17"  # as a date is pickled
    hides(
        """
        days = datetime.date(1980, 1, 23), datetime.datetime(1980, 1, 23, 10, 30)
        others = decimal.Decimal("1234567.89"), uuid.UUID(int=0xDEADBEEFCAFE), 987654321
        texts = "1980-01-23", "1234567.89", "deadbeefcafe", "987654321"

        @record(redact="value")
        def says(value): return str(value), repr(value), f"{value}!"
        @record(redact="value")
        def returns(value): return value, [value], {"x": {value: [value]}}
        @record(redact="value")
        def fails(value): raise ValueError(f"no {value}", value, [value])
        @record(redact="value")
        def keeps(value, box): box.kept = value; return box
        for each in (*days, *others):
            for function in (says, returns, fails):
                attempt(function, each)
                attempt(function, [each])
            attempt(keeps, each, types.SimpleNamespace())
        """,
        also=(
            *("1980-01", "datetime.date(1980", "1234567.89", "deadbeefcafe", "987654321", day),
            number.to_bytes(4, "little"),
            b"\xfe\xca\xef\xbe\xad\xde",
        ),
    )


def test_equal_numbers_are_hidden_where_they_are_values(
    hides: Callable[..., list[Call]], where: Path
) -> None:
    (call,) = hides("""
        @record(redact="pin")
        def check(pin): return {"pin is": pin, "other": 4322, "short": 12}, [float(pin), bool(pin)]
        check(4321)
    """)
    named, listed = loaded(where, call.result)
    assert named["pin is"].reason == "redacted"
    assert (named["other"], named["short"]) == (4322, 12)
    assert listed[1] is True


def test_many_lines_are_hidden_in_the_traceback_of_a_group(
    hides: Callable[..., list[Call]],
) -> None:
    hides("""
        @record(redact="key")
        def fails(key):
            error = ExceptionGroup("inner", [ValueError(key)])
            error.add_note(key)
            raise ExceptionGroup("outer", [error])
        attempt(fails, f"----BEGIN----\\nfirst {secret()}\\nlast")
    """)


def test_what_code_of_values_raises_is_no_matter(hides: Callable[..., list[Call]]) -> None:
    hides("""
        class Rude:
            def __init__(self, text): self.text = text
            def __str__(self): raise SystemExit(3)
            def __repr__(self): raise ValueError
            def __format__(self, how): return self.__str__()
            def __fspath__(self): raise ValueError
            def __len__(self): raise ValueError
            def __eq__(self, other): raise ValueError
            def __getattribute__(self, name): raise ValueError
            __hash__ = None
        class Deep:
            def __init__(self, text): self.text = text
            def __repr__(self): return f"{self!r}"
        class Same(Rude, list):
            pass
        @record(redact="value")
        def returns(value, text): return text, [value]
        @record(redact="value")
        def fails(value, text): raise ValueError(text, value)
        for kind in (Rude, Deep, Same):
            text = secret()
            each = kind(text)
            attempt(returns, each, text)
            attempt(fails, each, text)
            attempt(returns, [each], text)
    """)


def test_an_exception_behind_one_is_looked_at(hides: Callable[..., list[Call]]) -> None:
    hides("""
        class LoginError(Exception):
            def __init__(self, user, password):
                super().__init__(user, password)
                self.password = password
        def deep(): raise LoginError("bob", secret())
        @record(redact="password")
        def caused():
            try: deep()
            except LoginError as error: raise ValueError("no") from error
        @record(redact="password")
        def meanwhile():
            try: deep()
            except LoginError: raise ValueError("no")
        @record(redact="password")
        def several():
            try: deep()
            except LoginError as error: found = error
            raise ExceptionGroup("several", [ValueError({"password": secret()}), found])
        @record(redact="password")
        def numbers():
            yield 1
            deep()
        @record(redact="password")
        def told():
            got = yield 1
            try: deep()
            except LoginError as error: raise ValueError(got) from error
        for each in (caused, meanwhile, several, numbers):
            attempt(each)
        running = told()
        next(running)
        attempt(running.send, "sent")
    """)


def test_what_is_no_secret_is_not_taken_for_one(
    hides: Callable[..., list[Call]], where: Path
) -> None:
    calls = hides("""
        class Empty: pass
        @record(redact="value")
        def returns(value): return "True None <redacted> 1.5 ab", [None, True, (), "", 1, {}], ()
        of_all = None, True, "", (), [], {}, 1, 1.5, "ab", "redacted", b"redacted", print, Empty, os
        for each in of_all:
            attempt(returns, each)
    """)
    for each in calls:
        text, values, nothing = loaded(where, each.result)
        assert text == "True None <redacted> 1.5 ab"
        assert (values, nothing) == ([None, True, (), "", 1, {}], ())


# Attributes.


OBJECTS = """
class Reduced:
    def __init__(self, user, password): self.user, self.password = user, password
    def __reduce__(self): return Reduced, (self.user, self.password)
class ReducedDict(Reduced):
    def __reduce__(self): return ReducedDict.of, ({"u": self.user, "p": [self.password]},)
    @staticmethod
    def of(told): return ReducedDict(told["u"], told["p"][0])
class State(Reduced):
    __reduce__ = object.__reduce__
    def __getstate__(self): return self.password, self.user
    def __setstate__(self, state): self.password, self.user = state
class StateText(State):
    def __getstate__(self): return f"{self.user}:{self.password}"
    def __setstate__(self, state): self.user, _, self.password = state.partition(":")
class OtherNames(State):
    def __getstate__(self): return {"u": self.user, "p": self.password}
    def __setstate__(self, state): self.user, self.password = state["u"], state["p"]
class NewArgs:
    __slots__ = ("user", "password")
    def __new__(cls, user, password):
        self = super().__new__(cls)
        self.user, self.password = user, password
        return self
    def __getnewargs__(self): return self.user, self.password
    def __getstate__(self): return None
class NewArgsEx(NewArgs):
    def __getnewargs_ex__(self): return (self.user,), {"password": self.password}
class Registered:
    def __init__(self, user, password): self.user, self.password = user, password
copyreg.pickle(Registered, lambda it: (Registered, (it.user, it.password)))
class Backed:
    def __init__(self, user, password): self.user, self._hidden = user, password
    @property
    def password(self): return self._hidden
class BackedSlots:
    __slots__ = ("_hidden", "user")
    def __init__(self, user, password): self.user, self._hidden = user, password
    password = property(lambda self: self._hidden)
class BackedReduced(Backed):
    def __reduce__(self): return BackedReduced, (self.user, self._hidden)
class Pair(tuple):
    def __new__(cls, user, password): return super().__new__(cls, (user, password))
    def __getnewargs__(self): return tuple(self)
    password = property(lambda self: self[1])
class Mail(str):
    def __new__(cls, user, password):
        if "@" not in password: raise ValueError
        self = super().__new__(cls, password)
        self.password = password
        return self
class Named(typing.NamedTuple):
    user: str
    password: str
class Sub(collections.namedtuple("Sub", "user password")):
    pass
@dataclasses.dataclass
class Data:
    user: str
    password: str
class Map(dict):
    def __init__(self, user, password): super().__init__(user=user, password=password)
    def __reduce__(self): return Map, (self["user"], self["password"])
    password = property(lambda self: self["password"])
class Failing(Exception):
    def __init__(self, user, password):
        super().__init__(user, password)
        self.password = password
class Rude(Data):
    @property
    def token(self): raise SystemExit(3)
class Partial:
    def __new__(cls, user, password): return functools.partial(print, user, password=password)
class Space:
    def __new__(cls, user, password): return types.SimpleNamespace(user=user, password=password)
class Nested:
    def __init__(self, user, password): self.user, self.inside = user, [Reduced(user, password)]

kinds = (
    *(Reduced, ReducedDict, State, StateText, OtherNames, NewArgs, NewArgsEx, Registered, Backed),
    *(BackedSlots, BackedReduced, Pair, Named, Sub, Data, Map, Failing, Rude, Partial, Space),
    Nested,
)
"""


@pytest.mark.parametrize("how", ["record", "recording"])
def test_an_attribute_is_hidden_however_its_object_is_pickled(
    hides: Callable[..., list[Call]], where: Path, how: str
) -> None:
    hides(
        OBJECTS
        + f"""
how = {how!r}
names = ["password", "token"]
mark = record(redact=names) if how == "record" else lambda function: function

@mark
def takes(auth): return True
@mark
def returns(auth): return [auth, {{"x": auth}}], f"{{getattr(auth, 'password', 1)}}!"
@mark
def fails(auth): raise RuntimeError(getattr(auth, "password", 1), auth)
@mark
def makes(kind): return kind("bob", secret())
@mark
def changes(box, auth): box.append(auth)
@mark
def numbers(auth):
    yield auth
    yield [auth, getattr(auth, "password", 1)]
@mark
def late(kind):
    yield secret()[:0]
    auth = kind("bob", secret())
    yield [auth]
    raise ValueError(auth)
@mark
def raises(kind):
    try: raise ValueError(kind("bob", secret()))
    except ValueError as error: raise KeyError("x") from error
@mark
async def later(auth): return auth
class Has:
    def __init__(self, auth): self.auth = auth
    @mark
    def method(self): return self.auth

def work():
    for kind in kinds:
        for function in (takes, returns, fails, numbers, later):
            attempt(function, kind("bob", secret()))
            attempt(function, [kind("bob", secret()), "x" * 100_000])
        for function in (makes, late, raises):
            attempt(function, kind)
        attempt(changes, [], kind("bob", secret()))
        attempt(Has(kind("bob", secret())).method)
    mail = Mail("bob", f"{{secret()}}@example.org")
    for function in (takes, returns, fails, numbers, later):
        attempt(function, mail)

if how == "record":
    work()
else:
    names_of = ["takes", "returns", "fails", "numbers", "later", "makes", "late", "raises"]
    names_of += ["changes", "Has.method"]
    with recording([f"__main__:{{each}}" for each in names_of], redact=names):
        work()
"""
    )


def test_a_short_value_of_a_name_is_hidden_with_its_object(
    hides: Callable[..., list[Call]], where: Path
) -> None:
    calls = hides(
        OBJECTS
        + """
@record(redact="password")
def takes(auth): return auth
for kind in (Reduced, ReducedDict, State, NewArgs, NewArgsEx, Registered):
    takes(kind("bob", "§1"))
class Careful(Reduced):
    def __reduce__(self): return Careful, (self.user, None)
takes(Careful("bob", "§1"))
""",
        also=("§1",),
    )
    with opened(where) as store:
        shown = [store.calls.show(each.arguments).text for each in calls if each.arguments]
    assert [each.count("redacted") for each in shown] == [1] * len(calls[:-1]) + [0]
    assert "Careful" in shown[-1]


def test_what_is_stored_can_be_loaded(hides: Callable[..., list[Call]], where: Path) -> None:
    calls = hides("""
        class Mode(enum.StrEnum):
            safe = "x"
            other = "y" + secret()
        @record(redact="password")
        def returns(password, make): return make()
        for make in (
            decimal.Decimal, lambda text: datetime.date.fromisoformat(text), pathlib.Path,
            Mode, uuid.UUID, lambda text: [text], lambda text: collections.deque([text]),
            lambda text: ValueError(text), lambda text: {text, "x"}, lambda text: bytearray(b"-"),
        ):
            texts = "1234567", "1980-01-23", "/home/x", Mode.other.value, str(uuid.UUID(int=9))
            for text in texts:
                try: values = [make(text), 1]
                except Exception: continue
                returns(text, lambda: values)
    """)
    assert len(calls) > 10
    for each in calls:
        value, one = loaded(where, each.result)
        assert one == 1
        assert value is not None


# Keys, columns, cells.


def test_keys_of_other_types_have_the_names(hides: Callable[..., list[Call]]) -> None:
    hides("""
        class Field(enum.Enum):
            first = "password"
            password = 2
        class Names(enum.StrEnum):
            first = "password"
        class Text(str):
            def __eq__(self, other): raise RuntimeError
            __hash__ = str.__hash__
        class Private:
            def __init__(self): self.__pin = secret()
        @record(redact=["password", "__pin"])
        def takes(value): return value
        for key in (b"password", Field.first, Field.password, Names.first, Text("password")):
            for kind in (dict, collections.OrderedDict, lambda x: collections.defaultdict(int, x)):
                takes(kind({key: secret()}))
                attempt(takes, types.MappingProxyType({key: secret()}))
        takes(Private())
        takes(functools.partial(print, password=secret()))
        takes(collections.ChainMap({}, {"password": secret()}))
    """)


def test_functions_and_classes_that_go_by_value_are_looked_at(
    hides: Callable[..., list[Call]],
) -> None:
    hides(
        """
        password = secret()
        @record(redact=["password", "pin"])
        def closes():
            password = secret()
            return lambda: password
        @record(redact=["password", "pin"])
        def defaults():
            def inner(user, password=secret(), *, pin=[secret()]): return user
            return inner
        @record(redact=["password", "pin"])
        def reads(): return lambda: password
        @record(redact=["password", "pin"])
        def short():
            pin = "§1"
            return lambda: pin
        @record(redact=["password", "pin"])
        def makes():
            class Config:
                password = secret()
                def pin(self): return 1
            return Config, Config()
        for each in (closes, defaults, reads, short, makes):
            attempt(each)
        def outer(password):
            @record(redact="password")
            def inner(): return lambda: password
            def helper(): return password
            @record(redact="password")
            def calls(): return helper()
            attempt(inner)
            attempt(calls)
        outer(secret())
    """,
        also=("§1",),
    )


def test_a_method_of_a_redacted_name_is_none(hides: Callable[..., list[Call]], where: Path) -> None:
    (call,) = hides("""
        @record(redact="token")
        def makes():
            class Config:
                def token(self): return 21
            return Config()
        makes()
    """)
    assert loaded(where, call.result).token() == 21


def test_columns_and_fields_have_names(hides: Callable[..., list[Call]]) -> None:
    require("numpy")
    hides("""
        import numpy as np
        @record(redact=["password", "token"])
        def takes(value, token=None): return value
        @record(redact=["password", "token"])
        def fails(value): raise ValueError(str(value))
        rows = np.array([(secret(), 1), (secret(), 2)], dtype=[("password", "U20"), ("n", "i8")])
        wide = np.array([(secret(), 1)] * 10_000, dtype=[("password", "U20"), ("n", "i8")])
        for each in (rows, rows[0], rows.view(np.recarray), wide):
            takes(each)
            takes([each, str(each)])
            attempt(fails, each)
        text = secret()
        for each in (np.array([text]), np.array([text, None]), np.array([text])[0]):
            takes(1, token=each)
            takes(each, token=text)
            takes([each, text, str(each)], token=each)
    """)


def test_columns_of_tables_have_names(hides: Callable[..., list[Call]], where: Path) -> None:
    require("pandas")
    calls = hides("""
        import pandas as pd
        @record(redact=["password", "token"])
        def takes(value, token=None): return value
        @record(redact=["password", "token"])
        def fails(value): raise ValueError(str(value))
        def table(): return pd.DataFrame({"password": [secret(), secret()], "n": [1, 2]})
        takes(table())
        for each in (table()["password"], table().set_index("password"), [table()]):
            takes(each)
            attempt(fails, each)
        several = table()
        several.columns = pd.MultiIndex.from_tuples([("a", "password"), ("a", "n")])
        takes(several)
        takes(table(), token=table())
        told = table()
        takes(told)
        assert told["password"][0].startswith(SECRET)
    """)
    (frame,), _ = loaded(where, calls[0].arguments)
    assert [*frame["n"]] == [1, 2]
    assert [*frame["password"]] == ["<redacted>"] * 2


def test_rows_of_tables_have_names(hides: Callable[..., list[Call]], where: Path) -> None:
    require("pandas")
    calls = hides("""
        import pandas as pd
        @record(redact=["password", "token"])
        def takes(value): return value
        @record(redact=["password", "token"])
        def fails(value): raise ValueError(str(value))
        def table(): return pd.DataFrame({"password": [secret(), secret()], "n": [1, 2]})
        takes(table().iloc[0])
        takes(table().T)
        row = pd.Series({"token": secret()})
        for each in (row, [row], row.rename("x"), pd.Series({("a", "token"): secret()}), table().T):
            takes(each)
            attempt(fails, each)
        [takes(each) for _, each in table().iterrows()]
        takes(pd.Series([1.5, 2.5], index=["token", "n"]))
        told = table().iloc[0]
        takes(told)
        assert told["password"].startswith(SECRET)
    """)
    (row,), _ = loaded(where, calls[0].arguments)
    assert dict(row) == {"password": "<redacted>", "n": 1}
    (turned,), _ = loaded(where, calls[1].arguments)
    assert [*turned.loc["password"]] == ["<redacted>"] * 2
    assert [*turned.loc["n"]] == [1, 2]


# Limits.


def test_case_matters(python: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record(redact="password")
    def takes(value): return value
    takes({"Password": "told", "password": "hidden"})
    """
    result = python(textwrap.dedent(source), env={"SNAPSHOT_STORE": str(where)})
    assert (result.code, result.stderr) == (0, "")
    with opened(where) as store:
        (call,) = store.calls.find()
    ((value,), _) = loaded(where, call.arguments)
    assert (value["Password"], value["password"].reason) == ("told", "redacted")


def test_no_code_of_values_runs_without_redaction(python: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    class Loud:
        def __init__(self): self.token = 1
        def __str__(self): raise SystemExit("str")
        __repr__ = __format__ = __str__
        @property
        def password(self): raise SystemExit("password")
    @record
    def takes(value): return value
    takes(Loud())
    """
    result = python(textwrap.dedent(source), env={"SNAPSHOT_STORE": str(where)})
    assert (result.code, result.stderr) == (0, "")


def test_many_secrets_take_no_long_time(hides: Callable[..., list[Call]]) -> None:
    hides("""
        import time
        @record(redact="password")
        def takes(value): return value
        began = time.process_time()  # however busy the machine is
        takes([{"user": f"user {n}", "password": secret()} for n in range(10_000)])
        assert time.process_time() - began < 20, time.process_time() - began
    """)


def test_the_limit_of_bytes_is_that_of_each_value_that_is_yielded(python: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    def numbers():
        for each in range(40):
            yield f"text{each % 10}"
        yield "x" * 200
    assert len(list(record(max_value_bytes=100)(numbers)())) == 41
    assert len(list(record(max_value_bytes=100, redact="x")(numbers)())) == 41
    """
    result = python(textwrap.dedent(source), env={"SNAPSHOT_STORE": str(where)})
    assert (result.code, result.stderr) == (0, "")
    with opened(where) as store:
        calls = [*store.calls.find()]
    for each in calls:
        *values, large = loaded(where, each.result)
        assert values == [f"text{each % 10}" for each in range(40)]
        assert "more than 100" in large.reason
