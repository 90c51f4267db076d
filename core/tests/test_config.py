"""Where options come from, which one wins, and how they are read."""
import random
import string

import pytest
import yaml

from ssl_core import Augmentation, Component, ConfigError, DataError, Dataset, PluginError, Recipe
from ssl_core.config import Config, flatten, layered, parse, probes, read, resolve, source, value
from ssl_core.plugins import Plugin, Plugins

VALUES = [
    ("5", 5), ("-3", -3), ("1e-3", 1e-3), (".5", 0.5), ("true", True), ("False", False), ("none", None), ("null", None),
    ("None", None), ("[1,2]", [1, 2]), ("(1, 2)", (1, 2)), ("[]", []), ("[a, b]", ["a", "b"]),
    ("[gcn,1,true]", ["gcn", 1, True]),
    ("barlow-twins", "barlow-twins"), ("vision/resnet18", "vision/resnet18"), ("'5'", "5"), ("", ""), ("007", "007"),
    ("a=b", "a=b"),
    ("[1e-3, x]", [1e-3, "x"]), ("{'a': 1}", {"a": 1}), ("__import__('os')", "__import__('os')"), ("1;2", "1;2"), ("[", "["),
]


@pytest.mark.parametrize("text, meant", VALUES)
def test_values_as_a_person_means_them(text, meant):
    found = value(text)
    assert found == meant and type(found) is type(meant)


def test_any_text_is_a_value_and_none_runs_code():
    draw = random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choices(string.printable + "\0é", k=draw.randrange(12)))
        value(text)
    for _ in range(500):  # plain values survive the way through text
        plain = draw.choice([draw.randint(-9, 9), draw.random(), draw.choice([True, False, None]), [draw.randint(0, 9), "ab"]])
        assert value(str(plain)) == plain


def test_words_become_options():
    assert parse(["epochs=5", "encoder.width=64", "objective=vicreg", "data=007", "probe=", "init=a=b"]) == {
        "epochs": 5, "encoder.width": 64, "objective": "vicreg", "data": "007", "probe": "", "init": "a=b"}


@pytest.mark.parametrize("word", ["epochs", "=5", "list", "--epochs"])
def test_a_word_that_is_no_option_is_refused(word):
    with pytest.raises(ConfigError, match="expected key=value"):
        parse([word])


def test_files_may_nest():
    nested = {"epochs": 5, "encoder": {"name": "gcn", "width": 8}, "optimizer": {"lr": 0.1}, "objective": "vicreg"}
    assert dict(flatten(nested)) == {
        "epochs": 5, "encoder": "gcn", "encoder.width": 8, "optimizer.lr": 0.1, "objective": "vicreg"}


def test_numbers_in_files_are_numbers(tmp_path):
    """YAML 1.1 reads 1e-3 as text."""
    lines = {"a": ("1e-3", 1e-3), "b": ("2E5", 2e5), "c": ("-.5e1", -5.0), "d": ("1.5", 1.5), "e": ("'1e-3'", "1e-3"),
             "f": ("1e", "1e"), "g": ("2024", 2024), "h": ("1.0e-08", 1e-8)}
    (tmp_path / "c.yaml").write_text("".join(f"encoder.{key}: {text}\n" for key, (text, _) in lines.items()))
    assert read(tmp_path / "c.yaml") == {f"encoder.{key}": found for key, (_, found) in lines.items()}


def test_nested_and_flat_files_are_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text("encoder:\n  name: gcn\n  width: 8\nepochs: 5\n")
    (tmp_path / "b.yaml").write_text("encoder: gcn\nencoder.width: 8\nepochs: 5\n")
    assert read(tmp_path / "a.yaml") == read(tmp_path / "b.yaml")


FILES = [("", "not NoneType"), ("- 1\n- 2\n", "not list"), ("a: [1\n", "is not YAML"), ("5: 3\n", "should hold options"),
         ("x: !!python/object/apply:os.getcwd []\n", "is not YAML"), ("\tx: 1", "is not YAML")]


@pytest.mark.parametrize("text, words", FILES)
def test_a_file_of_something_else_is_refused(tmp_path, text, words):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path / "c.yaml")
    assert "c.yaml" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.yaml", "binary.yaml", "."):
        with pytest.raises(ConfigError, match="cannot read"):
            read(tmp_path / name)


def test_later_layers_win():
    assert layered({"epochs": 1, "encoder.width": 8}, {"epochs": 2}, {"encoder.width": 9}) == {"epochs": 2, "encoder.width": 9}


SWAPS = [  # base, layer, left over of the base
    ({"objective": "a", "objective.x": 1}, {"objective": "b"}, {}),
    ({"objective": "a", "objective.x": 1}, {"objective": "a"}, {"objective.x": 1}),
    ({"objective": "a", "objective.x": 1}, {"objective": "b", "objective.y": 2}, {"objective.y": 2}),
    ({"optimizer": "lars", "optimizer.lr": 1}, {"optimizer": "adam"}, {}),
    ({"optimizer.lr": 1}, {"optimizer": "sgd"}, {}),  # the rate was meant for the usual optimizer
    ({"optimizer.lr": 1}, {"optimizer": "adamw"}, {"optimizer.lr": 1}),
    ({"schedule.warmup": 0.1}, {"schedule": "infinite"}, {}),
    ({"encoder": "a", "encoder.x": 1, "objective.x": 1}, {"encoder": "b"}, {"objective.x": 1}),
]


@pytest.mark.parametrize("base, layer, left", SWAPS)
def test_another_component_drops_the_options_of_the_one_before(base, layer, left):
    assert {k: v for k, v in layered(base, layer).items() if "." in k} == left


WRONG = [  # options, words
    ({"epoch": 5}, "did you mean 'epochs'"), ({"lr": 0.1}, "did you mean optimizer.lr"),
    ({"momentum": 0.1}, "optimizer.momentum"), ({"enocder.width": 5}, "did you mean 'encoder'"),
    ({"zzz": 1}, "unknown option 'zzz'"),
    ({"epochs": "many"}, "epochs should be int, got 'many'"), ({"epochs": 2.5}, "epochs should be int"),
    ({"epochs": True}, "int"),
    ({"baselines": 1}, "baselines should be bool"), ({"encoder": 5}, "encoder should be str"),
    ({"data": None}, "data should be str"),
]


@pytest.mark.parametrize("options, words", WRONG, ids=str)
def test_unknown_options_and_wrong_types_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        layered(options)


def test_a_list_of_probes_is_read_like_its_text():
    assert layered({"probe": ["knn", "linear"]}) == {"probe": "knn,linear"}
    assert probes(Config(plugin="p", method="m", probe=" knn, linear,")) == ["knn", "linear"]


@pytest.fixture
def shelf():
    """One plugin, as it is when loaded: two of everything."""
    def named(record, *names, **fields):
        return {name: record(name=name, target=dict, **fields) for name in names}
    recipe = {"data": "digits", "encoder": "gcn", "augmentation": "drop", "objective": "infonce"}
    offers = {"encoders": named(Component, "gcn", "gat"), "augmentations": named(Augmentation, "drop", "noise"),
              "probes": {}, "objectives": named(Component, "own"),
              "datasets": named(Dataset, "digits", "cora") | named(Dataset, "file", reads=True)}
    offers["methods"] = {"m": Recipe(
        name="m", target=dict, **recipe,
        options={"epochs": 7, "encoder.width": 32, "data.rows": 5, "objective.temperature": 0.4},
        per_data={"cora": {"epochs": 9, "data.split": "public", "encoder": "gat", "encoder.heads": 2},
                  "digits": {"encoder.depth": 3}})}
    plugins = Plugins()
    plugins._loaded["mine"] = Plugin("mine", "mine 1", offers)
    return plugins


LAYERS = [  # layers, what is asked of the configuration
    ([], {"epochs": 7, "encoder.width": 32, "encoder.depth": 3, "data.rows": 5, "objective.temperature": 0.4,
          "optimizer": "adamw"}),
    ([{"epochs": 1}], {"epochs": 1}), ([{"epochs": 1}, {"epochs": 2}], {"epochs": 2}),
    ([{"data": "cora"}], {"epochs": 9, "encoder": "gat", "encoder.heads": 2, "data.split": "public", "encoder.width": None,
                          "encoder.depth": None, "data.rows": None}),
    ([{"data": "cora", "epochs": 3, "data.split": "random"}], {"epochs": 3, "data.split": "random"}),
    ([{"data": "cora", "encoder": "gcn"}], {"encoder": "gcn", "encoder.heads": None}),
    ([{"data": "cora"}, {"data": "digits"}], {"epochs": 7, "encoder": "gcn", "data.split": None}),
    ([{"objective": "barlow-twins"}], {"objective.temperature": None, "encoder.width": 32}),
]


@pytest.mark.parametrize("layers, wanted", LAYERS, ids=str)
def test_defaults_before_recipe_before_data_before_layers(shelf, layers, wanted):
    found = resolve(shelf, "mine", "m", *layers).flat()
    assert {key: found.get(key) for key in wanted} == wanted


def test_the_configuration_given_back_is_the_same(shelf):
    config = resolve(shelf, "mine", "m", {"data": "cora", "encoder.heads": 4, "seed": 3})
    flat = yaml.safe_load(yaml.safe_dump(config.flat()))
    again = resolve(shelf, "mine", "m", {key: item for key, item in flat.items() if key not in ("plugin", "method")})
    assert again == config


REFUSED = [  # options, error, words
    ({"epochs": -1}, ConfigError, "0 or more, got -1"), ({"encoder": "gan"}, PluginError, "did you mean 'gcn'"),
    ({"data": "coral"}, PluginError, "did you mean 'cora'"),
    ({"data": "there/is/none"}, DataError, "no file or folder there/is/none"),
    ({"data": "none.csv"}, DataError, "no file or folder none.csv"), ({"data": ""}, PluginError, "Offered: cora, digits, file"),
    ({"augmentation": "random-mask"}, ConfigError, "needs an augmentation that makes views; 'random-mask' makes mask"),
    ({"probe": "knn,liner"}, PluginError, "did you mean 'linear'"),
    ({"objective": "other/thing"}, PluginError, "no plugin named 'other'"),
]


@pytest.mark.parametrize("options, error, words", REFUSED, ids=str)
def test_names_that_do_not_exist_are_answered_with_the_nearest(shelf, options, error, words):
    with pytest.raises(error, match=words):
        resolve(shelf, "mine", "m", options)


def test_a_path_is_read_by_the_reader_of_the_plugin(shelf, tmp_path):
    (tmp_path / "own.csv").write_text("a,b\n")
    config = resolve(shelf, "mine", "m", {"data": str(tmp_path / "own.csv")})
    reader = shelf["mine"].offers["datasets"]["file"]
    assert source(config, reader) == str(tmp_path / "own.csv")
    assert source(resolve(shelf, "mine", "m"), shelf["mine"].offers["datasets"]["digits"]) is None


def test_a_plugin_without_a_reader_says_so(shelf, tmp_path):
    del shelf["mine"].offers["datasets"]["file"]
    with pytest.raises(DataError, match="reads no files of the user's own"):
        resolve(shelf, "mine", "m", {"data": str(tmp_path)})
