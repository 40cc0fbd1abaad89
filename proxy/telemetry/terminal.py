"""Log lines for people at a terminal. Sans-IO."""

from collections.abc import Mapping
from typing import Final

from proxy.telemetry.redact import printable

__all__ = ["Terminal"]

_RESET: Final = "\x1b[0m"
_COLOURS: Final = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "dim": "\x1b[2m",
    "bold": "\x1b[1m",
}


class Terminal:
    """Renders the fields of a line, coloured if the terminal takes it."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def render(self, fields: Mapping[str, object]) -> bytes:
        level = str(fields["level"])
        time = self._paint("dim", str(fields["time"])[11:23])
        body = self._request(fields) if fields["event"] == "request" else self._event(fields)
        return f"{time} {self._paint(level, f'{level:<7}')} {body}\n".encode("utf-8", "replace")

    def _paint(self, colour: str, text: str) -> str:
        return f"{_COLOURS[colour]}{text}{_RESET}" if self._coloured else text

    def _event(self, fields: Mapping[str, object]) -> str:
        rest = [f"{name}={_plain(value)}" for name, value in fields.items() if name not in ("time", "level", "event")]
        return " ".join([self._paint("bold", _plain(fields["event"])), *rest])

    def _request(self, fields: Mapping[str, object]) -> str:
        words = [
            self._paint(str(fields["level"]), str(fields["status"])),
            self._paint("bold", f"{_plain(fields['method'])} {_plain(fields['route'])}"),
            _plain(fields["model"]),
            f"{fields['duration_ms']:.0f} ms",
            f"first byte {fields['ttfb_ms']:.0f} ms" if fields["ttfb_ms"] is not None else "",
            f"{fields['bytes_in']} B in, {fields['bytes_out']} B out",
            "" if fields["outcome"] == "relayed" else str(fields["outcome"]),
            _plain(fields["error"] or ""),
            _plain(fields["detail"] or ""),
            self._paint("dim", str(fields["call_id"])),
        ]
        return "  ".join(word for word in words if word)


def _plain(value: object) -> str:
    return printable(str(value))
