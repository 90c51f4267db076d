"""Options come from signatures: which there are, what type they have, and who fills them."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from torch import nn

from ssl_core import ConfigError, DataError
from ssl_core.build import build, convert, options


class Net(nn.Module):
    def __init__(self, columns: int, width: int = 16, dropout: float = 0.1, seed: int = 0):
        super().__init__()
        self.given = columns, width, dropout, seed


class Plain(nn.Module):
    """No constructor of its own."""


def reader(source, text: str = "x", *rest, flag: bool = False, **more):
    return source, text, flag


def test_options_are_the_parameters_of_the_constructor():
    assert {name: (o.required, o.type) for name, o in options(Net).items()} == {
        "columns": (True, int), "width": (False, int), "dropout": (False, float), "seed": (False, int)}
    assert options(Net)["width"].default == 16


def test_variadics_and_reserved_names_are_no_options():
    assert list(options(reader, reserved=["source"])) == ["text", "flag"]
    assert options(Plain) == {}
    assert list(options(nn.LayerNorm)) == ["normalized_shape", "eps", "elementwise_affine", "bias", "device", "dtype"]


def test_chosen_before_facts_before_defaults():
    facts = {"columns": 4, "seed": 7, "unused": 1}
    net, full = build("encoder", Net, chosen={"width": 8}, facts=facts)
    assert net.given == (4, 8, 0.1, 7) and full == {"columns": 4, "width": 8, "dropout": 0.1, "seed": 7}
    assert build("encoder", Net, chosen={"columns": 5}, facts=facts)[0].given[0] == 5


def test_what_the_core_gives_is_passed_where_it_is_wanted_and_cannot_be_chosen():
    assert build("data", reader, given={"source": "a.pt", "schema": 1})[0] == ("a.pt", "x", False)
    with pytest.raises(ConfigError, match="no option 'source'"):
        build("data", reader, given={"source": "a.pt"}, chosen={"source": "b.pt"})


def test_nobody_swallows_a_misspelt_option():
    with pytest.raises(ConfigError, match="no option 'widht'; did you mean 'width'") as caught:
        build("encoder", Net, chosen={"widht": 8}, facts={"columns": 1})
    assert "It takes: columns, width, dropout, seed" in str(caught.value)
    with pytest.raises(ConfigError, match="no option 'more_of'"):
        build("data", reader, given={"source": 1}, chosen={"more_of": 8})


def test_a_missing_fact_is_named_with_the_way_to_give_it():
    with pytest.raises(ConfigError, match=r"encoder Net needs columns; the data offer rows\n  Try: encoder.columns=\.\.\."):
        build("encoder", Net, facts={"rows": 3})


class Refuses:
    def __init__(self, size: int = -1, how: str = "value"):
        if how == "value":
            raise ValueError(f"size should be positive, got {size}")
        if how == "ours":
            raise DataError("the file is empty")
        assert size > 0, "size is not positive"
        raise RuntimeError("out of shape")


@pytest.mark.parametrize("how, error, words", [
    ("value", ConfigError, "encoder Refuses could not be built: size should be positive, got -1"),
    ("ours", DataError, "the file is empty"),
    ("assert", ConfigError, "encoder Refuses could not be built: AssertionError: size is not positive"),
])
def test_what_a_constructor_refuses_is_said_with_its_options(how, error, words):
    with pytest.raises(error, match=words) as caught:
        build("encoder", Refuses, chosen={"how": how})
    assert how == "ours" or "size" in str(caught.value)


CONVERTED = [
    (3, int, 3), (3, float, 3.0), (0.5, float, 0.5), (True, bool, True), ("a", str, "a"),
    ([1, 2], tuple[int, ...], (1, 2)), ((1, 2), list[int], [1, 2]), ([], tuple[int, ...], ()),
    ([1, 2], tuple[int, float], (1, 2.0)),
    ([1, 0.5], tuple[float, float], (1.0, 0.5)), ((1, 2), Sequence[int], [1, 2]), ([1, "a"], tuple, (1, "a")),
    ((1,), list, [1]),
    (None, int | None, None), (3, int | None, 3), (3, float | None, 3.0), ("auto", float | str, "auto"), (2, float | str, 2.0),
    ("a", Path | None, Path("a")), ("~", Path, Path.home()), ("b", Literal["a", "b"], "b"), (32, Literal["32", "bf16"], "32"),
    (1, Literal[1, 2], 1), ([[1, 2], [3]], tuple[tuple[int, ...], ...], ((1, 2), (3,))), ({"a": 1}, dict, {"a": 1}),
    ("x", Any, "x"), (5, str, "5"),
]


@pytest.mark.parametrize("given, wanted, found", CONVERTED, ids=str)
def test_plain_types_are_converted(given, wanted, found):
    converted = convert("encoder.x", given, wanted)
    assert converted == found and type(converted) is type(found)


REFUSED = [
    ("many", int, "should be int, got 'many'"), (2.5, int, "should be int"), (True, int, "should be int"),
    (1, bool, "should be bool"),
    (None, int, "should be int"), ("fast", float, "should be float"), (True, float, "should be float"),
    (True, str, "should be str"),
    (None, str, "should be str"), ("c", Literal["a", "b"], "one of 'a', 'b', got 'c'"), (True, Literal["1", "2"], "one of"),
    (3, tuple[int, ...], r"a list, such as encoder.x=\[a,b\]"), ("ab", tuple[str, ...], "a list"),
    ([1, "b"], tuple[int, ...], "int"),
    ([1, 2, 3], tuple[int, int], "2 items"), ("x", int | None, "got 'x'"), ("x", int | float, "got 'x'"),
]


@pytest.mark.parametrize("given, wanted, words", REFUSED, ids=str)
def test_other_types_are_refused_with_the_key(given, wanted, words):
    with pytest.raises(ConfigError, match=words) as caught:
        convert("encoder.x", given, wanted)
    assert str(caught.value).startswith("encoder.x should")
