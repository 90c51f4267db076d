"""Tests see the toy plugin as an installed distribution: its folder holds a module and its metadata."""
import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from ssl_core.cli import main

ROOT = Path(__file__).parent.parent
TOY = str(Path(__file__).parent / "toy")
sys.path.append(TOY)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [TOY, os.environ.get("PYTHONPATH")]))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Runs land in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sslrun(capsys):
    """The command line, in this process: `code, out, err = sslrun("list")`."""
    def run(*words):
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = stop.code
        return code, *capsys.readouterr()
    return run


@pytest.fixture
def done(sslrun):
    """Run words that must go well; standard output."""
    def check(*words):
        code, out, err = sslrun(*words)
        assert code == 0, err
        return out
    return check


@pytest.fixture
def fails(sslrun):
    """Run words that must be refused; the message."""
    def check(*words, code=2):
        found, out, err = sslrun(*words)
        assert found == code, (out, err)
        assert out == "" and "Traceback" not in err and "failure of ours" not in err
        assert err.count("sslrun: ") == 1
        return err
    return check


@pytest.fixture
def distribution(tmp_path_factory, monkeypatch):
    """Install a package for one test: `distribution("ssl-odd", plugin="odd", window=SOURCE, parts=SOURCE)`."""
    site, before = tmp_path_factory.mktemp("site"), set(sys.modules)
    monkeypatch.syspath_prepend(site)

    def install(name, version="1.0", *, plugin, window, parts="", group="ssl_core.v1"):
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(dedent(window))
        (site / f"{module}_parts.py").write_text(dedent(parts))
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {module}\n")
        return site

    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(site)):
            del sys.modules[name]
