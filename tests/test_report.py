"""The report of real runs: what stands in it, in which order, that nothing can break out of it, and how a browser shows it."""
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from ssl_core import Run, pretrain
from ssl_core.report import write

TOY = ("--plugin", "toy", "--method", "contrast")
QUICK = ("epochs=2", "trainer.tensorboard=false", "trainer.log_every=2")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
VOID = {"meta", "img", "br", "hr", "link", "input"}
SECTIONS = ["Verdict", "Scores of the frozen encoder", "Curves", "Embedding", "Spectrum of the embedding", "Nearest neighbours",
            "What the augmentation makes of items", "Configuration", "Environment"]


class Page(HTMLParser):
    """A page as a flat list of tags; every tag that was opened is closed in order."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.headings, self.text = [], [], [], ""
        self.feed(Path(path).read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        if name not in VOID:
            assert self.open.pop() == name

    def handle_data(self, data):
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)
        if not {"style", "script"} & set(self.open):
            self.text += data + "\n"

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Two runs on scikit-learn's digits, as images and as masked images."""
    pytest.importorskip("ssl_vision", reason="the vision plugin is not installed")
    root = tmp_path_factory.mktemp("digits")
    shared = {"epochs": 1, "trainer": {"tensorboard": False, "log_every": 2, "monitor_every": 0}, "probe": "knn", "quiet": True}
    pretrain("vision", "simclr", "digits", out=root / "views", encoder={"width": 16}, **shared)
    pretrain("vision", "mae", "digits", out=root / "masked", **shared)
    return root


def test_a_run_ends_with_a_report_of_itself_that_is_one_file(digits):
    page = Page(digits / "views" / "report.html")
    assert page.headings == SECTIONS
    assert not page.all("link") and not page.all("iframe") and all("src" not in tag for tag in page.all("script"))
    assert all(tag["src"].startswith("data:image/png;base64,") for tag in page.all("img"))
    text = (digits / "views" / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\((?!'\+s\.src)", text.replace("http://www.w3.org/2000/svg", ""))
    assert "default-src 'none'" in text and "prefers-color-scheme:dark" in text and "@media print" in text
    assert len(text) < 1_500_000 and "no report" not in page.text
    assert "sslrun report RUN" in page.text  # the slow maps are left to the verb


def test_pictures_of_views_and_neighbours_are_there(digits):
    page = Page(digits / "views" / "report.html")
    titles = [tag["alt"] for tag in page.all("img")]
    assert titles.count("item") == 4 and titles.count("view 1") == 4 and titles.count("view 2") == 4
    assert sum(" · " in title for title in titles) == 36  # six items, five neighbours each, with their class
    assert [tag["alt"] for tag in Page(digits / "masked" / "report.html").all("img")].count("hidden") == 4


def test_the_verb_draws_more_maps_with_every_item_by_name(digits, done, tmp_path):
    assert "1 run in full.html" in done("report", digits / "views", "--out", "full.html")
    page = Page("full.html")
    dots = [tag for tag in page.all("circle") if "data-t" in tag]
    maps = [tag["aria-label"] for tag in page.all("svg") if tag.get("class") == "map"]
    assert {"PCA of the embedding", "t-SNE of the embedding"} <= set(maps) and len(dots) == 800 * len(maps)
    assert dots[0]["data-t"] == "item 0\n0" and len({tag["fill"] for tag in dots}) == 10
    sheets = {tag.get("data-sheet") for tag in page.all("figure")} - {None}
    assert len(sheets) == 1 and sheets <= {tag.get("id") for tag in page.all("img")}
    with pytest.MonkeyPatch.context() as without:
        without.setitem(__import__("sys").modules, "umap", None)
        done("report", digits / "views", "--out", "again.html")
    assert "umap-learn is not installed" in Page("again.html").text


def test_several_runs_stand_side_by_side_and_what_differs_comes_first(digits, done):
    said = json.loads(done("report", digits / "views", digits / "masked", "--out", "two.html", "--json"))
    assert said == {"out": "two.html", "runs": [str(digits / "views"), str(digits / "masked")]}
    page = Page("two.html")
    assert page.headings[:2] == ["Options that differ", "Verdict"]
    words = page.text.split("Verdict")[0].split()
    assert {"views", "masked", "simclr", "mae"} <= set(words) and "seed" not in words and "trainer.log_every" not in words
    lines = [tag for tag in page.all("polyline") if tag["data-name"] in ("views", "masked")]
    assert {tag["data-name"] for tag in lines} == {"views", "masked"} and {tag["stroke"] for tag in lines} == {
        "var(--c0)", "var(--c1)"}


def test_the_default_is_the_directory_of_the_first_run(done):
    done(*TOY, *QUICK, "--out", "a")
    Path("a/report.html").unlink()
    assert done("report", "a").strip() == "1 run in a/report.html" and Page("a/report.html").headings
    assert "These data offer no preview of items" in Page("a/report.html").text


def test_synthetic_data_are_called_synthetic(done):
    done(*TOY, *QUICK, "--out", "a")
    assert "(synthetic data)" in Page("a/report.html").text


NASTY = "<script>document.title='broken'</script>\"'&"


def test_nothing_that_is_read_becomes_markup(done, tmp_path, distribution):
    """Names of items, classes, runs, columns of metrics, options, reasons: all of them from files."""
    distribution("ssl-nasty", plugin="nasty", window="""
        from ssl_core import Component, Dataset, Recipe, hookimpl

        @hookimpl
        def ssl_datasets():
            yield Dataset(name="d", target="ssl_nasty_parts:d")

        @hookimpl
        def ssl_methods():
            yield Recipe(name="m", target="ssl_core:JointEmbedding", data="d", encoder="toy/net", augmentation="toy/noise",
                         objective="nt-xent", options={"epochs": 1})
    """, parts=f"""
        from dataclasses import replace
        from ssl_toy_parts import blobs

        NASTY = {NASTY!r}

        def d(note: str = NASTY):
            return replace(blobs(), names=[NASTY] * 240, classes=[NASTY] * 4, skipped=[(NASTY, NASTY)],
                           preview=lambda batch, rows: [{{NASTY: NASTY}} for _ in rows])
    """)
    done("--plugin", "nasty", "--method", "m", "trainer.tensorboard=false", "--out", "run")
    result = json.loads(Path("run/result.json").read_text())
    result |= {"reason": f"{NASTY} Try {NASTY}", "evidence": {NASTY: NASTY}, "verdict": NASTY}
    Path("run/result.json").write_text(json.dumps(result))
    metrics = Path("run/metrics.csv").read_text().splitlines()
    Path("run/metrics.csv").write_text("\n".join([f'{metrics[0]},"{NASTY.replace(chr(34), "")}"', f"{metrics[1]},1",
                                                  f"{metrics[-1]},2"]))
    page = Page(write(["run"]))
    assert len(page.all("script")) == 1 and page.text.count("document.title='broken'") > 20
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_an_unfinished_run_shows_what_there_is_and_how_to_go_on(done):
    done(*TOY, *QUICK, "--out", "a")
    for name in ("result.json", "encoder.json", "encoder.safetensors", "report.html"):
        Path("a", name).unlink()
    done("report", "a")
    page = Page("a/report.html")
    assert "unfinished" in page.text and "sslrun --resume a" in page.text and "holds no encoder yet" in page.text
    assert "Curves" in page.headings and "Embedding" not in page.headings and "Configuration" in page.headings


def test_a_run_whose_data_or_plugin_are_gone_says_so(done, tmp_path):
    torch.save(torch.randn(64, 8), tmp_path / "own.pt")
    done(*TOY, *QUICK, "data=own.pt", "--out", "a")
    (tmp_path / "own.pt").unlink()
    done("report", "a")
    page = Page("a/report.html")
    assert "there is no file or folder own.pt" in page.text and "Curves" in page.headings
    text = Path("a/config.yaml").read_text().replace("plugin: toy", "plugin: gone")
    Path("a/config.yaml").write_text(text)
    done("report", "a")
    assert "no plugin named 'gone' is installed" in Page("a/report.html").text


def test_a_collapsed_run_has_no_map_and_a_diverged_one_no_embedding(done):
    done(*TOY, *QUICK, "--out", "a")
    run = Run.load("a")
    with torch.no_grad():
        for weight in run.encoder.parameters():
            weight.zero_()
    run.save_encoder(run.encoder, run.read_json("encoder.json"))
    done("report", "a")
    assert "All items lie on one point" in Page("a/report.html").text
    with torch.no_grad():
        next(run.encoder.parameters()).fill_(float("nan"))
    run.save_encoder(run.encoder, run.read_json("encoder.json"))
    done("report", "a")
    assert "holds NaN or infinite numbers" in Page("a/report.html").text


def test_a_report_that_cannot_be_written_fails_no_run(sslrun, monkeypatch):
    monkeypatch.setattr("ssl_core.report.gather.look_at", lambda *_: 1 / 0)
    code, out, err = sslrun(*TOY, *QUICK, "--out", "a", "--json")
    assert code == 0 and json.loads(out)["verdict"] and "no report was written: ZeroDivisionError" in err
    assert not Path("a/report.html").exists()


def test_a_report_changes_no_number_of_a_run_and_draws_nothing(done, monkeypatch):
    first = json.loads(done(*TOY, *QUICK, "--out", "a", "--json"))
    monkeypatch.setattr("ssl_core.report.write_after", lambda *_: None)
    second = json.loads(done(*TOY, *QUICK, "--out", "b", "--json"))
    assert first["scores"] == second["scores"] and first["loss"] == second["loss"]
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    write(["a"])
    assert torch.equal(torch.rand(3), wanted)


def test_bad_words_are_refused(fails, sslrun):
    assert "no run directory" in fails("report", "nowhere")
    code, _, err = sslrun("report")
    assert code == 2 and "the following arguments are required" in err


def browser(page, *options):
    """What Chromium makes of a page; its own noise goes to standard error."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed, so no browser looked at the report")
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={Path(page).parent / 'profile'}",
             "--virtual-time-budget=2000", *options, Path(page).resolve().as_uri()]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)


PROBE = """<script>
const svg=document.querySelector('svg.map'),dot=svg.querySelectorAll('circle')[7];dot.scrollIntoView();
const box=dot.getBoundingClientRect(),at={clientX:box.x+2,clientY:box.y+2,bubbles:true};
dot.dispatchEvent(new PointerEvent('pointermove',at));const shown=document.getElementById('tip').textContent;
const line=document.querySelector('svg.lines'),b=line.getBoundingClientRect();
line.dispatchEvent(new PointerEvent('pointermove',{clientX:b.x+b.width/2,clientY:b.y+9,bubbles:true}));
document.body.dataset.found=JSON.stringify({tip:shown,line:document.getElementById('tip').textContent,
wide:document.documentElement.scrollWidth,view:innerWidth,dark:getComputedStyle(document.body).backgroundColor,
images:[...document.images].every(i=>i.complete&&i.naturalWidth>0)});
</script>"""


@pytest.mark.parametrize("width, dark", [(1280, False), (390, False), (390, True)])
def test_a_browser_shows_it_at_any_width_and_in_the_dark(digits, tmp_path, width, dark):
    text = (digits / "views" / "report.html").read_text()
    page = tmp_path / "page.html"
    # a frame as wide as a phone: a window of Chromium is never that narrow
    (tmp_path / "inner.html").write_text(text.replace("</body>", PROBE + "</body>"))
    page.write_text(f'<iframe src="inner.html" style="width:{width}px;height:900px;border:0"></iframe><script>onload=()=>{{'
                    "document.body.dataset.found=frames[0].document.body.dataset.found}</script>")
    found = browser(page, "--dump-dom", "--allow-file-access-from-files", "--window-size=1400,1000",
                    *(["--blink-settings=preferredColorScheme=0"] if dark else []))
    seen = json.loads(re.search(r'data-found="([^"]*)"', found.stdout)[1].replace("&quot;", '"').replace("\\n", "\n"),
                      strict=False)
    assert seen["view"] == width and seen["wide"] <= width, "it must not scroll sideways"
    assert seen["images"] and seen["tip"].startswith("item ") and re.match(r"step \d+\nviews: \d", seen["line"])
    assert (seen["dark"] == "rgb(21, 24, 28)") is dark


def test_a_browser_prints_it(digits, tmp_path):
    (tmp_path / "page.html").write_text((digits / "views" / "report.html").read_text())
    browser(tmp_path / "page.html", f"--print-to-pdf={tmp_path / 'page.pdf'}")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(content) > 10_000
