"""`askonce serve`."""

import os
from pathlib import Path

from proxy import config as configuration
from proxy import workers

__all__ = ["serve"]


def serve(option: Path | None, count: int | None) -> int:
    """The exit code. Raises ConfigError, ListenError."""
    if count is not None:
        # As a variable, so that a reload finds it too.
        os.environ["ASKONCE_SERVER__WORKERS"] = str(count)
    loaded = configuration.read(configuration.find(option))
    if loaded.config.server.workers > 1 and workers.current() is None:
        return workers.run(loaded)
    from proxy import server  # a supervisor needs none of it

    return server.run(loaded.config, loaded.path)
