"""Files, uploads, batches, vector stores and fine-tuning jobs by the official SDK."""

import json
from typing import Any

import openai
import pytest

from tests.wire.sdk.parity import both_ways, done, each

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Well?"}]}
LINES = "".join(
    json.dumps({"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": ASK}) + "\n"
    for n in range(3)
).encode()


@both_ways
async def test_files(client: Any) -> Any:
    """A file goes up, is listed page by page, shown, read, and deleted, and then it is gone."""
    content = bytes(range(256)) * 4_096
    made = await done(client.files.create(file=("übung.bin", content), purpose="user_data"))
    other = await done(client.files.create(file=("b.jsonl", LINES), purpose="batch"))
    pages = [file async for file in each(client.files.list(limit=1))]
    of_purpose = [file async for file in each(client.files.list(purpose="batch", order="asc"))]
    shown = await done(client.files.retrieve(made.id))
    read = await done(client.files.content(made.id))
    assert read.content == content
    assert {file.id for file in pages} == {made.id, other.id}
    deleted = [await done(client.files.delete(file.id)) for file in pages]
    with pytest.raises(openai.NotFoundError) as gone:
        await done(client.files.content(made.id))
    return [made, pages, of_purpose, shown, read.content, deleted, gone.value]


@both_ways
async def test_large_file(client: Any) -> Any:
    """A file of 12 MiB goes up and comes down whole."""
    content = bytes(range(251)) * 50_000
    made = await done(client.files.create(file=("large.bin", content), purpose="user_data"))
    read = await done(client.files.content(made.id))
    assert read.content == content
    return [made, await done(client.files.delete(made.id))]


@both_ways
async def test_upload_in_parts(client: Any) -> Any:
    """An upload in parts becomes a file; another is cancelled."""
    create = client.uploads.create
    shape = {"filename": "a.txt", "mime_type": "text/plain", "purpose": "assistants"}
    upload = await done(create(bytes=8, **shape))
    parts = [await done(client.uploads.parts.create(upload.id, data=data)) for data in (b"over", b"here")]
    whole = await done(client.uploads.complete(upload.id, part_ids=[part.id for part in parts]))
    read = await done(client.files.content(whole.file.id))
    assert read.content == b"overhere"
    cancelled = await done(client.uploads.cancel((await done(create(bytes=9, **shape))).id))
    return [upload, parts, whole, cancelled]


@both_ways
async def test_batches(client: Any) -> Any:
    """A batch is made, run, listed and read; another is cancelled."""
    file = await done(client.files.create(file=("b.jsonl", LINES + b"not json\n"), purpose="batch"))
    asked = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = await done(client.batches.create(**asked, metadata={"a": "b"}))
    run = await done(client.batches.retrieve(made.id))
    output = await done(client.files.content(run.output_file_id))
    assert (run.request_counts.completed, run.request_counts.failed) == (3, 1)
    other = await done(client.batches.create(**asked))
    cancelled = await done(client.batches.cancel(other.id))
    listed = [batch async for batch in each(client.batches.list(limit=1))]
    return [made, run, output.text, cancelled, listed]


@both_ways
async def test_vector_stores(client: Any) -> Any:
    """A vector store is made, changed, searched, listed and deleted."""
    file = await done(client.files.create(file=("a.txt", b"words"), purpose="assistants"))
    made = await done(client.vector_stores.create(name="notes", file_ids=[file.id]))
    changed = await done(client.vector_stores.update(made.id, name="other notes", metadata={"a": "b"}))
    found = [result async for result in each(client.vector_stores.search(made.id, query="words"))]
    listed = [store async for store in each(client.vector_stores.list())]
    assert changed.name == "other notes"
    return [made, changed, found, listed, await done(client.vector_stores.delete(made.id))]


@both_ways
async def test_fine_tuning(client: Any) -> Any:
    """A fine-tuning job is made, shown, watched and cancelled."""
    file = await done(client.files.create(file=("a.jsonl", LINES), purpose="fine-tune"))
    made = await done(client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id, seed=3))
    shown = await done(client.fine_tuning.jobs.retrieve(made.id))
    cancelled = await done(client.fine_tuning.jobs.cancel(made.id))
    events = [event async for event in each(client.fine_tuning.jobs.list_events(made.id))]
    listed = [job async for job in each(client.fine_tuning.jobs.list())]
    return [made, shown, cancelled, events, listed]
