"""Hand an encoder on: safetensors, ONNX, or a Hugging Face directory, with a card that says what it is and how it scored."""
from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import config as configs
from ..errors import ConfigError, RunError, SSLError
from ..files import atomically, plain, write_json
from ..plugins import Plugins
from ..run import Run
from .card import card

CLOSE = 1e-4  # between what ONNX Runtime and torch compute


def export(run: Run, to: str, out: Path | str, data: Any = None) -> dict[str, Any]:
    """Write the encoder of a run for use elsewhere.

    Args:
        run: a finished run.
        to: `safetensors`, `onnx` or `hf`.
        out: a directory; for the first two also a file that ends in .safetensors or .onnx, with the card beside it (.md).
        data: for `onnx`, where the run's own data are gone: others to take an example from.

    Returns:
        {"out": ..., "card": ..., "files": [...]} and for ONNX {"difference": ..., "inputs": ...}.

    Raises:
        RunError: the run holds no encoder yet, or `out` is in the way.
        ConfigError: it cannot be written in this form; the message says why.
    """
    if to not in WRITERS:
        raise ConfigError(f"--to should be one of {', '.join(WRITERS)}, got {to!r}")
    encoder, out = run.encoder, Path(out)
    suffix = {"safetensors": ".safetensors", "onnx": ".onnx"}.get(to)
    folder = out.suffix != suffix
    if folder and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already and not empty.\n  Try: another --out")
    target = out / f"model{suffix or '.safetensors'}" if folder else out
    said = WRITERS[to](run, encoder, target, data)
    written = out / "README.md" if folder else out.with_suffix(".md")
    record = configs.dataset(Plugins(), run.config.plugin, run.config.data)
    text = card(run, record, to, target.name, said, sum(p.numel() for p in encoder.parameters()))
    atomically(written, lambda beside: beside.write_text(text, encoding="utf-8"))
    return {"out": str(out), "card": str(written), "files": [str(target), *said.pop("files", [])], **said}


def safetensors(run: Run, encoder: Any, target: Path, data: Any = None) -> dict[str, Any]:
    """The weights, with what rebuilds the encoder in the file's metadata."""
    from safetensors.torch import save_model
    record = run.read_json("encoder.json")
    known = {"format": "pt", "ssl_core": json.dumps({key: record.get(key) for key in ("plugin", "encoder", "options")})}
    atomically(target, lambda beside: save_model(encoder, str(beside), metadata=known))
    return {}


def huggingface(run: Run, encoder: Any, target: Path, data: Any = None) -> dict[str, Any]:
    """`config.json` and `model.safetensors`, in the layout of a model repository.

    An encoder that has a twin in transformers offers `huggingface() -> (configuration, weights)`; such a directory is opened
    by `AutoModel.from_pretrained`. That of any other holds our names, and `--init` takes both.
    """
    from safetensors.torch import save_file
    record = run.read_json("encoder.json")
    if hasattr(encoder, "huggingface"):
        try:
            known, weights = encoder.huggingface()
        except ValueError as error:
            raise ConfigError(f"this encoder cannot go to Hugging Face: {error}\n  Try: --to safetensors") from error
        atomically(target, lambda beside: save_file({name: item.contiguous() for name, item in weights.items()}, str(beside),
                                                    metadata={"format": "pt"}))
    else:
        safetensors(run, encoder, target)
        known = {"model_type": "ssl-core", "library_name": "ssl-core", **{key: record.get(key) for key in (
            "plugin", "encoder", "options", "width", "schema", "versions")}}
    path = target.with_name("config.json")
    write_json(path, plain(known))
    return {"files": [str(path)], "twin": known.get("model_type") if known.get("model_type") != "ssl-core" else None}


def onnx(run: Run, encoder: Any, target: Path, data: Any = None) -> dict[str, Any]:
    """The encoder from the tensors of a batch to `pooled` (B, D), checked against torch on two batches.

    Raises:
        ConfigError: ONNX is not installed, the batch is not made of tensors, or the encoder does what ONNX cannot.
    """
    check = runtime()
    found = run.data(data)
    batches = list(_first(found.train if found.items is None else found.items, 2))
    whole = Tensors(encoder, batches[0])
    wanted = whole.inputs(batches[0])
    free = [dict.fromkeys(range(item.ndim), torch.export.Dim.AUTO) for item in wanted]  # sizes that the encoder leaves open
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(whole.eval(), tuple(wanted), input_names=whole.names, output_names=["pooled"],
                                        dynamic_shapes=(tuple(free),), dynamo=True, verbose=False)
    except Exception as error:
        raise ConfigError(f"{type(encoder).__name__} cannot go to ONNX: {reason(error)}\n  Try: --to safetensors") from error
    assert program is not None
    atomically(target, lambda beside: program.save(str(beside)))
    worst = 0.0
    for batch in batches:
        with torch.no_grad():
            right = encoder(batch).pooled
        worst = max(worst, check(target, dict(zip(whole.names, whole.inputs(batch), strict=True)), right))
    if worst > CLOSE:
        target.unlink()
        raise ConfigError(f"ONNX Runtime computes something else than torch (they differ by {worst:.2g}; {CLOSE} is allowed), "
                          f"so nothing was written.\n  Try: --to safetensors")
    return {"difference": worst, "inputs": {name: list(item.shape) for name, item in zip(whole.names, wanted, strict=True)}}


WRITERS: dict[str, Callable[..., dict[str, Any]]] = {"safetensors": safetensors, "onnx": onnx, "hf": huggingface}


class Tensors(nn.Module):
    """An encoder as a function of plain tensors, which is what ONNX knows.

    Args:
        encoder: batch -> representation.
        batch: an example; a tensor, a named tuple, tuple, list or mapping of tensors. Parts that may be None, and whose
            absence changes nothing (labels), are left out.
    """

    def __init__(self, encoder: Any, batch: Any) -> None:
        super().__init__()
        self.encoder, self.kind, self.names = encoder, type(batch), [name for name, _ in _parts(batch)]
        with torch.no_grad():
            self.names = [name for name in self.names if not self._spare(name, batch)]
        if not self.names:
            raise ConfigError(f"ONNX takes tensors, and a batch of type {type(batch).__name__} is not made of them.\n"
                              f"  Try: --to safetensors")

    def inputs(self, batch: Any) -> list[Tensor]:
        """The tensors of a batch that the encoder needs."""
        return [item for name, item in _parts(batch) if name in self.names]

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.encoder(self.batch(inputs)).pooled

    def batch(self, inputs: tuple[Tensor, ...]) -> Any:
        if self.names == ["batch"]:
            return inputs[0]
        given = dict(zip(self.names, inputs, strict=True))
        if issubclass(self.kind, (tuple, list)) and not hasattr(self.kind, "_fields"):
            return self.kind(inputs)
        return self.kind(**given) if hasattr(self.kind, "_fields") else given

    def _spare(self, name: str, batch: Any) -> bool:
        if name not in getattr(self.kind, "_field_defaults", {}):
            return False
        return torch.equal(self.encoder(batch._replace(**{name: None})).pooled, self.encoder(batch).pooled)


def _parts(batch: Any) -> list[tuple[str, Tensor]]:
    """The tensors of a batch by name; none for a batch that is something else."""
    if isinstance(batch, Tensor):
        return [("batch", batch)]
    named: Any = batch._asdict() if hasattr(batch, "_asdict") else batch
    if isinstance(named, (tuple, list)):
        named = {f"input{i}": item for i, item in enumerate(named)}
    if not isinstance(named, dict) or not all(isinstance(item, Tensor) or item is None for item in named.values()):
        return []
    return [(name, item) for name, item in named.items() if isinstance(item, Tensor)]


def _first(batches: Any, count: int) -> list[Any]:
    """The first batches, and the last one, which has fewer items as a rule."""
    found: list[Any] = []
    for batch in batches:
        found = [*found[: count - 1], batch]
    return found


def runtime() -> Callable[[Path, Mapping[str, Tensor], Tensor], float]:
    """A function that tells by how much ONNX Runtime differs from what torch computed.

    Raises:
        ConfigError: what it takes is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx needs it
    except ModuleNotFoundError as error:
        raise ConfigError(f"ONNX needs {error.name}.\n  Try: pip install onnx onnxruntime onnxscript") from error

    def check(path: Path, inputs: Mapping[str, Tensor], right: Tensor) -> float:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        got = session.run(None, {name: item.numpy() for name, item in inputs.items()})[0]
        return float((torch.from_numpy(got) - right).abs().max())
    return check


def reason(error: BaseException) -> str:
    """The first line that says what went wrong, from the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, SSLError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
