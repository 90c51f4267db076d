"""What is asked of a plugin's shop window and of every record in it."""
from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

from .. import build
from ..checks import need
from ..components import Component
from ..plugins import GROUP
from .subject import Subject

PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\S+|https?://\S+|\w.* (19|20)\d\d$")


def window(subject: Subject) -> None:
    """The module with the hooks imports no torch, or `sslrun --help` would wait for it."""
    module, who = next(ep.module for ep in entry_points(group=GROUP) if ep.name == subject.plugin), f"plugin {subject.plugin}"
    script = f"import sys, {module}; print(*sorted({{'torch', 'lightning'}} & {{*sys.modules}}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    need(ran.returncode == 0, who, f"{module} cannot be imported alone: {ran.stderr.strip()[-300:]}")
    need(not ran.stdout.strip(), who, f"importing {module} imports {ran.stdout.strip()}, so `sslrun --help` would wait for it; "
         "name targets as \"package.module:Name\" strings")


def record(kind: str, component: Component) -> None:
    """It resolves, is described in a line, says where it was published, and its options have types."""
    who, target = f"{kind[:-1]} {component.name}", component.load()
    need(callable(target), who, f"{component.target} is not callable")
    need(component.summary and "\n" not in component.summary and len(component.summary) <= 90, who,
         f"its summary should be one line of at most 90 characters, is {component.summary!r}")
    need(not component.paper or PAPER.match(component.paper), who,
         f"its paper should be arXiv:NUMBER, doi:10..., an address, or a venue and its year, is {component.paper!r}")
    parts = ("encoder", "augmentation", "objective", "source")  # what the core fills in
    for name, option in build.options(target, parts).items():
        need(option.required or option.type is not Any, who, f"its option {name!r} has no type")
