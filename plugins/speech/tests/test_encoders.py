"""Encoders: padding changes nothing, hidden frames stay hidden, and the same numbers as transformers' models."""
import pytest
import torch

from ssl_core.batches import move
from ssl_speech.batching import Buckets, Loader, Store
from ssl_speech.encoders import ConvLayer, Mel, Wav2Vec2
from ssl_speech.readers import Clip
from ssl_speech.waves import Waves, collate
from ssl_speech.weights import from_transformers, to_transformers

ENCODERS = {
    "tiny": lambda: Wav2Vec2(16000, channels=16, width=32, depth=2),
    "group": lambda: Wav2Vec2(16000, norm="group", channels=16),
    "gated": lambda: Wav2Vec2(16000, channels=16, width=32, positions="gated"),
    "large": lambda: Wav2Vec2(16000, size="large", channels=16, width=32, depth=2, heads=2),
    "mel": lambda: Mel(16000), "mel-each": lambda: Mel(16000, normalize="each", positions="gated"),
    "mel-8k": lambda: Mel(8000, hop=0.01),
}
LENGTHS = (9000, 16000, 300, 1600, 12345)


@pytest.fixture(params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


def recordings(lengths=LENGTHS):
    g = torch.Generator().manual_seed(1)
    return [0.1 + 0.3 * torch.randn(n, generator=g) for n in lengths]


@torch.no_grad()
def test_padding_changes_nothing(encoder):
    alone = [encoder(collate([r])) for r in recordings()]
    together = encoder(collate(recordings()))
    pooled = torch.cat([out.pooled for out in alone])
    assert (together.pooled - pooled).abs().max() < 1e-5
    assert (together.tokens - torch.cat([out.tokens for out in alone])).abs().max() < 1e-5
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3  # the encoder does tell recordings apart


@torch.no_grad()
def test_buckets_give_the_embedding_of_the_recording_alone(encoder):
    held = recordings([800 + 731 * i for i in range(16)])
    lengths = torch.tensor([len(r) for r in held])
    store = Store([Clip(str(i), r.numpy(), 16000) for i, r in enumerate(held)], lengths, 16000, 0, [])
    plan = Buckets(torch.arange(16), lengths, budget=30000, longest=20000)
    seen = {}
    for waves in Loader(store, plan, len(plan)):
        seen |= dict(zip(waves.lengths.tolist(), encoder(waves).pooled, strict=True))
    assert sorted(seen) == lengths.tolist()
    assert all((seen[len(r)] - encoder(collate([r])).pooled[0]).abs().max() < 1e-5 for r in held)


@torch.no_grad()
def test_layout_is_that_of_the_tokens(encoder):
    waves = collate(recordings())
    layout, out = encoder.layout(waves), encoder(waves)
    counts = [len(encoder(collate([r])).tokens) for r in recordings()]
    assert torch.bincount(layout.owner).tolist() == counts
    assert len(out.tokens) == len(layout.owner) and ((layout.position > 0) & (layout.position < 1)).all()
    assert encoder.inputs(waves).shape == (len(layout.owner), encoder.input_width)


@torch.no_grad()
def test_frames_that_are_not_kept_have_no_influence(encoder):
    waves = collate(recordings())
    layout = encoder.layout(waves)
    keep = torch.rand(len(layout.owner), generator=torch.Generator().manual_seed(0)) < 0.5
    keep[torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(layout.owner).cumsum(0)[:-1]])] = True
    out = encoder(waves, keep=keep)
    assert len(out.tokens) == keep.sum()
    frames = encoder.local(waves)
    shown = torch.zeros_like(frames.valid).masked_scatter(frames.valid, keep)
    other = torch.where(shown[..., None], frames.x, torch.randn_like(frames.x))
    assert torch.allclose(encoder.body.kept(other, frames.valid, shown)[0], out.tokens, atol=1e-6)
    everything = encoder(waves, keep=torch.ones_like(keep))
    assert torch.allclose(everything.tokens, encoder(waves).tokens, atol=1e-5)


@torch.no_grad()
def test_hidden_frames_have_no_influence(encoder):
    frames = encoder.local(collate(recordings()))
    hidden = torch.zeros_like(frames.valid)
    hidden[1, 3:9] = True
    states = encoder.body(frames.x, frames.valid, hidden)[0]
    other = torch.where(hidden[..., None], torch.randn_like(frames.x), frames.x)
    assert torch.equal(encoder.body(other, frames.valid, hidden)[0][-1], states[-1])
    assert not torch.allclose(encoder.body(frames.x, frames.valid)[0][-1], states[-1])


def test_waves_can_be_moved():
    assert isinstance(move(collate(recordings()), "cpu"), Waves)


@pytest.mark.parametrize("options", [{"heads": 5}, {"width": 30}])
def test_shapes_that_do_not_fit_are_refused(options):
    with pytest.raises(ValueError, match="multiple of heads"):
        Mel(16000, **options)


def pair(kind, norm, pre_norm):
    """A small model of transformers and our encoder of the same configuration."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    model, config = {"wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config"), "hubert": ("HubertModel", "HubertConfig"),
                     "wavlm": ("WavLMModel", "WavLMConfig")}[kind]
    made = getattr(transformers, config)(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32 * 4, conv_dim=(16,) * 7,
        conv_bias=norm == "layer", feat_extract_norm=norm, do_stable_layer_norm=pre_norm, num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16, layerdrop=0.0)
    size = "large" if pre_norm else "base"
    ours = Wav2Vec2(16000, size=size, norm=norm, channels=16, width=32, depth=2, heads=2,
                    positions="gated" if kind == "wavlm" else "conv")
    return getattr(transformers, model)(made).eval(), ours.eval()


CASES = [("wav2vec2", "group", False), ("wav2vec2", "layer", True), ("wav2vec2", "layer", False), ("hubert", "group", False),
         ("wavlm", "group", False)]


@pytest.mark.parametrize("case", CASES, ids="-".join(["{}"]).format)
@torch.no_grad()
def test_same_outputs_as_transformers(case):
    torch.manual_seed(0)
    theirs, ours = pair(*case)
    for p in theirs.parameters():  # published weights are not at their initial values either
        p.add_(0.02 * torch.randn_like(p))
    unused = from_transformers(ours, {f"{case[0]}.{name}": p for name, p in theirs.state_dict().items()})
    assert unused == []
    waves = collate(recordings((8000,)))
    given = waves.samples
    if ours.standardise:
        given = (given - given.mean()) / (given.var(correction=0) + 1e-7).sqrt()
    expected = theirs(given, output_hidden_states=True)
    states = ours.body(*ours.local(waves))[0]
    for mine, other in list(zip(states, expected.hidden_states, strict=True))[:-1]:
        assert (mine - other).abs().max() < 1e-5
    assert (ours(waves).tokens - expected.last_hidden_state[0]).abs().max() < 1e-5


@pytest.mark.parametrize("case", CASES, ids="-".join(["{}"]).format)
def test_weights_go_back_to_transformers(case):
    theirs, ours = pair(*case)
    found = to_transformers(ours)
    wanted = theirs.state_dict()
    assert {name: p.shape for name, p in found.items()} == {name: p.shape for name, p in wanted.items()}
    theirs.load_state_dict(found)
    assert from_transformers(ours, theirs.state_dict()) == []
    assert all(torch.equal(p, found[name]) for name, p in to_transformers(ours).items())


@pytest.mark.parametrize("wrong, says", [({"depth": 3}, "lack encoder.layers.2"), ({"width": 64}, "wants")])
def test_weights_of_another_shape_are_refused(wrong, says):
    from ssl_core import ConfigError
    small = Wav2Vec2(16000, channels=16, width=32, depth=2)
    other = Wav2Vec2(16000, **{"channels": 16, "width": 32, "depth": 2} | wrong)
    with pytest.raises(ConfigError, match=says):
        from_transformers(other, to_transformers(small))


@pytest.mark.parametrize("kernel, stride", [(10, 5), (3, 2), (2, 2)])
@pytest.mark.parametrize("length", [20, 31, 32, 33, 34, 35])
def test_blocks_are_the_convolution(kernel, stride, length):
    layer = ConvLayer(3, 5, kernel, stride, "none", bias=True).double()
    x = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    mine, theirs = layer.convolved(x), layer.conv(x.transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(mine, theirs)
    weight = torch.randn_like(mine)
    a = torch.autograd.grad((mine * weight).sum(), [x, layer.conv.weight, layer.conv.bias])
    b = torch.autograd.grad((theirs * weight).sum(), [x, layer.conv.weight, layer.conv.bias])
    assert all(torch.allclose(g, h) for g, h in zip(a, b, strict=True))
