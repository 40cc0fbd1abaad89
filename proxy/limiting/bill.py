"""What one request has reserved, used and costs. Sans-IO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from limits.grant import Grant
    from limits.policy import Limit
    from proxy.limiting.plan import Costs, Plan
    from proxy.limiting.stage import Limits
    from proxy.openai.estimate import Estimate

__all__ = ["NOTHING", "Bill"]

NOTHING: Final[Mapping[str, int]] = {}


@final
@dataclass(slots=True, eq=False, repr=False)
class Bill:
    """Money in nano-dollars; None where no price is known."""

    limits: "Limits | None" = None
    """Who has reserved for it, and is to settle: those that hold now may be others."""
    admission: "Plan | None" = None
    admitted: "Grant | None" = None
    """For the request itself; ends with it."""
    plan: "Plan | None" = None
    charged: "Grant | None" = None
    """For its call upstream, which may outlast it."""
    doubted: "Sequence[tuple[Grant, Costs]]" = ()
    """For calls that were given up and may have been acted on, and what is taken for them to have cost: they hold it
    until the end, with what the request itself holds.
    """
    lost: int = 0
    """What calls may have cost that were given up for another; part of the cost, as their tokens are of `used`."""
    lost_input: int = 0
    lost_output: int = 0
    upstream: str = ""
    """Whose call was charged for."""
    estimate: "Estimate | None" = None
    reserved: int | None = 0
    """What the estimate comes to."""
    used: Mapping[str, int] | None = None
    """Tokens and other units by kind, once it is known what the upstream was asked for."""
    cost: int | None = 0
    saved: int | None = 0
    served: str = ""
    """The model that the answer names."""
    estimated: bool = False
    """The upstream did not tell what it used: it was counted here."""
    paid: int = 0
    paid_tokens: int = 0
    """What was charged of it elsewhere; below nothing what is to be charged beside it."""
    warned: "Sequence[Limit]" = ()
    """Budgets whose soft threshold its client was told that it has passed."""

    def granted(self) -> bool:
        """Limits had a say, and let it pass."""
        admitted, charged = self.admitted, self.charged
        if (admitted is not None and admitted.refused is not None) or (
            charged is not None and charged.refused is not None
        ):
            return False
        return admitted is not None or charged is not None

    def __repr__(self) -> str:
        return f"<Bill cost={self.cost} saved={self.saved}{' estimated' if self.estimated else ''}>"
