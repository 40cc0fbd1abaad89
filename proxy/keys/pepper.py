"""Where the pepper comes from: the environment, or a file in the data directory that the first start makes."""

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.config import ConfigError
from proxy.keys.key import Pepper

__all__ = ["VARIABLE", "check_pepper", "data_directory", "load_pepper"]

VARIABLE: Final = "ASKONCE_PEPPER"
FILE: Final = "pepper"
MIN_LENGTH: Final = 32
MIN_DISTINCT: Final = 10
"""Characters. A random one of 32 hexadecimal digits has fewer once in some 50,000 times."""
MAX_LENGTH: Final = 4_096
KNOWN: Final = ("change", "default", "example", "insecure", "password", "pepper", "secret", "askonce", "0123456789")
"""Words that stand in documents and templates, and in no random text that was drawn."""


def data_directory(path: Path) -> Path:
    """Makes it, for nobody but us, unless it is there. Raises ConfigError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: the data directory cannot be made: {error.strerror}") from None
    return path


def check_pepper(environ: Mapping[str, str]) -> None:
    """Of the variable, if it is set. Raises ConfigError, as `load_pepper` would."""
    if given := environ.get(VARIABLE, "").strip():
        _checked(given, VARIABLE)


def load_pepper(
    folder: Path, draw: Callable[[int], bytes] = os.urandom, environ: Mapping[str, str] = os.environ
) -> Pepper:
    """`folder` exists. `draw` gives so many random bytes. Raises ConfigError, whose line shows nothing of a pepper."""
    if given := environ.get(VARIABLE, "").strip():
        return _checked(given, VARIABLE)
    path = folder / FILE
    try:
        if not path.exists():
            _make(path, draw(32).hex())
        return _checked(_read(path), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be used: {error.strerror}") from None


def _checked(text: str, place: str) -> Pepper:
    wanted = f"{MIN_LENGTH} random characters or more, such as `openssl rand -hex 32` prints"
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
        raise ConfigError(f"{place}: a pepper has {wanted}")
    if len(set(text)) < MIN_DISTINCT or any(word in text.lower() for word in KNOWN):
        raise ConfigError(f"{place}: this pepper can be guessed; it takes {wanted}")
    return Pepper(text.encode("utf-8", "surrogateescape"))


def _make(path: Path, text: str) -> None:
    """Whole or not at all: who starts at the same time reads what the first one has made."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(0o600)
    try:
        with draft.open("w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
            raise ConfigError(f"{path}: everybody on this machine may use this file: chmod 600")
        text = file.read(MAX_LENGTH + 1)
    return text.decode("utf-8", "surrogateescape").strip()
