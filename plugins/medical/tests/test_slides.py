"""Bags with something paired to them, and the methods of bags: MIRROR, SongCi and INS, against plain versions."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError, Progress
from ssl_core.objectives.infonce import InfoNCE
from ssl_core.objectives.supcon import SupCon
from ssl_core.objectives.swav import SwAV
from ssl_medical.bags import AttentionMIL, Bags, Jitter, synthetic_bags, synthetic_slides
from ssl_medical.data import read
from ssl_medical.methods.ins_mil import INSMIL
from ssl_medical.methods.mirror import MIRROR, apart
from ssl_medical.methods.songci import SongCi
from ssl_medical.probes import area


def bags(sizes=(3, 5, 2, 4), paired=7):
    torch.manual_seed(0)
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Bags(torch.randn(sum(sizes), 6), owner, torch.arange(len(sizes)) % 2, torch.randn(len(sizes), paired))


def mirror(**options):
    torch.manual_seed(0)
    return MIRROR(AttentionMIL(6, 8, 4), Jitter(views=1), InfoNCE(0.1), 7, projection=5, style=3, prototypes=6, **options)


def songci(**options):
    torch.manual_seed(0)
    return SongCi(AttentionMIL(6, 8, 4), Jitter(), SwAV(5), 7, projection=8, heads=2, **options)


def ins(**options):
    torch.manual_seed(0)
    method = INSMIL(AttentionMIL(6, 8, 4), Jitter(), SupCon(0.07), 2, projector=(8, 4), **options)
    method.target = lambda batch: batch.labels
    return method


def trained(method, data, epochs, rate=3e-3):
    method.prepare(iter(data.train))
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], rate)
    for epoch in range(epochs):
        for module in method.modules():
            if hasattr(type(module), "progress"):
                module.progress = Progress(epoch, epochs)
        for batch in data.train:
            optimizer.zero_grad()
            method.step(batch)["loss"].backward()
            optimizer.step()
            method.after_step()
    return method.eval()


def test_divergence_of_styles_is_symmetric_and_finite_where_a_softmax_underflows():
    a, b = torch.randn(2, 9, 6, dtype=torch.float64).requires_grad_()
    plain = torch.stack([0.5 * (F.kl_div(y.log_softmax(0), x.softmax(0), reduction="sum") +
                                F.kl_div(x.log_softmax(0), y.softmax(0), reduction="sum")) for x, y in zip(a, b)]).mean()
    torch.testing.assert_close(apart(a, b), plain)
    for ours, theirs in zip(torch.autograd.grad(apart(a, b), (a, b)), torch.autograd.grad(plain, (a, b))):
        torch.testing.assert_close(ours, theirs)
    assert apart(1000 * a, 1000 * b).isfinite() and apart(a, a) == 0


def test_retention_cannot_be_lowered_by_shrinking_its_targets():
    method, tokens, owner = mirror(), torch.randn(14, 8, requires_grad=True), bags().owner
    torch.manual_seed(2)
    hidden = torch.rand(14) < method.hidden
    torch.manual_seed(2)
    slope = torch.autograd.grad(method.of_slide(tokens, owner, 4), tokens)[0]
    assert (slope[hidden] == 0).all() and slope[~hidden].abs().sum() > 0, "what is guessed takes no gradient"
    rows = torch.randn(4, 8, requires_grad=True)
    torch.manual_seed(3)
    gone = torch.rand(4, 8) < method.hidden
    torch.manual_seed(3)
    slope = torch.autograd.grad(method.of_genes(rows), rows)[0]
    assert (slope[gone] == 0).all() and slope[~gone].abs().sum() > 0


def test_retention_is_the_mean_error_over_hidden_patches():
    method, tokens, owner = mirror().double(), torch.randn(14, 8, dtype=torch.float64), bags().owner
    torch.manual_seed(2)
    hidden = torch.rand(14) < method.hidden
    torch.manual_seed(2)
    found = method.of_slide(tokens, owner, 4)
    errors = []
    for i in hidden.nonzero()[:, 0].tolist():
        seen = tokens[(owner == owner[i]) & ~hidden]
        middle = seen.mean(dim=0) if len(seen) else torch.zeros(8, dtype=torch.float64)
        errors.append((method.rebuild[0](middle[None])[0] - tokens[i]).square().mean())
    torch.testing.assert_close(found.double(), torch.stack(errors).mean(), rtol=1e-5, atol=1e-6)


def test_styles_of_a_normal_sample_cost_nothing():
    method = mirror()
    for layer in method.styles:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    far, scores = method.styled(0, torch.randn(4, 8))
    assert far == 0 and scores.shape == (4, 6)
    gram = method.prototypes.T @ method.prototypes
    torch.testing.assert_close(gram, torch.eye(3), atol=1e-5, rtol=0)


def test_expression_is_scaled_by_the_training_slides():
    method, batch = mirror(), bags()
    method.prepare(iter([batch]))
    torch.testing.assert_close(method.mean, batch.paired.mean(dim=0))
    torch.testing.assert_close(method.spread, batch.paired.std(dim=0, correction=0))


@pytest.mark.parametrize("name", ["mirror", "songci"])
def test_a_slide_finds_what_it_is_paired_with(name):
    data = synthetic_slides(slides=90, patches=16, paired=20, batch_size=27)
    torch.manual_seed(0)
    encoder = AttentionMIL(16, 32, 16)
    method = MIRROR(encoder, Jitter(views=1), InfoNCE(0.1), 20, projection=16, style=4, prototypes=8) if name == "mirror" else \
        SongCi(encoder, Jitter(), SwAV(8), 20, projection=16, first=0.3)
    trained(method, data, 60)
    batch = next(iter(data.train))
    with torch.no_grad():
        pooled = encoder(batch).pooled
        if name == "mirror":
            genes = method.expression((batch.paired - method.mean) / method.spread)
            slide, other = (layer(rows) for layer, rows in zip(method.projectors, (pooled, genes)))
        else:
            slide, other = method.slide(pooled), method.text(batch.paired)
    scores = F.normalize(slide, dim=1) @ F.normalize(other, dim=1).T
    assert (scores.argmax(dim=1) == torch.arange(27)).double().mean() > 0.2, "one of 27 would be found by chance"


def test_terms_of_prototypes_are_those_of_the_paper():
    method = songci().double()
    rows = torch.randn(30, 8, dtype=torch.float64, requires_grad=True)
    found = method.near(rows)
    cosine = F.cosine_similarity(rows[:, None], method.objective.prototypes.directions[None], dim=2)
    usual = torch.stack([(row / 0.1).softmax(0) for row in cosine]).mean(dim=0)
    plain = {"spread": torch.stack([2 - 2 * row.max() for row in cosine]).mean(),
             "sure": torch.stack([-row.log_softmax(0).max() for row in cosine]).mean(),
             "used": np.log(5) + (usual * usual.log()).sum()}
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value)
        torch.testing.assert_close(torch.autograd.grad(found[name], rows, retain_graph=True),
                                   torch.autograd.grad(value, rows, retain_graph=True))


def test_words_of_a_slide_are_means_of_its_patches_at_a_prototype():
    method, batch = songci(), bags()
    rows = torch.randn(14, 8)
    words, absent = method.words(rows, batch.owner, 4)
    which = F.cosine_similarity(rows[:, None], method.objective.prototypes.directions[None], dim=2).argmax(dim=1)
    for slide in range(4):
        for k in range(5):
            mine = rows[(batch.owner == slide) & (which == k)]
            assert bool(absent[slide, k]) == (len(mine) == 0)
            if len(mine):
                torch.testing.assert_close(words[slide, k], mine.mean(dim=0))


def test_contrast_does_not_see_a_pair_that_looked_at_each_other():
    method, batch = songci(first=0.0), bags()
    for part in (method.of_text, method.of_slide):
        torch.nn.init.ones_(part.gates)
    torch.manual_seed(1)
    before = method.matched(batch, batch.paired)
    for part in (method.of_text, method.of_slide):
        torch.nn.init.zeros_(part.gates)
    after = method.matched(batch, batch.paired)
    assert before["contrast"] == after["contrast"] and before["agree"] != after["agree"]


def test_songci_goes_from_patches_to_pairs():
    method, batch = songci(first=0.5), bags()
    for step, of_text in ((4, False), (5, True)):
        method.progress = Progress(step, 10)
        slope, prototypes = torch.autograd.grad(method.step(batch)["loss"], [
            method.text.weight, method.objective.prototypes.directions])
        assert bool(slope.abs().sum() > 0) == of_text and bool(prototypes.abs().sum() > 0) != of_text


def test_candidates_are_negative_or_of_the_bag():
    method = ins()
    assert method.candidates(torch.tensor([0, 1, -1])).tolist() == [[True, False], [True, True], [True, True]]
    may = method.candidates(torch.tensor([0, 1])).repeat_interleave(6, dim=0)
    method.progress = Progress(1, 2)
    score, row = torch.randn(12, 2), F.normalize(torch.randn(12, 4), dim=1)
    found = method.targets(score, row, may)
    assert (found[:6] == torch.tensor([1.0, 0.0])).all(), "an instance of a negative bag is negative, whatever it looks like"
    for i in range(6, 12):
        near = int((method.prototypes @ row[i]).argmax())
        plain = 0.875 * score[i].softmax(0) + 0.125 * F.one_hot(torch.tensor(near), 2)
        torch.testing.assert_close(found[i], plain)


def test_prototypes_move_to_the_rows_of_their_class():
    method = ins(follow=0.5)
    before = method.prototypes.clone()
    row = F.normalize(torch.randn(6, 4), dim=1)
    method.seen = [(row, torch.zeros(6, dtype=torch.long))]
    method.after_step()
    torch.testing.assert_close(method.prototypes[0], F.normalize(0.5 * before[0] + 0.5 * row.mean(dim=0), dim=0))
    assert torch.equal(method.prototypes[1], before[1]) and method.seen == []


def test_ins_finds_the_instances_that_make_a_bag_positive():
    data = synthetic_bags(bags=100, instances=20, share=0.1, batch_size=20)
    torch.manual_seed(0)
    method = INSMIL(AttentionMIL(16, 32, 16), Jitter(), SupCon(0.07), 2, projector=(32, 16))
    method.target = data.target
    trained(method, data, 40)
    with torch.no_grad():
        batches = list(data.items)
        scores = torch.cat([method.classifier(method.encoder(batch).tokens) for batch in batches])
        bag = torch.cat([method.classifier(method.encoder(batch).pooled) for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    shifted = (torch.arange(20) < 2).repeat(100) & labels.repeat_interleave(20).bool()
    test = data.folds["test"]
    held = torch.isin(torch.arange(100).repeat_interleave(20), test)
    assert area(scores[held], shifted[held].long()) > 0.9 and area(bag[test], labels[test]) > 0.95


def test_what_bags_are_paired_with_is_read_from_beside_them(tmp_path):
    held = {"features": np.random.RandomState(0).rand(40, 3), "bag": np.arange(40) % 10}
    np.savez(tmp_path / "slides.npz", **held)
    lines = ["bag,tp53,brca1", *(f"{9 - i},{i / 10},{-i}" for i in range(10))]
    (tmp_path / "slides.csv").write_text("\n".join(lines))
    found = read(tmp_path / "slides.npz", batch_size=5)
    assert found.labels is None and found.facts == {"in_features": 3, "paired_features": 2} and not found.folds
    paired = torch.cat([batch.paired for batch in found.items])
    assert paired[:, 1].tolist() == [-9, -8, -7, -6, -5, -4, -3, -2, -1, 0]
    np.savez(tmp_path / "own.npz", paired=paired.numpy(), labels=np.arange(10) % 2, **held)
    own = read(tmp_path / "own.npz", batch_size=5)
    assert torch.equal(torch.cat([batch.paired for batch in own.items]), paired) and own.facts["classes"] == 2


@pytest.mark.parametrize("text, words", [
    ("a,b\n1,2\n", "holds 2 bags, and 1 rows are paired"), ("a,b\n1,2\n3,x\n", "slides.csv, line 3"),
    ("a,b\n1,2\n3\n", "line 3"), ("bag,b\n0,2\n0,3\n", "name each bag once"), ("a\n1\nnan\n", "finite numbers"),
    ("", "cannot be read")])
def test_wrong_pairs_are_explained(tmp_path, text, words):
    np.savez(tmp_path / "slides.npz", features=np.zeros((4, 2)), bag=np.array([0, 0, 1, 1]), labels=np.array([0, 1]))
    (tmp_path / "slides.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "slides.npz")


@pytest.mark.parametrize("make, words", [
    (lambda: mirror(hidden=1.0), "hidden should lie"), (lambda: ins(trust=(0.1, 0.9)), "trust"),
    (lambda: songci(first=2.0), "first should be"),
    (lambda: SongCi(AttentionMIL(6, 8, 4), Jitter(), InfoNCE(), 7), "objective=swav")])
def test_wrong_options(make, words):
    with pytest.raises(ValueError, match=words):
        make()
