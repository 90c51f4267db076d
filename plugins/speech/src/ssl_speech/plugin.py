"""The shop window: what this plugin offers. Imports no torch."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl

#: Cases of `sslrun check speech` that fail, and why.
expected_failures = {f"method {name}: gradients": "the encoder's embedding of hidden frames is for other methods"
                     for name in ("tera", "speech-simclr", "speech-vicreg", "supcon-speech", "dm-codec")}
expected_failures |= {f"objective binary: {case}": "it compares scores with the number of the right column, not rows with rows"
                      for case in ("loss", "order")}


@hookimpl
def ssl_encoders():
    yield Component(name="wav2vec2", target="ssl_speech.encoders:Wav2Vec2", paper="arXiv:2006.11477",
                    summary="convolutions over samples, then a transformer: tiny, base, large")
    yield Component(name="mel", target="ssl_speech.encoders:Mel", paper="arXiv:2007.06028",
                    summary="a transformer over log-mel frames")
    yield Component(name="wav2vec", target="ssl_speech.causal:CausalWav2Vec", paper="arXiv:1904.05862",
                    summary="convolutions over samples, then over past frames; with codes in between if asked")
    yield Component(name="conformer", target="ssl_speech.conformer:Conformer", paper="arXiv:2005.08100",
                    summary="conformer blocks over log-mel frames")
    yield Component(name="ecapa-tdnn", target="ssl_speech.ecapa:ECAPA", paper="arXiv:2005.07143",
                    summary="one vector for a voice, from convolutions and attention over time")
    yield Component(name="patches", target="ssl_speech.patches:Patches", paper="arXiv:2110.09784",
                    summary="attention or bidirectional Mamba over patches of the log-mel spectrogram")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="spans", makes="mask", target="ssl_speech.masks:SpanMask", paper="arXiv:2006.11477",
                       summary="hide spans of frames")
    yield Augmentation(name="squares", makes="mask", target="ssl_speech.masks:ClusterMask", paper="arXiv:2110.09784",
                       summary="hide squares of patches")
    yield Augmentation(name="as-is", target="ssl_speech.augmentations:AsIs", summary="recordings as they are, one view")
    yield Augmentation(name="crops", target="ssl_speech.augmentations:Crops", paper="arXiv:2104.14294",
                       summary="long and short parts, each in a room and a noise of its own")
    yield Augmentation(name="perturb", target="ssl_speech.augmentations:Perturb",
                       summary="speed, room, band limits, noise, gaps and gain of the waveform")


@hookimpl
def ssl_objectives():
    yield Component(name="within-contrast", target="ssl_speech.objectives:WithinContrast", paper="arXiv:2006.11477",
                    summary="tell the right frame from others of the same recording")
    yield Component(name="binary", target="ssl_speech.objectives:Binary", paper="arXiv:1904.05862",
                    summary="say of each candidate whether it is the right one")
    yield Component(name="cross-entropy", target="ssl_speech.objectives:CrossEntropy", summary="name the right class")
    yield Component(name="l1", target="ssl_speech.objectives:L1", summary="predict the target, mean absolute error")


@hookimpl
def ssl_datasets():
    yield Dataset(name="vowels", target="ssl_speech.data:vowels", synthetic=True,
                  summary="ten made-up words of vowels by six made-up speakers")
    yield Dataset(name="fsdd", target="ssl_speech.data:fsdd", summary="3,000 spoken digits, six speakers",
                  licence="CC BY-SA 4.0")
    yield Dataset(name="file", target="ssl_speech.data:read", reads=True,
                  summary="your own: a folder, a manifest (.tsv, .jsonl, wav.scp), a recording, or arrays")


@hookimpl
def ssl_probes():
    yield Component(name="eer", target="ssl_speech.probes:eer", summary="equal error rate of verifying speakers")


ADAM = {"optimizer": "adamw", "optimizer.lr": 2e-3, "optimizer.betas": (0.9, 0.98), "optimizer.weight_decay": 0.01,
        "schedule": "wsd", "schedule.decay": 0.9, "trainer.clip": 5.0, "epochs": 60}
SLOWER = ADAM | {"optimizer.lr": 1e-3}
WIDE_BAND = {"fsdd": {"data.rate": 16000}}  # the convolutions are made for 16 kHz
WORDS = {"fsdd": {"data.rate": 16000, "augmentation.span": 4}}  # of about 20 frames


@hookimpl
def ssl_methods():
    yield from behind_hidden_frames()
    yield from of_alterations()
    yield from of_the_future()
    yield from of_patches()
    yield from of_views()
    yield from of_voices()


def behind_hidden_frames():
    """What stands behind frames that the transformer does not see."""
    masked = {"data": "vowels", "encoder": "wav2vec2", "augmentation": "spans"}
    short = {"augmentation.span": 6}  # frames of 20 ms; the papers' 10 suit recordings of many seconds
    named = masked | {"target": "ssl_speech.methods.hubert:HuBERT", "objective": "cross-entropy", "per_data": WORDS}
    most = ADAM | short | {"augmentation.ratio": 0.8}
    yield Recipe(
        name="wav2vec2", target="ssl_speech.methods.wav2vec2:Wav2Vec2", paper="arXiv:2006.11477", **masked,
        objective="within-contrast", summary="find the quantised frame behind each hidden one",
        options=ADAM | short, per_data=WORDS)
    yield Recipe(
        name="hubert", paper="arXiv:2106.07447", **named, options=most, summary="name the cluster of each hidden frame")
    yield Recipe(
        name="wavlm", paper="arXiv:2110.13900", **named, options=most | {"method.mix": 0.2, "encoder.positions": "gated"},
        summary="hubert with other voices and noise laid over, and gated relative positions")
    yield Recipe(
        name="hubertopic", paper="arXiv:2310.03975", **named, options=most | {"method.topics": 8}, experimental=True,
        summary="hubert that also tells the topic of the recording")
    yield Recipe(
        name="data2vec-audio", target="ssl_speech.methods.data2vec:Data2Vec", paper="arXiv:2202.03555", **masked,
        objective="mse", summary="predict a slow teacher's upper layers behind hidden frames",
        options=SLOWER | short | {"augmentation.least": 1}, per_data=WORDS)
    yield Recipe(
        name="w2v-bert", target="ssl_speech.methods.wav2vec2:Wav2Vec2", paper="arXiv:2108.06209", experimental=True,
        data="vowels", encoder="mel", augmentation="spans", objective="within-contrast",
        summary="wav2vec2 in the lower blocks, naming its codes in the upper ones; no conformer",
        options=ADAM | short | {"encoder.depth": 4, "method.layer": 2, "method.naming": 1.0, "method.groups": 1,
                                "method.entries": 64}, per_data={"fsdd": {"augmentation.span": 4}})
    yield Recipe(
        name="speecht5", target="ssl_speech.methods.speecht5:SpeechT5", paper="arXiv:2110.07205", experimental=True, **masked,
        objective="cross-entropy", summary="hubert, and a decoder that speaks from states mixed with codes; no text",
        options=most, per_data=WORDS)


def of_alterations():
    """What was heard before it was altered or squeezed."""
    yield Recipe(
        name="tera", target="ssl_speech.methods.tera:TERA", paper="arXiv:2007.06028", data="vowels", encoder="mel",
        augmentation="spans", objective="l1", summary="undo alterations of time, frequency and magnitude",
        options=SLOWER | {"encoder.hop": 0.01, "augmentation.ratio": 0.15, "augmentation.span": 7, "augmentation.least": 1})
    yield Recipe(
        name="dm-codec", target="ssl_speech.methods.dm_codec:DMCodec", paper="arXiv:2410.15017", experimental=True,
        data="vowels", encoder="wav2vec2", augmentation="as-is", objective="l1", options=SLOWER, per_data=WIDE_BAND,
        summary="a codec whose codes resemble features of other models; no adversary")


def of_the_future():
    """Which frames come next."""
    future = {"data": "vowels", "encoder": "wav2vec", "augmentation": "as-is", "target": "ssl_speech.methods.wav2vec:Wav2Vec",
              "per_data": WIDE_BAND}
    yield Recipe(
        name="wav2vec", paper="arXiv:1904.05862", **future, objective="binary", options=SLOWER,
        summary="tell the frames to come from others")
    yield Recipe(
        name="vq-wav2vec", paper="arXiv:1910.05453", **future, objective="cross-entropy",
        options=SLOWER | {"encoder.codes": "gumbel"}, summary="wav2vec between codes, by Gumbel softmax or k-means")


def of_patches():
    """Hidden patches of the spectrogram."""
    patches = {"data": "vowels", "encoder": "patches", "augmentation": "squares", "objective": "within-contrast",
               "target": "ssl_speech.methods.ssast:SSAST"}
    product = SLOWER | {"objective.cosine": False, "objective.temperature": 1.0, "objective.negatives": 0}
    yield Recipe(
        name="ssast", paper="arXiv:2110.09784", **patches, options=product,
        summary="find and paint hidden patches of the spectrogram")
    yield Recipe(
        name="ssamba", paper="arXiv:2405.11831", **patches, options=product | {"encoder.blocks": "mamba"},
        summary="ssast with bidirectional Mamba")


def of_views():
    """Perturbed views of whole recordings."""
    views = {"data": "vowels", "encoder": "mel", "augmentation": "perturb"}
    yield Recipe(
        name="speech-simclr", target="ssl_core:JointEmbedding", paper="arXiv:2010.13991", **views, objective="nt-xent",
        summary="contrast perturbed views of recordings", options=SLOWER | {"objective.temperature": 0.1})
    yield Recipe(
        name="speech-vicreg", target="ssl_core:JointEmbedding", paper="arXiv:2105.04906", **views, objective="vicreg",
        summary="agree on perturbed views, with variance and without covariance",
        options=SLOWER | {"method.projector": (256, 256)})
    yield Recipe(
        name="supcon-speech", target="ssl_speech.methods.supcon:SupConSpeech", paper="arXiv:2004.11362", **views,
        objective="supcon", summary="contrast by labels, alone or beside naming them",
        options=SLOWER | {"objective.temperature": 0.1})


def of_voices():
    """Who speaks."""
    speaker = {"data.label": "speaker"}
    yield Recipe(
        name="ca-dino", target="ssl_speech.methods.ca_dino:CADino", paper="arXiv:2304.05754", experimental=True, data="vowels",
        encoder="ecapa-tdnn", augmentation="crops", objective="dino", per_data={"vowels": speaker, "fsdd": speaker},
        summary="dino on voices, targets from the same cluster, then gated and corrected pseudo-labels",
        options=ADAM | {"optimizer.lr": 3e-3, "objective.prototypes": 256, "objective.momentum": 0.99, "objective.centre": 0.99,
                        "objective.frozen": 0.0})
