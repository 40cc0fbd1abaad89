"""Where the pepper comes from, and which ones are refused."""

import stat
import string
from pathlib import Path

import pytest

from proxy.config import ConfigError
from proxy.keys.key import Pepper
from proxy.keys.pepper import data_directory, load_pepper

GOOD = "f3a9c27be05d4168a1b0c7d2e9f84536"


def drawn(size: int) -> bytes:
    return bytes(range(7, 7 + size * 5, 5))


def load(folder: Path, **environ: str) -> Pepper:
    return load_pepper(folder, drawn, environ)


def test_the_variable_counts(tmp_path: Path) -> None:
    """White space around it does not, and no file is made."""
    assert load(tmp_path, ASKONCE_PEPPER=f"{GOOD}\n").mark == Pepper(GOOD.encode()).mark
    assert list(tmp_path.iterdir()) == []


def test_the_first_start_makes_one(tmp_path: Path) -> None:
    """For nobody else to read, of 256 random bits; later starts read it."""
    pepper = load(tmp_path)
    path = tmp_path / "pepper"
    assert [each.name for each in tmp_path.iterdir()] == ["pepper"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == drawn(32).hex() + "\n"
    assert load_pepper(tmp_path, bytes, {}).mark == pepper.mark


def test_who_starts_at_the_same_time_takes_what_the_first_has_made(tmp_path: Path) -> None:
    """Nobody goes on with a pepper that is not the file's."""

    def draw_slowly(size: int) -> bytes:
        (tmp_path / "pepper").touch(0o600)
        (tmp_path / "pepper").write_text(GOOD)
        return drawn(size)

    assert load_pepper(tmp_path, draw_slowly, {}).mark == Pepper(GOOD.encode()).mark
    assert [each.name for each in tmp_path.iterdir()] == ["pepper"]


@pytest.mark.parametrize(
    "weak",
    [
        "short",
        GOOD[:31],
        "a" * 64,
        "0123456789abcdef" * 4,
        "please-change-me-please-change-me",
        "ASKONCE-" + string.ascii_letters,
        "my-Pepper-" + GOOD,
        GOOD * 200,
    ],
)
def test_one_that_can_be_guessed_refuses_the_start(tmp_path: Path, weak: str) -> None:
    """From either place; what is said names the place and does not show it."""
    with pytest.raises(ConfigError, match="ASKONCE_PEPPER: ") as refused:
        load(tmp_path, ASKONCE_PEPPER=weak)
    assert weak not in str(refused.value)
    (tmp_path / "pepper").touch(0o600)
    (tmp_path / "pepper").write_text(weak)
    with pytest.raises(ConfigError, match=f"{tmp_path}/pepper: ") as refused:
        load(tmp_path)
    assert weak not in str(refused.value)


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, False), (0o604, True), (0o602, True)])
def test_a_file_for_everybody_refuses_the_start(tmp_path: Path, mode: int, refused: bool) -> None:  # noqa: FBT001
    """A group may be how a container comes by its volume."""
    load(tmp_path)
    (tmp_path / "pepper").chmod(mode)
    if refused:
        with pytest.raises(ConfigError, match="chmod 600"):
            load(tmp_path)
    else:
        load(tmp_path)


def test_an_empty_file_is_no_pepper(tmp_path: Path) -> None:
    """It is not made anew: keys may have been made under the one that was there."""
    (tmp_path / "pepper").touch(0o600)
    with pytest.raises(ConfigError, match="random characters"):
        load(tmp_path)


def test_what_cannot_be_made_is_said_in_a_line(tmp_path: Path) -> None:
    """A data directory below a file, and a pepper that is a directory."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="data directory cannot be made"):
        data_directory(tmp_path / "file" / "data")
    (tmp_path / "pepper").mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        load(tmp_path)


def test_the_data_directory_is_ours_alone(tmp_path: Path) -> None:
    """If we make it; one that is there stays as it is."""
    made = data_directory(tmp_path / "a" / "data")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o750)
    assert stat.S_IMODE(data_directory(made).stat().st_mode) == 0o750
