"""Where the recordings for development lie, if they are there."""
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "speech"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Runs land in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shared_data():
    """A function from a name to a folder of real recordings; skips the test where they are absent."""
    def folder(name):
        if not (SHARED / name).is_dir():
            pytest.skip(f"the recordings {name} are not on this machine")
        return SHARED / name
    return folder
