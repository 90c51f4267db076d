"""A step of wav2vec 2.0 against transformers' `Wav2Vec2ForPreTraining`, and the scan of SSAMBA against a loop over time.

The rival follows the pre-training example of transformers: masks and distractors from its own NumPy helpers, its loss divided
by the hidden frames, its temperature set at each step. Sizes, losses and AdamW are the same on both sides, dropout 0.1,
no layer drop. A step holds everything from samples to updated weights, host work included; steps alternate in this process.
Writes the section "speech-speed" of docs/results.md unless `--tiny`.

    python benchmarks/speech.py [--items 8] [--seconds 4] [--turns 2] [--length 512] [--tiny]
"""
from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from page import PAGE, write_section
from side_by_side import Measured, absent, alternating, where
from torch import Tensor

from ssl_core import __version__
from ssl_speech.encoders import Wav2Vec2
from ssl_speech.masks import SpanMask
from ssl_speech.methods.wav2vec2 import Wav2Vec2 as Learner
from ssl_speech.objectives import WithinContrast
from ssl_speech.scan import scan, sequential
from ssl_speech.waves import Waves

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def optimizer(module: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)


def ours(waves: Waves, tiny: bool) -> Callable[[], None]:
    """A training step of this project, with the options of BASE."""
    encoder = Wav2Vec2(16000, "tiny" if tiny else "base", dropout=0.1, norm="group")
    width = {} if tiny else {"entries": 320, "width": 256}
    made = Learner(encoder, SpanMask(), WithinContrast(), **width, penalty=10.0, gradient=0.1).to(DEVICE).train()
    update = optimizer(made)

    def step() -> None:
        made.step(waves)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 10.0)
        update.step()
        update.zero_grad()
    return step


def theirs(waves: Waves, tiny: bool) -> Callable[[], None]:
    """A training step of the example of transformers."""
    try:
        from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices
    except ImportError:
        absent("transformers")
    small: dict[str, Any] = {
        "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192, "conv_dim": (48,) * 7,
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "codevector_dim": 64, "proj_codevector_dim": 64,
        "num_codevectors_per_group": 32} if tiny else {}
    config = Wav2Vec2Config(layerdrop=0.0, **small)
    made = Wav2Vec2ForPreTraining(config).to(DEVICE).train()
    update, items = optimizer(made), len(waves.samples)
    length = int(made._get_feat_extract_output_lengths(waves.samples.shape[1]))

    def step() -> None:
        hidden = _compute_mask_indices((items, length), config.mask_time_prob, config.mask_time_length)
        drawn = _sample_negative_indices((items, length), config.num_negatives, hidden)
        made.set_gumbel_temperature(2.0)
        loss = made(waves.samples, mask_time_indices=torch.from_numpy(hidden).to(DEVICE),
                    sampled_negative_indices=torch.from_numpy(drawn).long().to(DEVICE)).loss / hidden.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 10.0)
        update.step()
        update.zero_grad()
    return step


def scanning(call: Callable[[Tensor, Tensor], Tensor], items: int, length: int, width: int) -> Callable[[], None]:
    """The recurrence of one Mamba layer with a state of 16, forwards and backwards."""
    keep = torch.rand(items, length, width, 16, device=DEVICE, requires_grad=True)
    enter = torch.randn(items, length, width, 16, device=DEVICE, requires_grad=True)

    def step() -> None:
        call(keep, enter).sum().backward()
        keep.grad = enter.grad = None
    return step


def lines(name: str, found: dict[str, Measured], per: float, unit: str, base: str) -> list[str]:
    whole = found[base].seconds
    return [f"| {name}: {side} | {per / one.seconds:,.2f} {unit} | {whole / one.seconds:.2f} | {one.memory:,.0f} |"
            for side, one in found.items()]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"items": 8, "seconds": 4, "turns": 2, "length": 512, "width": 384}.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--tiny", action="store_true", help="small models, to see that it works; writes nothing")
    given = ask.parse_args()
    torch.manual_seed(0)
    samples = 0.1 * torch.randn(given.items, 16000 * given.seconds, device=DEVICE)
    waves = Waves(samples, torch.full((given.items,), samples.shape[1], device=DEVICE))
    steps = alternating({"transformers": theirs(waves, given.tiny), "ours": ours(waves, given.tiny)}, given.turns, DEVICE)
    scans = alternating({"a loop": scanning(sequential, given.items, given.length, given.width),
                         "ours": scanning(scan, given.items, given.length, given.width)}, given.turns, DEVICE)
    text = ["## Speech: speed", "", f"A training step of wav2vec 2.0 {'tiny' if given.tiny else 'BASE (12 x 768)'} on "
            f"{given.items} x {given.seconds} s, masks, distractors and the optimizer included, against "
            f"`Wav2Vec2ForPreTraining` driven as its pre-training example does; and the recurrence of a Mamba layer of "
            f"{given.width} columns with a state of 16 over {given.length} tokens, forwards and backwards. Medians of "
            f"{given.turns} alternating turns in one process, seconds of the processor on a CPU. ssl-core {__version__}, torch "
            f"{torch.__version__}, {where(DEVICE)}.", "",
            f"    python benchmarks/speech.py --items {given.items} --seconds {given.seconds} --turns {given.turns}", "",
            "| | speed | times as fast | memory, MiB |", "|---|---|---|---|",
            *lines("wav2vec 2.0", steps, given.items, "recordings/s", "transformers"),
            *lines("scan", scans, 1.0, "passes/s", "a loop")]
    print("\n".join(text))
    if not given.tiny:
        write_section("speech-speed", "\n".join(text), PAGE)


if __name__ == "__main__":
    main()
