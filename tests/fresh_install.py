"""What a user does, in environments that hold nothing of ours: `python tests/fresh_install.py [PLUGIN ...]`, or `make fresh`.

Builds all wheels. Then, for each plugin: makes an environment, installs the core and this plugin from the wheels and what
they require from the index, looks that no library of another domain came along, trains one method and runs the plugin's tests.
The environment of `demo` writes a plugin with `sslrun new` and does the same with it; `all` holds everything. Prints how long
each step took. Takes minutes an environment; needs a package index.
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = {"graph": ("gcool", "epochs=2"), "speech": ("wav2vec2", "epochs=1"), "tabular": ("scarf", "epochs=2"),
        "vision": ("simclr", "encoder=conv", "epochs=1"), "medical": ("mae3d", "epochs=1")}
DOMAIN = {"graph": {"torch-geometric"}, "speech": {"torchaudio", "soundfile"}, "tabular": {"pandas"},
          "vision": {"timm", "torchvision"}, "medical": {"monai", "nibabel"}}


def main(names: list[str]) -> int:
    """Every environment that was asked for; 0 if all went well."""
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        step("wheels", [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "dist"),
                        *map(str, [ROOT / "core", *(path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml")))])])
        for name in names or [*RUNS, "demo", "all"]:
            print(f"\n{name}")
            try:
                environment(name, folder)
            except subprocess.CalledProcessError as error:
                failed.append(name)
                print(f"  FAILED: {error}\n{(error.stdout or '')[-3000:]}{(error.stderr or '')[-3000:]}")
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall went well")
    return 2 if failed else 0


def environment(name: str, folder: Path) -> None:
    """One virtual environment: install, look, train, test."""
    home, python = folder / name, str(folder / name / "env" / "bin" / "python")
    step("environment", [sys.executable, "-m", "venv", str(home / "env")])
    plugins = [*RUNS] if name == "all" else [name] if name in RUNS else []
    wheels = [str(next((folder / "dist").glob(f"ssl_{part}-*.whl"))) for part in ("core", *plugins)]
    step("install", [python, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), *wheels])
    held = {line.partition("==")[0].lower() for line in step("pip freeze", [python, "-m", "pip", "freeze"]).splitlines()}
    foreign = set().union(*(libraries for of, libraries in DOMAIN.items() if of not in plugins)) & held
    foreign -= {"torchvision"} if "graph" in plugins or "vision" in plugins else set()
    if foreign:
        raise subprocess.CalledProcessError(1, "a library of another domain came along", ", ".join(sorted(foreign)), "")
    tests = ["pytest", "pytest-timeout", *(["transformers"] if "speech" in plugins else [])]
    step("install pytest", [python, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), *tests])
    bins = home / "env" / "bin"
    if name == "demo":
        step("sslrun new demo", [str(bins / "sslrun"), "new", "demo"], home)
        step("pip install ./ssl-demo", [python, "-m", "pip", "install", "--quiet", "./ssl-demo"], home)
        step("pytest ssl-demo", [str(bins / "pytest"), "-q", "ssl-demo"], home)
        step("sslrun check demo", [str(bins / "sslrun"), "check", "demo"], home)
        step("sslrun --plugin demo", [str(bins / "sslrun"), "--plugin", "demo", "--method", "contrast"], home)
    for plugin in plugins:
        method, *options = RUNS[plugin]
        step(f"sslrun --plugin {plugin}", [str(bins / "sslrun"), "--plugin", plugin, "--method", method, *options], home)
        if name != "all":
            words = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
            step("its tests", [str(bins / "pytest"), *words, str(ROOT / "plugins" / plugin / "tests")], home)
    step("sslrun doctor", [str(bins / "sslrun"), "doctor"], home)


def step(what: str, words: list[str], folder: Path = ROOT) -> str:
    """Run one command; say how long it took, and give back what it printed."""
    started = time.monotonic()
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    print(f"  {what:<28} {time.monotonic() - started:7.1f} s", flush=True)
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
