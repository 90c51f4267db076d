"""The model card of an exported encoder: what it learned from, how it scored beside its baselines, and how it is opened."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..components import Dataset
from ..run import Run

OPENED = {
    "safetensors": """```python
from safetensors.torch import load_file
weights = load_file("{file}")
```

The same weights start a training: `sslrun --plugin {plugin} --method {method} --init {file}`.""",
    "onnx": """```python
import onnxruntime
session = onnxruntime.InferenceSession("{file}")
pooled = session.run(None, {{{inputs}}})[0]  # (items, {width})
```

It was compared with torch on two batches when it was written; they differ by {difference:.1e} at most.""",
    "hf": """`sslrun --plugin {plugin} --method {method} --init DIRECTORY` starts a training from this directory.""",
    "twin": """```python
from transformers import AutoModel
model = AutoModel.from_pretrained("DIRECTORY")
```

`sslrun --plugin {plugin} --method {method} --init DIRECTORY` starts a training from it.""",
}


def card(run: Run, record: Dataset, to: str, file: str, said: Mapping[str, Any], parameters: int) -> str:
    """The text of the card, in Markdown with the front matter that Hugging Face reads."""
    config, result, environment = run.config, run.result, run.read_json("environment.json")
    about = run.read_json("encoder.json")
    form = "twin" if said.get("twin") else to
    how = OPENED[form].format(file=file, plugin=config.plugin, method=config.method, width=about.get("width"),
                              inputs=", ".join(f'"{name}": {name}' for name in said.get("inputs", {})),
                              difference=said.get("difference", 0.0))
    licence = getattr(record, "licence", "") or "not known; look at where the data come from"
    lines = ["---", f"library_name: {'transformers' if said.get('twin') else 'ssl-core'}", "tags:", "- self-supervised",
             f"- {config.plugin}", "---", "", f"# {config.encoder} trained by {config.method} on {_word(config.data)}", "",
             f"An encoder with {parameters:,} parameters; it gives {about.get('width')} numbers per item.", "",
             "## Data", "", f"{_word(config.data)}{f': {record.summary}' if record.summary else ''}."
             f"{' These data are synthetic.' if record.synthetic else ''}", "", f"- licence of the data: {licence}",
             f"- fingerprint: {environment.get('data') or 'none'}", f"- items left out: {len(result.get('skipped') or [])}", "",
             "## Verdict", "", f"{result.get('verdict', 'not known')}: {result.get('reason', '')}", "",
             "## Scores", "", *table(result), "",
             "## Use", "", how, "", "## How it was made", "",
             f"{config.epochs} epochs, seed {config.seed}, {_versions(about)}. Every option:", "",
             "```yaml", *(f"{key}: {_word(item)}" for key, item in config.flat().items()), "```", ""]
    return "\n".join(lines)


def table(result: Mapping[str, Any]) -> list[str]:
    """Scores beside what they should beat, as lines of Markdown."""
    rows = {"raw features": result.get("raw"), "untrained encoder": result.get("untrained"),
            "this encoder": result.get("scores")}
    keys = list(dict.fromkeys(key for found in rows.values() for key in found or {}))
    if not result.get("scores"):
        return ["None: the data have no labels, or the run had no probes."]
    found = [f"| {name} | " + " | ".join(_score(scores.get(key)) for key in keys) + " |"
             for name, scores in rows.items() if scores]
    return ["Of frozen features, on the test fold; probes were tuned on the validation fold.", "", f"| | {' | '.join(keys)} |",
            f"|---{'|---' * len(keys)}|", *found]


def _score(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else ""


def _word(item: Any) -> str:
    """One line, whatever it is; a path keeps its last part only: where data lay is nobody else's business."""
    text = str(item).replace("\n", " ").replace("\r", " ")
    return text.rpartition("/")[2] or text if text.startswith(("/", "~", ".")) else text


def _versions(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in (about.get("versions") or {}).items())
