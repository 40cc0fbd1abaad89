"""One fake upstream and one gateway for all cases of this folder."""

from collections.abc import Iterator

import pytest

from tests.wire.sdk.parity import Pair
from tests.wire.sdk.parity import pair as start_pair


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    with start_pair() as started:
        yield started
