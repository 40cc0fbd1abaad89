"""The composition root's part about labels: where they are kept, and what a judge has spent; shared where there is
Redis, and in the data directory where there is none.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cache.link import Link
from cache.semantic.learning.label_log import LabelLog
from cache.semantic.learning.redis_labels import RedisLabels
from cache.semantic.learning.sqlite_labels import SqliteLabels
from proxy.config import Config
from proxy.keys.pepper import data_directory
from proxy.semantic.budget import Budget, FileBudget, RedisBudget

__all__ = ["judge_budget", "label_log", "token"]

LABELS: Final = "labels.sqlite"
JUDGED: Final = "judge.sqlite"


def label_log(config: Config, link: Link | None, wall: Callable[[], float]) -> LabelLog:
    days = config.semantic.label_days
    if link is not None:
        return RedisLabels(link, config.redis.namespace, wall=wall, token=token, days=days)
    return SqliteLabels(data_directory(Path(config.data.directory)) / LABELS, wall=wall, token=token, days=days)


def judge_budget(config: Config, link: Link | None, wall: Callable[[], float]) -> Budget:
    if link is not None:
        return RedisBudget(link, config.redis.namespace, wall)
    return FileBudget(data_directory(Path(config.data.directory)) / JUDGED, wall)


def token() -> str:
    """That nobody guesses, and nobody makes twice."""
    return secrets.token_hex(16)
