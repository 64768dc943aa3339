"""The band of a figure: a prediction interval for a quotient of sums over problems.

A figure R is sum(y) / sum(x) over problems, such as steps from the target over all steps. A problem's part in its error
is e = (y - R x) / mean(x), so that over n problems R has the variance s^2 / n with s^2 = sum(e^2) / (n - 1), the usual
linearization of a ratio estimator (Cochran, Sampling Techniques, chapter 6); problems, not steps, are what is drawn.
A run of m problems of the same kind is off from the calibration by s * sqrt(1/n + 1/m) (one standard deviation): the
calibration's own error and that of the run's sample.

A run is judged at every commit, from m problems on, which is many chances for a false alarm. With 1/m as the time, what
is between the two figures is a Brownian motion that has gone on for 1/n + 1/m (as its inversion in time is one as
well), so by the reflection principle it was outside the band at any commit at most twice as likely as at the first.
With Z = 3.29 (0.1% of both sides) at most 0.2% of runs are told of wrongly for each figure, however often they are
looked at; where nearly all of a figure is due to a few problems, sums are less normal, and it is 1% (simulated).
"""

from __future__ import annotations

import math

import numpy as np

FEWEST = 200
"""Problems that a run must have to be judged, at least."""
Z = 3.29
DIGITS = 4


def judged_from(problems: int) -> int:
    """How many problems a run must have committed before it is compared with a calibration's bands: as many as the
    calibration had, but no fewer than FEWEST. With more problems the band would be narrower by less than a third; with
    fewer it would be wider and wider."""
    return max(FEWEST, problems)


def band(above: np.ndarray, below: np.ndarray) -> tuple[float, float] | None:
    """The interval for `above.sum() / below.sum()`, rounded outwards; None where the figure means nothing.

    Both float64 [problems], 0 <= above <= below. Two imagined problems are added, one at each end of the scale, so
    that a figure that never varied in the calibration may still vary in a run.
    """
    n, total = len(above), float(below.sum())
    if not total:
        return None
    ratio, size = float(above.sum()) / total, total / n
    errors = (above - ratio * below) / size
    variance = (float(errors @ errors) + ratio**2 + (1 - ratio) ** 2) / (n + 1)
    half = Z * math.sqrt(variance * (1 / n + 1 / judged_from(n)))
    scale = 10**DIGITS
    low, high = math.floor((ratio - half) * scale) / scale, math.ceil((ratio + half) * scale) / scale
    return max(0.0, low), min(1.0, high)
