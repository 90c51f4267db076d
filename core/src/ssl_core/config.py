"""Options: from where they come, which one wins, and what a run is made of.

Options are flat and dotted, the same on the command line, in a file and in Python: `epochs=50 encoder.width=256`.
Defaults in a signature < recipe < recipe for that data set < `--config` file < command line. This module imports no
torch: mistakes in names are found at once.
"""
from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast
from warnings import catch_warnings

from .components import Component, Dataset, Recipe
from .errors import ConfigError, DataError, PluginError, listed, nearest
from .plugins import Plugins

#: The parts of a run that are chosen by name from what plugins offer, and the kind each is found under.
SLOTS = {"data": "datasets", "encoder": "encoders", "augmentation": "augmentations", "objective": "objectives"}
#: Every part that has options of its own: "encoder.width", "optimizer.lr", "trainer.precision".
PARTS = ("method", *SLOTS, "optimizer", "schedule", "trainer")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run, in full: what is trained on what, and every option that was given.

    Args:
        plugin, method: as on the command line.
        data, encoder, augmentation, objective: names of components, or `data` a path.
        optimizer: `lars` or a name of torch.optim, in lower case.
        schedule: the learning rate over time: `cosine`, `wsd`, `infinite` or `constant`.
        epochs: passes over the training data; 0 scores the untrained encoder.
        seed: of weights, views, masks, order and splits.
        probe: the probes that score the frozen encoder, separated by commas.
        baselines: score the untrained encoder and the raw features too.
        init: weights to start from: a run, a Hugging Face directory, a .safetensors file or a state dict of torch.
        options: of the parts, by dotted key.
    """

    plugin: str
    method: str
    data: str = ""
    encoder: str = ""
    augmentation: str = ""
    objective: str = ""
    optimizer: str = "adamw"
    schedule: str = "cosine"
    epochs: int = 100
    seed: int = 0
    probe: str = "linear,knn,clustering"
    baselines: bool = True
    init: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, part: str) -> dict[str, Any]:
        """The options given for one part: {"width": 256} for "encoder"."""
        return {key.partition(".")[2]: value for key, value in self.options.items() if key.startswith(part + ".")}

    def flat(self) -> dict[str, Any]:
        """Everything as one flat mapping, as it stands in `config.yaml`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"} | dict(self.options)


#: What stands without a dot, with its type: "epochs", "seed", "encoder", ...
PLAIN = {f.name: {"str": str, "int": int, "bool": bool}[str(f.type)] for f in fields(Config) if f.name != "options"}
#: The parts that have a name when none is chosen.
USUAL = {"optimizer": Config.optimizer, "schedule": Config.schedule}


LONGEST = 2**16  # characters of one option that may be more than text; Python's parser is not made for endless ones


def value(text: str) -> Any:
    """`5`, `1e-3`, `true`, `none`, `[a, b]`, `text` as a person means them."""
    try:
        with catch_warnings(action="ignore"):  # of Python's parser, about texts such as 1is
            return literal_eval(text) if len(text) < LONGEST else text
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    if text.startswith("[") and text.endswith("]") and not text.startswith("[" * 20):
        return [value(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    return text


def parse(words: list[str]) -> dict[str, Any]:
    """["epochs=5", "encoder.width=64"] -> {"epochs": 5, "encoder.width": 64}"""
    out: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected key=value, got {word!r}.\n  Try: epochs=50 or encoder.width=256")
        out[key] = text if key in ("data", "probe", "init") else value(text)
    return out


def flatten(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"encoder": {"width": 8}} -> ("encoder.width", 8), so that files may nest; a part's own name is its `name`."""
    for key, item in given.items():
        if isinstance(item, Mapping) and not prefix and key in PARTS:
            yield from flatten(item, f"{key}.")
        else:
            yield (prefix.rstrip(".") if prefix and key == "name" else f"{prefix}{key}"), item


LARGEST, DEEPEST = 2**17, 20  # bytes of a file of options, and brackets inside brackets in it
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


def read(path: Path) -> dict[str, Any]:
    """Options from a YAML file, nested or flat."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads 1e-3 as a number, as YAML 1.2 does. No aliases: a few lines of them unfold to more than any memory."""

        def fetch_flow_collection_start(self, kind: Any) -> None:
            if self.flow_level > DEEPEST:  # the scanner takes time by the square of it
                raise yaml.YAMLError(f"brackets more than {DEEPEST} deep")
            super().fetch_flow_collection_start(kind)

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it holds an alias (*name)\n  Try: writing it out")
            return super().compose_node(parent, index)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("+-.0123456789"))
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST} bytes, which is no file of options")
        given = yaml.load(content.decode("utf-8-sig"), Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the options in {path}: {error}") from error
    except ConfigError:
        raise
    except Exception as error:  # besides its own errors, PyYAML raises those of the constructors of numbers and dates
        raise ConfigError(f"{path} is not YAML: {str(error) or type(error).__name__}") from error
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigError(f"{path} should hold options, one `key: value` a line, not {type(given).__name__}")
    return dict(flatten(given))


def checked(key: str, given: Any) -> Any:
    """A plain option with its type, or an option of a known part as it is."""
    part, dot, _ = key.partition(".")
    if dot and part in PARTS:
        return given
    if key not in PLAIN:
        known = PARTS if dot else [*PLAIN, *(f"{part}." for part in PARTS)]
        also = "" if dot else "".join(f" or {p}.{key}" for p, word in COMMON if word == key)
        hint = f"; did you mean{also.removeprefix(' or')}?" if also else nearest(part if dot else key, known)
        raise ConfigError(f"unknown option {key!r}{hint}\n"
                          f"  Try: one of {listed(PLAIN)}, or PART.OPTION with PART one of {listed(PARTS)}")
    if PLAIN[key] is str and isinstance(given, (list, tuple)):
        given = ",".join(map(str, given))
    if type(given) is not PLAIN[key]:
        raise ConfigError(f"{key} should be {PLAIN[key].__name__}, got {given!r}")
    return given


#: Words that people type without their part.
COMMON = (("optimizer", "lr"), ("optimizer", "weight_decay"), ("optimizer", "momentum"), ("schedule", "warmup"),
          ("data", "batch_size"), ("encoder", "width"), ("objective", "temperature"), ("trainer", "accelerator"),
          ("trainer", "precision"), ("trainer", "devices"), ("trainer", "compile"))


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win. Choosing another component for a part drops the options that were meant for the one before."""
    chosen: dict[str, Any] = {}
    for layer in layers:
        before = USUAL | chosen
        swapped = tuple(f"{part}." for part in PARTS if part in layer and layer[part] != before.get(part, layer[part]))
        chosen = {key: item for key, item in chosen.items() if not key.startswith(swapped)} if swapped else chosen
        chosen |= {key: checked(key, item) for key, item in layer.items()}
    return chosen


def resolve(plugins: Plugins, plugin: str, method: str, *layers: Mapping[str, Any]) -> Config:
    """The configuration of a run: the recipe, then the layers (file, command line), each over the one before.

    Raises:
        ConfigError, PluginError, DataError: a name or option that does not exist, each with the nearest that does.
    """
    recipe = cast(Recipe, plugins.find("methods", method, plugin))
    base = {slot: getattr(recipe, slot) for slot in SLOTS} | dict(recipe.options)
    data = layered(base, *layers)["data"]
    chosen = layered(base, {"data": data} | dict(recipe.per_data.get(data, {})), *layers)
    options = {key: chosen.pop(key) for key in list(chosen) if "." in key}
    config = Config(**{"plugin": plugin, "method": method} | chosen, options=options)
    if not 0 <= config.seed < 2**63:
        raise ConfigError(f"seed should be 0 or more, and less than 2**63, got {config.seed}")
    if config.epochs < 0:
        raise ConfigError(f"epochs should be 0 or more, got {config.epochs}")
    components(plugins, config)
    return config


def components(plugins: Plugins, config: Config) -> dict[str, Component]:
    """The records of the method and of every slot, found by name; what the method cannot use is refused."""
    recipe = cast(Recipe, plugins.find("methods", config.method, config.plugin))
    found: dict[str, Component] = {"method": recipe, "data": dataset(plugins, config.plugin, config.data)}
    for slot, kind in SLOTS.items():
        if slot != "data":
            found[slot] = plugins.find(kind, getattr(config, slot), config.plugin)
    makes = getattr(found["augmentation"], "makes", "views")
    wanted = getattr(plugins.find("augmentations", recipe.augmentation, config.plugin), "makes", "views")
    if makes != wanted:
        raise ConfigError(f"method {config.method} needs an augmentation that makes {wanted}; "
                          f"{config.augmentation!r} makes {makes}")
    for name in probes(config):
        plugins.find("probes", name, config.plugin)
    return found


def probes(config: Config) -> list[str]:
    """The names of the probes of a run."""
    return [name.strip() for name in config.probe.split(",") if name.strip()]


def dataset(plugins: Plugins, plugin: str, name: str) -> Dataset:
    """The record for `data=name`: a data set of that name, or the plugin's reader if `name` is a path."""
    try:
        return cast(Dataset, plugins.find("datasets", name, plugin))
    except PluginError:
        offered = [*plugins[plugin].offers["datasets"].values(), *plugins["core"].offers["datasets"].values()]
        readers = [d for d in offered if isinstance(d, Dataset) and d.reads]
        there = exists(name)
        if readers and (name == IN_MEMORY or there):
            return readers[0]
        if there:
            raise DataError(f"plugin {plugin} reads no files of the user's own; it offers "
                            f"{listed(d.name for d in offered)}") from None
        if "/" in name or "\\" in name or Path(name).suffix:
            raise DataError(f"there is no file or folder {name} (looked in {Path.cwd()})") from None
        raise


def exists(name: str) -> bool:
    """Whether there is a file or folder of that name; the empty one, which is the folder that we are in, does not count."""
    try:
        return bool(name) and Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # longer than names may be, a zero in it, the home of nobody
        return False


IN_MEMORY = "memory"  # what `data` is called when it was given as an object


def source(config: Config, record: Dataset) -> str | None:
    """The path that a reader is to read, or None for a data set with a name."""
    return str(Path(config.data).expanduser()) if record.reads and config.data != record.name else None
