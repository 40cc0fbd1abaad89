"""The settings of a lane whose requests may go to either of two upstreams."""

from bench.payload import MODEL

__all__ = ["routed"]

_PLENTY = 1_000


def routed(port: int) -> str:
    """Sections of config.toml; both upstreams are the one at this port, with more slots than are ever taken."""
    upstreams = "".join(
        f"""
[upstreams.{name}]
base_url = "http://127.0.0.1:{port}/v1"
models = []
slots = {_PLENTY}
"""
        for name in ("one", "two")
    )
    return f"""{upstreams}
[routes.bench]
models = ["*"]
groups = ["one two"]
strategy = "fastest"
[aliases]
unused = "{MODEL}"
"""
