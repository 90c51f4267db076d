"""Data sets of images. Each is a function whose parameters are its options: `data=cifar10 data.root=FOLDER`."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Data, DataError

from . import decoding, readers
from .findings import findings
from .images import FromFiles, Images, InMemory, unit
from .readers import Raw

Size = int | tuple[int, int] | None
Schema = Mapping[str, Any] | None
CACHE = Path(os.environ.get("SSL_DATA", "~/.cache/ssl-core")).expanduser() / "vision"
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's


@dataclass(frozen=True)
class Wanted:
    """How images should be given out, whatever they are read from.

    Args:
        batch_size: images per step.
        size: height and width, or one number for both; None: as they are.
        seed: of the split.
        workers: processes that decode what does not fit into memory.
        schema: what an encoder was trained on: its images' channels, size, mean and deviation.
        share: of the training images, those there are to learn from and to fit probes on; a smaller share is a part of a
            larger one.
    """

    batch_size: int = 256
    size: Size = None
    seed: int = 0
    workers: int = 0
    schema: Schema = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f"batch_size should be 2 or more, got {self.batch_size}: batch norms and contrasts need company")
        if self.pair is not None and min(self.pair) < 1:
            raise ValueError(f"size should be positive, got {self.size}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share should lie above 0 and up to 1, got {self.share}")

    @property
    def pair(self) -> tuple[int, int] | None:
        """Height and width that the images must have."""
        size = self.size if self.size is not None or not self.schema else tuple(self.schema["image_size"])
        return (size, size) if isinstance(size, int) else size  # type: ignore[return-value]

    @property
    def channels(self) -> int:
        """1 or 3 (or more, in memory); 0 where it does not matter."""
        return self.schema["channels"] if self.schema else 0


def digits(batch_size: int = 256, size: Size = None, seed: int = 0, schema: Schema = None, share: float = 1.0) -> Data:
    """scikit-learn's digits: 1,797 real images of 8 x 8, split 60/20/20.

    Args:
        batch_size, size, seed, schema, share: see `Wanted`; these options mean the same in every data set.
    """
    from sklearn.datasets import load_digits
    held = load_digits()
    pixels = torch.from_numpy(held.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    raw = Raw(pixels, torch.from_numpy(held.target).long(), classes=[str(i) for i in range(10)])
    return assembled(raw, "digits", Wanted(batch_size, size, seed, schema=schema, share=share))


def assembled(raw: Raw, where: str, wanted: Wanted) -> Data:
    """The record of a set of images: loaders, folds, facts.

    Training takes the training fold and what is unlabelled. Without official folds 60 % are for training, 20 % for
    validation and 20 % for the test; with a test fold only, a tenth of the training fold is cut for validation.

    Raises:
        DataError: fewer than two images to learn from.
    """
    pixels = fitted(raw.pixels, wanted) if isinstance(raw.pixels, Tensor) else raw.pixels
    count = len(pixels) if isinstance(pixels, Tensor) else len(pixels.names)
    train, folds = split(raw, count, wanted.seed)
    if wanted.share < 1:
        train, folds = thinned(train, folds, wanted.share, wanted.seed)
    if len(train) < 2 and not wanted.schema:
        raise DataError(f"{where} holds {count} image{'s' * (count != 1)}, {len(train)} of them to learn from; "
                        f"learning needs two or more")
    labels = raw.labels
    facts = dict(wanted.schema or described(pixels, train))
    if labels is not None and not labels.is_floating_point():
        counted = {"classes": int(labels.max()) + 1}
    else:
        counted = {}

    def loader(rows: Tensor, shuffle: bool) -> Any:
        if isinstance(pixels, Tensor):
            return InMemory(pixels, labels, rows, wanted.batch_size, shuffle)
        return FromFiles(pixels, labels, rows, wanted.batch_size, shuffle, wanted.workers)

    batches = loader(train, True)
    return Data(train=batches, size=len(batches) * min(wanted.batch_size, len(train)),
                items=loader(torch.arange(count), False), labels=labels, folds={} if labels is None else folds, raw=plain,
                target=None if labels is None else known, ids=numbers, facts=facts | counted | {"places": count}, schema=facts,
                names=raw.names,
                preview=preview, classes=raw.classes, skipped=raw.skipped,
                findings=lambda: findings(loader(torch.arange(count), False), raw.names),
                fingerprint=fingerprint(pixels, labels))


def split(raw: Raw, count: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Positions to learn from, and the three folds; what is not official is drawn by `seed`."""
    folds, unlabelled = dict(raw.folds), raw.folds.get("unlabelled", torch.tensor([], dtype=torch.long))
    folds.pop("unlabelled", None)
    official = folds.get("train", torch.arange(count) if not len(unlabelled) else torch.tensor([], dtype=torch.long))
    if raw.labels is None:
        return torch.cat([official, unlabelled]), {}
    order = official[torch.randperm(len(official), generator=torch.Generator().manual_seed(seed))]
    if "test" not in folds:
        cut = [len(order) * 6 // 10, len(order) * 8 // 10]
        folds |= dict(zip(("train", "validation", "test"), order.tensor_split(cut), strict=True))
    elif "validation" not in folds:
        folds["validation"], folds["train"] = order.tensor_split([max(1, len(order) // 10)])
    train = torch.cat([folds["train"], unlabelled])
    return train if len(train) else torch.arange(count), folds


def thinned(train: Tensor, folds: dict[str, Tensor], share: float, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A random share of the positions to learn from, 8 at least, and of the training fold; the other folds stay."""
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    kept = order[: max(8, round(share * len(order)))]
    return kept, folds | ({"train": folds["train"][torch.isin(folds["train"], kept)]} if folds else {})


def fitted(pixels: Tensor, wanted: Wanted) -> Tensor:
    """Images with as many channels and pixels as wanted: (N, C, H, W). Bytes stay bytes; blockwise, to spare memory."""
    channels, size = wanted.channels or pixels.shape[1], wanted.pair or tuple(pixels.shape[2:])
    if (channels, *size) == tuple(pixels.shape[1:]):
        return pixels
    if channels not in (1, 3) or pixels.shape[1] not in (1, 3, channels):
        raise DataError(f"the images have {pixels.shape[1]} channels, the encoder takes {channels}")
    made = []
    for block in pixels.split(1024):
        x = unit(block)
        if channels < x.shape[1]:
            x = (x * x.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        x = F.interpolate(x.expand(-1, channels, -1, -1), size, mode="bilinear", antialias=True)
        made.append(x if pixels.is_floating_point() else x.mul_(255).round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(made)


def described(pixels: Any, rows: Tensor) -> dict[str, Any]:
    """What encoders ask for: channels, image_size, and mean and deviation of each channel over up to 1,000 images."""
    some = rows[:: max(1, len(rows) // 1000)]
    x = unit(pixels[some] if isinstance(pixels, Tensor) else torch.stack([pixels(i) for i in some.tolist()]))
    mean, std = x.double().mean(dim=(0, 2, 3)), x.double().std(dim=(0, 2, 3)).clamp(min=0.01)
    return {"channels": x.shape[1], "image_size": list(x.shape[2:]),
            "mean": [round(m, 4) for m in mean.tolist()], "std": [round(s, 4) for s in std.tolist()]}


def plain(batch: Images) -> Tensor:
    """The pixels from 0 to 1, (B, F); of images larger than 32 x 32 the means of as many cells."""
    x = unit(batch.pixels)
    cells = [min(32, side) for side in x.shape[2:]]
    return F.adaptive_avg_pool2d(x, cells).flatten(1)


def preview(batch: Images, rows: Sequence[int]) -> list[Any]:
    """Pictures of some images, uint8 (H, W) or (H, W, 3); of other numbers of channels their mean."""
    x = (unit(batch.pixels[list(rows)]).float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    x = x if x.shape[1] == 3 else x.float().mean(dim=1).to(torch.uint8)
    return [image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy() for image in x]


def known(batch: Images) -> Tensor:
    """The labels of a training batch, (B,)."""
    assert batch.labels is not None
    return batch.labels


def numbers(batch: Images) -> Tensor:
    """The place of each image in the data set, (B,)."""
    assert batch.ids is not None
    return batch.ids


def fingerprint(pixels: Any, labels: Tensor | None) -> str:
    """A short hash of images (or of the names of files and their sizes) and labels."""
    found = hashlib.sha256()
    if isinstance(pixels, Tensor):
        for block in pixels.split(4096):
            found.update(block.contiguous().numpy().tobytes())
    else:
        for name in pixels.names:
            size = (pixels.where / name).stat().st_size if isinstance(pixels.where, Path) and pixels.where.is_dir() else 0
            found.update(f"{name} {size}\n".encode())
        if isinstance(pixels.where, Path) and pixels.where.is_file():
            found.update(str(pixels.where.stat().st_size).encode())
    if labels is not None:
        found.update(labels.numpy().tobytes())
    return found.hexdigest()[:16]


def from_files(where: Any, names: list[str], wanted: Wanted, skip: float, memory: float, check: bool) -> Data:
    """A record of images that lie in files."""
    if not 0 <= skip <= 1:
        raise ValueError(f"skip should lie between 0 and 1, got {skip}")
    raw = readers.files(where, names, size=wanted.pair, channels=wanted.channels, skip=skip, memory=memory, check=check)
    return assembled(raw, str(where) if isinstance(where, Path) else "the data set", wanted)


def read(source: Any, batch_size: int = 256, size: Size = None, skip: float = 0.1, memory: float = 1.0, check: bool = False,
         workers: int = 0, seed: int = 0, schema: Schema = None, share: float = 1.0) -> Data:
    """The user's own images: a folder or .zip with one folder per class, `.npy`, `.npz`, or an array in memory.

    A folder may be divided into `train`, `val` and `test` first. Images larger than the training needs should be scaled by
    `size`: views are cut from what is read here.

    Args:
        source: the path, an array (N, C, H, W) or (N, H, W), or a pair of such an array and labels.
        skip: largest share of unreadable files that is put up with; they are listed in the result.
        memory: GiB of decoded images to hold; what is larger is decoded batch by batch.
        check: decode every image once before training, even if they are too many to hold.
        workers: processes that decode what is not held.
        batch_size, size, seed, schema, share: see `Wanted`.
    """
    wanted = Wanted(batch_size, size, seed, workers, schema, share)
    if not isinstance(source, (str, Path)):
        return assembled(readers.array(source), "the array given as data", wanted)
    path = Path(source)
    if path.suffix in (".npy", ".npz"):
        return assembled(readers.numpy_file(path), str(path), wanted)
    if path.is_dir() or path.suffix == ".zip":
        names = decoding.folder(path) if path.is_dir() else decoding.archived(path)
        return from_files(path, names, wanted, skip, memory, check)
    raise DataError(f"{path} is no set of images.\n  Try: a folder or .zip with one folder per class, or .npy or .npz")


def locate(root: Path | None, name: str, known: Mapping[str, Callable[[Path], Raw]], fetch: Callable[[Path], None],
           download: bool) -> Path:
    """The first of the known files of a data set that lies anywhere under `root`; fetched if the user asked for that.

    Raises:
        DataError: none is there.
    """
    folder = Path(root).expanduser() if root else CACHE / name
    for file in known:
        for found in sorted(folder.rglob(file)) if folder.is_dir() else ():
            if found.is_file():
                return found
    if download:
        fetch(folder)
        return locate(root, name, known, fetch, False)
    raise DataError(f"{name} is not there: none of {', '.join(known)} under {folder}.\n"
                    f"  Try: data.root=FOLDER, the folder that holds it, or data.download=true")


def public(name: str, known: Mapping[str, Callable[[Path], Raw]]) -> Callable[..., Data]:
    """A public data set, by the files that it may come in and how each is read."""
    def load(root: Path | None = None, batch_size: int = 256, size: Size = None, download: bool = False, seed: int = 0,
             schema: Schema = None, share: float = 1.0) -> Data:
        from .download import archive
        path = locate(root, name, known, lambda folder: archive(name, folder), download)
        return assembled(known[path.name](path), name, Wanted(batch_size, size, seed, schema=schema, share=share))
    return load


def zipped(path: Path) -> Raw:
    """A zip archive of images of one size, all of them readable."""
    return readers.files(path, decoding.archived(path), size=None, channels=0, skip=0.0, memory=64.0, check=True)


def _batches(path: Path, count: int = 5) -> list[Path]:
    """data_batch_1 .. data_batch_5, of the binary or of the Python version."""
    return [path.with_name(path.name.replace("1", str(i))) for i in range(1, count + 1)]


CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
cifar10 = public("cifar10", {
    "data_batch_1.bin": lambda p: readers.cifar_binary(_batches(p), p.with_name("test_batch.bin"), 1, CIFAR10),
    "data_batch_1": lambda p: readers.cifar_python(_batches(p), p.with_name("test_batch"), "labels", CIFAR10),
    "cifar10_jpg.zip": zipped})
cifar100 = public("cifar100", {
    "train.bin": lambda p: readers.cifar_binary([p], p.with_name("test.bin"), 2, None),
    "train": lambda p: readers.cifar_python([p], p.with_name("test"), "fine_labels", None)})
mnist = public("mnist", {f"train-images-idx3-ubyte{end}": lambda p: readers.mnist(p.parent) for end in ("", ".gz")})
fashion_mnist = public("fashion-mnist", {f"train-images-idx3-ubyte{end}": lambda p: readers.mnist(p.parent)
                                         for end in ("", ".gz")})
stl10 = public("stl10", {"train_X.bin": lambda p: readers.stl10(p.parent)})


def huggingface(name: str, configuration: str = "", image: str = "", label: str = "label", train: str = "train",
                test: str = "test", download: bool = False, batch_size: int = 256, size: Size = None, skip: float = 0.1,
                memory: float = 1.0, workers: int = 0, seed: int = 0, schema: Schema = None, share: float = 1.0) -> Data:
    """A data set of images on the Hugging Face hub, by name: `data=huggingface data.name=uoft-cs/cifar10`.

    Args:
        name, configuration: as on the hub.
        image, label: columns; "" for the first one of images. A set without the label column is read without labels.
        train, test: splits; `test` may be missing.
        download: must be true, because this goes to the network; no code of the data set is run.
        batch_size, size, skip, memory, workers, seed, schema, share: see `read`.
    """
    if not download:
        raise DataError(f"{name} lies on the Hugging Face hub.\n  Try: data.download=true, if it may be fetched from there")
    from .download import hub
    wanted = Wanted(batch_size, size, seed, workers, schema, share)
    found = hub(name, configuration, image, label, (train, test))
    return from_files(found.images, found.names, wanted, skip, memory, False)
