"""The run directory: everything a run leaves behind, written so that a run killed at any moment can be read."""
from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .config import PLAIN, Config, read
from .errors import RunError, SSLError


def atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one step: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    atomically(path, lambda beside: beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


class Run:
    """A run directory. `Run.load(path)` opens one; nothing in it is executed.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, config: Config, root: Path | str = "runs", exact: Path | str | None = None) -> Run:
        """Claim a new directory: `exact`, or the next free `root`/PLUGIN-METHOD-DATA-N."""
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
        import yaml
        text = yaml.safe_dump(_plain(config.flat()), sort_keys=False, allow_unicode=True)
        atomically(self.path / "config.yaml", lambda beside: beside.write_text(text, encoding="utf-8"))

    @property
    def config(self) -> Config:
        """The configuration, in full."""
        given = read(self.path / "config.yaml")
        try:
            return Config(**{k: v for k, v in given.items() if k in PLAIN},
                          options={k: v for k, v in given.items() if "." in k})
        except TypeError as error:
            raise RunError(f"{self.path}/config.yaml is not the configuration of a run: {error}") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, or {} if it is not there yet."""
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
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
        from safetensors.torch import save_model
        atomically(self.path / "encoder.safetensors", lambda beside: save_model(encoder, str(beside)))
        write_json(self.path / "encoder.json", _plain(record))

    @cached_property
    def encoder(self) -> Any:
        """The trained encoder, on the CPU, in eval mode: a plain `nn.Module`."""
        from safetensors.torch import load_model

        from .plugins import Plugins
        record = self.read_json("encoder.json")
        if not record or not (self.path / "encoder.safetensors").exists():
            raise RunError(f"{self.path} holds no encoder yet: its training has not ended.\n  Try: sslrun --resume {self.path}")
        encoder = Plugins().find("encoders", record["encoder"], record["plugin"]).load()(**record["options"])
        try:
            load_model(encoder, str(self.path / "encoder.safetensors"))
        except Exception as error:
            raise RunError(f"the weights in {self.path} do not fit the encoder {record['encoder']!r} that is installed now: "
                           f"{error}\n  It was trained with {record.get('versions')}") from error
        return encoder.eval()

    def data(self, data: Any = None, *, labels: bool = True) -> Any:
        """The `Data` of this run, or of another data set read as this run's was: name, path or object in memory."""
        from .pretraining import load_data
        return load_data(self, data)

    def embed(self, data: Any = None, device: str = "cpu") -> Any:
        """Frozen features of every item of a data set: a tensor (N, D). `data`: name, path or object in memory."""
        from .evaluation import embed
        found = self.data(data)
        return embed(self.encoder.to(device), found.train if found.items is None else found.items, device)

    def evaluate(self, data: Any = None, probe: str | None = None, device: str = "cpu") -> dict[str, Any]:
        """Score the encoder on a data set: {"scores": {...}, "untrained": {...}, "raw": {...}, "rankme": ..., "width": ...}."""
        from .pretraining import evaluate_run
        return evaluate_run(self, data, probe, device)

    def resume(self, data: Any = None, quiet: bool = False) -> Run:
        """Go on where the run stopped."""
        from .pretraining import resume
        return resume(self.path, data=data, quiet=quiet)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def versions(*plugins: str) -> dict[str, str]:
    """Versions of what a result depends on."""
    from .plugins import Plugins
    installed = Plugins()
    found = {"python": platform.python_version()} | {name: version(name) for name in ("ssl-core", "torch", "lightning")}
    for name in plugins:
        try:
            package, _, number = installed[name].origin.partition(" ")
            found[package] = number
        except SSLError:
            found[name] = "not installed"
    return found


def _plain(content: Any) -> Any:
    """Only what YAML and JSON know: tuples become lists, anything else its text."""
    if isinstance(content, Mapping):
        return {str(key): _plain(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(item) for item in content]
    return content if isinstance(content, (str, int, float, bool, type(None))) else str(content)
