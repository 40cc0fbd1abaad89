"""The private listener: metrics and health."""

from proxy.admin.application import Admin
from proxy.admin.readiness import Readiness, State

__all__ = ["Admin", "Readiness", "State"]
