"""Fetching public images. Nothing here runs unless a user says `data.download=true`."""
from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ssl_core import DataError
from ssl_core.files import atomically, fetch
from ssl_core.opening import room

TORONTO = "https://www.cs.toronto.edu/~kriz"
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
IDX = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
SOURCES = {
    "cifar10": [f"{TORONTO}/cifar-10-binary.tar.gz"], "cifar100": [f"{TORONTO}/cifar-100-binary.tar.gz"],
    "stl10": ["https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"],
    "mnist": [f"{MNIST}/{file}" for file in IDX], "fashion-mnist": [f"{FASHION}/{file}" for file in IDX],
}


def archive(name: str, folder: Path) -> None:
    """The files of a public data set; of a tar archive only the plain files, under their own names."""
    for url in SOURCES[name]:
        path = folder / url.rpartition("/")[2]
        fetch(url, path)
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as held:
                for member in held:
                    content = held.extractfile(member) if member.isfile() else None
                    room(path, member.size)
                    if content is not None:  # a member's path is not followed
                        atomically(folder / Path(member.name).name, lambda beside, c=content: _copy(c, beside))


def _copy(content: Any, path: Path) -> None:
    with path.open("wb") as file:
        while chunk := content.read(2**20):
            file.write(chunk)


class Hub(NamedTuple):
    """Images of a data set on the hub, and names that say fold and class as a folder would."""

    images: Any
    names: list[str]


def hub(name: str, configuration: str, image: str, label: str, splits: Sequence[str]) -> Hub:
    """Fetch a data set from the Hugging Face hub.

    Raises:
        DataError: `datasets` is not installed, there is no such data set, or it has no column of images.
    """
    try:
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise DataError("data sets of the Hugging Face hub need the package datasets.\n  Try: pip install datasets") from error
    try:
        held = load_dataset(name, configuration or None)
    except Exception as error:  # one of many, for a wrong name, no network, a data set that wants to run code
        raise DataError(f"cannot fetch {name} from the Hugging Face hub: {str(error)[:300]}") from error
    parts = [(fold, held[split]) for fold, split in zip(("train", "test"), splits) if split in held]
    if not parts:
        raise DataError(f"{name} has no split {splits[0]!r}; it has {', '.join(held)}.\n  Try: data.train={next(iter(held))}")
    features = parts[0][1].features
    column = image or next((key for key, kind in features.items() if type(kind).__name__ == "Image"), "")
    if column not in features:
        raise DataError(f"{name} has no column of images called {column or 'anything'!r}; it has {', '.join(features)}")
    classes = getattr(features.get(label), "names", None)
    names = []
    for fold, part in parts:
        known = [classes[i] if classes and i >= 0 else str(i) for i in part[label]] if label in features else [""] * len(part)
        names += [f"{fold}/{str(word).replace('/', '-')}/{i:07d}".replace("//", "/") for i, word in enumerate(known)]
    return Hub(Rows([(part, column) for _, part in parts]), names)


class Rows:
    """The images of several splits, one after another, decoded when asked for."""

    def __init__(self, parts: Sequence[tuple[Any, str]]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part, _ in self.parts)

    def __getitem__(self, i: int) -> Image.Image:
        for part, column in self.parts:
            if i < len(part):
                return part[i][column]  # type: ignore[no-any-return]
            i -= len(part)
        raise IndexError(i)
