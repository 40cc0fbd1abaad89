"""Whether a secret that the operator has chosen was drawn, or taken over from a document."""

import re
from collections.abc import Callable
from typing import Final

from proxy.config.section import ConfigError
from proxy.config.settings import Config

__all__ = ["check_secrets"]

MIN_LENGTH: Final = 12
MIN_DISTINCT: Final = 6
"""Characters. The shortest of random hexadecimal digits has fewer once in some 5,000 times."""
_TEMPLATES: Final = re.compile(
    "administrator|admin|root|user|askonce|gateway|proxy|openai|auth|change|replace|insert|fill|set|use|this|that|it|me"
    "|my|your|our|the|an|in|here|now|please|password|passphrase|passwd|pass|secret|token|key|api|bearer|default|initial"
    "|testing|tests|test|example|sample|demo|dummy|fake|placeholder|insecure|unsafe|value|string|some|super|very|strong"
    "|secure|safe|random|long|local|localhost|dev|development|staging|prod|production|todo|none|null|empty|foo|bar|baz"
    "|qwertyuiop|qwerty|asdfghjkl|asdf|letmein|welcome|hello|world|abcdefghijklmnopqrstuvwxyz|abcdefghijkl|abcdef|abc"
)


def check_secrets(config: Config, called: Callable[[str], str]) -> None:
    """The admin token, where one is configured. Raises ConfigError, whose line shows nothing of it."""
    token = config.admin.token.reveal()
    if not token:
        return
    wanted = f"{MIN_LENGTH} random characters or more, such as `openssl rand -hex 32` prints"
    if len(token) < MIN_LENGTH:
        raise ConfigError(f"{called('admin.token')}: an admin token has {wanted}")
    if len(set(token)) < MIN_DISTINCT or _stands_in_templates(token.lower()):
        raise ConfigError(f"{called('admin.token')}: this admin token can be guessed; it takes {wanted}")


def _stands_in_templates(text: str) -> bool:
    """Whether it is words of templates, repeated, with digits or punctuation about them, or digits as they follow."""
    plain = "".join(filter(str.isalnum, text))
    letters = "".join(filter(str.isalpha, plain))
    if not letters:
        return plain in "0123456789" * (len(plain) // 10 + 2)
    return not _TEMPLATES.sub("", letters)
