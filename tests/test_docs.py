"""The documentation: its tutorials run as they stand, and what is made from the registry is what the registry says."""
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_core import hookspecs
from ssl_core.config import resolve
from ssl_core.plugins import Plugins

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page):
    """A page as one shell script: commands, Python, and files where a block has a title (`>> FILE` adds to it)."""
    lines = ["set -euo pipefail"]
    for i, (language, title, body) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
        end = f"END_OF_BLOCK_{i}"
        if title:
            file = title.removeprefix(">> ")
            lines.append(f"mkdir -p $(dirname {file}); cat {'>>' if title != file else '>'} {file} <<'{end}'\n{body}{end}")
        elif language == "python":
            lines.append(f"python - <<'{end}'\n{body}{end}")
        elif language == "sh":
            lines.append(body)
    return "\n".join(lines)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_as_it_stands(page, tmp_path):
    site = tmp_path / "site"
    text = script(page)
    # what is installed on the way goes into a folder of the test's own, and our own packages are there already
    text = re.sub(r"pip install ssl-core.*", "true", text)
    text = re.sub(r"pip install --no-deps --no-build-isolation (?:--editable )?(\./\S+)",
                  rf"pip install --quiet --no-deps --no-build-isolation --upgrade --target {site} \1", text)
    text = re.sub(r"(cat >> ssl-demo.*?\nEND_OF_BLOCK_\d+$)", rf"\1\ncp -r ssl-demo/src/ssl_demo {site}", text,
                  flags=re.DOTALL | re.MULTILINE)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(site)}
    ran = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_the_plugin_of_the_tutorial_is_short():
    blocks = BLOCK.findall((ROOT / "docs" / "tutorials" / "first-plugin.md").read_text(encoding="utf-8"))
    assert sum(len(body.splitlines()) for _, title, body in blocks if title) <= 60


def test_the_table_in_the_readme_is_what_is_installed():
    assert pages.readme() == (ROOT / "README.md").read_text(encoding="utf-8"), "stale; run: python docs/pages.py"


def test_every_hook_is_described_with_its_signature():
    page, hooks = pages.hooks(), [name for name in vars(hookspecs) if name.startswith("ssl_")]
    assert len(hooks) >= 7
    for name in hooks:
        assert f"## {name}\n\n`{name}(" in page and len(getattr(hookspecs, name).__doc__) > 20


def test_every_method_has_a_page_with_its_options():
    found, plugins = pages.generated(), Plugins()
    for plugin in pages.OURS:
        for name, recipe in plugins[plugin].offers["methods"].items():
            page = found[f"methods/{plugin}/{name}.md"]
            assert recipe.summary[1:] in page and f"sslrun --plugin {plugin} --method {name}" in page
            assert "| `epochs` |" in page and "| `optimizer.lr` |" in page
            chosen = resolve(plugins, plugin, name).flat().keys() - {"plugin", "method"}
            assert not [key for key in chosen if f"| `{key}` |" not in page]


def test_the_site_builds_without_a_warning(tmp_path):
    ran = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
                         cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert ran.returncode == 0, ran.stderr[-3000:]
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "Self-supervised learning for any domain" in home and "fonts.googleapis" not in home
    assert (tmp_path / "site" / "methods" / "graph" / "gcool" / "index.html").exists()
