"""`sslrun evaluate` and `run.evaluate`: what is asked besides the scores, of one run and of several, and what is refused."""
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from ssl_core import Data, DataError, Run, pretrain
from ssl_core.config import Config
from ssl_core.contracts import Fold
from ssl_core.evaluation import folds, score
from ssl_core.finished import scoring
from ssl_core.finished.coretuning import CoreTuning
from ssl_core.finished.finetuning import finetune
from ssl_core.probes.base import PerItem
from ssl_core.probes.clustering import clustering
from ssl_core.probes.knn import NEIGHBOURS, knn
from ssl_core.probes.linear import STRENGTHS, linear
from ssl_core.probes.retrieval import retrieval
from ssl_core.probes.transfer import transfer

TRAINED = {"epochs": 2, "trainer.tensorboard": False, "quiet": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pretrain("toy", "contrast", out=tmp_path_factory.mktemp("runs") / "one", **TRAINED)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return pretrain("toy", "jepa", out=tmp_path_factory.mktemp("runs") / "two", **TRAINED)


def asked(done, *words):
    out = done("evaluate", *words, "--json")
    assert out.count("\n") == 1
    return json.loads(out)


def test_nothing_asked_gives_the_scores_of_the_run(run, done):
    found = asked(done, run.path)
    same = ("scores", "untrained", "raw", "rankme", "width", "data")
    assert {key: found[key] for key in same} == {key: run.result[key] for key in same}
    assert set(found) == {*same, "run", "untrained_rankme", "cka_untrained"}
    assert 0 < found["cka_untrained"] < 1
    text = done("evaluate", run.path)
    assert [line.split("  ")[0] for line in text.splitlines()[2:]] == ["raw features", "untrained encoder", "one"]
    assert f"{found['rankme']:.1f}" in text


def test_data_may_ask_what_needs_no_labels(run):
    """Once: not for each seed, each share of the labels and each corruption, of which it knows nothing."""
    x, plain = run.embed(), run.data()
    probes = {"linear": linear}
    data = Data(train=[], size=240, asks=lambda rows: {"first": float(rows[0].sum()), "drawn": float(torch.rand(()))})
    found = score(x, data, probes)
    assert found["first"] == pytest.approx(float(x[0].sum())) and score(x, data, {}) == found == scoring.scored(x, data, probes)
    both = Data(train=[], size=240, labels=plain.labels, folds=plain.folds, asks=data.asks)
    assert score(x, both, probes) == score(x, plain, probes) | found == scoring.scored(x, both, probes) | found
    assert set(scoring.scored(x, both, probes, seeds=3)) == {"linear", "first", "drawn"}
    assert set(scoring.scored(x, both, probes, seeds=3, spread=True)) == {"linear"}
    assert set(scoring.scored(x, both, probes, share=0.5)) == {"linear"} and not scoring.scored(x, data, probes, share=0.5)
    assert score(x * torch.nan, data, probes) == {}


def test_seeds_give_mean_and_deviation(run, done):
    found = asked(done, run.path, "--probe", "knn,clustering", "--seeds", "3")
    data = run.data()
    x = run.embed()
    values = []
    for seed in range(3):
        train, validation, test = folds(x, data)
        if seed:
            both = Fold(*(torch.cat(parts) for parts in zip(train, validation)))
            order = torch.randperm(len(both.labels), generator=torch.Generator().manual_seed(seed))
            train, validation = (Fold(both.features[part], both.labels[part])
                                 for part in order.tensor_split([len(train.labels)]))
        values.append(knn(train, validation, test)["knn"])
    assert found["scores"]["knn"] == pytest.approx(np.mean(values))
    assert found["deviation"]["scores"]["knn"] == pytest.approx(np.std(values, ddof=1))
    assert set(found["deviation"]) == {"scores", "untrained", "raw"}
    assert f"{found['scores']['knn']:.4f} ± {found['deviation']['scores']['knn']:.4f}" in done(
        "evaluate", run.path, "--probe", "knn,clustering", "--seeds", "3")
    assert run.evaluate(probe="knn,clustering", seeds=3)["deviation"] == found["deviation"]


def test_the_test_fold_is_the_same_for_every_seed(run):
    data, x = run.data(), run.embed()
    tests = [test for _, (_, _, test) in scoring.drawn(x, data, 4, 0.5)]
    assert all(torch.equal(test.features, tests[0].features) for test in tests)
    parts = [torch.cat([train.features, validation.features]) for _, (train, validation, _) in scoring.drawn(x, data, 4, 1.0)]
    assert all(torch.equal(part.sort(dim=0).values, parts[0].sort(dim=0).values) for part in parts)


def test_intervals_hold_the_score_and_shrink_with_items(run, done):
    found = asked(done, run.path, "--confidence", "--probe", "linear,knn,clustering,retrieval")
    for name, (low, high) in found["confidence"]["scores"].items():
        assert low <= found["scores"][name] <= high
    assert set(found["confidence"]["scores"]) == {"linear", "knn", "map", "recall@1", "recall@5", "recall@10"}  # per item
    right = (torch.arange(400) % 4 > 0).double()  # three of four
    low, high = scoring.bootstrap("linear", right)
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == (pytest.approx(0.75 - spread, abs=0.01), pytest.approx(0.75 + spread, abs=0.01))
    assert scoring.bootstrap("linear", torch.ones(50)) == (1.0, 1.0)
    low, high = scoring.bootstrap("rmse", torch.full((50,), 4.0))
    assert (low, high) == (2.0, 2.0)


def test_few_labels_keep_the_classes_and_all_labels_change_nothing(run, done):
    found = asked(done, run.path, "--labels", "0.05,0.5,1", "--probe", "linear,knn")
    assert list(found["labels"]) == ["0.05", "0.5", "1"] and found["labels"]["1"]["scores"] == found["scores"]
    assert found["labels"]["0.05"]["raw"]["knn"] < found["labels"]["1"]["raw"]["knn"]
    labels = torch.tensor([0] * 50 + [1] * 30 + [2])
    draw = torch.Generator().manual_seed(0)
    kept = labels[scoring.few(labels, 0.1, draw)]
    assert kept.bincount().tolist() == [5, 3, 1]
    assert len(scoring.few(torch.rand(40), 0.01, draw)) == 2
    assert torch.equal(scoring.few(labels, 1.0, draw), torch.arange(81))
    assert "learned from 0.05 of the labels" in done("evaluate", run.path, "--labels", "0.05", "--probe", "knn")


def test_selection_for_few_labels_is_on_validation_and_test_is_read_once():
    seen = []

    def spy(train, validation, test):
        seen.append((len(train.labels), len(validation.labels), len(test.labels)))
        return {"spy": 0.5}
    data = Data(train=[0], size=1, labels=torch.arange(90) % 3, folds={
        "train": torch.arange(40), "validation": torch.arange(40, 60), "test": torch.arange(60, 90)})
    scoring.scored(torch.randn(90, 4), data, {"spy": spy}, seeds=2, share=0.1)
    assert len(seen) == 2 and all(rows[1:] == (20, 30) and 3 <= rows[0] <= 5 for rows in seen)


@pytest.mark.parametrize("which", ["run", "other"])  # views, and a mask
def test_corruptions_change_test_items_only(which, request):
    trained = request.getfixturevalue(which)
    found = trained.evaluate(probe="linear,knn", corruptions=True)
    assert set(found["corrupted"]) == {"scores", "untrained"}
    assert set(found["corrupted"]["scores"]) == {"linear", "knn"}
    assert found["corrupted"]["scores"] != found["scores"]
    assert trained.evaluate(probe="linear,knn", corruptions=True)["corrupted"] == found["corrupted"]  # the same each time


def test_finetuning_learns_and_leaves_the_encoder_alone(run):
    before = {name: value.clone() for name, value in run.encoder.state_dict().items()}
    state = torch.get_rng_state()
    one = run.evaluate(probe="", finetune=1)["finetuned"]
    assert set(one) == {"scores", "untrained"}
    assert finetune(run.encoder, run.data(), 40, lr=1e-2)["finetune"] > max(0.8, one["scores"]["finetune"])
    assert all(torch.equal(value, before[name]) for name, value in run.encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not run.encoder.training


def test_finetuning_reads_no_label_of_the_test_fold_before_the_end(run):
    """Turning the test labels round gives the opposite score."""
    data = run.data()
    plain = finetune(run.encoder, data, 20, lr=1e-2)["finetune"]
    labels = data.labels.clone()
    labels[data.folds["test"]] = (labels[data.folds["test"]] + 1) % 4
    moved = Data(**{**vars(data), "labels": labels})
    opposite = finetune(run.encoder, moved, 20, lr=1e-2)["finetune"]
    assert plain > 0.7 and opposite < 0.3


def test_finetuning_of_a_quantity(run):
    data = run.data()
    x = torch.cat(list(data.items))
    quantity = Data(**{**vars(data), "labels": 100 + 5 * x[:, 0]})
    found = finetune(run.encoder, quantity, 40, lr=1e-2)["finetune_rmse"]
    assert found < 0.7 * float((5 * x[:, 0]).std())


def test_several_runs_make_one_table(run, other, done):
    found = asked(done, run.path, other.path, "--probe", "knn")
    assert [result["run"] for result in found["runs"]] == [str(run.path), str(other.path)]
    (a, b), (c, d) = found["cka"]
    assert (a, d, b) == (pytest.approx(1), pytest.approx(1), pytest.approx(c)) and 0 < b < 1
    lines = done("evaluate", run.path, other.path, "--probe", "knn").splitlines()
    assert [line.split("  ")[0] for line in lines[2:7]] == ["raw features", "one, untrained", "one", "two, untrained", "two"]
    assert "linear CKA between the embeddings" in lines


def test_other_data_are_scored_as_the_runs_own(run, done, tmp_path):
    x = torch.randn(60, 8)
    torch.save(x, tmp_path / "mine.pt")
    found = asked(done, run.path, f"data={tmp_path / 'mine.pt'}")
    assert found["scores"] == found["raw"] == {} and found["rankme"] > 1 and found["data"].endswith("mine.pt")
    assert "nothing to score" in done("evaluate", run.path, f"data={tmp_path / 'mine.pt'}")
    labelled = run.evaluate(data=x, probe="knn", seeds=2)
    assert labelled["scores"] == {}


def test_retrieval_and_transfer_are_probes(run, done):
    found = asked(done, run.path, "--probe", "retrieval,transfer")
    assert set(found["scores"]) == {"map", "recall@1", "recall@5", "recall@10", "logme", "hscore", "ped"}
    assert found["scores"]["recall@1"] <= found["scores"]["recall@5"] <= found["scores"]["recall@10"] <= 1
    assert "logme" in done("list", "core", "--kind", "probes") or "transfer" in done("list", "core", "--kind", "probes")
    quantity = Fold(torch.randn(20, 3), torch.rand(20))
    assert retrieval(quantity, quantity, quantity) == {} and set(transfer(quantity, quantity, quantity)) == {"logme"}


def test_transfer_looks_at_the_training_fold_only():
    fold, nobody = Fold(torch.randn(40, 3), torch.arange(40) % 2), Fold(torch.empty(0, 3), torch.empty(0).long())
    assert transfer(fold, nobody, nobody) == transfer(fold, fold, fold)


REFUSED = [  # words, parts of the message
    (("{run}", "--labels", "0.1,2"), ["a share of the labels", "got 2.0", "--labels 0.01"]),
    (("{run}", "--labels", "ten"), ["--labels should be shares", "'ten'"]),
    (("{run}", "--seeds", "0"), ["--seeds should be 1 or more"]),
    (("{run}", "--finetune", "-3"), ["--finetune 0 or more"]),
    (("{run}", "data=a", "data=b"), ["at most one data="]),
    (("{run}", "--probe", "lineer"), ["no probe named 'lineer'", "did you mean 'linear'"]),
    (("{run}", "--device", "quantum"), ["--device quantum"]),
    (("data=blobs",), ["expected run directories"]),
    (("nowhere",), ["nowhere is no run directory"]),
]


@pytest.mark.parametrize("words, said", REFUSED, ids=lambda item: " ".join(item) if isinstance(item, tuple) else "")
def test_what_cannot_be_asked_is_refused(words, said, run, fails):
    message = fails("evaluate", *(word.format(run=run.path) for word in words))
    assert all(part in message for part in said), message


def test_an_unfinished_run_is_refused(run, fails, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_text((run.path / "config.yaml").read_text())
    message = fails("evaluate", begun)
    assert "holds no encoder yet: its training has not ended" in message and f"sslrun --resume {begun}" in message


def copied(run, folder, **changes):
    """The files of a run, some of them changed: name -> function of the text."""
    folder.mkdir()
    for name in ("config.yaml", "encoder.json", "encoder.safetensors"):
        (folder / name).write_bytes((run.path / name).read_bytes())
    for name, change in changes.items():
        path = folder / name.replace("_", ".")
        path.write_text(change(path.read_text()))
    return folder


def test_a_run_of_a_plugin_that_is_gone_is_refused(run, fails, tmp_path):
    def renamed(text):
        return text.replace('"plugin": "toy"', '"plugin": "quasar"').replace("plugin: toy", "plugin: quasar")
    gone = copied(run, tmp_path / "gone", config_yaml=renamed, encoder_json=renamed)
    message = fails("evaluate", gone)
    assert "no plugin named 'quasar' is installed" in message and "pip install ssl-quasar" in message


def test_an_encoder_whose_options_have_changed_is_refused(run, fails, tmp_path):
    changed = copied(run, tmp_path / "changed", encoder_json=lambda text: text.replace('"dropout"', '"forgetting"'))
    message = fails("evaluate", changed)
    assert "encoder Net has no option 'forgetting'" in message and "dropout" in message


def test_data_whose_options_have_changed_are_refused(run, fails, tmp_path):
    changed = copied(run, tmp_path / "data", config_yaml=lambda text: text.replace("data.batch_size", "data.batchsize"))
    assert "no option 'batchsize'; did you mean 'batch_size'?" in fails("evaluate", changed)


@pytest.fixture
def labelled(distribution, tmp_path):
    """Train on a data set whose labels are those in labels.pt."""
    distribution("ssl-marks", plugin="marks", window="""
        from ssl_core import Dataset, Recipe, hookimpl

        @hookimpl
        def ssl_datasets():
            yield Dataset(name="marked", target="ssl_marks_parts:marked", synthetic=True)

        @hookimpl
        def ssl_methods():
            yield Recipe(name="contrast", target="ssl_core:JointEmbedding", data="marked", encoder="toy/net",
                         augmentation="toy/noise", objective="nt-xent", options={"epochs": 1})
    """, parts="""
        import torch
        from ssl_toy_parts import blobs

        def marked():
            data = blobs(120)
            return type(data)(**{**vars(data), "labels": torch.load("labels.pt", weights_only=True)})
    """)

    def make(labels, probe):
        torch.save(labels, tmp_path / "labels.pt")
        return pretrain("marks", "contrast", out=tmp_path / "run", probe=probe, baselines=False, quiet=True,
                        **{"trainer.tensorboard": False})
    return make


def test_items_without_a_label_are_left_out(labelled, done):
    labels = torch.arange(120) % 4
    labels[::5] = -1
    run = labelled(labels, "knn")
    found = asked(done, run.path, "--probe", "linear,knn,clustering,retrieval,transfer", "--seeds", "2", "--labels", "0.2",
                  "--confidence", "--corruptions", "--finetune", "2")
    assert all(0 <= found["scores"][name] <= 1 for name in ("linear", "knn", "nmi", "map"))
    counts = [len(fold.labels) for fold in folds(run.embed(), run.data())]
    assert sum(counts) == int((labels >= 0).sum()) and min(counts) > 0


def test_labels_of_one_class_are_refused(labelled, fails):
    run = labelled(torch.zeros(120, dtype=torch.long), "")
    assert run.result["verdict"] == "healthy"  # nothing was asked of the labels
    message = fails("evaluate", run.path, "--probe", "knn")
    assert "one class only" in message


def test_data_without_labels_cannot_be_fine_tuned(run, fails, tmp_path):
    torch.save(torch.randn(60, 8), tmp_path / "mine.pt")
    assert "no labels" in fails("evaluate", run.path, f"data={tmp_path / 'mine.pt'}", "--finetune", "1")


def test_a_decorated_probe_gives_the_mean_of_its_outcomes():
    @PerItem
    def half(train, validation, test):
        """A probe."""
        return {"half": torch.tensor([0.0, 1.0]), "half_rmse": torch.tensor([4.0, 4.0])}
    assert half(None, None, None) == {"half": 0.5, "half_rmse": 2.0} and half.__doc__ == "A probe."


@pytest.fixture(scope="module")
def digits():
    """1,797 real images as rows, split 60/20/20."""
    held = load_digits()
    x, y = held.data.astype(np.float64), held.target
    order = np.random.default_rng(0).permutation(len(x))
    parts = np.split(order, [1078, 1437])
    return [Fold(torch.from_numpy(x[part]), torch.from_numpy(y[part])) for part in parts]


def test_knn_equals_sklearn_on_the_same_splits(digits):
    train, validation, test = digits

    def votes(k, fold):
        return KNeighborsClassifier(k, metric="cosine").fit(train.features, train.labels).score(fold.features, fold.labels)
    best = max(NEIGHBOURS[::-1], key=lambda k: votes(k, validation))
    assert knn(*digits) == {"knn": pytest.approx(votes(best, test), abs=1e-12)}


def test_linear_equals_sklearn_on_the_same_splits(digits):
    train, validation, test = digits
    scale = StandardScaler().fit(train.features)
    x, v, t = (scale.transform(fold.features) for fold in digits)
    x, v, t = (part * np.sqrt((len(x) - 1) / len(x)) for part in (x, v, t))  # torch divides by n - 1

    def fitted(strength):
        return LogisticRegression(C=1 / (strength * len(x)), max_iter=2000, tol=1e-6).fit(x, train.labels)
    models = [fitted(strength) for strength in STRENGTHS[2:6]]
    best = max(models, key=lambda model: model.score(v, validation.labels))
    assert linear(*digits)["linear"] == pytest.approx(best.score(t, test.labels), abs=0.006)  # two of 360 items


def test_clustering_draws_what_the_seed_says(digits):
    data = Data(train=[0], size=1, labels=torch.cat([fold.labels for fold in digits]), folds={
        "train": torch.arange(1078), "validation": torch.arange(1078, 1437), "test": torch.arange(1437, 1797)})
    x = torch.cat([fold.features for fold in digits])
    assert score(x, data, {"clustering": clustering}) == score(x, data, {"clustering": clustering})
    torch.manual_seed(5)
    state = torch.get_rng_state()
    once = score(x, data, {"clustering": clustering})
    assert torch.equal(torch.get_rng_state(), state) and once == scoring.scored(x, data, {"clustering": clustering})


def test_a_run_is_opened_by_its_path_alone(run):
    again = Run.load(run.path)
    assert again.evaluate(probe="knn")["scores"] == {"knn": run.result["scores"]["knn"]}
    assert isinstance(again.config, Config)
    twin, same = again.untrained().state_dict(), again.untrained().state_dict()
    assert all(torch.equal(twin[name], same[name]) for name in twin)


def test_core_tuning_learns_too_and_needs_classes(run, done, monkeypatch):
    data, calls, whole = run.data(), [], CoreTuning.forward
    monkeypatch.setattr(CoreTuning, "forward", lambda *args: calls.append(1) or whole(*args))
    for core in ((), ("--core",)):
        assert not calls and asked(done, run.path, "--probe", "", "--finetune", "1", *core)["finetuned"]["scores"]
    assert calls and finetune(run.encoder, data, 40, core=True, lr=1e-2)["finetune"] > 0.8
    quantity = Data(**{**vars(data), "labels": torch.rand(240)})
    with pytest.raises(DataError, match="Core-tuning contrasts classes"):
        finetune(run.encoder, quantity, 1, core=True)
