"""How long the answers of each model come to be, learned from those that have come. Sans-IO."""

from typing import final

__all__ = ["Outputs"]


@final
class Outputs:
    """What each model's answers come to: a mean and a mean deviation, learned as TCP does round trips (RFC 6298).

    Expected is the mean and two deviations: of most answers no less. Bounded: a model that has not been heard of for
    longest is forgotten.
    """

    def __init__(self, *, first: int = 1_024, models: int = 1_024) -> None:
        self._first = first
        self._models = models
        self._learned: dict[str, tuple[float, float]] = {}

    def __repr__(self) -> str:
        return f"<Outputs models={len(self._learned)}>"

    def expect(self, model: str) -> int:
        """Tokens of one answer, at least 1; `first` of a model that is not known."""
        learned = self._learned.get(model)
        if learned is None:
            return self._first
        mean, deviation = learned
        expected = int(mean + 2 * deviation + 0.5)
        return expected if expected > 1 else 1

    def knows(self, model: str) -> bool:
        return model in self._learned

    def learn(self, model: str, output: int) -> None:
        """`output`: tokens of one answer that came to its own end."""
        learned = self._learned.pop(model, None)
        if learned is None:
            learned = (float(output), output / 2)
            if len(self._learned) >= self._models:
                del self._learned[next(iter(self._learned))]
        else:
            mean, deviation = learned
            learned = (mean + (output - mean) / 8, deviation + (abs(output - mean) - deviation) / 4)
        self._learned[model] = learned
