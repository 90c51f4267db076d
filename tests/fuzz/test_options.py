"""Whatever is typed or written into a file of options, the user reads a message or gets a run: never a traceback."""
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, strategies as st

from ssl_core.build import convert
from ssl_core.config import PARTS, PLAIN, flatten, parse, read, resolve, value
from ssl_core.errors import SSLError
from ssl_core.plugins import Plugins

PLUGINS = Plugins()
KEYS = [*PLAIN, *PARTS, "encoder.width", "optimizer.lr", "data.rows", "method.predictor", "trainer.clip", "schedule.warmup",
        "lr", "."]
VALUES = ["1", "-1", "1e3", "nan", "inf", "true", "none", "[1,2]", "(1,)", "{1:2}", "blobs", "toy/net", "net", "adamw", "~",
          "~nobody",
          "/", "..", "/dev/null", "\0", "9" * 30, "x" * 300, "a/b/c", "core/nt-xent", "\ud800", "[", "]]", "'", "1is", "0x",
          "1_0",
          "knn,linear", "constant", "wsd", "", " "]
key = st.sampled_from(KEYS) | st.text(max_size=12) | st.builds("{}.{}".format, st.sampled_from(PARTS), st.text(max_size=8))
text = st.sampled_from(VALUES) | st.text(max_size=20) | st.text(string.digits + "[](){}.,:-+e_'\"x",
                                                                max_size=20) | st.integers().map(str)
words = st.lists(st.builds("{}={}".format, key, text) | st.text(max_size=10), max_size=5)


@given(words)
@example(["data=" + "x" * 5000])
@example(["data=~nobody/x"])
@example(["seed=99999999999999999999999999"])
@example(["seed=-99999999999999999999999999"])
@example(["encoder.width=" + "[" * 3000 + "]" * 3000])
@example(["encoder.width=" + "-" * 70000 + "1"])
@example(["encoder.width=" + "9" * 5000])
@example(["probe=,,,"])
def test_the_command_line(given_words):
    try:
        config = resolve(PLUGINS, "toy", "contrast", parse(given_words))
        assert config.plugin and all(type(item) is PLAIN[name] for name, item in config.flat().items() if name in PLAIN)
    except SSLError as error:
        message(error)


def message(error):
    """What the user reads: some words, no novel, and nothing of Python's own wrappers."""
    said = str(error)
    assert said and len(said) < 20_000 and "Traceback" not in said


@given(text | st.text(max_size=200))
def test_a_value(given_text):
    found = value(given_text)
    assert found is None or isinstance(found, (str, int, float, bool, list, tuple, dict, set, bytes, complex)) or found is ...


plain = st.none() | st.booleans() | st.integers() | st.floats() | text | st.dates() | st.binary(max_size=5)
nested = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key | plain, inner, max_size=3),
                      max_leaves=8)


@given(st.dictionaries(key, nested, max_size=4))
def test_options_in_python(options):
    try:
        resolve(PLUGINS, "toy", "contrast", dict(flatten(options)))
    except SSLError as error:
        message(error)


snippet = st.sampled_from(["epochs: ", "encoder:\n", "  width: ", "- ", "[", "]", "{", "}", ": ", "? ", "&a ", "*a",
                           "!!python/name:os.mkdir ",
                           "!!binary ", "!!set ", "!!omap ", "!!timestamp ", "!!int ", "!!float ", "!!map ", "<<: ", "|\n",
                           ">\n", "---\n", "...\n",
                           "%YAML 9.9\n", "%TAG ! x\n", "#", "\n", " ", "\t", "'", '"', "\\x", "2001-99-99", "1:99:99", "0b",
                           "0x", "0o9", ".inf",
                           "~", "=", "1e", "_", "data: ", "seed: ", "\x00", "\ufeff", "\u2028", "\x85"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("options") / "o.yaml"


@given(content=st.lists(snippet | st.text(max_size=5), max_size=14).map("".join).map(lambda t: t.encode("utf-8", "replace"))
       | st.binary(max_size=40))
def test_a_file_of_options(content, place):
    place.write_bytes(content)
    try:
        resolve(PLUGINS, "toy", "contrast", read(place))
    except SSLError as error:
        message(error)


TYPES = [int, float, bool, str, Path, Path | None, int | None, tuple[int, ...], tuple[float, float], list[str],
         Literal["a", "b"],
         Literal[8, 16], int | tuple[int, int] | None, Any, Sequence[str], tuple, dict[str, int]]


@given(st.sampled_from(TYPES), nested)
@example(Path, "~nobody/x")
def test_an_option_of_a_component(wanted, given_value):
    try:
        found = convert("encoder.width", given_value, wanted)
    except SSLError as error:
        message(error)
    else:
        assert wanted not in (int, float, bool, str) or type(found) is wanted
