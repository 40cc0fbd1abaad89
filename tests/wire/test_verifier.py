"""A model that reads two questions at once, in a gateway that runs."""

import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cache.semantic.embed import Reason
from cache.semantic.embedders.cross_encoder import CrossEncoder, Pairs, Scores
from cache.semantic.learning.label_log import Position
from proxy.config import ConfigError
from tests.fakes.admin import TOKEN, Operator
from tests.fakes.alike import ask, counted, learnt, started, told
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.command import askonce
from tests.fakes.cross_encoder import cross_encoder
from tests.fakes.gateway import StartGateway, environment
from tests.fakes.upstream import ScriptedUpstream

ASKED = "How do I get a refund?"
REWORDED = "How do I get my money back as a refund?"
OPPOSITE = "How do I get no refund?"
READINGS = "askonce_semantic_readings_total"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(cross_encoder(tmp_path / "verifier"))


async def test_what_neither_rule_nor_similarity_lets_through_is_read(
    start: StartGateway, upstream: ScriptedUpstream, model: str
) -> None:
    """And served where its score is enough; the header, the metrics and the story of the hit say so."""
    upstream.script(completion_answer())
    settings = {"semantic__verifier__path": model, "semantic__verifier__min_score": 0.9, "semantic__audit": 0.0}
    gateway = await started(start, **settings)
    async with gateway.client() as client:
        first = await ask(client, ASKED)
        await learnt(gateway)
        hit = await ask(client, REWORDED)
    assert (status_of(hit), told(hit, "semantic-rule")) == ("SEMANTIC-HIT", "verified/verifier")
    assert hit.body == first.body
    assert await gateway.sample("askonce_semantic_hits_total", mode="on", tier="verified") == 1
    assert await gateway.sample(READINGS, result="served") == 1
    assert await gateway.sample("askonce_semantic_verifier_threshold") == 0.9
    key = told(hit, "similar-key")
    (served,) = (await Operator(gateway).get(f"cache/questions/{key}"))["served"]
    assert (served["tier"], served["asked"]) == ("verified", REWORDED)
    assert 0.9 < served["score"] < 1
    known = environment("http://h/v1", {"admin__port": urlsplit(gateway.admin_url).port or 0})
    shown = await askonce("cache", "show", key, environ=known | {"ASKONCE_ADMIN_TOKEN": TOKEN})
    assert f"verified/verifier {served['score']:.4f}" in shown.out


async def test_a_veto_holds_against_it(start: StartGateway, upstream: ScriptedUpstream, model: str) -> None:
    """It is not even asked, though it would find the two the same."""
    upstream.script(completion_answer())
    gateway = await started(start, semantic__verifier__path=model, semantic__verifier__min_score=0.5)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, OPPOSITE)) == "MISS"
    assert await gateway.sample("askonce_semantic_vetoes_total", rule="negation") == 1
    assert not await gateway.sample(READINGS)


async def test_in_the_shadow_all_that_it_would_serve_is_compared(
    start: StartGateway, upstream: ScriptedUpstream, model: str
) -> None:
    """And counts for its bound, not only what an audit has drawn."""
    upstream.script(completion_answer("It takes 5 days."))
    settings = {"semantic__verifier__path": model, "semantic__verifier__min_score": 0.9, "semantic__audit": 0.0}
    gateway = await started(start, **settings, semantic__mode="shadow")
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, REWORDED)) == "MISS"
        await counted(gateway, "askonce_semantic_verifier_labels_counted")
    assert await gateway.sample("askonce_semantic_hits_total", mode="shadow", tier="verified") == 1
    assert await gateway.sample("askonce_semantic_labels_total", verdict="right", of="served") == 1
    assert await gateway.sample("askonce_semantic_verifier_wrong_ratio_upper") == pytest.approx(0.95)


async def test_in_the_shadow_an_audit_counts_once(start: StartGateway, upstream: ScriptedUpstream, model: str) -> None:
    """What it was drawn from is compared as well."""
    upstream.script(completion_answer("It takes 5 days."))
    settings = {"semantic__verifier__path": model, "semantic__verifier__min_score": 0.9, "semantic__audit": 0.99}
    gateway = await started(start, **settings, semantic__mode="shadow")
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        await ask(client, REWORDED)
        await counted(gateway, "askonce_semantic_verifier_labels_counted")
    semantics = gateway.app._caches.semantics
    assert semantics is not None
    page = await semantics.labels.read(Position())
    assert page is not None
    assert [label.weight for label in page.labels if label.verifier] == [1.0]


async def test_without_labels_and_without_a_score_it_serves_nothing(
    start: StartGateway, upstream: ScriptedUpstream, model: str
) -> None:
    """What it has read is labelled, until labels prove a score."""
    upstream.script(completion_answer("It takes 5 days."))
    gateway = await started(start, semantic__verifier__path=model)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, REWORDED)) == "MISS"
        await counted(gateway, "askonce_semantic_verifier_labels_counted")
    assert await gateway.sample(READINGS, result="low") == 1
    assert await gateway.sample("askonce_semantic_verifier_threshold") == float("inf")


async def test_an_audit_that_is_wrong_shuts_it(start: StartGateway, upstream: ScriptedUpstream, model: str) -> None:
    """At once, whatever score the operator has set; and the entry takes a higher similarity."""
    upstream.script(completion_answer("It takes 5 days."), completion_answer("It takes 7 days."))
    settings = {"semantic__verifier__path": model, "semantic__verifier__min_score": 0.9, "semantic__audit": 1.0}
    gateway = await started(start, **settings)
    async with gateway.client() as client:
        key = told(await ask(client, ASKED), "cache-key")
        await learnt(gateway)
        assert status_of(await ask(client, REWORDED)) == "MISS"
        await counted(gateway, "askonce_semantic_labels_total", verdict="wrong", of="audit")
        await counted(gateway, "askonce_semantic_verifier_wrong_ratio")
    assert await gateway.sample(READINGS, result="audit") == 1
    assert await gateway.sample("askonce_semantic_verifier_threshold") == float("inf")
    assert await gateway.sample("askonce_semantic_verifier_wrong_ratio_upper") == 1
    assert (await Operator(gateway).get(f"cache/questions/{key}"))["min_similarity"] > 0.6


async def test_one_that_is_late_costs_a_miss(
    start: StartGateway, upstream: ScriptedUpstream, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is that of the whole look; what was found before is compared all the same."""
    over = threading.Event()

    def run(_: CrossEncoder, looks: Sequence[Pairs]) -> list[Scores | Reason]:
        assert over.wait(30)
        return [Reason.FAILED for _ in looks]

    monkeypatch.setattr(CrossEncoder, "run", run)
    upstream.script(completion_answer("It takes 5 days."))
    settings = {"semantic__verifier__path": model, "semantic__verifier__min_score": 0.9, "semantic__deadline": 1.0}
    gateway = await started(start, **settings)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, REWORDED)) == "MISS"
        over.set()
        await counted(gateway, "askonce_semantic_labels_total", verdict="right", of="gray")
    assert await gateway.sample(READINGS, result="late") == 1
    assert await gateway.sample("askonce_semantic_lookups_total", mode="on", result="late") == 1


async def test_nobody_waits_for_one_that_is_not_believed(
    start: StartGateway, upstream: ScriptedUpstream, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads when the answer is there, and for the label alone."""
    free, run = threading.Event(), CrossEncoder.run

    def held(encoder: CrossEncoder, looks: Sequence[Pairs]) -> list[Scores | Reason]:
        assert free.wait(30)
        return run(encoder, looks)

    monkeypatch.setattr(CrossEncoder, "run", held)
    upstream.script(completion_answer("It takes 5 days."))
    gateway = await started(start, semantic__verifier__path=model, semantic__deadline=10.0)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, REWORDED)) == "MISS"
        free.set()
        await counted(gateway, "askonce_semantic_verifier_labels_counted")
    assert await gateway.sample("askonce_semantic_lookups_total", mode="on", result="gray") == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "EMPTY"}, "semantic.verifier: .* has no model.onnx"),
        ({"path": "TORN"}, "semantic.verifier: .*model.onnx is no model that can be loaded"),
        ({"path": "MODEL", "sha256": "0" * 64}, "semantic.verifier: .*model.onnx is not what it should be"),
        ({"path": "MODEL", "label": 1}, "semantic.verifier: .* there is no label 1"),
        ({"path": "NOWHERE"}, "VERIFIER__PATH: it is no directory"),
    ],
)
async def test_one_that_cannot_be_used_stops_the_start(
    start: StartGateway, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    """The message says which file, and what is wrong with it."""
    folders = {"MODEL": cross_encoder(tmp_path / "m"), "TORN": cross_encoder(tmp_path / "t"), "EMPTY": tmp_path}
    (tmp_path / "t" / "model.onnx").write_bytes(b"?")
    path = folders.get(str(settings["path"]), tmp_path / "nowhere")
    given = {f"semantic__verifier__{name}": value for name, value in settings.items()}
    with pytest.raises(ConfigError, match=said):
        await started(start, **given | {"semantic__verifier__path": str(path)})
