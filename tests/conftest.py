"""Tests see the toy plugin as an installed distribution: its folder holds a module and its metadata."""
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOY = str(Path(__file__).parent / "toy")
sys.path.append(TOY)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [TOY, os.environ.get("PYTHONPATH")]))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Runs land in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
