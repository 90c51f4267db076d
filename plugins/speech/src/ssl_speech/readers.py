"""Recordings as people have them: which there are (folders, manifests), and their samples. Nothing in a file is run."""
from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from ssl_core import DataError
from ssl_core.opening import limit

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf")
SILENT = "it is silent"
DENSEST = 2000  # samples of one channel that a byte of a file can stand for; a header that promises more is wrong
KERNEL = 2**27  # weights of a resampling filter; rates without a common divisor need endless ones
LIBRISPEECH = re.compile(r"(\d+)-(\d+)-\d+")
COMMANDS = re.compile(r"(\w+?)_nohash_\d+")


class Clip(NamedTuple):
    """One recording or a part of one, and what is known of it before it is decoded.

    Args:
        name: what to call it.
        source: a file, or samples (T,) or (T, channels) in memory.
        rate: samples per second of an array; 0 for a file, which says it itself.
        start, end: the part that is meant, in seconds; end 0: up to the end.
        label, group, split: class, speaker and official fold, "" where unknown.
    """

    name: str
    source: Any
    rate: int = 0
    start: float = 0.0
    end: float = 0.0
    label: str = ""
    group: str = ""
    split: str = ""


class Bad(Exception):
    """Why a recording cannot be used, in a few words."""


def find(source: Path, root: Path | None = None) -> list[Clip]:
    """The recordings of a folder, of a manifest (.tsv, .jsonl, wav.scp), or one file.

    Args:
        source: folder, manifest or recording.
        root: the folder that paths in a manifest are relative to and may not leave; the manifest's own by default.

    Raises:
        DataError: nothing there, or a manifest that cannot be followed.
    """
    if source.is_dir():
        return folder(source)
    if not source.is_file():
        raise DataError(f"there is no file or folder {source}")
    kinds = {".tsv": table, ".jsonl": lines, ".scp": scp}
    if source.suffix.lower() in kinds:
        try:
            return kinds[source.suffix.lower()](source, (root or source.parent).resolve())
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{source} is no manifest in UTF-8: {error}") from error
    if source.suffix.lower() in SUFFIXES:
        return [Clip(source.name, source)]
    raise DataError(f"{source}: cannot tell what kind of data this is.\n"
                    f"  Try: a folder, a manifest (.tsv, .jsonl, .scp), or a recording ({', '.join(SUFFIXES)})")


def folder(root: Path) -> list[Clip]:
    """Every recording under a folder. LibriSpeech and Speech Commands are known by their file names; else the folder
    that a recording lies in is its label, if there are two such folders or more.

    Raises:
        DataError: the folder cannot be opened, or holds no recording.
    """
    files = sorted(walk(root))
    if not files:
        raise DataError(f"{root} holds no recording (looked for {', '.join(SUFFIXES)}, in folders below too)")
    if all(LIBRISPEECH.fullmatch(path.stem) for path in files):
        return [Clip(str(path.relative_to(root)), path, label=path.stem.split("-")[0],
                     group="-".join(path.stem.split("-")[:2])) for path in files]
    if any(COMMANDS.fullmatch(path.stem) for path in files):
        return commands(root, files)
    classes = {path.parent for path in files}
    several = len(classes) > 1
    return [Clip(str(path.relative_to(root)), path, label=path.parent.name if several else "") for path in files]


def walk(root: Path) -> Iterator[Path]:
    """Paths of the recordings under a folder, links not followed."""
    def refuse(error: OSError) -> None:
        if Path(error.filename or root) == root:
            raise DataError(f"cannot open the folder {root}: {error.strerror or error}") from error
    for place, inner, names in os.walk(root, onerror=refuse):
        inner.sort()
        yield from (Path(place) / name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))


def commands(root: Path, files: list[Path]) -> list[Clip]:
    """Speech Commands (arXiv:1804.03209): word/SPEAKER_nohash_N.wav, with the official lists of two folds."""
    listed = {name: split for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt"))
              if (root / file).is_file() for name in (root / file).read_text(encoding="utf-8").split()}
    clips = []
    for path in files:
        known, name = COMMANDS.fullmatch(path.stem), path.relative_to(root).as_posix()
        if known:
            clips.append(Clip(name, path, label=path.parent.name, group=known[1],
                              split=listed.get(name, "train") if listed else ""))
    return clips


def inside(name: str, root: Path, where: str) -> Path:
    """A path of a manifest, which may not lead out of `root`."""
    try:
        path = (root / name).resolve()
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: {name[:60]!r} is no path: {error}") from error
    if not path.is_relative_to(root):
        raise DataError(f"{where}: {name} leads out of {root}.\n  Try: data.root=FOLDER, the folder that holds the recordings")
    return path


def table(path: Path, root: Path) -> list[Clip]:
    """A TSV with a header (`path`, and if known `label`, `speaker`, `split`, `start`, `end`), or fairseq's: a first line
    that names a folder, then `path<TAB>samples`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
    if not rows:
        raise DataError(f"{path} is empty")
    if "path" not in rows[0]:
        if len(rows[0]) > 1 or len(rows) < 2:
            raise DataError(f"{path}: the first line should name the columns, one of them `path`; it is {rows[0]}")
        base = Path(rows[0][0])
        prefix = str(base) if base.resolve().is_relative_to(root) else ""
        return [Clip(row[0], inside(os.path.join(prefix, row[0]), root, f"{path}, line {number}"))
                for number, row in enumerate(rows[1:], 2)]
    clips = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}, line {number}: {len(row)} cells, the header has {len(rows[0])}")
        clips.append(entry(dict(zip(rows[0], row, strict=True)), root, f"{path}, line {number}"))
    return clips


def lines(path: Path, root: Path) -> list[Clip]:
    """One JSON object a line: `path` or `audio_filepath`, and if known `label`, `speaker`, `split`, `offset`, `duration`."""
    clips = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path}, line {number}"
        if line.strip():
            try:
                held = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where} is not JSON: {error}") from error
            if not isinstance(held, dict):
                raise DataError(f"{where} should be an object such as {{\"path\": \"a.wav\"}}, is {line[:60]}")
            clips.append(entry(held, root, where))
    if not clips:
        raise DataError(f"{path} is empty")
    return clips


def entry(held: dict[str, Any], root: Path, where: str) -> Clip:
    """One line of a manifest as a clip."""
    name = held.get("path") or held.get("audio_filepath")
    if not isinstance(name, str):
        raise DataError(f"{where}: no `path`; it holds {', '.join(held)}")
    try:
        start = float(held.get("start") or held.get("offset") or 0)
        end = float(held.get("end") or 0) or (start + float(held["duration"]) if held.get("duration") else 0.0)
        if not (0 <= start < math.inf and 0 <= end < math.inf):
            raise ValueError(f"they are {start} and {end}")
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: start, end, offset and duration should be seconds: {error}") from error
    label, group, split = (str(held.get(key) or "") for key in ("label", "speaker", "split"))
    split = "validation" if split in ("dev", "valid") else split
    return Clip(name, inside(name, root, where), 0, start, end, label, group, split)


def scp(path: Path, root: Path) -> list[Clip]:
    """Kaldi's wav.scp, `utterance path` a line, with `utt2spk` beside it if there is one. Pipes are refused, not run."""
    speakers = {}
    if (path.parent / "utt2spk").is_file():
        speakers = dict(line.split(maxsplit=1) for line in (path.parent / "utt2spk").read_text(encoding="utf-8").splitlines()
                        if len(line.split(maxsplit=1)) == 2)
    clips = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, _, file = line.strip().partition(" ")
        if not name:
            continue
        if not file or file.rstrip().endswith("|"):
            raise DataError(f"{path}, line {number}: " + ("commands (`... |`) are not run" if file else "no path") +
                            ".\n  Try: writing the recordings to files and listing those")
        speaker = speakers.get(name, "").strip()
        clips.append(Clip(name, inside(file.strip(), root, f"{path}, line {number}"), label=speaker))
    return clips


def in_memory(held: Any) -> list[Clip]:
    """Recordings in memory: arrays (T,) or (T, channels), an array (N, T), `(samples, rate)` pairs, a mapping with
    `samples`, `rate` and `labels`, or rows with an `audio` of `array` and `sampling_rate` (Hugging Face).

    Raises:
        DataError: something else.
    """
    labels, rate = None, 0
    if isinstance(held, dict):
        if "samples" not in held:
            raise DataError(f"the mapping given as data should hold `samples`, and `rate` and `labels` if known; it holds "
                            f"{', '.join(map(str, held)) or 'nothing'}")
        labels, rate, held = held.get("labels"), int(held.get("rate", 0)), held["samples"]
    if not hasattr(held, "__len__") or not hasattr(held, "__getitem__"):
        raise DataError(f"cannot read recordings from a {type(held).__name__}.\n  Try: a list of arrays, (array, rate) pairs")
    held = [held] if getattr(held, "ndim", 0) == 1 else held
    if labels is not None and len(labels) != len(held):
        raise DataError(f"{len(labels)} labels for {len(held)} recordings in memory")
    clips = []
    for i in range(len(held)):
        row, own = held[i], rate
        label = "" if labels is None else str(labels[i].item() if hasattr(labels[i], "item") else labels[i])
        if isinstance(row, dict) and isinstance(row.get("audio"), dict):
            label = label or str(row.get("label", ""))
            row, own = row["audio"].get("array"), int(row["audio"].get("sampling_rate", 0))
        elif isinstance(row, tuple) and len(row) == 2:
            row, own = row[0], int(row[1])
        clips.append(Clip(f"memory/{i}", np.asarray(row), own, label=label))
    return clips


def seconds(clip: Clip) -> float:
    """How long a clip is, from the header of its file.

    Raises:
        Bad: not there, no audio, nothing in it.
    """
    if isinstance(clip.source, Path):
        try:
            info = soundfile.info(str(clip.source))
        except (soundfile.SoundFileError, OSError, TypeError) as error:
            raise Bad(reason(error, clip.source)) from error
        size = clip.source.stat().st_size
        if info.frames > DENSEST * size or info.samplerate < 1:
            raise Bad(f"its header promises {info.frames} samples at {info.samplerate} Hz in {size} bytes")
        whole = info.frames / info.samplerate
    else:
        whole = len(clip.source) / clip.rate if clip.source.ndim in (1, 2) else 0.0
    length = min(clip.end or whole, whole) - clip.start
    if length <= 0:
        raise Bad("it holds no samples" + (f" between {clip.start} s and {clip.end} s" if clip.start or clip.end else ""))
    return length


def reason(error: Exception, path: Path) -> str:
    """Why libsndfile refused a file, in a few words."""
    if not path.exists():
        return "there is no such file"
    if not path.stat().st_size:
        return "the file is empty"
    return f"it is no audio that libsndfile reads ({str(error).rpartition(': ')[2].strip().rstrip('.')})"


def decode(clip: Clip, rate: int, offset: float = 0.0, length: float = 0.0) -> Tensor:
    """Samples of a clip, mono, at `rate`, (T,) float32; channels are averaged.

    Args:
        offset, length: the part of the clip to read, in seconds; length 0: up to its end. Only that part is decoded.

    Raises:
        Bad: unreadable, cut short, NaN, silent, or mostly clipped.
    """
    start = clip.start + offset
    end = start + length if length else clip.end
    if isinstance(clip.source, Path):
        samples, own = _from_file(clip.source, start, end)
    else:
        own = clip.rate
        samples = clip.source[round(start * own): round(end * own) if end else None]
        if samples.dtype.kind in "iu":
            low, high = np.iinfo(samples.dtype).min, np.iinfo(samples.dtype).max
            samples = (samples.astype(np.float64) - (low + high + 1) / 2) / ((high - low + 1) / 2)
        samples = samples.astype(np.float32)
    samples = samples.mean(axis=1) if samples.ndim == 2 else samples
    check(samples)
    mono = torch.from_numpy(np.ascontiguousarray(samples))
    return mono if own == rate else resampler(own, rate)(mono)


def _from_file(path: Path, start: float, end: float) -> tuple[Any, int]:
    try:
        with soundfile.SoundFile(str(path)) as file:
            first, rate = round(start * file.samplerate), file.samplerate
            last = min(round(end * rate), file.frames) if end else file.frames
            if (last - first) * file.channels * 4 > limit():
                raise Bad(f"its header promises {(last - first) * file.channels * 4 / 2**30:.1f} GiB of samples at once")
            if first:
                file.seek(min(first, file.frames))
            samples = file.read(max(0, last - first), dtype="float32")
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise Bad(reason(error, path)) from error
    if len(samples) < last - first:
        raise Bad(f"it is cut short: {len(samples)} of {last - first} samples")
    return samples, rate


def check(samples: Any) -> None:
    """Samples (T,) that can be learned from.

    Raises:
        Bad: no samples, NaN, silence, or more than half of them at full scale.
    """
    if not len(samples):
        raise Bad("it holds no samples")
    if not np.isfinite(samples).all():
        raise Bad("it holds NaN or infinite samples")
    loud = np.abs(samples)
    top = loud.max()
    if top < 1e-5:
        raise Bad(SILENT)
    if top >= 0.99 and (loud >= 0.99 * top).mean() > 0.5:
        raise Bad("more than half of its samples are clipped")


@cache
def resampler(before: int, after: int) -> Resample:
    """Band-limited resampling from one rate to another; its filter is made once."""
    shared = math.gcd(before, after)
    if before // shared * (after // shared) > KERNEL:
        raise Bad(f"its rate of {before} Hz has no simple ratio to {after} Hz, so it cannot be resampled")
    return Resample(before, after)
