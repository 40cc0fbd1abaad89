"""How much is tried: enough for every run; FUZZ_EXAMPLES=20000 before a release."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "askonce",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("askonce")
