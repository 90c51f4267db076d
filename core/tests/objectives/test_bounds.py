"""Numbers that make no sense are refused where an objective is made, in words: one table, which no option can be missing in."""
from math import inf, nan

import pytest

from ssl_core import ConfigError, build, builtin

OFFERED = {component.name: component for component in builtin.ssl_objectives()}
FACTS = {"classes": 4}
POSITIVE, SHARE = (0.0, -0.1, nan, inf), (-0.1, 1.1, nan)


def below(least):
    return (least - 1, -7)


WEIGHT = (-0.1, nan, inf)  # 0 leaves a term out
REFUSED = {  # by option; where objectives differ, by objective and option
    "temperature": POSITIVE, "teacher_temperature": POSITIVE, "final_temperature": POSITIVE, "epsilon": POSITIVE,
    "eps": POSITIVE, "steepness": POSITIVE, "window": POSITIVE, "alpha": POSITIVE, "beta": POSITIVE, "scale": POSITIVE,
    "sigma": WEIGHT, "redundancy": WEIGHT, "invariance": WEIGHT, "variance": WEIGHT, "covariance": WEIGHT, "within": WEIGHT,
    "distil": WEIGHT, "shape": WEIGHT, "weight": SHARE, "warmup": SHARE, "momentum": SHARE, "centre": SHARE, "frozen": SHARE,
    "queue_from": SHARE, "reach": SHARE, "start": SHARE, "pool": (0.0, 1.1, nan),
    "negatives": below(1), "queue": below(1), "hardest": (0, 10**9), "mixed": below(0), "with_query": below(0),
    "prototypes": below(2), "recent": (1, 10**9), "points": below(1), "pairs": below(1), "every": below(1), "clusters": (1, -7),
    "transformations": below(2), "mixtures": below(0), "slices": below(1), "knots": below(2), "iterations": below(1),
    "target_views": below(0), "classes": below(1), "places": below(0),
    ("infonce", "negatives"): below(0), ("swav", "queue"): below(0), ("halp", "weight"): WEIGHT,
    ("halp", "prototypes"): (2, 257), ("smooth-l1", "beta"): WEIGHT, ("directpred", "epsilon"): WEIGHT,
    ("depict", "classes"): below(2),
}
FREE = {"margin"}  # any number will do
SAID = {("depict", "classes"): "clusters"}  # what the message calls it, where not by its name
CASES = [(name, option) for name, record in OFFERED.items() for option, known in build.options(record.load()).items()
         if known.type in (int, float) and option not in FREE]


@pytest.mark.parametrize("name, option", CASES)
def test_numbers_that_make_no_sense_are_refused(name, option):
    for number in REFUSED[(name, option) if (name, option) in REFUSED else option]:
        with pytest.raises(ConfigError, match=rf"{SAID.get((name, option), option)}.* should .*got"):
            build.build("objective", OFFERED[name].load(), chosen={option: number}, facts=FACTS)


@pytest.mark.parametrize("name", OFFERED)
def test_what_is_shown_as_default_is_accepted(name):
    build.build("objective", OFFERED[name].load(), facts=FACTS)
