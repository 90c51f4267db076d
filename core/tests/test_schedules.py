"""Schedules are pure functions of progress: their shapes, their ends, and no jump in between."""
from math import cos, pi

import pytest

from ssl_core.contracts import Progress
from ssl_core.schedules import SCHEDULES, WSD, Constant, Cosine, Infinite

TOTALS = [1, 2, 7, 100, 5000]
SHAPES = [Constant(), Constant(0.3), Cosine(), Cosine(0.0), Cosine(0.2, 0.1), Cosine(1.0), WSD(), WSD(0.0, 0.0),
WSD(0.1, 0.5, 0.2),
          WSD(0.7, 0.6), Infinite(20, 50), Infinite(0, 1000), Infinite(5, 30, 0.5, anneal=0.2, final=0.05)]

POINTS = [  # schedule, share of training done, factor
    (Constant(), 0.0, 1.0), (Constant(0.2), 0.1, 0.5), (Constant(0.2), 0.2, 1.0), (Constant(0.2), 1.0, 1.0),
    (Cosine(0.1), 0.05, 0.5), (Cosine(0.1), 0.1, 1.0), (Cosine(0.1), 0.55, 0.5), (Cosine(0.1), 1.0, 0.0),
    (Cosine(0.0, 0.2), 0.25, 0.2 + 0.8 * (1 + cos(pi / 4)) / 2), (Cosine(0.0, 0.2), 1.0, 0.2),
    (WSD(0.1, 0.4), 0.05, 0.5), (WSD(0.1, 0.4), 0.5, 1.0), (WSD(0.1, 0.4), 0.8, 0.5), (WSD(0.1, 0.4, 0.3), 1.0, 0.3),
]
STEPS = [  # step of 1000, factor of the infinite schedule with and without its anneal
    (Infinite(10, 100, 0.4), 0, 0.1), (Infinite(10, 100, 0.4), 9, 1.0), (Infinite(10, 100, 0.4), 60, 0.7),
    (Infinite(10, 100, 0.4), 110, 0.4), (Infinite(10, 100, 0.4), 999, 0.4),
    (Infinite(10, 100, 0.4, anneal=0.5, final=0.1), 750, 0.2), (Infinite(10, 100, 0.4, anneal=0.5, final=0.1), 1000, 0.1),
]
WRONG = [(Constant, {"warmup": 10}), (Constant, {"warmup": -0.1}), (Cosine, {"warmup": 5}), (Cosine, {"final": -1}),
         (WSD, {"decay": 2.0}), (WSD, {"final": 1.5}), (Infinite, {"warmup": -1}), (Infinite, {"cooldown": -1}),
         (Infinite, {"constant": 0.0}), (Infinite, {"anneal": 0.1, "final": 0.0}), (Infinite, {"anneal": 1.5})]


@pytest.mark.parametrize("schedule, fraction, factor", POINTS)
def test_values_by_share(schedule, fraction, factor):
    assert schedule(Progress(round(fraction * 10_000), 10_000)) == pytest.approx(factor)


@pytest.mark.parametrize("schedule, step, factor", STEPS)
def test_values_by_step(schedule, step, factor):
    assert schedule(Progress(step, 1000)) == pytest.approx(factor)


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
@pytest.mark.parametrize("total", TOTALS)
def test_never_negative_above_the_peak_or_at_rest(schedule, total):
    factors = [schedule(Progress(step, total)) for step in range(total)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    assert factors[0] > 0  # a first step of rate zero is a step wasted


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
def test_has_no_jump(schedule):
    total = 5000  # a warm-up of more than a thousand steps too
    factors = [schedule(Progress(step, total)) for step in range(total + 1)]
    ramps = [getattr(schedule, name, 0) for name in ("warmup", "decay", "cooldown")]
    shortest = min([ramp if isinstance(ramp, int) else ramp * total for ramp in ramps if ramp] or [total])
    assert max(abs(a - b) for a, b in zip(factors, factors[1:], strict=False)) <= 2 / shortest + 1e-9


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
def test_is_a_function_of_progress_alone(schedule):
    steps = [Progress(step, 300) for step in range(300)]
    forwards, backwards = [schedule(p) for p in steps], [schedule(p) for p in reversed(steps)]
    assert forwards == backwards[::-1]


def test_infinite_does_not_look_at_the_planned_end():
    schedule = Infinite(10, 100)
    assert [schedule(Progress(step, 200)) for step in range(200)] == [schedule(Progress(step, 10**6)) for step in range(200)]


def test_progress_past_the_end_stays_at_the_end():
    assert Progress(30, 10).fraction == 1.0 and Progress(0, 0).fraction == 0.0
    assert Cosine(final=0.1)(Progress(30, 10)) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule, options", WRONG)
def test_refuses_options_out_of_range(schedule, options):
    with pytest.raises(ValueError, match="|".join(options)):
        schedule(**options)


def test_offers_four_names():
    assert set(SCHEDULES) == {"constant", "cosine", "wsd", "infinite"}
    assert all(0 < schedule()(Progress(0, 100)) <= 1 for schedule in SCHEDULES.values())
