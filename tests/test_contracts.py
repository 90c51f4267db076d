"""A component that breaks its contract is named before training, or at the step where it happens."""
import json
from pathlib import Path

import pytest

CONTRACTS = [  # method, option, words of the message
    ("jointembedding", "encoder=bare", ["encoder Bare", "expected a Representation, got Tensor"]),
    ("jointembedding", "encoder=wider", ["encoder Wider", "pooled should be (rows, 16), is (32, 32)"]),
    ("jointembedding", "encoder=deep", ["encoder Deep", "pooled should be", "(1, 32, 16)"]),
    ("jointembedding", "encoder=still", ["no gradient reaches the encoder"]),
    ("jointembedding", "encoder=fails", ["encoder Fails", "RuntimeError"]),
    ("jointembedding", "encoder=infinite", ["encoder Infinite", "pooled holds nan or inf"]),
    ("jointembedding", "encoder=needy", ["encoder Needy needs vocabulary; the data offer columns", "encoder.vocabulary=..."]),
    ("jointembedding", "augmentation=loses", ["augmentation Loses", "32 items became 31"]),
    ("jointembedding", "augmentation=listed", ["augmentation Listed", "expected a tuple of views, got list"]),
    ("jointembedding", "augmentation=raises", ["augmentation Raises failed", "KeyError: 'image'"]),
    ("masked", "augmentation=hides-all", ["augmentation HidesAll", "leaves an item without a visible token"]),
    ("masked", "augmentation=hides-nothing", ["augmentation HidesNothing", "hides nothing"]),
    ("masked", "augmentation=wrong-mask", ["augmentation WrongMask", "expected a mask", "of bool"]),
    ("jointembedding", "objective=nan-now", ["method JointEmbedding", "'loss' is", "on the first batch"]),
    ("silent", "epochs=1", ["method SilentMethod", "step should return {'loss': ...}, got None"]),
    ("perrow", "epochs=1", ["method PerRowMethod", "'loss' should be one number, is (32,)"]),
    ("raises", "epochs=1", ["method RaisesMethod failed on a batch of type Tensor", "Error",
                               "makes 2 views; `sslrun show` says what its recipe has"]),
    ("jointembedding", "data=labels", ["7 labels for 240 embedded items"]),
    ("jointembedding", "data=folds", ["no fold 'validation'", "train, test"]),
    ("jointembedding", "data=place", ["the fold 'test' should hold positions from 0 to 239"]),
    ("jointembedding", "data=unlabelled", ["no labelled item in the fold 'train'", "probe="]),
    ("jointembedding", "data=classes", ["one class only"]),
    ("jointembedding", "data=facts", ["encoder Net needs columns; the data offer rows"]),
    ("jointembedding", "data=nothing", ["holds no training item", "1 were skipped", "a.pt"]),
    ("jointembedding", "data=endless", ["does not say how many batches"]),
    ("jointembedding", "data=other", ["expected a Data, got dict"]),
    ("jointembedding", "data=unread", ["data unread_ could not be built: OSError: the disk is gone"]),
]


@pytest.fixture
def odd(monkeypatch):
    """The odd plugin is installed for these tests only."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "odd")


@pytest.mark.parametrize("method, option, message", CONTRACTS, ids=lambda item: item if isinstance(item, str) else "")
def test_a_broken_contract_names_the_component_before_training(method, option, message, odd, fails, tmp_path):
    found = fails("--plugin", "odd", "--method", method, option)
    assert all(word in found for word in message), found
    assert not [*tmp_path.glob("runs/*/metrics.csv")] and not [*tmp_path.glob("runs/*/result.json")]


def test_a_loss_that_becomes_nan_is_named_with_its_step(odd, fails, sslrun, tmp_path):
    message = fails("--plugin", "odd", "--method", "jointembedding", "objective=nan-later", "--out", "run", "--json")
    assert "the loss became nan at step 6" in message and "optimizer.lr" in message
    text = (tmp_path / "run" / "result.json").read_text()
    result = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert result["verdict"] == "diverged" and "step 6" in result["reason"] and result["loss"] is None
    code, out, _ = sslrun("--resume", "run", "--json")  # it has ended
    assert code == 0 and json.loads(out)["verdict"] == "diverged"
