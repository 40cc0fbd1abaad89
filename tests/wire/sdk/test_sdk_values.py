"""Embeddings, moderations and models by the official SDK."""

import math
from typing import Any

import openai
import pytest

from tests.wire.sdk.parity import both_ways, done, each

SMALL = "text-embedding-3-small"


@both_ways
async def test_embeddings_default(client: Any) -> Any:
    """What the SDK asks for by itself (base64 on the wire) are floats of unit length."""
    answer = await done(client.embeddings.create(model=SMALL, input=["a cat", "a dog", "a cat"]))
    vectors = [item.embedding for item in answer.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert all(math.isclose(math.fsum(x * x for x in one), 1, rel_tol=1e-5) for one in vectors)
    return answer


@both_ways
async def test_embedding_encodings(client: Any) -> Any:
    """Floats and base64 cross as they are."""
    create = client.embeddings.create
    floats = await done(create(model=SMALL, input="a cat", encoding_format="float", dimensions=64))
    coded = await done(create(model=SMALL, input="a cat", encoding_format="base64", dimensions=64))
    assert isinstance(coded.data[0].embedding, str)
    return [floats, coded]


@both_ways
async def test_embedding_of_tokens(client: Any) -> Any:
    """Arrays of tokens, and arrays of such arrays, are embedded."""
    create = client.embeddings.create
    one = await done(create(model=SMALL, input=[1, 2, 3], dimensions=8))
    many = await done(create(model=SMALL, input=[[1, 2, 3], [4]], dimensions=8))
    assert one.data[0].embedding == many.data[0].embedding
    return [one, many]


@both_ways
async def test_large_embedding_batch(client: Any) -> Any:
    """A batch of 256 inputs comes back in order."""
    texts = [f"text {n}" for n in range(256)]
    answer = await done(client.embeddings.create(model=SMALL, input=texts, dimensions=32))
    assert [item.index for item in answer.data] == list(range(256))
    return answer


@both_ways
async def test_moderations(client: Any) -> Any:
    """Texts and pictures are judged."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    texts = await done(client.moderations.create(input=["a friendly word", "I will kill the lights"]))
    mixed = await done(client.moderations.create(input=[{"type": "text", "text": "hello"}, picture]))
    assert [result.flagged for result in texts.results] == [False, True]
    return [texts, mixed]


@both_ways
async def test_models(client: Any) -> Any:
    """Models are listed and shown; the one that may be deleted is."""
    listed = [model async for model in each(client.models.list())]
    shown = await done(client.models.retrieve("gpt-4o"))
    deleted = await done(client.models.delete("ft:gpt-4o:demo::1"))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await done(client.models.delete("gpt-4o"))
    return [listed, shown, deleted, refused.value]
