"""What plain Python has in the place of a host's grants: what a test gives (`tidegate_plugin.testing.given`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class World:
    """Nothing outside is touched, and it is the same in each run."""

    milliseconds: int = 1_704_067_200_000
    """2024-01-01T00:00:00Z, as where a host grants no clock."""
    variables: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    """Responses, or errors to be raised, by method and URL."""
    numbers: Any = None

    def random(self, count: int) -> bytes:
        """So many bytes."""
        if self.numbers is None:
            from random import Random

            self.numbers = Random(1)
        return self.numbers.randbytes(count)


current = World()
"""What is given now."""
