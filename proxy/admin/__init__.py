"""The private listener: metrics, health, and the admin API."""

from proxy.admin.application import Admin
from proxy.admin.cache_routes import CacheRoutes
from proxy.admin.gate import Gate
from proxy.admin.key_routes import KeyRoutes
from proxy.admin.question_routes import QuestionRoutes
from proxy.admin.readiness import Readiness, State
from proxy.admin.usage_routes import UsageRoutes

__all__ = ["Admin", "CacheRoutes", "Gate", "KeyRoutes", "QuestionRoutes", "Readiness", "State", "UsageRoutes"]
