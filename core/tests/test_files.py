"""Files are whole or not there."""
import signal

import pytest

from ssl_core import DataError, RunError
from ssl_core.files import atomically, dumps, fetch, undisturbed, write_json


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})

    def half(path):
        path.write_text("{")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        atomically(tmp_path / "a.json", half)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_knows_no_nan():
    assert dumps({"a": float("nan"), "b": [float("inf"), 1.5]}) == '{"a": null, "b": [null, 1.5]}'


def test_what_cannot_be_fetched_is_named_and_nothing_is_left(tmp_path):
    with pytest.raises(DataError, match=r"cannot fetch http://127\.0\.0\.1:9/x.*") as error:
        fetch("http://127.0.0.1:9/x", tmp_path / "x")
    assert "by hand" in str(error.value) and not [*tmp_path.iterdir()]


def test_signals_are_answered_when_the_block_has_ended():
    def refuses(number, frame):
        said.append(number)
        raise RuntimeError("a worker died")

    before, said, done = signal.signal(signal.SIGCHLD, refuses), [], []
    try:
        with pytest.raises(RuntimeError, match="a worker died"), undisturbed():
            signal.raise_signal(signal.SIGCHLD)
            assert said == []
            done.append("the block")
        assert done == ["the block"] and said == [signal.SIGCHLD] and signal.getsignal(signal.SIGCHLD) is refuses
        with pytest.raises(RuntimeError, match="a worker died"):
            signal.raise_signal(signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_error_of_the_block_stays_where_no_signal_came():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="no room"), undisturbed():
        raise OSError("no room")
    assert signal.getsignal(signal.SIGINT) is before
