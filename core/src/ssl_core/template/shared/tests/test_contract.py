"""Every component keeps its contract, and a run on the sample works from end to end."""
import pytest

from ssl_core import pretrain
from ssl_core.checks import cases


@pytest.mark.parametrize("case", cases("mydomain"), ids=str)
def test_contract(case):
    case()


@pytest.mark.parametrize("method", ["contrast", "barlow"])
def test_a_run(method, tmp_path):
    run = pretrain("mydomain", method, out=tmp_path / "run", epochs=5, quiet=True)
    assert run.result["scores"]["linear"] > 0.5
    assert run.embed().shape[1] == run.result["width"]
