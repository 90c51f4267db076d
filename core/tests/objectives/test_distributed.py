"""Two processes with half of the batch each find the loss and the gradients of one process with all of it.

The errors this rules out: a gather whose backward pass returns the local part only, losses off by the number of
processes, labels or positives looked up at local positions, statistics of a part of the batch.
"""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_core.distributed import average, from_first, gather, logsumexp, rank, total, world

SCRIPT = Path(__file__).parent / "two_processes.py"
SPEC = importlib.util.spec_from_file_location("two_processes", SCRIPT)
two = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(two)


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})
    started = [subprocess.Popen([sys.executable, SCRIPT, str(r), folder], env=environment, stderr=subprocess.PIPE, text=True)
               for r in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert all(process.returncode == 0 for process in started), "\n".join(errors)[-3000:]
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(2)]


@pytest.fixture(scope="module")
def whole():
    return two.results(0, 1)


@pytest.mark.parametrize("case", two.CASES)
def test_two_processes_equal_one(case, halves, whole):
    for first, second, joined in zip(halves[0][case], halves[1][case], whole[case], strict=True):
        torch.testing.assert_close((first + second) / 2, joined, rtol=1e-8, atol=1e-10)  # as DDP averages


def test_without_processes_nothing_happens():
    x = torch.randn(3, 2)
    assert (world(), rank()) == (1, 0) and gather(x) is x and total(x) is x
    assert torch.equal(average(x), x) and torch.equal(from_first(x), x)
    torch.testing.assert_close(logsumexp(x), x.logsumexp(0))
