"""`askonce serve`."""

import gc
import os
from pathlib import Path

from proxy import config as configuration
from proxy import workers
from proxy.config import Config
from proxy.telemetry.log import Log

__all__ = ["serve"]


def serve(option: Path | None, count: int | None) -> int:
    """The exit code. Raises ConfigError, ListenError."""
    if count is not None:
        # As a variable, so that a reload finds it too.
        os.environ["ASKONCE_SERVER__WORKERS"] = str(count)
    loaded = configuration.read(configuration.find(option))
    if workers.current() is None:
        _name_strays(loaded.config)
        if loaded.config.server.workers > 1:
            return workers.run(loaded)
    gc.disable()  # what a start makes stays; once it serves, `server` enables it again
    try:
        from proxy import server  # a supervisor needs none of it

        return server.run(loaded.config, loaded.path)
    finally:
        gc.enable()


def _name_strays(config: Config) -> None:
    """Whoever forgot an underscore would wait for an effect in vain."""
    if not (strays := configuration.strays(os.environ)):
        return
    log = Log(style=config.log.format, level=config.log.level)
    for name, meant in strays.items():
        log.warning("variable_ignored", variable=name, meant=meant or None)
    log.close()
