"""What is promised of an exchange holds whether or not its answer may be kept and shared."""

import pytest

from tests.fakes.gateway import Gateway, StartGateway

EITHER_WAY: tuple[str, ...] = (
    "test_t1_",
    "test_t4_",
    "test_t5_",
    "test_t6_a_stall",
    "test_t6_an_active",
    "test_t6_first_byte",
)
EITHER_WAY += ("test_t7_before", "test_t7_between", "test_t7_a_late")
"""Tests whose gateway only relays, and then has the cache."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "start" in metafunc.fixturenames and metafunc.function.__name__.startswith(EITHER_WAY):
        metafunc.parametrize("cache", [False, True], ids=["relayed", "cached"], indirect=True)


@pytest.fixture
def cache(request: pytest.FixtureRequest) -> bool:
    return bool(getattr(request, "param", False))


@pytest.fixture
def start(start: StartGateway, cache: bool) -> StartGateway:  # noqa: FBT001  (a fixture)
    """As elsewhere; with the cache where `cache` says so."""

    async def start_gateway(url: str = "", **settings: object) -> Gateway:
        return await start(url, **{"cache__enabled": cache} | settings)

    return start_gateway
