"""Sizes and names. Each check is shown to fail on a tree that breaks it."""

from pathlib import Path

import pytest

from tests.architecture.house import MAX_FILE, MAX_FUNCTION, NINE_IN_TEN, House

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT, "proxy", "cache", "limits", "bench", "tests/fakes")


def test_files_hold_one_idea(house: House) -> None:
    """No file is longer than 400 lines."""
    assert house.long_files() == []


def test_functions_are_short(house: House) -> None:
    """No function is longer than 80 lines."""
    assert house.long_functions() == []


def test_most_functions_are_very_short() -> None:
    """Nine in ten functions of the product have at most 35 lines."""
    assert House(ROOT, "proxy", "cache", "limits").mostly_short()


def test_names_explain_something() -> None:
    """No module is called utils, common, helpers, misc or base."""
    assert House(ROOT, "proxy", "cache", "limits", "bench", "tests").bad_names() == []


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limits_are_exact(tmp_path: Path, extra: int) -> None:
    """At the limit is well; one line more is not, for files, functions, methods and nine in ten."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    (folder / "long.py").write_text("x = 1\n" * (MAX_FILE + extra))
    method = "class A:\n" + "".join(f"    {line}\n" for line in function("f", MAX_FUNCTION + extra).splitlines())
    (folder / "deep.py").write_text(method)
    (folder / "wide.py").write_text("".join(function(f"f{i}", NINE_IN_TEN + extra) for i in range(9)))
    house = House(tmp_path, "proxy")
    assert (len(house.long_files()), len(house.long_functions())) == (extra, extra)
    assert house.mostly_short() is not bool(extra)


@pytest.mark.parametrize("path", ["proxy/utils.py", "proxy/helpers/__init__.py", "proxy/a/base.py"])
def test_a_name_that_explains_nothing_is_found(tmp_path: Path, path: str) -> None:
    """As a module or as a package."""
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("")
    assert len(House(tmp_path, "proxy").bad_names()) == 1
