"""What libraries say through `logging`, and what an event loop complains of, in our own lines."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, final

from proxy.telemetry.log import Log
from proxy.telemetry.redact import described, redacted

__all__ = ["capture_logging", "loop_exception_handler"]


@final
class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Only the first line: asyncio's further ones hold the reprs of whatever was at hand.
            fields: dict[str, object] = {"logger": record.name, "message": redacted(_first_line(record.getMessage()))}
            error = record.exc_info[1] if record.exc_info else None
            if error is not None:
                fields |= described(error)
            if record.levelno >= logging.ERROR:
                self._log.error("library", **fields)
            elif record.levelno >= logging.WARNING:
                self._log.warning("library", **fields)
            else:
                self._log.debug("library", **fields)
        except Exception as error:  # noqa: BLE001  (a record whose arguments do not fit must not fail its caller)
            self._log.failure("library", error, logger=record.name)


def capture_logging(log: Log) -> Callable[[], None]:
    """Makes `log` the only handler of the root logger; returns what restores the former ones."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [_Handler(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)

    def restore() -> None:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)

    return restore


def loop_exception_handler(log: Log) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """For `loop.set_exception_handler`."""

    def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message = redacted(_first_line(str(context.get("message", ""))))
        error = context.get("exception")
        if isinstance(error, BaseException):
            log.failure("event_loop", error, message=message)
        else:
            log.error("event_loop", message=message)

    return handle


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
