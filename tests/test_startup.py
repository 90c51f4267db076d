"""What costs nothing stays free: help, lists and mistakes in names import neither torch nor lightning."""
import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "sklearn", "scipy", "pandas", "transformers", "torch_geometric", "timm", "monai")
ASK = """
import sys
code = 0
try:
    {do}
except SystemExit as stop:
    code = stop.code
print(code, *(name for name in {heavy!r} if name in sys.modules))
"""
TOY = ["--plugin", "toy", "--method", "contrast"]
FREE = [  # words, exit code
    (["--help"], 0), ([], 0), (["list"], 0), (["list", "--json"], 0), (["list", "toy", "--kind", "methods"], 0),
    (["list", "--help"], 0), (["lst"], 2), (["list", "toi"], 2),
    (["--plugin", "toi", "--method", "contrast"], 2), (["--plugin", "toy", "--method", "contrsat"], 2),
    (["--plugin", "toy"], 2),
    ([*TOY, "encoder=nett"], 2), ([*TOY, "data=blob"], 2), ([*TOY, "epoch=5"], 2), ([*TOY, "probe=liner"], 2),
    ([*TOY, "augmentation=random-mask"], 2), ([*TOY, "--config", "none.yaml"], 2),
]


def heavy_after(do):
    done = subprocess.run([sys.executable, "-c", ASK.format(do=do, heavy=HEAVY)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    code, *loaded = done.stdout.splitlines()[-1].split()
    return int(code), loaded


@pytest.mark.parametrize("words, code", FREE, ids=lambda item: " ".join(item) if isinstance(item, list) else "")
def test_what_trains_nothing_imports_nothing_heavy(words, code):
    assert heavy_after(f"from ssl_core.cli import main; sys.exit(main({words!r}))") == (code, [])


@pytest.mark.parametrize("do", ["import ssl_core", "import ssl_core; dir(ssl_core); ssl_core.hookimpl, ssl_core.Recipe",
                                "from ssl_core.plugins import Plugins; [*Plugins()]"])
def test_imports_are_free(do):
    assert heavy_after(do) == (0, [])


def test_the_guard_sees_what_it_should():
    assert heavy_after("import ssl_core; ssl_core.Representation") == (0, ["torch"])


def test_a_misspelt_name_of_the_package_is_an_attribute_error():
    import ssl_core
    with pytest.raises(AttributeError, match="Represantation"):
        _ = ssl_core.Represantation
    assert all(hasattr(ssl_core, name) for name in ssl_core.__all__)
