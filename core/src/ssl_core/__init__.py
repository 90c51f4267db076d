"""Self-supervised learning for any domain: one runner, and plugins that bring the domains.

Importing this package costs milliseconds: torch is imported on first use of a name that needs it (PEP 562), so that
`sslrun --help` never pays for it.
"""
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .components import Augmentation, Component, Dataset, Recipe
from .errors import ConfigError, ContractError, DataError, PluginError, RunError, SSLError
from .hookspecs import hookimpl

if TYPE_CHECKING:
    from .contracts import Data, Drawing, Finding, Fold, Layout, Progress, Representation
    from .methods import JointEmbedding, MaskedPrediction, Method
    from .pretraining import pretrain, resume
    from .run import Run

__version__ = "0.1.0"

_LAZY = {
    "Data": "contracts", "Drawing": "contracts", "Finding": "contracts", "Fold": "contracts",
    "Layout": "contracts", "Progress": "contracts", "Representation": "contracts",
    "Method": "methods", "JointEmbedding": "methods", "MaskedPrediction": "methods",
    "pretrain": "pretraining", "resume": "pretraining", "Run": "run",
}
__all__ = [
    "Augmentation", "Component", "ConfigError", "ContractError", "Data", "DataError", "Dataset", "Drawing", "Finding", "Fold",
    "JointEmbedding", "Layout", "MaskedPrediction", "Method", "PluginError", "Progress", "Recipe", "Representation", "Run",
    "RunError", "SSLError", "hookimpl", "pretrain", "resume",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
