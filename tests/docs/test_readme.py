"""What the README promises of metrics, errors, headers, commands and files is what there is."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.errors import Kind
from proxy.routes import _KNOWN
from proxy.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = (
    *("proxy/http1", "proxy/caching", "proxy/limiting", "proxy/keys", "proxy/ledger", "proxy/upstream"),
    "proxy/semantic",
    *("proxy/admission", "cache", "limits"),
)
"""Those that are drawn with all that is in them."""
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "THREAT_MODEL.md", "CONTRIBUTING.md", "CHANGELOG.md")


def exposed() -> set[str]:
    """Sample names, as they are scraped, without the suffixes of a histogram."""
    families = text_string_to_metric_families(Metrics().render()[0].decode())
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in families}


def test_every_metric_is_documented_and_no_other() -> None:
    """The metrics in the README are those that are exposed."""
    assert set(re.findall(r"`(askonce_[a-z_]+)", README)) == exposed()


def test_every_error_code_is_documented_with_its_status_and_no_other() -> None:
    """The table of errors is the table in errors.py."""
    table = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", README, re.MULTILINE)
    assert {(int(status), code) for status, code in table} == {(kind.status, kind.value) for kind in Kind}


def test_every_known_route_is_documented() -> None:
    """A route of which the gateway knows something stands in the table of routes."""
    table = README.partition("## Routes")[2].partition("\n## ")[0]
    assert [name for name in _KNOWN if name not in table] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Files and headings that a document links to exist."""
    text = (ROOT / document).read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        path = ROOT / (name or document)
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if path.is_file() else []
        if not path.exists() or (anchor and anchor not in {_anchor(heading) for heading in headings}):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str) -> None:
    """Every `make` command that a document names is a target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^([a-z ]+):", makefile, re.MULTILINE) for name in line.split()}
    named = re.findall(r"`make (\w+)`|^make (\w+)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    assert {one or other for one, other in named} <= targets


def test_the_house_is_as_drawn() -> None:
    """Every module of the drawing exists, and every module and folder of the package is drawn."""
    drawing = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("```")[2].partition("```")[0]
    inside = drawing.partition("\ntests/")[0]
    drawn = set(re.findall(r"^ +([a-z0-9_]+(?:\.py|/))", inside, re.MULTILINE))
    drawn |= set(re.findall(r"  ([a-z0-9_]+\.py)", inside))
    top = [path for path in (ROOT / "proxy").iterdir() if path.is_dir() or path.suffix == ".py"]
    top = [path for path in top if not path.name.startswith("__")]
    rooms = [path for room in ROOMS for path in (ROOT / room).glob("*.py")]
    rooms = [path for path in rooms if path.name != "__init__.py"]
    assert drawn == {f"{path.name}/" if path.is_dir() else path.name for path in (*top, *rooms)}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_is_left_to_fill_in(document: str) -> None:
    """No placeholder stands where a figure should."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert re.findall(r"\b(?:TODO|TBD|FIXME|XXX|[A-Z]+_TABLE)\b", text) == []
