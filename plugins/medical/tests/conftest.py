"""Where the tests find real data, and a folder of their own for runs."""
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "medical"


@pytest.fixture
def shared():
    if not SHARED.is_dir():
        pytest.skip("the shared volumes are not here")
    return SHARED


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
