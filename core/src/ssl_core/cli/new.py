"""`sslrun new NAME`: a plugin from the template, which installs and passes its own tests as it is."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..errors import ConfigError, nearest
from . import parser

TEMPLATE = Path(__file__).parent.parent / "template"
KINDS = {"table": "rows of numbers", "sequence": "series of different lengths", "grid": "images, maps, volumes",
         "node": "a graph, whose nodes are the items"}
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new(words: list[str]) -> int:
    """Write ssl-NAME."""
    options = parser("new")
    options.add_argument("name", help="what users will type after --plugin: lower-case letters, digits and dashes")
    options.add_argument("--dir", default=".", help="where to put the folder ssl-NAME (default: here)")
    options.add_argument("--like", default="table", help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()))
    args = options.parse_args(words)
    if not NAME.fullmatch(args.name) or args.name == "core":
        raise ConfigError(f"{args.name!r} cannot be the name of a plugin: lower-case letters, digits and dashes, "
                          f"a letter first, and not core")
    if args.like not in KINDS:
        raise ConfigError(f"there is no template like {args.like!r}{nearest(args.like, KINDS)}\n  Offered: {', '.join(KINDS)}")
    folder = Path(args.dir) / f"ssl-{args.name}"
    if folder.exists():
        raise ConfigError(f"{folder} is there already.\n  Try: another name, or --dir DIR")
    try:
        write(args.name, args.like, folder)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror or error}\n  Try: --dir DIR, a folder that you may write to"
                          ) from error
    print(f"""{folder}: a plugin for data like a {args.like}, ready to run

    pip install -e {folder}
    sslrun --plugin {args.name} --method contrast
    sslrun check {args.name}
    pytest {folder}

Its README says which file to change first.""")
    return 0


def write(name: str, kind: str, folder: Path) -> None:
    """The shared files and those of one kind, with the name of the plugin in place of the template's."""
    module = f"ssl_{name.replace('-', '_')}"
    package = folder / "src" / module
    shutil.copytree(TEMPLATE / "shared", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "ssl_mydomain").rename(package)
    for file in (TEMPLATE / kind).glob("*.py"):
        shutil.copyfile(file, package / file.name)
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8").replace("ssl_mydomain", module).replace("mydomain", name)
            file.write_text(text, encoding="utf-8")
