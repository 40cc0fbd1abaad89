"""`cache-status` is a structured field that says what happened."""

import re

import pytest

from cache.policy import NoCacheReason
from cache.status import CacheStatus, Handling, render_cache_status

TOKEN = r"[A-Za-z*][!#$%&'*+.^_`|~:/0-9A-Za-z-]*"
PARAMETER = rf'[a-z][a-z0-9_.*-]*(?:=(?:-?\d{{1,15}}|"[ !#-\[\]-~]*"|{TOKEN}))?'
FIELD = re.compile(rf"{TOKEN}(?:; {PARAMETER})*")
"""A list member of RFC 8941 as far as RFC 9211 needs it."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (render_cache_status(Handling.HIT, ttl=545), "askonce; hit; ttl=545"),
        (render_cache_status(Handling.HIT, ttl=-30), "askonce; hit; ttl=-30"),
        (render_cache_status(Handling.HIT, stored=True, collapsed=True, fwd_status=1), "askonce; hit"),
        (render_cache_status(Handling.FWD_MISS, stored=True), "askonce; fwd=uri-miss; stored"),
        (render_cache_status(Handling.FWD_MISS, collapsed=True), "askonce; fwd=uri-miss; collapsed"),
        (render_cache_status(Handling.FWD_STALE, fwd_status=503), "askonce; fwd=stale; fwd-status=503"),
        (
            render_cache_status(Handling.FWD_BYPASS, reason=NoCacheReason.NO_STORE),
            "askonce; fwd=bypass; detail=no-store",
        ),
        (render_cache_status(Handling.ANSWERED), "askonce"),
    ],
)
def test_what_is_said(value: bytes, expected: str) -> None:
    """RFC 9211: hit or forwarded, never both."""
    assert value.decode() == expected


@pytest.mark.parametrize("handling", Handling)
def test_every_value_is_a_structured_field(handling: Handling) -> None:
    """With every reason, and all of the rest."""
    for reason in NoCacheReason:
        value = render_cache_status(
            handling, ttl=-5, stored=True, collapsed=True, fwd_status=200, reason=reason
        ).decode()
        assert FIELD.fullmatch(value), value
        assert ("; hit" in value) + ("; fwd=" in value) == (handling is not Handling.ANSWERED)


def test_the_short_status_is_a_closed_set() -> None:
    """The eight words of `x-cache-status`."""
    words = "HIT SEMANTIC-HIT PARTIAL-HIT COALESCED MISS REFRESH STALE BYPASS"
    assert " ".join(status.value for status in CacheStatus) == words
