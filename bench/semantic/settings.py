"""The settings of a lane that looks for questions that mean the same."""

from pathlib import Path

__all__ = ["semantic"]

_PLENTY = 1_000_000


def semantic(scratch: Path, name: str, mode: str) -> str:
    """Sections of config.toml. No look is given up for being late: what all of them take is measured."""
    return f"""
[data]
directory = "{scratch / name}-data"
[semantic]
mode = "{mode}"
deadline = 5.0
inserts_per_minute = {_PLENTY}
"""
