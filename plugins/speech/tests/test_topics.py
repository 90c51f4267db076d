"""Words, topics, and HuBERT that tells them."""
import pytest
import torch

from ssl_speech.encoders import Mel
from ssl_speech.masks import SpanMask
from ssl_speech.methods.hubert import HuBERT
from ssl_speech.objectives import CrossEntropy
from ssl_speech.topics import Topics, words
from ssl_speech.waves import collate


def test_words_are_clusters_without_repetitions_and_padding():
    labels = torch.tensor([[2, 2, 0, 0, 2], [1, 1, 1, 3, 3]])
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert words(labels, valid, 4).tolist() == [[1, 0, 2, 0], [0, 1, 0, 0]]


def planted(count=200):
    """Recordings about one of three topics, each with four words of its own; word 12 is everywhere."""
    g = torch.Generator().manual_seed(0)
    topic = torch.randint(3, (count,), generator=g)
    counts = torch.zeros(count, 13)
    for i, z in enumerate(topic.tolist()):
        drawn = torch.where(torch.rand(30, generator=g) < 0.85, 4 * z + torch.randint(4, (30,), generator=g),
                            torch.randint(12, (30,), generator=g))
        counts[i] = torch.bincount(drawn, minlength=13)
        counts[i, 12] = 50
    return counts, topic


def test_planted_topics_are_found_although_one_word_is_everywhere():
    torch.manual_seed(0)
    counts, topic = planted()
    made = Topics(13, 3)
    made.fit(counts)
    shares = made(counts)
    assert torch.allclose(shares.sum(dim=1), torch.ones(200)) and not made.used[12] and made.used[:12].all()
    table = torch.zeros(3, 3).index_put_((topic, shares.argmax(dim=1)), torch.ones(200), accumulate=True)
    assert table.amax(dim=1).sum() > 190 and len(set(table.argmax(dim=1).tolist())) == 3
    assert torch.allclose(made(counts[:5]), shares[:5], atol=1e-5)  # a recording's topic does not depend on the others


def test_the_steps_are_scikit_learns():
    from sklearn.decomposition import LatentDirichletAllocation
    counts, _ = planted(60)
    made = Topics(13, 3, common=1.0).double()
    torch.manual_seed(0)
    made.fit(counts.double())
    theirs = LatentDirichletAllocation(3, doc_topic_prior=1 / 3, topic_word_prior=1 / 3, max_doc_update_iter=500,
                                       mean_change_tol=1e-9, max_iter=1, learning_method="batch")
    theirs.fit(counts.numpy())
    theirs.components_ = made.book.numpy()
    theirs.exp_dirichlet_component_ = (torch.digamma(made.book) - torch.digamma(made.book.sum(1, keepdim=True))).exp().numpy()
    plain = torch.from_numpy(theirs.transform(counts.numpy()))
    assert torch.allclose(made(counts.double()), plain, atol=2e-2)


def hubert(**options):
    torch.manual_seed(0)
    method = HuBERT(Mel(16000, width=32, depth=1), SpanMask(0.8, 6), CrossEntropy(), rate=16000, clusters=6, **options)
    g = torch.Generator().manual_seed(1)
    waves = collate([0.2 * torch.randn(n, generator=g).cumsum(0).sin() for n in (12000, 9000, 16000, 5000)])
    method.prepare([waves])
    return method, waves


def test_topics_are_a_term_of_the_loss():
    method, waves = hubert(topics=2, topic=0.3)
    torch.manual_seed(3)
    found = method.step(waves)
    method.topic = 0.0
    torch.manual_seed(3)
    without = method.step(waves)["loss"]
    assert found["loss"].item() == pytest.approx((without + 0.3 * found["topic"]).item(), rel=1e-5)
    found["topic"].backward()
    assert method.teller.weight.grad.any() and method.names.grad is None


def test_hubert_without_topics_is_as_it_was():
    plain, waves = hubert()
    assert not any("topic" in name or "teller" in name for name in plain.state_dict())
    assert set(plain.step(waves)) == {"loss", "accuracy"}
