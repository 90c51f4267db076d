"""The packages as they are published: what wheels and sdists hold, what they ask for, and that the wheel of the core does the
whole of its work where nothing of the source tree is at hand."""
import email
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"ssl_core": ROOT / "core", **{f"ssl_{path.parent.name}": path.parent
                                          for path in sorted((ROOT / "plugins").glob("*/pyproject.toml"))}}
DOMAIN = {"torch-geometric", "torchaudio", "torchvision", "timm", "pandas", "pyarrow", "monai", "nibabel", "soundfile",
          "transformers"}
BUILD = "import sys; from setuptools.build_meta import *; to = sys.argv[1]; build_wheel(to); build_sdist(to)"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """All six wheels and sdists, built from a copy, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("dist")
    for name, path in PACKAGES.items():
        copy = tmp_path_factory.mktemp(name) / name
        shutil.copytree(path, copy)  # follows the link to the licence
        for left in [*copy.rglob("*.egg-info"), copy / "build"]:  # of an editable install: it would name files of its own
            shutil.rmtree(left, ignore_errors=True)
        ran = subprocess.run([sys.executable, "-c", BUILD, folder], cwd=copy, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-2000:]
    return folder


def wheel(dist, name):
    (found,) = dist.glob(f"{name}-*.whl")
    return zipfile.ZipFile(found)


def about(dist, name):
    held = wheel(dist, name)
    (path,) = [entry for entry in held.namelist() if entry.endswith(".dist-info/METADATA")]
    return email.message_from_string(held.read(path).decode())


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_holds_its_package_its_licence_and_nothing_else(name, dist):
    held = wheel(dist, name).namelist()
    tops = {entry.split("/")[0] for entry in held}
    assert tops == {name, next(top for top in tops if top.endswith(".dist-info"))}
    assert f"{name}/py.typed" in held and any(entry.endswith("licenses/LICENSE") for entry in held)
    sources = {str(path.relative_to(PACKAGES[name] / "src")) for path in (PACKAGES[name] / "src").rglob("*.py")}
    assert {entry for entry in held if entry.endswith(".py")} == sources
    with tarfile.open(next(dist.glob(f"{name}-*.tar.gz"))) as sdist:
        kept = {entry.partition("/")[2] for entry in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", *(f"src/{path}" for path in sources)} <= kept


@pytest.mark.parametrize("name", PACKAGES)
def test_metadata_is_complete(name, dist):
    said = about(dist, name)
    assert said["Name"].replace("-", "_") == name and said["License-Expression"] == "Apache-2.0" and said["Summary"]
    assert said["Requires-Python"] == ">=3.11" and said["Description-Content-Type"] == "text/markdown"
    kinds = said.get_all("Classifier")
    assert "Typing :: Typed" in kinds and {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= {*kinds}
    required = {re.split(r"[ <>=!~;\[]", line)[0].lower() for line in said.get_all("Requires-Dist")}
    if name == "ssl_core":
        assert not required & DOMAIN and not any(line.startswith("ssl-") for line in required)
    else:
        core = next(line for line in said.get_all("Requires-Dist") if line.startswith("ssl-core"))
        assert ">=0.1" in core and "<0.2" in core  # an API generation may change with the second number
        assert {line for line in required if line.startswith("ssl-")} == {"ssl-core"}


@pytest.mark.timeout(900)
def test_the_wheels_do_their_work_without_the_tree(dist, tmp_path):
    """`sslrun new`, install, its tests, check and a run, from the built wheel of the core alone."""
    site = tmp_path / "site"
    environment = os.environ | {"PYTHONPATH": str(site), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(*words):
        ran = subprocess.run([str(word) for word in words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
        return ran.stdout

    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site)
    run(*pip, next(dist.glob("ssl_core-*.whl")), next(dist.glob("ssl_graph-*.whl")))
    where = run(sys.executable, "-c", "import ssl_core, ssl_graph; print(ssl_core.__file__, ssl_graph.__file__)")
    assert where.count(str(site)) == 2
    run(sys.executable, "-m", "ssl_core", "new", "demo")
    run(*pip, "--no-build-isolation", "./ssl-demo")
    assert "demo  (ssl-demo 0.1.0)" in run("sslrun", "list")
    run("pytest", "-q", "-p", "no:cacheprovider", "ssl-demo")
    run("sslrun", "check", "demo")
    run("sslrun", "--plugin", "demo", "--method", "contrast", "epochs=2")
    run("sslrun", "--plugin", "graph", "--method", "gcool", "epochs=2")


def faults():
    """The broken plugins of test_faults.py: fault -> (window, words of the message)."""
    spec = importlib.util.spec_from_file_location("faults", ROOT / "tests" / "test_faults.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BROKEN


def broken_wheel(folder, name, window, group="ssl_core.v1", plugin=None):
    """A wheel of one module whose hooks are wrong."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    held = {f"{module}.py": window, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[{group}]\n{plugin or name.removeprefix('ssl-')} = {module}\n"}
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in held.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*held, f"{info}/RECORD"]))
    return path


def test_broken_plugins_that_pip_installed_give_their_messages_and_harm_no_other(tmp_path):
    broken, site = faults(), tmp_path / "site"
    named = {f"ssl-fault{i}": fault for i, fault in enumerate(broken)}
    wheels = [broken_wheel(tmp_path, name, broken[fault][0]) for name, fault in named.items()]
    wheels += [broken_wheel(tmp_path, f"ssl-{of}", "", plugin="twin") for of in ("first", "second")]
    wheels += [broken_wheel(tmp_path, "ssl-alien", "raise SystemExit('imported')", group="ssl_core.v2")]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site)
    subprocess.run([*pip, *wheels], check=True)
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{os.environ['PYTHONPATH']}"}

    def sslrun(*words):
        return subprocess.run([sys.executable, "-m", "ssl_core", *words], cwd=tmp_path, env=environment, capture_output=True,
                              text=True)

    listed = json.loads(sslrun("list", "--json").stdout)
    wanted = {name.removeprefix("ssl-"): [f"{name} 1.0 could not be loaded", *broken[fault][1]]
              for name, fault in named.items()}
    wanted |= {"twin": ["2 packages claim the plugin name 'twin'", "ssl-first 1.0", "ssl-second 1.0"],
               "alien": ["ssl-alien 1.0 was written for plugin API 2", "pip install --upgrade ssl-core"]}
    for plugin, words in wanted.items():
        assert all(word in listed[plugin]["error"] for word in words), listed[plugin]["error"]
    assert listed["toy"]["error"] is None and "contrast" in listed["toy"]["methods"]
    for plugin in ("fault0", "twin", "alien"):
        ran = sslrun("--plugin", plugin, "--method", "any")
        assert ran.returncode == 2 and "Traceback" not in ran.stderr and all(word in ran.stderr for word in wanted[plugin])
    ran = sslrun("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=", "--json")
    assert ran.returncode == 0 and json.loads(ran.stdout)["steps"] > 0, ran.stderr
    assert sslrun("doctor").returncode == 2
