"""Curved branching structures from rules of rewriting (Lindenmayer systems), and how they are laid over images.

They are made up: whatever is learned from them is learned from synthetic marks on real backgrounds.
"""
from __future__ import annotations

from math import cos, radians, sin

import torch
from torch import Tensor

#: Axiom and rule of trees that bend and branch; F draws, + and - turn, [ and ] open and close a branch.
RULES = (("X", {"X": "F+[[X]-X]-F[-FX]+X", "F": "FF"}), ("F", {"F": "F[+F]F[-F]F"}), ("F", {"F": "FF+[+F-F-F]-[-F+F+F]"}),
         ("X", {"X": "F[+X]F[-X]+X", "F": "FF"}))


def rewritten(word: str, rules: dict[str, str], rounds: int) -> str:
    """All letters replaced at once, so many times."""
    for _ in range(rounds):
        word = "".join(rules.get(letter, letter) for letter in word)
    return word


def segments(word: str, angle: float) -> Tensor:
    """What a turtle draws, scaled into the square from -1 to 1: (S, 2, 2), start and end as x and y.

    Args:
        angle: of a turn, in degrees.
    """
    x = y = 0.0
    heading, turn, stack, found = 90.0, angle, list[tuple[float, float, float]](), list[list[list[float]]]()
    for letter in word:
        if letter == "F":
            there = [x + cos(radians(heading)), y + sin(radians(heading))]
            found.append([[x, y], there])
            x, y = there
        elif letter in "+-":
            heading += turn if letter == "+" else -turn
        elif letter == "[":
            stack.append((x, y, heading))
        elif letter == "]":
            x, y, heading = stack.pop()
    lines = torch.tensor(found)
    low, high = lines.amin(dim=(0, 1)), lines.amax(dim=(0, 1))
    return (lines - (low + high) / 2) * (1.9 / (high - low).max().clamp(min=1e-6))


def drawn(lines: Tensor, side: int, thickness: float) -> Tensor:
    """Lines (S, 2, 2) as a picture: (side, side), 1 on a line, falling off over half a pixel.

    Args:
        thickness: of a line, as a share of the side.
    """
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    place = torch.stack([at.repeat(side), at.repeat_interleave(side)], dim=1)  # (P, 2), x first
    start, along = lines[:, 0], lines[:, 1] - lines[:, 0]
    nearest, block = torch.full((len(place),), torch.inf), max(1, 2**22 // len(place))
    for part in range(0, len(lines), block):
        s, d = start[part: part + block], along[part: part + block]
        share = (((place[:, None] - s) * d).sum(dim=2) / d.square().sum(dim=1).clamp(min=1e-12)).clamp(0, 1)  # (P, S)
        nearest = nearest.minimum((place[:, None] - s - share[:, :, None] * d).norm(dim=2).amin(dim=1))
    return ((thickness - nearest) * side / 2 + 0.5).clamp(0, 1).view(side, side)


def bank(count: int, side: int, rounds: int, thickness: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Pictures of random trees: (count, 1, side, side). Rules, angles and thickness are drawn for each."""
    made = []
    for i in range(count):
        axiom, rules = RULES[i % len(RULES)]
        angle = 15 + 30 * float(torch.rand((), generator=generator))
        width = thickness[0] + (thickness[1] - thickness[0]) * float(torch.rand((), generator=generator))
        made.append(drawn(segments(rewritten(axiom, rules, rounds), angle), side, width))
    return torch.stack(made)[:, None]
