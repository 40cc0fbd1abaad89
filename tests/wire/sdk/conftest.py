"""One fake upstream and one gateway for all cases of this folder."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.wire.sdk.parity")

from tests.wire.sdk.parity import Pair  # noqa: E402  (only now can its assertions explain themselves)
from tests.wire.sdk.parity import pair as start_pair  # noqa: E402


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    with start_pair() as started:
        yield started


@pytest.fixture(autouse=True)
def leaves_nothing(pair: Pair, leaves_nothing: None) -> None:
    """What a test leaves behind is counted from when both servers stand."""
