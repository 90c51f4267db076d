"""Arrows point one way: plugins use the public core and no other plugin, and one folder imports lightning."""
import ast
import re
import tomllib
from pathlib import Path

import pytest

import ssl_core

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "src" / "ssl_core"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/src/ssl_*") if (path / "plugin.py").exists())
DOMAIN = {"torch_geometric", "torchvision", "torchaudio", "timm", "kornia", "transformers", "soundfile", "librosa", "pandas",
          "pyarrow", "monai", "nibabel", "PIL", "cv2", "ogb", "datasets"}
OPTIONAL = {"cli/use.py": {"pyarrow"}}  # files the core writes on request, where the library is there


def imported(file):
    """(module, names) of every import in a file, those inside functions too; relative ones are left out."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, [alias.name for alias in node.names]


def files(folder):
    return sorted(folder.rglob("*.py"))


def tops(file):
    return {module.partition(".")[0] for module, _ in imported(file)}


def test_only_the_runner_imports_lightning():
    typed = {"hookspecs.py"}  # for the type checker only
    found = {str(file.relative_to(CORE)) for file in files(CORE) if tops(file) & {"lightning", "pytorch_lightning"}}
    assert {name for name in found if not name.startswith("train/")} <= typed
    assert any(name.startswith("train/") for name in found)
    assert "if TYPE_CHECKING:\n    from lightning" in (CORE / "hookspecs.py").read_text()


@pytest.mark.parametrize("file", files(CORE), ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_knows_no_domain(file):
    plugins = {path.name for path in PLUGINS}
    assert not tops(file) & (DOMAIN - OPTIONAL.get(str(file.relative_to(CORE)), set()) | plugins)


#: Modules of the core that plugins may build on, besides the names of the package itself.
PUBLIC = {"ssl_core", "ssl_core.batches", "ssl_core.build", "ssl_core.checks", "ssl_core.config", "ssl_core.contracts",
          "ssl_core.errors", "ssl_core.evaluation", "ssl_core.examination", "ssl_core.files", "ssl_core.masks",
          "ssl_core.methods", "ssl_core.mixers", "ssl_core.modules", "ssl_core.objectives", "ssl_core.opening",
          "ssl_core.probes", "ssl_core.stores", "ssl_core.testing", "ssl_core.transformer"}


def public(module, names):
    if module == "ssl_core":
        return set(names) <= set(ssl_core.__all__) | {name.removeprefix("ssl_core.") for name in PUBLIC}
    return any(module == allowed or module.startswith(f"{allowed}.") for allowed in PUBLIC - {"ssl_core"})


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_public_names_of_the_core_and_no_other_plugin(plugin):
    others = {path.name for path in PLUGINS} - {plugin.name}
    for file in files(plugin):
        for module, names in imported(file):
            top = module.partition(".")[0]
            assert top not in others, f"{file} imports {module}"
            assert top not in ("lightning", "pytorch_lightning"), f"{file} imports {module}"
            if top == "ssl_core":
                assert public(module, names), f"{file} imports {names} from {module}"
                assert not any(name.startswith("_") for name in names), f"{file} imports {names} from {module}"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_shop_window_imports_the_core_only(plugin):
    assert tops(plugin / "plugin.py") <= {"ssl_core", "__future__", "collections"}


def project(path):
    return tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_package_has_the_version_of_the_core():
    packages = [ROOT / "core", *(path.parent.parent for path in PLUGINS)]
    assert {project(path)["version"] for path in packages} == {ssl_core.__version__}


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_declares_what_it_imports_and_its_entry_point(plugin):
    about = project(plugin.parent.parent)
    name = plugin.name.removeprefix("ssl_")
    assert about["name"] == f"ssl-{name}"
    assert about["entry-points"]["ssl_core.v1"] == {name: f"{plugin.name}.plugin"}
    needs = [re.split(r"[ <>=!\[;]", line)[0] for line in about["dependencies"]]
    assert "ssl-core" in needs and not [need for need in needs if need.startswith("ssl-") and need != "ssl-core"]
