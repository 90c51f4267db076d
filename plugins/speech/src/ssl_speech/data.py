"""Data sets of recordings. Each is a function whose parameters are its options: `data=fsdd data.label=speaker`."""
from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ssl_core import Data, DataError

from . import readers
from .batching import Buckets, Joined, Loader, Store, in_order
from .findings import findings
from .frontend import MFCC, LogMel, statistics
from .readers import Bad, Clip
from .waves import Waves

Raw = Literal["mfcc", "mel"]
FOLDS = ("train", "validation", "test")
TAKE = re.compile(r"[0-9]_[^_]+_[0-9]+")
CACHE = Path(os.environ.get("SSL_DATA", "~/.cache/ssl-core")).expanduser() / "speech"


@dataclass(frozen=True)
class Reading:
    """How recordings become batches; the options that all data sets share.

    Args:
        rate: samples per second that the model takes; recordings are resampled to it.
        seconds: of a padded batch, at most.
        longest, shortest: seconds of a recording; longer ones are cropped, or segmented, shorter ones skipped.
        long: what to do with longer ones: `crop` at random (in the middle for scores), or `segment` into several items.
        join: join recordings of one speaker to rows of so many seconds for training; 0 for none.
        raw: the plain features to beat: mean and deviation over time of `mfcc` or `mel`.
        skip: share of recordings that may be unusable.
        memory: MiB of samples that are decoded once and kept; more is read again in every epoch.
        workers: threads that decode ahead.
    """

    rate: int = 16000
    seconds: float = 32.0
    longest: float = 15.0
    shortest: float = 0.05
    long: Literal["crop", "segment"] = "crop"
    join: float = 0.0
    raw: Raw = "mfcc"
    skip: float = 0.1
    memory: int = 1024
    workers: int = 0

    def __post_init__(self) -> None:
        for name, low in (("rate", 1000), ("memory", 0), ("workers", 0), ("join", 0), ("shortest", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} should be {low} or more, got {getattr(self, name)}")
        if not 0 <= self.skip <= 1:
            raise ValueError(f"skip is a share, between 0 and 1, got {self.skip}")
        if not self.shortest < self.longest or not 0 < self.longest <= self.seconds or self.join > self.seconds:
            raise ValueError(f"wanted: shortest < longest <= seconds and join <= seconds, got shortest={self.shortest}, "
                             f"longest={self.longest}, seconds={self.seconds}, join={self.join}")


def vowels(items: int = 300, speakers: int = 6, noise: float = 0.03, label: Literal["word", "speaker"] = "word",
           rate: int = 16000, seconds: float = 16.0, raw: Raw = "mfcc", seed: int = 0, schema: dict[str, Any] | None = None
           ) -> Data:
    """Synthetic: ten words of two or three vowels, from a glottal source and formant filters.

    Args:
        items: recordings, of about half a second each.
        speakers: voices.
        noise: of the background, as a share of the level of the voice.
        label: what is to be told from the frozen features.
        rate, seconds, raw: see `Reading`.
        seed: of the recordings and the random 60/20/20 split.
    """
    from .synthesis import WORDS, utterances
    rate = int((schema or {}).get("rate", rate))
    made, word, speaker, _ = utterances(items, speakers, rate, noise, seed)
    named = [WORDS[i] if label == "word" else str(j) for i, j in zip(word.tolist(), speaker.tolist(), strict=True)]
    clips = [Clip(f"vowels/{i}", samples.numpy(), rate, label=name)
             for i, (samples, name) in enumerate(zip(made, named, strict=True))]
    return assembled(clips, Reading(rate=rate, seconds=seconds, raw=raw, longest=min(15.0, seconds)), "vowels", seed)


def fsdd(root: Path | None = None, label: Literal["digit", "speaker"] = "digit", rate: int = 8000, seconds: float = 16.0,
         join: float = 0.0, raw: Raw = "mfcc", seed: int = 0, schema: dict[str, Any] | None = None) -> Data:
    """Free Spoken Digits: 3,000 recordings of ten digits by six speakers, at 8 kHz.

    Test are the official takes 0 to 4, validation takes 5 to 9; training sees neither labels nor test recordings.

    Args:
        root: folder with `recordings/*.wav`.
        label: what is to be told from the frozen features.
        rate, seconds, join, raw: see `Reading`. Words are scored one by one, and learned from one by one: in joined rows few
            frames have an end near by.
        seed: unused: the split is the official one.
    """
    folder = Path(root).expanduser() if root else CACHE / "fsdd"
    found = {path.parent for path in folder.rglob("*_*_*.wav") if TAKE.fullmatch(path.stem)} if folder.is_dir() else set()
    if len(found) != 1:
        raise DataError(f"fsdd is not there: {'no' if not found else 'more than one'} folder of DIGIT_SPEAKER_TAKE.wav under "
                        f"{folder}.\n  Try: data.root=FOLDER; the recordings are at "
                        f"https://github.com/Jakobovski/free-spoken-digit-dataset")
    clips = []
    for path in sorted(path for path in found.pop().glob("*.wav") if TAKE.fullmatch(path.stem)):
        digit, speaker, take = path.stem.split("_")
        fold = "test" if int(take) < 5 else "validation" if int(take) < 10 else "train"
        clips.append(Clip(path.name, path, label=digit if label == "digit" else speaker, group=speaker, split=fold))
    rate = int((schema or {}).get("rate", rate))
    reading = Reading(rate=rate, seconds=seconds, join=join, raw=raw, longest=min(15.0, seconds))
    return assembled(clips, reading, str(folder), seed)


def read(source: Any, root: Path | None = None, rate: int = 16000, seconds: float = 32.0, longest: float = 15.0,
         shortest: float = 0.05, long: Literal["crop", "segment"] = "crop", join: float = 0.0, raw: Raw = "mfcc",
         skip: float = 0.1, memory: int = 1024, workers: int = 0, seed: int = 0, schema: dict[str, Any] | None = None) -> Data:
    """Your own recordings: a folder, a manifest (.tsv, .jsonl, wav.scp), one file, or arrays in memory.

    LibriSpeech and Speech Commands are known by their names. Arrays without a rate are taken to be at `rate`.

    Args:
        source: path or object.
        root: the folder that the paths of a manifest are relative to, and may not leave; default: the manifest's.
        rate, seconds, longest, shortest, long, join, raw, skip, memory, workers: see `Reading`.
        seed: of the random 60/20/20 split, where there is no official one.
    """
    rate = int((schema or {}).get("rate", rate))
    reading = Reading(rate=rate, seconds=seconds, longest=longest, shortest=shortest, long=long, join=join, raw=raw, skip=skip,
                      memory=memory, workers=workers)
    if isinstance(source, (str, Path)):
        return assembled(readers.find(Path(source).expanduser(), root), reading, str(source), seed)
    clips = [clip._replace(rate=clip.rate or rate) for clip in readers.in_memory(source)]
    return assembled(clips, reading, "the object given as data", seed)


def assembled(clips: Sequence[Clip], reading: Reading, where: str, seed: int) -> Data:
    """The record of a data set.

    Raises:
        DataError: no usable recording, or too many unusable ones.
    """
    store = opened(clips, reading, where)
    items = torch.arange(len(store.clips))
    labels, classes = coded([clip.label for clip in store.clips])
    splits = [clip.split for clip in store.clips]
    folds = official(store.clips, seed) if any(splits) else drawn(store.clips, seed)
    learn = items if not any(splits) else items[torch.tensor([split != "test" for split in splits])]
    learn = learn if len(learn) else items
    budget, longest = round(reading.seconds * reading.rate), round(reading.longest * reading.rate)
    if reading.join:
        _, groups = torch.unique(torch.tensor([hash_of(store.clips[i].group) for i in learn.tolist()]), return_inverse=True)
        plan: Any = Joined(learn, store.lengths[learn], groups, budget, round(reading.join * reading.rate))
    else:
        plan = Buckets(learn, store.lengths[learn], budget, longest)
    fixed = in_order(items, store.lengths, budget, longest)
    train = Loader(store, plan, len(plan), reading.workers, labels if classes else None)
    return Data(train=train, size=len(learn), target=told if classes else None,
                items=Loader(store, lambda: fixed, len(fixed), reading.workers), labels=labels if classes else None,
                folds=folds if classes else {}, raw=Plain(reading.rate, reading.raw), preview=Spectrograms(reading.rate),
                facts={"rate": reading.rate, **({"classes": len(classes)} if classes else {})}, schema={"rate": reading.rate},
                names=[clip.name for clip in store.clips], classes=classes or None, skipped=store.skipped,
                findings=lambda: findings(store), fingerprint=fingerprint(store))


def told(waves: Waves) -> Tensor | None:
    """The labels that came with a training batch."""
    return waves.labels


def opened(clips: Sequence[Clip], reading: Reading, where: str) -> Store:
    """The recordings that can be used, decoded if they are few, and why the others cannot."""
    good: list[tuple[Clip, float]] = []
    skipped: list[tuple[str, str]] = []
    for clip in clips:
        try:
            length = readers.seconds(clip)
            if length < reading.shortest:
                raise Bad(f"it is {length:.3f} s long, shorter than {reading.shortest} s")
            good += segments(clip, length, reading.longest) if reading.long == "segment" else [(clip, length)]
        except Bad as why:
            skipped.append((clip.name, str(why)))
    lengths = torch.tensor([max(1, round(length * reading.rate)) for _, length in good], dtype=torch.long)
    store = Store([clip for clip, _ in good], lengths, reading.rate, int(reading.skip * len(clips)), skipped)
    if int(lengths.sum()) * 4 <= reading.memory * 2**20:
        store = held(store, reading.workers)
    if not store.clips or len(store.skipped) > reading.skip * len(clips):
        some = "".join(f"\n    {name}: {why}" for name, why in store.skipped[:5])
        raise DataError(f"{where}: {len(store.skipped)} of {len(clips)} recordings cannot be used; {reading.skip:.0%} may be."
                        f"{some}\n  Try: mending or removing them, or data.skip=1.0 to go on without them")
    return store


def segments(clip: Clip, length: float, longest: float) -> list[tuple[Clip, float]]:
    """Equal parts of a recording, none longer than `longest` seconds."""
    count = max(1, -int(-length // longest))
    part = length / count
    if count == 1:
        return [(clip, length)]
    return [(clip._replace(name=f"{clip.name}#{i * part:.2f}", start=clip.start + i * part,
                           end=clip.start + (i + 1) * part), part) for i in range(count)]


def held(store: Store, workers: int) -> Store:
    """The same store with every recording decoded, without those that could not be."""
    def attempt(clip: Clip) -> Tensor | str:
        try:
            return readers.decode(clip, store.rate)
        except Bad as why:
            return str(why)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        decoded = list(pool.map(attempt, store.clips))
    store.skipped += [(clip.name, out) for clip, out in zip(store.clips, decoded, strict=True) if isinstance(out, str)]
    kept = [(clip, out) for clip, out in zip(store.clips, decoded, strict=True) if isinstance(out, Tensor)]
    whole = Store([clip for clip, _ in kept], torch.tensor([len(out) for _, out in kept], dtype=torch.long), store.rate,
                  store.limit, store.skipped)
    whole.held = {i: out for i, (_, out) in enumerate(kept)}
    return whole


def coded(labels: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Labels as numbers, -1 where there is none, and the names of the classes (none if all are alike)."""
    classes = sorted(set(labels) - {""})
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number.get(label, -1) for label in labels], dtype=torch.long), classes if len(classes) > 1 else []


def official(clips: Sequence[Clip], seed: int) -> dict[str, Tensor]:
    """Positions of the official folds; without a validation fold, a fifth of the training fold serves."""
    found = {fold: torch.tensor([i for i, clip in enumerate(clips) if clip.split == fold], dtype=torch.long) for fold in FOLDS}
    if not len(found["validation"]) and len(found["train"]):
        place = placed([clips[i] for i in found["train"].tolist()], seed)
        found["train"], found["validation"] = found["train"][place >= 0.2], found["train"][place < 0.2]
    return found


def drawn(clips: Sequence[Clip], seed: int) -> dict[str, Tensor]:
    """Random folds, 60/20/20."""
    place = placed(clips, seed)
    fold = (place >= 0.6).long() + (place >= 0.8)
    return {name: (fold == i).nonzero()[:, 0] for i, name in enumerate(FOLDS)}


def placed(clips: Sequence[Clip], seed: int) -> Tensor:
    """A random number in [0, 1) for each clip; the same for those of one group (speaker, chapter) and parts of one file."""
    keys = [clip.group or clip.name.partition("#")[0] for clip in clips]
    known = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    place = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)) / len(known)
    return place[torch.tensor([known[key] for key in keys], dtype=torch.long)]


class Plain:
    """Mean and deviation over time of MFCCs or log-mel bins: what a representation should beat.

    Args:
        rate: samples per second.
        kind: `mfcc` or `mel`.
    """

    def __init__(self, rate: int, kind: Raw) -> None:
        self.frames = MFCC(rate) if kind == "mfcc" else LogMel(rate, 40, step=rate // 100)

    def __call__(self, waves: Waves) -> Tensor:
        """(B, 78) for MFCCs, (B, 80) for log-mel bins."""
        return statistics(*self.frames.to(waves.samples.device)(waves))


class Spectrograms:
    """What to show of recordings in a report: log-mel spectrograms as pictures, low frequencies below.

    Args:
        rate: samples per second.
    """

    def __init__(self, rate: int) -> None:
        self.mel = LogMel(rate, 64, step=rate // 100)

    def __call__(self, waves: Waves, rows: Sequence[int]) -> list[Any]:
        """uint8 (64, frames) each; 0 is 60 dB or more under the loudest place, 255 the loudest."""
        chosen = Waves(waves.samples[list(rows)].float().cpu(), waves.lengths[list(rows)].cpu())
        mel, valid = self.mel(chosen)
        levels = [found[kept].T.flip(0) for found, kept in zip(mel, valid, strict=True)]  # (64, frames)
        return [((level - level.max()) / 13.8 + 1).clamp(0, 1).mul(255).to(torch.uint8).numpy() for level in levels]


def hash_of(word: str) -> int:
    """A number for a name, the same in every process."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:7], "big")


def fingerprint(store: Store) -> str:
    """A short hash of names and lengths, and of the samples that are held."""
    found = hashlib.sha256(repr([(clip.name, clip.label, clip.split) for clip in store.clips]).encode())
    found.update(store.lengths.numpy().tobytes())
    for samples in store.held.values():
        found.update(samples.numpy().tobytes())
    return found.hexdigest()[:16]
