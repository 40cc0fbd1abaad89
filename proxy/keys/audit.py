"""Where every change of a key or a team is written down."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Audit", "Detail"]

Detail = str | int | float | bool | list[str] | dict[str, str] | dict[str, float | None] | None


class Audit(Protocol):
    async def record(self, who: str, what: str, subject: str, when: float, details: Mapping[str, Detail]) -> None:
        """One change that was made. Returns once it is kept, or held to be written; within a second.

        `who` is a person or a place, such as `admin@10.0.0.1`; `what` is one of a closed set, such as `key.rotate`;
        `subject` is `key:<id>` or `team:<name>`; `when` is in seconds since the epoch; `details` hold no secret and
        no digest of one. Raises ConnectionError if it is lost.
        """
