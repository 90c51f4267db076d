"""Benchmarks that need a rival or an accelerator: they run without either, on a few small images, and say what they lack."""
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A script with these words, and the page that it wrote."""
    monkeypatch.syspath_prepend(str(FOLDER))
    page = tmp_path / "results.md"
    page.write_text("# Results\n", encoding="utf-8")

    def go(script, *words):
        spec = importlib.util.spec_from_file_location(script, FOLDER / f"{script}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [script, *words, "--out", str(page)])
        module.main()
        return page.read_text(encoding="utf-8")

    threads = torch.get_num_threads()
    yield go
    torch.set_num_threads(threads)


def cells(page):
    """The rows of the table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")][2:]


def test_three_methods_on_an_accelerator(run):
    page = run("gpu", "--tiny", "--modes", "plain")
    rows = cells(page)
    assert [row[0] for row in rows] == ["simclr", "dino", "mae"] and "<!-- gpu: made by a command" in page
    for _, mode, rate, share, _, loss in rows:
        assert mode == "plain" and float(rate.replace(",", "")) >= 0 and float(share) >= 0 and float(loss) > 0


def test_no_accelerator_is_said_plainly(run, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit) as stop:
        run("gpu")
    assert stop.value.code == 2 and "Try: --tiny" in capsys.readouterr().err


def test_a_step_of_simclr_with_and_without_pieces(run):
    rows = cells(run("vision_step", "--tiny"))
    assert [row[0] for row in rows][:2] == ["ours", "ours, 4 at a time"]
    assert all(float(row[1].replace(",", "")) > 0 for row in rows)


def test_a_rival_that_is_not_installed_is_named_with_its_remedy(run):
    if importlib.util.find_spec("lightly") is not None:
        pytest.skip("lightly is installed here")
    with pytest.raises(SystemExit, match="pip install -r benchmarks/requirements.txt"):
        run("objectives")
