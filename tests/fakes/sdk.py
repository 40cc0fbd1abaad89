"""The official SDK's clients, which share what takes longest to make: the trust that only HTTPS needs."""

import functools
import ssl
from typing import Any

import openai

__all__ = ["asynchronous", "synchronous"]

context = functools.cache(ssl.create_default_context)


def synchronous(base_url: str, key: str = "sk-test", **options: Any) -> openai.OpenAI:
    """Tries once."""
    http = openai.DefaultHttpxClient(verify=context())
    return openai.OpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http, **options)


def asynchronous(base_url: str, key: str = "sk-test", **options: Any) -> openai.AsyncOpenAI:
    """Tries once."""
    http = openai.DefaultAsyncHttpxClient(verify=context())
    return openai.AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http, **options)
