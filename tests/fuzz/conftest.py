"""How much is tried: enough for every run; FUZZ_EXAMPLES=20000 before a release."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "askonce",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("askonce")


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Which lines run is counted by the other suites. Counting them here would take as long as the tests."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
