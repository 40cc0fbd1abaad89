"""X3: prompts and answers are nobody's business but their owners': nothing of them is logged or counted."""

import signal

from tests.fakes.answers import RESET, Answer, End
from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.upstream import ScriptedUpstream

PROMPT = "canary-prompt-7f3a"
ANSWER = "canary-answer-91bc"
ASK = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "user": PROMPT, "metadata": {"x": PROMPT}}
WHOLE = Answer(headers=[("content-type", "application/json")], body=f'{{"text":"{ANSWER}"}}'.encode())
FRAME = f'data: {{"text":"{ANSWER}"}}\n\n'.encode()
EVENTS = [("content-type", "text/event-stream")]


async def _provoke(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Good answers, refusals and every kind of failure, with a canary in all that a client and an upstream say."""
    cases = [
        (ASK, WHOLE),
        (ASK, Answer(400, headers=[("content-type", "application/json")], body=f'{{"error":"{PROMPT}"}}'.encode())),
        (ASK, Answer(500, body=ANSWER.encode())),
        (ASK | {"stream": True}, Answer(headers=EVENTS, body=FRAME + b"data: [DONE]\n\n")),
        (ASK | {"stream": True}, Answer(headers=EVENTS, body=FRAME + f'data: {{"error":"{ANSWER}"}}\n\n'.encode())),
        (ASK | {"stream": True}, Answer(headers=EVENTS, body=FRAME, cut_at=len(FRAME) - 3)),
        (ASK, Answer(raw=f"HTTP/1.1 200 {ANSWER}\x01\r\n{ANSWER} : {ANSWER}\r\n\r\n".encode(), end=End.CLOSE)),
        (ASK, Answer(headers=[("x-canary", "a\x00b")], body=ANSWER.encode())),
        (ASK, RESET),
        (f'{{"broken": "{PROMPT}'.encode(), WHOLE),
    ]
    for body, answer in cases:
        upstream.script(answer)
        async with gateway.client() as client:
            await client.ask("POST", f"/v1/chat/completions?q={PROMPT}", body)
    upstream.script(WHOLE)
    async with gateway.client() as client:
        await client.ask("GET", f"/v1/files/{PROMPT}/content")
        await client.ask("GET", f"/v1/{PROMPT}?q={PROMPT}", headers=[("x-canary", PROMPT)])
        await client.ask("GET", f"/{PROMPT}")
    async with gateway.client() as client:
        await client.send(f"GARBAGE {PROMPT}\r\n\r\n".encode())
        await client.rest()


async def test_x3_nothing_of_a_prompt_is_written(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """Whatever happens to a request, no word of it or of its answer is in the log, at any level, or in a metric."""
    gateway = await start_process("", log__level="debug")
    await _provoke(gateway, upstream)
    await gateway.settled()
    metrics = "\n".join(await gateway.samples())
    gateway.signal(signal.SIGTERM)
    await gateway.wait()
    written = "\n".join([*gateway.stdout, *gateway.stderr, metrics])
    assert len(gateway.logs(event="request")) >= 10
    assert "canary" not in written
