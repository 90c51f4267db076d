"""Every component keeps its contract, but for what the shop window says."""
import pytest

from ssl_core.checks import cases


@pytest.mark.parametrize("case", cases("speech"), ids=str)
def test_contract(case):
    case()
