"""SupReMix and HaLP where they belong: ordered targets, and sequences behind a slow copy and a queue."""
from math import isfinite

import torch
from sklearn.datasets import load_digits

from ssl_core import pretrain

QUICK = {"quiet": True, "trainer": {"tensorboard": False, "log_every": 1}}


def test_supremix_puts_images_in_the_order_of_their_ink(tmp_path):
    """The target is a quantity, the sum of the pixels; views are shifted, turned and noisy, which leaves it as it is."""
    held = torch.from_numpy(load_digits().images[:900]).float()
    data = held[:, None].div(16).numpy(), held.sum(dim=(1, 2)).numpy()
    run = pretrain("vision", "supcon", data, out=tmp_path / "run", objective="supremix", encoder="conv", augmentation="mild",
                   optimizer="adamw", epochs=20, probe="knn", **QUICK,
                   **{"optimizer.lr": 3e-3, "method.projector": [64, 32], "encoder.width": 16, "data.batch_size": 128,
                      "augmentation.contrast": 0.0, "augmentation.scale": [1.0, 1.0]})
    assert run.result["verdict"] == "healthy"
    assert run.result["scores"]["knn_rmse"] < 0.8 * run.result["untrained"]["knn_rmse"]


def test_halp_learns_from_sequences(tmp_path):
    """Points are made near the targets from the first step on."""
    run = pretrain("speech", "speech-simclr", out=tmp_path / "run", objective="halp", epochs=2, probe="", baselines=False,
                   **QUICK, **{"method.momentum": 0.97, "objective.queue": 256, "objective.start": 0.0})
    assert isfinite(run.result["loss"]) and run.result["verdict"] not in ("collapsed", "diverged")
