"""Shell completion: a script for bash or zsh, and the words it asks for. Shop windows are read and torch is not."""
from __future__ import annotations

from pathlib import Path

from ..config import PLAIN, SLOTS
from ..errors import ConfigError
from ..hookspecs import KINDS
from ..plugins import Plugins
from . import VERBS, parser

SCRIPTS = {
    "bash": """_sslrun() {
  local IFS=$'\\n'; COMPREPLY=($(sslrun completion bash --for "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o default -o nospace -F _sslrun sslrun""",
    "zsh": """#compdef sslrun
_sslrun() {
  local -a found; found=("${(@f)$(sslrun completion zsh --for "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
  compadd -S '' -- ${(M)found:#*=}; compadd -- ${(M)found:#*[^=]} || _files
}
compdef _sslrun sslrun""",
}
FLAGS = ["--plugin", "--method", "--config", "--out", "--seed", "--init", "--resume", "--dry-run", "--json", "--help"]
RUNS = ("evaluate", "embed", "report", "export", "merge", "distill")  # verbs that take a run
OFFERS = SLOTS | {"probe": "probes"}  # option -> the kind of component that it names


def completion(words: list[str]) -> int:
    """Print the script of a shell, or what it asks for."""
    options = parser("completion")
    options.add_argument("shell", help=f"{' or '.join(SCRIPTS)}; to switch it on: eval \"$(sslrun completion bash)\"")
    options.add_argument("--for", dest="line", metavar="LINE", help="print the words that may stand at the end of LINE")
    args = options.parse_args(words)
    if args.shell not in SCRIPTS:
        raise ConfigError(f"there is no completion for {args.shell!r}\n  Offered: {', '.join(SCRIPTS)}")
    if args.line is None:
        print(SCRIPTS[args.shell])
        return 0
    before, now = args.line.split()[1:], ""
    if not args.line.endswith(" ") and before:
        now = before.pop()
    for word in candidates(before, now):
        if word.startswith(now):
            # bash takes `=` for the end of a word, and sets no space of itself here
            shown = word.rpartition("=")[2] if args.shell == "bash" and "=" in now else word
            print(shown if args.shell == "zsh" or word.endswith("=") else f"{shown} ")
    return 0


def candidates(before: list[str], now: str) -> list[str]:
    """What may come next, given the words before it and what stands of it."""
    plugins = Plugins()
    given = dict(zip(before, [*before, ""][1:], strict=True))  # each word, and what follows it
    verb, last = before[0] if before else "", before[-1] if before else ""
    names = [plugin.name for plugin in plugins]
    if last in ("--plugin", "list", "doctor", "check"):
        return names
    if last == "--kind":
        return [*KINDS]
    if last == "show":
        return [f"{plugin.name}/{name}" for plugin in plugins for kind in plugin.offers.values() for name in kind]
    if last == "--resume" or verb in RUNS and not now.startswith("-"):
        return [str(path.parent) for path in Path("runs").glob("*/config.yaml")]
    plugin = given.get("--plugin", "")
    if plugin in names:
        return _of_run(plugins, plugin, last, now)
    return [*VERBS, *FLAGS] if not before else FLAGS


def _of_run(plugins: Plugins, plugin: str, last: str, now: str) -> list[str]:
    """Methods, options and names of components, once the plugin is known."""
    offers, core = plugins[plugin].offers, plugins["core"].offers
    if last == "--method":
        return [*offers["methods"]]
    part, equals, _ = now.partition("=")
    if equals:
        kind = OFFERS.get(part, "")
        return [f"{part}={name}" for name in [*offers.get(kind, {}), *core.get(kind, {})]]
    return [*FLAGS, *(f"{key}=" for key in PLAIN if key not in ("plugin", "method"))]
