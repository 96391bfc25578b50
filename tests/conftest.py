"""Fixtures of every suite: a database of its own for each test, a broker. What is missing is named, not hidden."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.broker import Broker, start_mosquitto
from tests.support.databases import DatabaseServer, cloud_on

FURNISHING = frozenset({"set_up", "open_lab"})
"""What loads the catalogue first of all (`tests.support.bench`, `tests.support.lab`)."""

# A busy machine draws slowly; that is no fault of what is tested.
settings.register_profile("xinglin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("xinglin")


LONGEST_FIRST = ("tests/journeys/test_morning_smoke.py", "tests/journeys/", "tests/browser/", "tests/integration/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a file is one worker's, and a long one at the end would leave the others idle.

    (xdist would put files with few tests last, which are the longest: `./xinglin test` forbids it.)
    """
    items.sort(key=lambda item: _turn(item.path.as_posix()))


def _turn(path: str) -> int:
    return next((turn for turn, folder in enumerate(LONGEST_FIRST) if folder in path), len(LONGEST_FIRST))


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """One PostgreSQL for the whole run (shared by the workers of xdist), with a migrated template database."""
    server = DatabaseServer.start(in_memory=True)
    yield server
    server.release()


@pytest.fixture
def database(
    request: pytest.FixtureRequest, database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A migrated database for this test alone; the cloud's settings point at it. Gives its URL.

    The tests of a module that furnishes a laboratory find the starting catalogue loaded.
    """
    furnished = not FURNISHING.isdisjoint(vars(request.module))
    with database_server.clone(database_server.furnished if furnished else None) as url, cloud_on(url, monkeypatch):
        yield url


@pytest.fixture
def empty_database(database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database without any table, for the tests of the migrations themselves."""
    with database_server.clone(template="template1") as url, cloud_on(url, monkeypatch):
        yield url


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A mosquitto on a free loopback port that the test may kill and start again."""
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.stop()
