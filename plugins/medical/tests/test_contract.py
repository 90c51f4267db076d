"""Every component keeps its contract, but for what the shop window says."""
import pytest

from ssl_core.checks import cases


@pytest.mark.parametrize("case", cases("medical"), ids=str)
def test_contract(case):
    case()
