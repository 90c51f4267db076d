"""From what lies on disk or in memory to images, labels and official folds. Nothing that is opened here runs code."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_core import DataError
from ssl_core.opening import arrays, gunzip, unpickled

from .decoding import Files, Header
from .images import stack


class Raw(NamedTuple):
    """What was read: (N, C, H, W) images or the files to decode them from, labels (N,) long or None, folds by position.

    A fold may be "train", "validation", "test" or "unlabelled"; none at all means that there are no official ones.
    """

    pixels: Tensor | Files
    labels: Tensor | None = None
    folds: Mapping[str, Tensor] = {}
    classes: Sequence[str] | None = None
    names: Sequence[str] | None = None
    skipped: Sequence[tuple[str, str]] = ()


FOLDERS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
           "test": "test", "testing": "test", "unlabelled": "unlabelled", "unlabeled": "unlabelled"}


def layout(names: Sequence[str]) -> tuple[Tensor | None, dict[str, Tensor], list[str] | None]:
    """Labels, folds and classes from paths such as `train/cat/1.png`, `cat/1.png` or `1.png`.

    A folder that holds everything is looked through. `val` beside `train` without `test` is the test fold, as in ImageNet.
    """
    parts = [name.split("/")[:-1] for name in names]
    while parts and all(parts) and parts[0][0].lower() not in FOLDERS and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    folds: dict[str, Tensor] = {}
    if all(part and part[0].lower() in FOLDERS for part in parts) and any(FOLDERS[p[0].lower()] == "train" for p in parts):
        found = [FOLDERS[part[0].lower()] for part in parts]
        parts = [part[1:] for part in parts]
        folds = {fold: torch.tensor([i for i, f in enumerate(found) if f == fold]) for fold in dict.fromkeys(found)}
        if "test" not in folds and "validation" in folds:
            folds["test"] = folds.pop("validation")
    known = [part[0] if part else "" for part in parts]
    classes = sorted(set(known) - {""})
    if folds.get("unlabelled") is not None:  # a folder of everything is no class
        classes = sorted({known[i] for f, rows in folds.items() if f != "unlabelled" for i in rows.tolist()} - {""})
    if not classes:
        return None, folds, None
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number.get(name, -1) for name in known]), folds, classes


def files(where: Any, names: Sequence[str], *, size: tuple[int, int] | None, channels: int, skip: float, memory: float,
          check: bool) -> Raw:
    """Look at every file, leave out those that are no images, and decode all of them if they fit into memory.

    Args:
        where, names: see `Files`.
        size: (H, W); None: the size that all of them have.
        channels: 1 or 3; 0: 1 if all are gray.
        skip: largest share of unreadable files that is put up with.
        memory: GiB of decoded images to hold; what is larger is decoded batch by batch.
        check: decode every image once even if they are too many to hold.

    Raises:
        DataError: nothing to read, too much that cannot be read, or images of several sizes without `size`.
    """
    if not names:
        raise DataError(f"there are no images in {where}\n  Try: a folder or .zip of .jpg, .png, ... in one folder per class")
    source = Files(where, names)
    first = next((head for head in (_attempt(source.header, i)[0] for i in range(len(names))) if head), Header(0, 0, True))
    height, width = size or first[:2]
    held = len(names) * height * width * (channels or (1 if first.gray else 3)) <= memory * 2**30

    def look(i: int) -> tuple[Header, Tensor | None]:
        if not (held or check):
            return source.header(i), None
        head, pixels = source.look(i, channels, size, first)
        return head, pixels if held else None

    looks = _each(look, len(names))
    found = {i: both for i, (both, _) in enumerate(looks) if both is not None}
    bad = {i: why for i, (_, why) in enumerate(looks) if why}
    tolerated(bad, names, skip)
    heads = {i: head for i, (head, _) in found.items()}
    source.channels = channels or (1 if all(head.gray for head in heads.values()) else 3)
    source.size = size or one_size(heads, names, where if isinstance(where, Path) else "the data set")
    source.names, source.rows = [names[i] for i in found], list(found)
    labels, folds, classes = layout(source.names)
    pixels = stack([x.expand(source.channels, -1, -1) for _, x in found.values()]) if held else source
    return Raw(pixels, labels, folds, classes, source.names, [(names[i], why) for i, why in bad.items()])


def tolerated(bad: Mapping[int, str], names: Sequence[str], skip: float) -> None:
    """Raise a DataError that lists the first unreadable files if there are more than a share `skip` of them."""
    if bad and (len(bad) > skip * len(names) or len(bad) == len(names)):
        listed = "".join(f"\n  {why}" for why in list(bad.values())[:5])
        more = "" if len(bad) == len(names) else f", or data.skip={len(bad) / len(names) + 0.01:.2f}"
        raise DataError(f"{len(bad)} of {len(names)} images cannot be read (data.skip={skip:g} of them may be):{listed}\n"
                        f"  Try: removing them{more}")


def _attempt(call: Any, i: int) -> tuple[Any, str]:
    """What `call(i)` gave, or None and its complaint."""
    try:
        return call(i), ""
    except DataError as error:
        return None, str(error)


def _each(call: Any, count: int) -> list[tuple[Any, str]]:
    """`_attempt` for every i, in threads: Pillow decodes without the interpreter's lock."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda i: _attempt(call, i), range(count)))


def one_size(heads: Mapping[int, Header], names: Sequence[str], where: Any) -> tuple[int, int]:
    """The size that all images have.

    Raises:
        DataError: they have several; names two files and says what to do.
    """
    first, *rest = heads.items()
    for i, head in rest:
        if head[:2] != first[1][:2]:
            raise DataError(f"the images in {where} have several sizes: {names[first[0]]} has {first[1].height} x "
                            f"{first[1].width} pixels, {names[i]} has {head.height} x {head.width}.\n"
                            f"  Try: data.size=64 (each is scaled and cut to a square of that side), or data.size=[H,W]")
    return first[1].height, first[1].width


def array(held: Any, where: str = "the array given as data") -> Raw:
    """Images in memory: (N, C, H, W) or (N, H, W), alone or with labels; numpy or torch; bytes, 16 bits, or 0 to 1.

    Raises:
        DataError: it has another shape, or values that are no brightness.
    """
    pair = isinstance(held, tuple) and (1 <= len(held) <= 2 or hasattr(held, "pixels"))
    pixels, labels = (*held, None)[:2] if pair else (held, None)
    try:
        x = pixels if isinstance(pixels, Tensor) else torch.as_tensor(_native(np.asarray(pixels)))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is no array of numbers: {error}") from error
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or 0 in x.shape:
        raise DataError(f"{where} has the shape {tuple(x.shape)}; expected (N, C, H, W) or (N, H, W), none of them 0")
    if x.shape[1] > 4 and x.shape[3] <= 4:
        raise DataError(f"{where} has the shape {tuple(x.shape)}, which looks like channels last; expected (N, C, H, W).\n"
                        f"  Try: x.transpose(0, 3, 1, 2)")
    return Raw(brightness(x.detach().cpu(), where), None if labels is None else _labels(labels, len(x), where))


def _native(array: Any) -> Any:
    """numpy's 16 bits without a sign as 32 bits, which torch can work with; arrays that nobody may write to are copied."""
    array = array.astype(np.int32) if array.dtype == np.uint16 else array
    return array if array.flags.writeable and array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def brightness(x: Tensor, where: str) -> Tensor:
    """uint8, or float32 from 0 to 1."""
    if x.dtype in (torch.uint8, torch.bool):
        return x if x.dtype is torch.uint8 else x.to(torch.uint8) * 255
    low, high = float(x.min()), float(x.max())
    if not x.is_floating_point() and low >= 0 and high <= 65535:
        return x.to(torch.uint8) if high <= 255 else x.float() / 65535
    if x.is_floating_point() and low >= 0 and high <= 1:
        return x.float()
    raise DataError(f"{where} holds values from {low:g} to {high:g}; expected integers from 0 to 255 or 65535, or floats from "
                    f"0 to 1.\n  Try: (x - x.min()) / (x.max() - x.min())")


def _labels(labels: Any, images: int, where: str) -> Tensor:
    """Labels as numbers; words and numbers with gaps are counted through in sorted order, -1 stays."""
    found = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels).reshape(-1)
    if len(found) != images:
        raise DataError(f"{where}: {len(found)} labels for {images} images")
    if found.dtype.kind == "f":
        return torch.from_numpy(found).float()
    if found.dtype.kind in "iu":
        return torch.from_numpy(found.astype(np.int64))
    return torch.from_numpy(np.unique(found, return_inverse=True)[1])


def numpy_file(path: Path) -> Raw:
    """`.npy` of images, or `.npz` with `images` and, if there are any, `labels`; never unpickled."""
    held = arrays(path, plain=("images", "labels"))
    if "" not in held and "images" not in held:
        raise DataError(f"{path} holds no array called `images`; it holds {', '.join(held) or 'none'}")
    return array(held[""] if "" in held else tuple(held[name] for name in ("images", "labels") if name in held), str(path))


def idx(path: Path) -> Tensor:
    """An array in the IDX format of MNIST, plain or gzipped, of bytes."""
    content = gunzip(path).read() if path.suffix == ".gz" else path.read_bytes()
    axes = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", axes, 4).astype(int) if len(content) >= 4 + 4 * axes else np.zeros(0, int)
    if not axes or len(content) != 4 + 4 * axes + math.prod(shape.tolist()):
        raise DataError(f"{path} is not a whole IDX file of bytes, as MNIST comes in")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())


def mnist(folder: Path) -> Raw:
    """The four IDX files of MNIST and its relatives; `t10k` is the test fold."""
    parts = []
    for part in ("train", "t10k"):
        both = [next(iter(sorted(folder.glob(f"{part}-{kind}-ubyte*"))), None) for kind in ("images-idx3", "labels-idx1")]
        if both[0] is None or both[1] is None:
            raise DataError(f"{folder} should hold {part}-images-idx3-ubyte and {part}-labels-idx1-ubyte")
        parts.append((idx(both[0])[:, None], idx(both[1]).long()))
    return joined(parts, [str(i) for i in range(10)])


def joined(parts: Sequence[tuple[Tensor, Tensor]], classes: Sequence[str] | None) -> Raw:
    """One set from an official training part and a test part."""
    (train, known), (test, asked) = parts
    if len(train) != len(known) or len(test) != len(asked):
        raise DataError("there are not as many labels as images")
    rows = torch.arange(len(train) + len(test))
    return Raw(torch.cat([train, test]), torch.cat([known, asked]),
               {"train": rows[: len(train)], "test": rows[len(train):]}, classes)


def cifar_binary(train: Sequence[Path], test: Path, labels: int, classes: Sequence[str] | None) -> Raw:
    """The binary version of CIFAR: records of `labels` bytes, the last of which counts, and 3,072 of pixels."""
    def part(path: Path) -> tuple[Tensor, Tensor]:
        content = np.fromfile(path, np.uint8)
        if not len(content) or len(content) % (labels + 3072):
            raise DataError(f"{path} is not a whole file of CIFAR's binary version")
        records = torch.from_numpy(content).view(-1, labels + 3072)
        return records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1].long()
    found = [part(path) for path in train]
    return joined([(torch.cat([x for x, _ in found]), torch.cat([y for _, y in found])), part(test)], classes)


def cifar_python(train: Sequence[Path], test: Path, key: str, classes: Sequence[str] | None) -> Raw:
    """The Python version of CIFAR: pickled dictionaries of `data` (N, 3072) and labels under `key`."""
    def part(path: Path) -> tuple[Tensor, Tensor]:
        try:
            held = unpickled(path, encoding="bytes")
            held = {k.decode() if isinstance(k, bytes) else k: item for k, item in held.items()}
            return torch.as_tensor(held["data"]).reshape(-1, 3, 32, 32), torch.as_tensor(held[key]).long()
        except Exception as error:
            raise DataError(f"{path} is no batch of CIFAR's Python version: {error}") from error
    found = [part(path) for path in train]
    return joined([(torch.cat([x for x, _ in found]), torch.cat([y for _, y in found])), part(test)], classes)


def stl10(folder: Path) -> Raw:
    """The binary files of STL-10: 5,000 training, 8,000 test and 100,000 unlabelled images, 2.9 GB."""
    def images(name: str) -> Tensor:
        stored = np.memmap(folder / name, np.uint8, mode="c").reshape(-1, 3, 96, 96)
        return torch.from_numpy(stored).transpose(2, 3)  # columns come first in the file
    try:
        parts = [images(f"{name}_X.bin") for name in ("train", "test")]
        if (folder / "unlabeled_X.bin").exists():
            parts.append(images("unlabeled_X.bin"))
        labels = [torch.from_numpy(np.fromfile(folder / f"{name}_y.bin", np.uint8)).long() - 1 for name in ("train", "test")]
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} does not hold STL-10's binary files: {error}") from error
    counts = [len(part) for part in parts]
    rows = torch.arange(sum(counts)).split(counts)
    known = torch.cat([*labels, *(torch.full((n,), -1) for n in counts[2:])])
    words = folder / "class_names.txt"
    return Raw(torch.cat(parts), known, dict(zip(("train", "test", "unlabelled"), rows)),
               words.read_text(encoding="utf-8").split() if words.exists() else None)

