"""`askonce calibrate` on files of pairs: what is counted, what it advises, and what it says of a bad line."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cache.semantic.learning.bounds import interval
from cache.semantic.learning.scores import SCORES
from proxy.cli.calibration.measuring import Shares, Way
from proxy.cli.calibration.plot import NoPlot, draw
from tests.fakes.command import Printed, askonce
from tests.fakes.cross_encoder import cross_encoder

SAME = [("How do I reset my password?", "how can i reset my password"), ("Where is the museum?", "Where's the museum?")]
TRAPS = [
    ("Can I bring my dog?", "Can't I bring my dog?"),
    ("Is breakfast served before 9?", "Is breakfast served before 8?"),
    ("Who paints in Bruges?", "Who paints in Ghent?"),
]
PAIRS = [
    *({"a": a, "b": b, "same_answer": True, "category": "same"} for a, b in SAME),
    *({"a": a, "b": b, "same_answer": False, "category": "trap"} for a, b in TRAPS),
]

FEW = Shares(interval(1, 4), interval(1, 4), interval(1, 4), 1)

Run = Callable[..., Awaitable[Printed]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`askonce calibrate` on a file of these lines."""

    async def run(lines: list[Any] | bytes, *arguments: str, config: str = "") -> Printed:
        file, settings = tmp_path / "pairs.jsonl", tmp_path / "askonce.toml"
        data = lines if isinstance(lines, bytes) else "\n".join(map(json.dumps, lines)).encode()
        file.write_bytes(data)
        settings.write_text(config)
        return await askonce("calibrate", str(file), *arguments, environ={"ASKONCE_CONFIG": str(settings)})

    return run


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)]


async def test_tables(run: Run) -> None:
    """As it is set by tier and category, by threshold, and which threshold; with intervals."""
    printed = await run([*PAIRS])
    assert (printed.code, printed.err) == (0, "")
    lines = [line.split() for line in printed.out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("As", "By", "Which")] == ["As", "By", "Which"]
    (whole,) = [line for line in lines if line[:1] == ["all"]]
    assert whole == ["all", "5", "100.0%", "(15.8–100.0)", "0.0%", "(0.0–70.8)", "2", "0.0%", "(0.0–84.2)"]
    assert [line for line in lines if line[:1] == ["trap"]] == [["trap", "3", "-", "0.0%", "(0.0–70.8)", "0", "-"]]
    assert "none yet: 0 of 400" in printed.out


async def test_json(run: Run) -> None:
    """The same in one document."""
    printed = await run([*PAIRS], "--json", "--max-error-rate", "0.02")
    found = json.loads(printed.out)
    assert (found["pairs"], found["should_hit"], found["traps"]) == (5, 2, 3)
    assert found["as_set"]["hits"] == found["tiers"]["licensed"]["hits"] == 2
    assert found["settings"] == {"threshold": None, "min_score": None, "max_error_rate": 0.02}
    assert found["learned"]["threshold"] is None
    alone = [way["cosine"]["traps_wrong"]["share"] for way in found["thresholds"]]
    assert alone == sorted(alone, reverse=True)
    assert alone[0] > 0 == found["thresholds"][0]["with_vetoes"]["traps_wrong"]["share"]


async def test_what_was_answered_wrongly(run: Run) -> None:
    """Pair by pair, with what let it through."""
    wrong = {"a": "How do I mend a fence?", "b": "How do I repair a fence?", "same_answer": False, "category": "trap"}
    found = json.loads((await run([*PAIRS, wrong], "--json")).out)["answered_wrongly"]
    assert [(pair["a"], pair["b"], pair["tier"], pair["rule"]) for pair in found] == [
        (wrong["a"], wrong["b"], "licensed", "synonym")
    ]
    printed = (await run([*PAIRS, *[wrong] * 25])).out
    assert printed.count("How do I repair a fence?") == 20
    assert "and 5 more: --json" in printed
    assert "Answered wrongly" not in (await run([*PAIRS])).out


def test_a_picture(tmp_path: Path) -> None:
    """A PNG; fonts stay open, as matplotlib has it."""
    ways = [Way(threshold, FEW, FEW, FEW) for threshold in (0.7, 0.9)]
    draw(ways, tmp_path / "out.png", 0.01)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(NoPlot, match="No such file"):
        draw(ways, tmp_path / "nowhere" / "out.png", 0.01)


async def test_conversations(run: Run) -> None:
    """A question counts where it is asked: what stands before it is the same, or nothing is looked for."""
    question, other = "How do I reset it?", "how can i reset it"
    pairs = [
        {"a": turns("My router", "Yes?", question), "b": turns("My router", "Yes?", other), "same_answer": True},
        {"a": turns("My phone", "Yes?", question), "b": turns("My router", "Yes?", question), "same_answer": False},
        {"a": "What about my order?", "b": "What about my order?", "same_answer": False},
        {"a": "Wo ist das Museum?", "b": "Where is the museum?", "same_answer": False},
    ]
    found = json.loads((await run(pairs, "--json")).out)
    assert found["not_looked_for"] == {"another context": 2, "of one person or moment": 1}
    assert (found["as_set"]["hits"], found["as_set"]["wrong_of_hits"]["share"]) == (1, 0.0)


async def test_the_configuration_counts(run: Run) -> None:
    """Its threshold, and its words."""
    words = '[semantic]\nthreshold = 0.6\nnot_synonyms = ["purchase, buy"]\nsynonyms = ["permit, badge"]'
    pairs = [
        {"a": "How do I renew my parking permit?", "b": "How do I renew my parking badge?", "same_answer": True},
        {"a": "Where are tulips grown?", "b": "Which regions grow a lot of tulips?", "same_answer": True},
    ]
    assert json.loads((await run(pairs, "--json")).out)["as_set"]["hits"] == 0
    found = json.loads((await run(pairs, "--json", config=words)).out)
    assert found["settings"]["threshold"] == 0.6
    assert found["tiers"]["licensed"]["hits"] == 1


async def test_rivals_are_no_sample(run: Run) -> None:
    """A gateway exports them for whoever looks, and chose them by what was wrong."""
    rivals = [{**pair, "rival": True} for pair in PAIRS]
    assert (await run(PAIRS + rivals, "--json")).out == (await run(PAIRS, "--json")).out


GOOD = json.dumps(PAIRS[0]).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "there is no pair in it"),
        (GOOD + b"\n\nno json\n", "line 3: no JSON"),
        (GOOD + b'\n{"a": "canary", "b": "x"}', "line 2: Object missing required field `same_answer`"),
        (b'{"a": 5, "b": "x", "same_answer": true}', "line 1: Expected `str | array`, got `int` - at `$.a`"),
        (b'{"a": "canary", "b": " ", "same_answer": true}', "line 1: b: it is empty"),
        (b'{"a": "canary", "b": [], "same_answer": true}', "line 1: b: a text, or messages"),
        (json.dumps({"a": "x", "b": turns("a", "b"), "same_answer": True}).encode(), "line 1: b: a text, or messages"),
        (b'{"a": "canary", "b": "x", "same_answer": true, "weight": 0}', "line 1: weight: a number above 0"),
        (b'{"a": "' + b"x" * (1 << 20), "line 1: longer than"),
        (b'{"a": "\xff", "b": "x", "same_answer": true}', "line 1: no JSON"),
    ],
)
async def test_a_bad_file(run: Run, data: bytes, why: str) -> None:
    """One line that names the line, shows nothing of the questions, and exit 1."""
    printed = await run(data)
    assert (printed.code, printed.out) == (1, "")
    assert why in printed.err
    assert "canary" not in printed.err.partition("pairs.jsonl")[2]
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "config", "why"),
    [
        (["--embedder", "nowhere"], "", "nowhere/model.onnx cannot be read"),
        ([], '[semantic.embedder]\nkind = "upstream"\nmodel = "m"\ndimension = 8', "name another with --embedder"),
    ],
)
async def test_no_embedder(run: Run, arguments: list[str], config: str, why: str) -> None:
    """One line, and exit 1."""
    printed = await run([*PAIRS], *arguments, config=config)
    assert (printed.code, len(printed.err.splitlines())) == (1, 1)
    assert why in printed.err


async def test_no_file(tmp_path: Path) -> None:
    """Is said as such."""
    printed = await askonce("calibrate", str(tmp_path / "none"), environ={})
    assert (printed.code, printed.err) == (1, f"askonce: {tmp_path / 'none'}: No such file or directory")


async def test_no_matplotlib(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    printed = await run([*PAIRS[:1]], "--plot", str(tmp_path / "out.png"))
    assert printed.code == 1
    assert "pip install 'askonce[plot]'" in printed.err


async def test_a_verifier_is_measured_too(run: Run, tmp_path: Path) -> None:
    """By its score, with all that is served without it; and asked about nothing that a veto met."""
    folder = str(cross_encoder(tmp_path / "verifier"))
    pairs = [
        {"a": "How do I get a refund?", "b": "How do I get my money back as a refund?", "same_answer": True},
        {"a": "How do I get a refund?", "b": "How do I get no refund?", "same_answer": False},
    ]
    config = f'[semantic.verifier]\npath = "{folder}"\nmin_score = 0.95'
    found = json.loads((await run(pairs, "--json", config=config)).out)
    assert (found["as_set"]["hits"], found["tiers"]["verified"]["hits"]) == (1, 1)
    assert [each["min_score"] for each in found["scores"] if each["full"]["hits"]] == [*SCORES[:8]]
    assert found["learned_score"]["labels"] == 1
    unset = await run(pairs, "--verifier", folder)
    assert "By score of the verifier" in unset.out
    assert "score by labels" in unset.out
