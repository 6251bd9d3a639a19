"""The rate of a step, as a share of the optimizer's rate."""

import math

from engine.training.recipe.sections import Schedule


def warm_up_steps(schedule: Schedule, steps: int) -> int:
    """How many steps the rate rises over: as given, or a share of all steps."""
    if isinstance(schedule.warm_up, int):
        return schedule.warm_up
    return round(schedule.warm_up * steps)


def rate_at(schedule: Schedule, step: int, steps: int) -> float:
    """The share of the rate at a step, counted from 0: up to 1, then down to `floor`.

    `inverse_sqrt` falls as 1/√step from the end of the warm-up (Vaswani et al. 2017, 5.3).
    """
    rising = warm_up_steps(schedule, steps)
    if step < rising:
        return (step + 1) / rising
    if schedule.decay == "constant":
        return 1.0
    if schedule.decay == "inverse_sqrt":
        return max(schedule.floor, math.sqrt(max(1, rising) / max(1, rising, step + 1)))
    left = 1.0 - min(1.0, (step - rising) / max(1, steps - rising))
    if schedule.decay == "cosine":
        left = 0.5 * (1.0 - math.cos(math.pi * left))
    return schedule.floor + (1.0 - schedule.floor) * left
