"""The page: verdict first, then scores, curves, the embedding, neighbours, views, and what the run was made of."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from .charts import Line, lines, points
from .gather import Findings
from .html import Html, joined, number, tag
from .looks import Hidden, png, sheet, strip
from .style import CSS, SCRIPT

GOOD, BAD = ("healthy",), ("collapsed", "diverged")
THUMB, ACROSS = 20, 32  # pixels of a small picture, and how many in a line of their sheet
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"  # nothing from outside


def page(runs: Sequence[Findings]) -> str:
    """The whole file."""
    title = f"{names(runs)[0]}" if len(runs) == 1 else f"{len(runs)} runs compared"
    sections = [differences(runs), verdicts(runs), scores(runs), curves(runs), embedding(runs), spectra(runs), beside(runs),
                views(runs), left_out(runs), listing(runs, "Configuration", [run.config for run in runs]),
                listing(runs, "Environment", [environment(run) for run in runs])]
    head = tag("head", Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'),
               Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'), tag("title", title),
               tag("style", Html(CSS)))
    body = tag("body", tag("main", tag("h1", title), sections), tag("div", id="tip"), tag("script", Html(SCRIPT)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def names(runs: Sequence[Findings]) -> list[str]:
    """What to call each run: the name of its directory, or its path where two are alike."""
    short = [run.run.path.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run.run.path) for name, run in zip(short, runs, strict=True)]


def section(title: str, *inside: Any) -> Html:
    return tag("section", tag("h2", title), *inside)


def each(runs: Sequence[Findings], make: Any) -> list[Html]:
    """A part for each run that has it, headed by the name of the run where there are several."""
    found = [(name, make(run)) for name, run in zip(names(runs), runs, strict=True)]
    return [tag("div", tag("h3", name) if len(runs) > 1 else None, part) for name, part in found if part]


def table(rows: Sequence[Sequence[Any]], header: Sequence[Any] = (), class_: str | None = None) -> Html:
    top = tag("tr", [tag("th", cell) for cell in header]) if header else None
    return tag("div", tag("table", top, [tag("tr", [tag("td", cell) for cell in row]) for row in rows], class_=class_),
               class_="wide")


def plain(value: Any) -> str:
    """A value of an option or a piece of evidence, on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    return repr(value) if value is None or value == "" or isinstance(value, bool) else number(value)


def differences(runs: Sequence[Findings]) -> Html | None:
    """The options in which the runs differ."""
    if len(runs) == 1:
        return None
    shared = [key for key in runs[0].config if all(key in run.config for run in runs)]
    differ = [key for key in shared if len({plain(run.config[key]) for run in runs}) > 1]
    some = [key for key in dict.fromkeys(key for run in runs for key in run.config) if key not in shared]

    def listed(keys: Sequence[str]) -> Html:
        rows = [[key, *(plain(run.config[key]) if key in run.config else "" for run in runs)] for key in keys]
        return table(rows, ["", *names(runs)], "options")
    more = tag("details", tag("summary", f"{len(some)} options that not all of them have"), listed(some))
    return section("Options that differ", listed(differ) if differ else tag("p", "None of those that all of them have."),
                   more if some else None)


def verdicts(runs: Sequence[Findings]) -> Html:
    return section("Verdict", tag("div", [verdict(name, run, len(runs) > 1) for name, run in zip(names(runs), runs)],
                                  class_="grid" if len(runs) > 1 else None))


def verdict(name: str, run: Findings, named: bool) -> Html:
    result = run.result
    word = str(result.get("verdict", "unfinished"))
    reason, _, advice = str(result.get("reason") or "").partition("Try ")
    if not result:
        reason = f"its training has not ended; go on with: sslrun --resume {run.run.path}"
    evidence = result.get("evidence") or {}
    rows = list(evidence.items()) if isinstance(evidence, Mapping) else [("", item) for item in evidence]
    what = f"{run.config.get('plugin')}/{run.config.get('method')} on {run.config.get('data')}"
    facts = [("epochs", result.get("epochs")), ("steps", result.get("steps")), ("loss", result.get("loss")),
             ("rankme", f"{result['rankme']:.1f} of {result.get('width')}" if result.get("rankme") else None),
             ("seconds", result.get("seconds")), ("items per second", result.get("items_per_second")),
             ("peak memory", f"{result['peak_memory_mb']:,.0f} MiB" if result.get("peak_memory_mb") else None)]
    return tag("div", tag("h3", name) if named else None, tag("b", word), tag("p", reason.strip()),
               tag("p", tag("em", "What to try: "), advice) if advice else None,
               tag("div", [tag("span", tag("small", f"{key} "), plain(item)) for key, item in facts if item is not None],
                   class_="facts"),
               table([[key, plain(item)] for key, item in rows]) if rows else None,
               tag("p", what, " (synthetic data)" if run.synthetic else None, class_="soft"),
               [tag("p", line, class_="soft") for line in run.missing],
               class_=f"card verdict {'good' if word in GOOD else 'bad' if word in BAD else ''}")


def scores(runs: Sequence[Findings]) -> Html | None:
    """Scores of each run beside what they should beat, with a bar under each number."""
    rows: list[tuple[str, Mapping[str, Any], bool]] = []
    for name, run in zip(names(runs), runs):
        for kind, title in (("raw", "raw features"), ("untrained", "untrained encoder")):
            found = run.result.get(kind) or {}
            if found and not any(found == other for _, other, _ in rows):
                rows.append((title if len(runs) == 1 else f"{title} ({name})", found, True))
        if run.result.get("scores"):
            rows.append((name, run.result["scores"], False))
    keys = [key for key in dict.fromkeys(key for _, found, _ in rows for key in found)
            if all(isinstance(found.get(key, 0), (int, float)) for _, found, _ in rows)]
    if not keys:
        return None
    most = {key: max(1.0 if not key.endswith("rmse") else 0.0, *(float(found.get(key) or 0) for _, found, _ in rows), 1e-9)
            for key in keys}
    lines = [[title, *(_score(found.get(key), most[key], before) for key in keys)] for title, found, before in rows]
    less = [key for key in keys if key.endswith("rmse")]
    note = tag("p", f"For {', '.join(less)} less is better.", class_="soft") if less else None
    return section("Scores of the frozen encoder", table(lines, ["", *keys], "scores"), note)


def _score(value: Any, most: float, before: bool) -> Any:
    if value is None:
        return ""
    width = 100 * min(1.0, max(0.0, float(value) / most))
    return joined([f"{value:.4f}", tag("span", class_="bar before" if before else "bar", style=f"width:{width:.1f}%")])


def curves(runs: Sequence[Findings]) -> Html | None:
    """Every column of metrics.csv, the runs in one chart."""
    columns = [key for key in dict.fromkeys(key for run in runs for key in run.metrics) if key not in ("epoch", "seconds")]
    charts, still = [], []
    for key in sorted(columns, key=lambda key: (not key.startswith("loss"), columns.index(key))):
        drawn = [Line(name, i, *run.metrics[key]) for i, (name, run) in enumerate(zip(names(runs), runs)) if key in run.metrics]
        every = [value for line in drawn for value in line.y]
        if min(every) == max(every):
            still.append(f"{key} {number(every[0])}")
        else:
            log = min(every) > 0 and max(every) / min(every) > 300
            title = tag("figcaption", key, " (logarithmic)" if log else None)
            charts.append(tag("figure", title, lines(drawn, "step", key, log)))
    if not columns:
        return None
    return section("Curves", legend([(name, f"var(--c{i % 10})") for i, name in enumerate(names(runs))]) if len(runs) > 1
                   else None, tag("div", charts, class_="grid"),
                   tag("p", f"Measured once, or always the same: {', '.join(still)}.", class_="soft") if still else None)


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    return tag("div", [tag("span", tag("i", style=f"background:{colour}"), name) for name, colour in entries], class_="legend")


def embedding(runs: Sequence[Findings]) -> Html | None:
    parts = each(runs, _maps)
    return section("Embedding", parts) if parts else None


def _maps(run: Findings) -> Html | None:
    found = run.embedded
    if found is None:
        return None
    colours, shown, words = coloured(found.labels, found.classes)
    colours = colours or ["var(--c0)"] * len(found.names)
    texts = [name if not word else f"{name}\n{word}" for name, word in zip(found.names, words)] if words else found.names
    key = f"sheet-{abs(hash(str(run.run.path)))}"
    extra = {"data_sheet": key, "data_side": THUMB, "data_across": ACROSS} if found.thumbnails else {}
    figures = [tag("figure", points(places, colours, texts, f"{name} of the embedding"), tag("figcaption", name), **extra)
               for name, places in found.maps.items()]
    picture = b64encode(png(sheet(found.thumbnails, THUMB, ACROSS))).decode() if found.thumbnails else ""
    hidden = tag("img", id=key, src=f"data:image/png;base64,{picture}", alt="", style="display:none") if picture else None
    about = tag("p", f"{len(found.names)} items, evenly spaced over the data.", class_="soft")
    return tag("div", legend(shown), tag("div", figures, class_="grid"), hidden, about,
               [tag("p", line, class_="soft") for line in found.remarks])


def coloured(labels: Any, classes: Sequence[str] | None) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """A colour for each item, the legend, and each label in words; nothing where there are no labels."""
    if labels is None:
        return [], [], []
    if labels.is_floating_point():
        known = labels[labels.isfinite()]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)

        def hue(value: float) -> str:
            share = (value - low) / max(high - low, 1e-12)
            return f"hsl({240 - 240 * share:.0f},70%,55%)" if value == value else "var(--soft)"
        return ([hue(v) for v in labels.tolist()], [(number(v), hue(v)) for v in (low, (low + high) / 2, high)],
                [number(v) for v in labels.tolist()])
    numbers = sorted(set(labels.tolist()) - {-1})
    few = len(numbers) <= 10
    colour = {n: f"var(--c{i})" if few else f"hsl({i * 360 / len(numbers):.0f},65%,55%)" for i, n in enumerate(numbers)}
    word = {n: str(classes[n]) if classes is not None and n < len(classes) else f"class {n}" for n in numbers}
    colour[-1], word[-1] = "var(--soft)", "no label"
    each_one = labels.tolist()
    return [colour[n] for n in each_one], [(word[n], colour[n]) for n in numbers[:40]], [word[n] for n in each_one]


def spectra(runs: Sequence[Findings]) -> Html | None:
    """Variance along the principal axes, as a share of the largest: a line that falls to nothing early uses few axes."""
    found = []
    for i, (name, run) in enumerate(zip(names(runs), runs)):
        if run.embedded is not None and run.embedded.spectrum and run.embedded.spectrum[0] > 0:
            shares = [max(value / run.embedded.spectrum[0], 1e-8) for value in run.embedded.spectrum]
            found.append(Line(name, i, range(1, len(shares) + 1), shares))
    if not found:
        return None
    return section("Spectrum of the embedding", tag("div", tag("figure", lines(found, "axis", "variance", log=True), tag(
        "figcaption", "Variance along each principal axis over that of the first (logarithmic; under 1e-8 is drawn at 1e-8).")),
        class_="grid"))


def beside(runs: Sequence[Findings]) -> Html | None:
    parts = each(runs, _neighbours)
    return section("Nearest neighbours", tag("p", "An item, then those whose embedding is nearest by cosine.", class_="soft"),
                   parts) if parts else None


def _neighbours(run: Findings) -> Html | None:
    found = run.embedded
    if found is None:
        return None
    words = coloured(found.labels, found.classes)[2]

    def title(item: int, similarity: float | None = None) -> str:
        said = [found.names[item], words[item] if words else "", "" if similarity is None else f"{similarity:.3f}"]
        return " · ".join(word for word in said if word)
    strips = [strip([(title(item), found.looks.get(item), None),
                     *((title(near.item, near.similarity), found.looks.get(near.item), None) for near in others)])
              for item, others in found.neighbours.items()]
    return tag("div", tag("div", strips, class_="pairs"), None if found.looks else
               tag("p", "These data offer no preview of items.", class_="soft"))


def views(runs: Sequence[Findings]) -> Html | None:
    parts = each(runs, _views)
    return section("What the augmentation makes of items", parts) if parts else None


def _views(run: Findings) -> Html | None:
    found = run.views
    if found is None:
        return None
    strips = []
    for i, item in enumerate(found.items):
        shown: list[tuple[str, Any, Hidden | None]] = [(f"view {j + 1}", view[i], None) for j, view in enumerate(found.views)]
        shown += [("hidden", item, found.hidden[i])] if found.hidden else []
        strips.append(strip([("item", item, None), *shown], changes=True))
    return tag("div", strips, class_="pairs")


def left_out(runs: Sequence[Findings]) -> Html | None:
    """Items that could not be used, and why."""
    def part(run: Findings) -> Html | None:
        rows = run.result.get("skipped") or []
        more = tag("p", f"and {len(rows) - 50} more", class_="soft") if len(rows) > 50 else None
        return tag("div", table(rows[:50], ["item", "why"]), more) if rows else None
    parts = each(runs, part)
    return section("Items left out", parts) if parts else None


def listing(runs: Sequence[Findings], title: str, found: Sequence[Mapping[str, Any]]) -> Html:
    """Options of one run in columns, or of several side by side."""
    if len(runs) == 1:
        pairs = [tag("div", tag("span", key), " ", plain(item)) for key, item in found[0].items()]
        return section(title, tag("div", pairs, class_="listing"))
    keys = dict.fromkeys(key for one in found for key in one)
    rows = [[key, *(plain(one[key]) if key in one else "" for one in found)] for key in keys]
    return section(title, table(rows, ["", *names(runs)], "options"))


def environment(run: Findings) -> dict[str, Any]:
    """Device, seed, data and versions, flat."""
    return {**{key: item for key, item in run.environment.items() if key not in ("versions", "skipped")},
            **(run.environment.get("versions") or {})}
