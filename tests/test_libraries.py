"""Libraries that hold something outside, each against the real thing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests import postgres
from tests.libraries import require
from tests.processes import Result

Run = Callable[..., Result]

ENDINGS = ["revert()", "sys.exit(3)", "raise ValueError", "os._exit(3)", "os.kill(os.getpid(), 9)"]


@pytest.fixture
def database() -> Iterator[str]:
    if postgres.binaries() is None:
        reason = "PostgreSQL's server is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with postgres.server() as url:
        yield url


def test_psycopg(python: Run, database: str) -> None:
    result = python(
        """
        import os, sys
        import psycopg
        from snapshot import revert, snapshot
        from snapshot.errors import RootOnly

        def use(connection):
            for call in (lambda: connection.execute("select 1"), connection.cursor):
                try:
                    call()
                except RootOnly as error:
                    assert "belongs to the original" in str(error), error
                else:
                    os.abort()
            with psycopg.connect(sys.argv[1]) as own:
                assert own.execute("select count(*) from t").fetchone() == (0,)
            connection.commit()
            connection.close()

        with psycopg.connect(sys.argv[1]) as first:
            first.execute("create table t (x int)")
        for ending in sys.argv[2:]:
            for used in (False, True):
                with psycopg.connect(sys.argv[1]) as connection:
                    backend = connection.info.backend_pid
                    connection.execute("insert into t values (1)")
                    if snapshot():
                        if used:
                            use(connection)
                        exec(ending)
                    connection.execute("insert into t values (2)")
                    rows = connection.execute("select x, pg_backend_pid() from t").fetchall()
                    assert rows == [(1, backend), (2, backend)], rows
                with psycopg.connect(sys.argv[1]) as other:
                    assert other.execute("select sum(x) from t").fetchone() == (3,)
                    other.execute("truncate t")
                print(ending, used, flush=True)
        """,
        database,
        *ENDINGS,
    )
    assert result.code == 0, result
    assert result.stdout.splitlines() == [f"{e} {used}" for e in ENDINGS for used in (False, True)]


def test_asynchronous_psycopg(python: Run, database: str) -> None:
    result = python(
        """
        import asyncio, sys
        import psycopg
        from snapshot import revert, snapshot

        async def main():
            async with await psycopg.AsyncConnection.connect(sys.argv[1]) as connection:
                await connection.execute("create table t (x int)")
                if snapshot():
                    await connection.rollback()
                    await connection.close()
                    async with await psycopg.AsyncConnection.connect(sys.argv[1]) as own:
                        cursor = await own.execute("select 5")
                        print(await cursor.fetchone(), flush=True)
                    sys.exit()
                await connection.execute("insert into t values (1)")
            async with await psycopg.AsyncConnection.connect(sys.argv[1]) as other:
                print(await (await other.execute("select * from t")).fetchall())

        asyncio.run(main())
        """,
        database,
    )
    assert result.stdout.splitlines() == ["(5,)", "[(1,)]"], result


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "sqlite"])
def test_sqlalchemy(python: Run, request: pytest.FixtureRequest, driver: str) -> None:
    url = "sqlite:///data.db"
    if driver != "sqlite":
        url = request.getfixturevalue("database").replace("postgresql", driver)
    result = python(
        """
        import os, sys
        import sqlalchemy
        from sqlalchemy import text
        from snapshot import revert, snapshot

        engine = sqlalchemy.create_engine(sys.argv[1])
        with engine.begin() as first:
            first.execute(text("create table t (x int)"))
        for ending in sys.argv[2:]:
            with engine.begin() as connection:
                connection.execute(text("delete from t"))
            with engine.begin() as connection:
                connection.execute(text("insert into t values (1)"))
                if snapshot():
                    with engine.connect() as own:
                        assert own.execute(text("select count(*) from t")).scalar() == 0
                    exec(ending)
                connection.execute(text("insert into t values (2)"))
            with engine.connect() as connection:
                assert connection.execute(text("select sum(x) from t")).scalar() == 3
            print(ending, flush=True)
        engine.dispose()
        """,
        url,
        *ENDINGS,
    )
    assert result.code == 0, result
    assert result.stdout.splitlines() == ENDINGS, result


def test_tls(python: Run, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    result = python(
        """
        import os, socket, ssl, sys, threading
        from snapshot import revert, snapshot
        from snapshot.errors import RootOnly

        here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        here.load_cert_chain("server.pem")
        there = ssl.create_default_context(cafile="authority.pem")
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                plain, _ = listener.accept()
                threading.Thread(target=answer, args=(plain,), daemon=True).start()

        def answer(plain):
            with here.wrap_socket(plain, server_side=True) as connection:
                while got := connection.recv(100):
                    connection.sendall(got.upper())

        def connect():
            plain = socket.create_connection(listener.getsockname())
            return there.wrap_socket(plain, server_hostname="localhost")

        threading.Thread(target=serve, daemon=True).start()
        for ending in sys.argv[1:]:
            with connect() as connection:
                connection.sendall(b"before")
                assert connection.recv(100) == b"BEFORE"
                if snapshot(threads="run"):
                    for use in (lambda: connection.sendall(b"x"), lambda: connection.recv(1)):
                        try:
                            use()
                        except RootOnly as error:
                            assert "SSLSocket belongs to the original" in str(error), error
                        else:
                            os.abort()
                    connection.unwrap()
                    connection.close()
                    with connect() as own:
                        own.sendall(b"own")
                        assert own.recv(100) == b"OWN"
                    exec(ending)
                connection.sendall(b"after")
                assert connection.recv(100) == b"AFTER"
            print(ending, flush=True)
        """,
        *ENDINGS,
    )
    assert result.code == 0, result
    assert result.stdout.splitlines() == ENDINGS, result


def test_openmp(python: Run) -> None:
    require("sklearn")
    result = python(
        """
        import os
        import numpy
        from sklearn.cluster import KMeans
        from snapshot import fork_call, revert, snapshot

        points = numpy.random.default_rng(1).random((5000, 4))

        def fit():
            return round(float(KMeans(3, n_init=1, random_state=1).fit(points).inertia_), 6)

        expected = fit()
        for _ in range(3):
            if snapshot():
                assert fit() == expected
                revert()
            assert fork_call(fit, timeout=60) == expected
            assert fit() == expected
        print("fitted")
        """,
        env={"OMP_NUM_THREADS": "3", "SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "fitted\n", result
