"""Every method of the window learns on a small slice, can be resumed, and reaches the encoder. One table."""
import csv

import pytest
import torch

from ssl_core import pretrain, resume
from ssl_core.plugins import Plugins
from ssl_core.testing import killed_at

METHODS = Plugins()["medical"].offers["methods"]
SMALL = {"epochs": 1, "probe": "", "baselines": False, "trainer": {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}}
WIDTH = {"vit3d": {"encoder.width": 24, "encoder.depth": 1, "encoder.patch": 8}, "swin": {"encoder.width": 48},
         "sparse-cnn": {"encoder.width": 32}, "slices": {"encoder.width": 16, "encoder.planes": 4}}
LIGHT = dict.fromkeys(("alice", "swin-unetr-ssl", "spark3d", "gynbtnet", "models-genesis"), {"method.width": 8})
VOLUMES = {"data.volumes": 16, "data.side": 32, "data.batch_size": 4}
DATA = {"synthetic": VOLUMES, "synthetic-bags": {"data.bags": 27, "data.instances": 10, "data.batch_size": 8},
        "synthetic-slides": {"data.slides": 27, "data.patches": 10, "data.batch_size": 8}}


def train(out, method, **more):
    width = WIDTH.get(METHODS[method].encoder, {"encoder.width": 32})
    data = DATA[METHODS[method].data]
    return pretrain("medical", method, out=out, quiet=True, **SMALL | data | width | LIGHT.get(method, {}) | more)


def losses(run):
    with (run.path / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("method", METHODS)
def test_learns_and_resumes_bit_for_bit(method, tmp_path):
    straight = train(tmp_path / "straight", method)
    seen = losses(straight)
    assert len(seen) == 2 and all(abs(loss) < 1e3 for loss in seen)
    with killed_at(1):
        train(tmp_path / "cut", method)
    resumed = resume(tmp_path / "cut", quiet=True)
    assert losses(resumed) == seen
    ours, theirs = resumed.encoder.state_dict(), straight.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
