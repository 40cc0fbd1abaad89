"""Requests, tokens and money: reserved before, settled after, counted together by all who share a store."""

from limits.grant import Grant, Limiter, Prepared, Reservation
from limits.memory import MemoryLimiter
from limits.policy import NEVER, Demand, Kind, Limit, Mode, OnFailure, State, Store
from limits.redis import RedisLimiter
from limits.untold import Untold

__all__ = [
    "NEVER",
    "Demand",
    "Grant",
    "Kind",
    "Limit",
    "Limiter",
    "MemoryLimiter",
    "Mode",
    "OnFailure",
    "Prepared",
    "RedisLimiter",
    "Reservation",
    "State",
    "Store",
    "Untold",
]
