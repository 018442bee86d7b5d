"""Quantiles of all durations that were ever added, in bounded memory.

The first :data:`EXACT` values are kept as they are. Beyond that, all values are counted in buckets whose bounds grow by
:data:`GROWTH`, so that a quantile is off by at most half a bucket (0.5 %).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import Final

EXACT: Final = 1024
"""Values up to which quantiles are exact."""
GROWTH: Final = 1.01
"""Ratio of the upper bound of a bucket to its lower bound."""
_LEAST: Final = 1e-6
"""Values below this one share its bucket."""
_SCALE: Final = 1 / math.log(GROWTH)


class Quantiles:
    """Positive numbers, counted. ``worst`` is the greatest one, 0 without any."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._least = math.inf
        self._exact = array("f")
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, value: float) -> None:
        """Count one value."""
        self._count += 1
        self.worst = max(self.worst, value)
        self._least = min(self._least, value)
        if self._count <= EXACT:
            self._exact.append(value)
            return
        if self._exact:
            self._buckets.update(map(_bucket, self._exact))
            self._exact = array("f")
        self._buckets[_bucket(value)] += 1

    def quantile(self, share: float) -> float | None:
        """Return the value that ``share`` of all values do not exceed; None without any."""
        if not self._count:
            return None
        rank = max(1, math.ceil(share * self._count))
        if self._exact:
            return sorted(self._exact)[rank - 1]
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                break
        return min(self.worst, max(self._least, float(GROWTH ** (bucket - 0.5))))


def _bucket(value: float) -> int:
    """Return the number of the bucket: ``GROWTH ** (number - 1)`` < value <= ``GROWTH ** number``."""
    return math.ceil(math.log(max(value, _LEAST)) * _SCALE)
