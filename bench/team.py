"""The settings of a lane whose requests come with a virtual key that everything is counted for."""

from pathlib import Path

from bench.payload import SECRET
from bench.servers import PEPPER
from proxy.keys.key import Pepper

__all__ = ["team"]

_PLENTY = 1_000_000_000


def team(scratch: Path, name: str) -> str:
    """Sections of config.toml: limits and budgets that are never reached, and the ledger."""
    digest = Pepper(PEPPER.encode()).digest(SECRET.encode()).hex()
    return f"""
[data]
directory = "{scratch / name}-data"
[auth]
mode = "keys"
[keys.declared.bench]
digest = "{digest}"
requests_per_minute = {_PLENTY}
tokens_per_minute = {_PLENTY}
usd_per_day = 1_000_000
"""
