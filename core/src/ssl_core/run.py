"""The run directory: everything a run leaves behind, written so that a run killed at any moment can be read."""
from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_model, save_model
from torch import Tensor

from . import build, evaluation
from .assembly import load_data
from .batches import seed_all, unnoticed
from .config import PLAIN, Config, checked, read
from .contracts import Data
from .errors import RunError
from .files import atomically, plain, write_json
from .finished.scoring import Questions, assess
from .plugins import Plugins
from .weights import load_into


class Run:
    """A run directory. `Run.load(path)` opens one; nothing in it is executed.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, config: Config, root: Path | str = "runs", exact: Path | str | None = None,
               about: Mapping[str, Any] | None = None) -> Run:
        """Claim a new directory: `exact`, or the next free `root`/PLUGIN-METHOD-DATA-N.

        `about` is its `environment.json`, written first: there is a run as soon as there is a `config.yaml`.
        """
        name = f"{config.plugin}-{config.method}-{Path(config.data).stem or 'data'}".replace("/", "-")
        try:
            if exact is not None:
                Path(exact).mkdir(parents=True, exist_ok=True)
                if (Path(exact) / "config.yaml").exists():
                    raise RunError(f"{exact} holds a run already.\n  Try: sslrun --resume {exact}, or another --out")
                run = cls(exact)
            else:
                Path(root).mkdir(parents=True, exist_ok=True)
                number = 1 + max((int(p.name.rpartition("-")[2]) for p in Path(root).glob(f"{name}-*")
                                  if p.name.rpartition("-")[2].isdigit()), default=0)
                while True:  # another process may claim the same number at the same time
                    try:
                        (Path(root) / f"{name}-{number}").mkdir()
                        break
                    except FileExistsError:
                        number += 1
                run = cls(Path(root) / f"{name}-{number}")
        except OSError as error:
            raise RunError(f"cannot make a run directory in {exact or root}: {error.strerror or error}\n"
                           f"  Try: --out DIR, a folder that you may write to") from error
        if about is not None:
            write_json(run.path / "environment.json", about)
        run.write_config(config)
        return run

    @classmethod
    def load(cls, path: Path | str) -> Run:
        """Open an existing run.

        Raises:
            RunError: there is none at `path`.
        """
        if not (Path(path) / "config.yaml").is_file():
            raise RunError(f"{path} is no run directory: it holds no config.yaml")
        return cls(path)

    def write_config(self, config: Config) -> None:
        text = yaml.safe_dump(plain(config.flat()), sort_keys=False, allow_unicode=True)
        atomically(self.path / "config.yaml", lambda beside: beside.write_text(text, encoding="utf-8"))

    @property
    def config(self) -> Config:
        """The configuration, in full."""
        given = read(self.path / "config.yaml")
        try:
            return Config(**{k: checked(k, v) for k, v in given.items() if k in PLAIN},
                          options={k: v for k, v in given.items() if "." in k})
        except TypeError as error:
            raise RunError(f"{self.path}/config.yaml is not the configuration of a run: {error}") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, or {} if it is not there yet."""
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"cannot read {self.path / name}: {error}") from error
        return found if isinstance(found, dict) else {}

    @property
    def result(self) -> dict[str, Any]:
        """`result.json`; {} for a run that has not ended."""
        return self.read_json("result.json")

    @property
    def checkpoint(self) -> Path | None:
        """The last checkpoint, or None before the first."""
        path = self.path / "checkpoints" / "last.ckpt"
        return path if path.exists() else None

    def save_encoder(self, encoder: Any, record: Mapping[str, Any]) -> None:
        """Weights and everything needed to build the encoder again, without this run's data."""
        atomically(self.path / "encoder.safetensors", lambda beside: save_model(encoder, str(beside)))
        write_json(self.path / "encoder.json", plain(record))

    @cached_property
    def encoder(self) -> Any:
        """The trained encoder, on the CPU, in eval mode: a plain `nn.Module`."""
        encoder = self._built()
        try:
            load_model(encoder, str(self.path / "encoder.safetensors"))
        except Exception as error:
            record = self.read_json("encoder.json")
            raise RunError(f"the weights in {self.path} do not fit the encoder {record['encoder']!r} that is installed now: "
                           f"{error}\n  It was trained with {record.get('versions')}") from error
        return encoder.eval()

    def _built(self) -> Any:
        """The encoder as it is before training. Only components that are installed are built, by their name."""
        record = self._record()
        if not record or not (self.path / "encoder.safetensors").exists():
            raise RunError(f"{self.path} holds no encoder yet: its training has not ended.\n  Try: sslrun --resume {self.path}")
        target = Plugins().find("encoders", record["encoder"], record["plugin"]).load()
        options = {key: item for key, item in record["options"].items() if key != "download"}  # the weights lie here
        return build.build("encoder", target, chosen=options)[0]

    def _record(self) -> dict[str, Any]:
        """What `encoder.json` says, its parts of the types that they should be; {} before there is one."""
        record = self.read_json("encoder.json")
        parts = {"encoder": str, "plugin": str, "options": dict, "schema": dict}
        wrong = [name for name, kind in parts.items() if record and not isinstance(record.get(name), kind)]
        if wrong:
            raise RunError(f"{self.path}/encoder.json does not describe an encoder: {wrong[0]} is {record.get(wrong[0])!r:.80}")
        return record

    def data(self, data: Any = None) -> Data:
        """The data of this run, or other data read as this run's were: a name, a path or an object in memory."""
        return load_data(self.config, self._record(), data)

    def embed(self, data: Any = None, device: str = "cpu") -> Tensor:
        """Frozen features of every item of a data set, (N, D). `data`: a name, a path or an object in memory."""
        found = self.data(data)
        return evaluation.embed(self.encoder.to(device), found.train if found.items is None else found.items, device)

    def untrained(self) -> Any:
        """The encoder that this run started from, as its seed makes it."""
        with unnoticed():
            seed_all(self.config.seed)
            twin = self._built()
            if self.config.init:
                load_into(twin, self.config.init)
        return twin.eval()

    def evaluate(self, data: Any = None, probe: str | None = None, device: str = "cpu", **questions: Any) -> dict[str, Any]:
        """Score the encoder, its untrained twin and the raw features, by the protocol of `evaluation`.

        Args:
            data: a name, a path or an object in memory; default: the run's own.
            probe: which probes, separated by commas; default: those of the run.
            device: where to embed.
            **questions: `seeds=5`, `labels=(0.01, 0.1)`, `confidence=True`, ...: see `finished.scoring.Questions`.

        Returns:
            {"scores": {...}, "untrained": {...}, "raw": {...}, "rankme": ..., "width": ..., "cka_untrained": ..., ...}; what
            was asked besides under "deviation", "confidence", "labels", "corrupted", "finetuned", each with the same parts.
        """
        return assess(self, data, probe, device, Questions(**questions))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"
