"""What a training has reached, as points over its steps, for whoever draws them."""

from __future__ import annotations

from itertools import accumulate

Points = list[tuple[int, float]]

SMOOTH = 0.9  # of the mean line through the losses of single steps


def smooth(points: Points) -> Points:
    """A running mean that forgets; at the beginning it is the mean of what there is."""
    sums = accumulate((y for _, y in points), lambda total, y: SMOOTH * total + y)
    weights = accumulate((1.0 for _ in points), lambda total, one: SMOOTH * total + one)
    return [
        (step, total / weight)
        for (step, _), total, weight in zip(points, sums, weights, strict=True)
    ]
