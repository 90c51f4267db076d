"""Recordings as people have them, good and bad; batches within their budget; nothing dies of one file."""
import json
import os

import numpy as np
import pytest
import soundfile
import torch

from ssl_core import DataError
from ssl_speech import data, readers
from ssl_speech.batching import Buckets, Joined, in_order
from ssl_speech.readers import Bad, decode, find
from ssl_speech.waves import Waves


def tone(seconds=0.5, rate=16000, hertz=220.0, level=0.3):
    time = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def write(path, samples=None, rate=16000, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), tone(rate=rate) if samples is None else samples, rate, **more)
    return path


@pytest.fixture
def folder(tmp_path):
    """Six good recordings in two classes."""
    for i in range(6):
        write(tmp_path / "set" / "ab"[i % 2] / f"{i}.wav", tone(0.4 + 0.1 * i, hertz=200 + 50 * i))
    return tmp_path / "set"


FORMATS = [("a.wav", {"subtype": "PCM_U8"}), ("a.wav", {"subtype": "PCM_16"}), ("a.wav", {"subtype": "PCM_24"}),
           ("a.wav", {"subtype": "PCM_32"}), ("a.wav", {"subtype": "FLOAT"}), ("a.wav", {"subtype": "DOUBLE"}),
           ("a.wav", {"subtype": "ULAW"}), ("a.flac", {}), ("a.ogg", {}), ("a.mp3", {}), ("a.aiff", {})]


@pytest.mark.parametrize("name, how", FORMATS, ids=[f"{n}-{h.get('subtype', '')}" for n, h in FORMATS])
def test_formats_give_the_same_samples(tmp_path, name, how):
    (clip,) = find(write(tmp_path / name, **how))
    samples, lossy = decode(clip, 16000), name.endswith(("ogg", "mp3")) or how.get("subtype") in ("PCM_U8", "ULAW")
    assert samples.dtype == torch.float32 and len(samples) == 8000
    assert (samples - torch.from_numpy(tone())).abs().max() < (0.05 if lossy else 1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_any_rate_is_brought_to_the_models(tmp_path, rate):
    (clip,) = find(write(tmp_path / "a.wav", tone(rate=rate), rate))
    samples = decode(clip, 16000)
    assert abs(len(samples) - 8000) <= 1
    middle = slice(1000, 7000)  # the filter rings at both ends
    assert (samples[middle] - torch.from_numpy(tone())[middle]).abs().max() < 0.01


def test_channels_are_averaged(tmp_path):
    left, right = tone(), tone(hertz=440.0)
    (clip,) = find(write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT"))
    assert np.allclose(decode(clip, 16000).numpy(), (left + right) / 2, atol=1e-6)


def test_part_of_a_recording_is_the_same_part_of_the_whole(tmp_path):
    (clip,) = find(write(tmp_path / "a.flac", tone(3.0)))
    assert torch.equal(decode(clip, 16000, 1.0, 0.5), decode(clip, 16000)[16000:24000])


def bad_files(at):
    """One file of each kind of trouble, with a word of the reason that should be given."""
    good = write(at / "good.wav", tone(1.0)).read_bytes()
    write(at / "nan.wav", np.full(8000, np.nan, dtype=np.float32), subtype="FLOAT")
    write(at / "silent.wav", np.zeros(8000, dtype=np.float32))
    write(at / "clipped.wav", np.sign(tone()).astype(np.float32))
    write(at / "short.wav", tone(0.01))
    write(at / "none.wav", np.zeros(0, dtype=np.float32))
    (at / "text.wav").write_text("this is no sound\n")
    (at / "empty.wav").write_bytes(b"")
    (at / "header.wav").write_bytes(good[:30])
    noisy = tone(2.0) + 0.01 * np.random.default_rng(0).standard_normal(32000)
    flac = write(at / "cut.flac", noisy)
    flac.write_bytes(flac.read_bytes()[:20000])
    return {"nan.wav": "NaN", "silent.wav": "silent", "clipped.wav": "clipped", "short.wav": "shorter",
            "none.wav": "no samples", "text.wav": "no audio", "empty.wav": "empty", "header.wav": "no audio", "cut.flac": ""}


@pytest.mark.parametrize("memory", [1024, 0])
def test_bad_recordings_are_listed_and_the_others_used(folder, memory):
    expected = bad_files(folder / "a")
    read = data.read(folder, skip=0.9, memory=memory)
    for batch in [*read.train, *read.items]:
        assert isinstance(batch, Waves) and batch.samples.isfinite().all() and (batch.lengths > 0).all()
    skipped = dict(read.skipped)
    assert {f"a/{name}" for name in expected} == set(skipped)
    for name, word in expected.items():
        assert word in skipped[f"a/{name}"], skipped[f"a/{name}"]
    assert sum(len(batch.lengths) for batch in read.items) == len(read.names) == len(read.labels)
    assert "a/good.wav" in read.names


def test_more_bad_recordings_than_allowed_is_an_error(folder):
    bad_files(folder / "a")
    with pytest.raises(DataError, match="9 of 16 recordings cannot be used") as error:
        data.read(folder)
    assert "data.skip" in str(error.value) and "a/" in str(error.value)


def test_a_file_that_goes_bad_while_training_does_not_end_the_batch(folder):
    read = data.read(folder, memory=0, skip=0.5, seconds=4.0, longest=2.0)
    (folder / "a" / "0.wav").write_text("gone")
    batches = list(read.train)
    assert sum(len(batch.lengths) for batch in batches) == 6
    assert [name for name, _ in read.skipped] == ["a/0.wav"]
    assert sum(len(batch.lengths) for batch in read.train) == 6 and len(read.skipped) == 1
    for i in (2, 4):
        (folder / "a" / f"{i}.wav").unlink()
    (folder / "b" / "1.wav").unlink()
    with pytest.raises(DataError, match="4 recordings could not be decoded"):
        list(read.train)


def test_a_tenth_of_a_second_and_half_an_hour(tmp_path):
    write(tmp_path / "x" / "short.wav", tone(0.1, 8000), 8000)
    write(tmp_path / "x" / "long.wav", np.tile(tone(60.0, 8000), 30), 8000)
    cropped = data.read(tmp_path / "x", rate=8000, longest=10.0, memory=8)
    assert max(int(batch.lengths.max()) for batch in cropped.train) == 80000
    assert cropped.names == ["long.wav", "short.wav"]
    parts = data.read(tmp_path / "x", rate=8000, longest=10.0, memory=8, long="segment")
    assert len(parts.names) == 181 and parts.names[1] == "long.wav#10.00"
    lengths = torch.cat([batch.lengths for batch in parts.items])
    assert (lengths[:180] == 80000).all() and lengths[180] == 800
    assert {name for name in parts.folds if 180 in parts.folds[name] and 0 in parts.folds[name]} in (set(), {"train"}, {"test"})


MISSING = [("nothing", "no file or folder"), ("empty", "holds no recording"), ("data.xyz", "cannot tell")]


@pytest.mark.parametrize("name, says", MISSING)
def test_what_is_no_data_set_is_a_clear_error(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "data.xyz").write_text("?")
    with pytest.raises(DataError, match=says):
        data.read(tmp_path / name)


def test_a_folder_that_may_not_be_opened_is_a_clear_error(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cannot open the folder.*Permission denied"):
        data.read(folder)


def manifest(folder, kind):
    files = sorted(folder.rglob("*.wav"))
    rows = [(path.relative_to(folder).as_posix(), path.parent.name, ("train", "dev", "test")[i % 3])
            for i, path in enumerate(files)]
    path = folder / {"tsv": "all.tsv", "fairseq": "train.tsv", "jsonl": "all.jsonl", "scp": "wav.scp"}[kind]
    if kind == "tsv":
        path.write_text("path\tlabel\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows))
    elif kind == "fairseq":
        path.write_text(f"{folder}\n" + "".join(f"{row[0]}\t8000\n" for row in rows))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"audio_filepath": r[0], "label": r[1], "split": r[2], "duration": 0.3}) + "\n"
                                for r in rows))
    else:
        path.write_text("".join(f"utt{i} {row[0]}\n" for i, row in enumerate(rows)))
        (folder / "utt2spk").write_text("".join(f"utt{i} {row[1]}\n" for i, row in enumerate(rows)))
    return path


@pytest.mark.parametrize("kind", ["tsv", "fairseq", "jsonl", "scp"])
def test_manifests(folder, kind):
    read = data.read(manifest(folder, kind))
    assert len(read.names) == 6 and not read.skipped
    assert read.classes == (None if kind == "fairseq" else ["a", "b"])
    if kind in ("tsv", "jsonl"):
        assert [read.folds[name].tolist() for name in ("train", "validation", "test")] == [[0, 3], [1, 4], [2, 5]]
    if kind == "jsonl":
        assert all((batch.lengths == 4800).all() for batch in read.items)


@pytest.mark.parametrize("name, text, says", [
    ("a.tsv", "path\n../outside.wav\n", "leads out"),
    ("a.jsonl", '{"path": "/etc/hosts"}\n', "leads out"),
    ("wav.scp", "u1 sox in.wav -t wav - |\n", "not run"), ("a.jsonl", "{\n", "line 1 is not JSON"),
    ("a.tsv", "file\tlabel\nx.wav\ta\n", "`path`"), ("a.tsv", "path\tlabel\nx.wav\n", "line 2: 1 cells"),
    ("a.tsv", "", "is empty"),
])
def test_manifests_that_cannot_be_followed(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=says):
        data.read(tmp_path / name)


def test_librispeech_layout(tmp_path):
    for speaker in ("84", "121"):
        for chapter in ("1", "2"):
            for i in range(2):
                write(tmp_path / speaker / chapter / f"{speaker}-{chapter}-000{i}.flac")
    read = data.read(tmp_path)
    assert read.classes == ["121", "84"] and len(read.names) == 8
    chapters = [name.rpartition("-")[0] for name in read.names]
    where = {name: {chapters[i] for i in fold.tolist()} for name, fold in read.folds.items()}
    assert not where["train"] & where["test"]  # a chapter stays together


def test_speech_commands_layout(tmp_path):
    for word in ("yes", "no"):
        for i in range(3):
            write(tmp_path / word / f"abc{i}_nohash_0.wav")
    write(tmp_path / "_background_noise_" / "tap.wav")
    (tmp_path / "validation_list.txt").write_text("yes/abc1_nohash_0.wav\nno/abc1_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("yes/abc2_nohash_0.wav\nno/abc2_nohash_0.wav\n")
    read = data.read(tmp_path)
    assert read.classes == ["no", "yes"] and len(read.names) == 6
    assert all(len(fold) == 2 for fold in read.folds.values())
    assert read.size == 4  # test recordings are not learned from


IN_MEMORY = [
    ([tone(), tone(0.3)], 2), ([torch.from_numpy(tone())], 1), (np.stack([tone(), tone()]), 2), (tone(), 1),
    ([(tone(rate=8000), 8000)], 1), ({"samples": [tone(rate=8000)] * 3, "rate": 8000, "labels": [0, 1, 1]}, 3),
    ([{"audio": {"array": tone(rate=8000), "sampling_rate": 8000}, "label": "x"}], 1),
    ([(tone() * 32767).astype(np.int16)], 1),
]


@pytest.mark.parametrize("held, count", IN_MEMORY)
def test_recordings_in_memory(held, count):
    read = data.read(held)
    (batch,) = read.items
    assert len(batch.lengths) == count and batch.lengths[0] == 8000
    assert (batch.samples[0] - torch.from_numpy(tone())).abs()[1000:7000].max() < 0.01


@pytest.mark.parametrize("held", [3, {"x": 1}, {"samples": [tone()], "labels": [1, 2]}])
def test_objects_that_hold_no_recordings(held):
    with pytest.raises(DataError):
        data.read(held)


def lengths(count=200, seed=0):
    return (2000 + 14000 * torch.rand(count, generator=torch.Generator().manual_seed(seed)) ** 3).long()


def test_buckets_keep_the_budget_and_see_everything_once():
    some = lengths()
    plan = Buckets(torch.arange(200), some, budget=64000, longest=10000)
    torch.manual_seed(0)
    first, second = plan(), plan()
    for epoch in (first, second):
        assert len(epoch) == len(plan)
        assert sorted(row[0].item for batch in epoch for row in batch) == list(range(200))
        assert max(max(row[0].length for row in batch) * len(batch) for batch in epoch) <= 64000
        waste = sum(max(r[0].length for r in b) * len(b) for b in epoch) / sum(r[0].length for b in epoch for r in b)
        assert waste < 1.2  # a batch of random lengths would be padded to about twice its samples
        assert min(len(batch) for batch in epoch) >= 3
        assert all(r[0].start + r[0].length <= some[r[0].item] for b in epoch for r in b)
    assert first != second
    torch.manual_seed(0)
    assert plan() == first


def test_joined_rows_are_of_one_speaker_and_of_the_wanted_length():
    some, speakers = lengths(), torch.arange(200) % 3
    plan = Joined(torch.arange(200), some, speakers, budget=160000, target=20000)
    torch.manual_seed(0)
    epoch = plan()
    assert len(epoch) == len(plan) == len(plan())
    rows = [row for batch in epoch for row in batch]
    assert all(len({int(speakers[piece.item]) for piece in row}) == 1 for row in rows)
    totals = torch.tensor([sum(piece.length for piece in row) for row in rows])
    assert (totals <= 20000).all() and totals.double().mean() > 15000
    assert max(len(batch) for batch in epoch) * 20000 <= 160000
    items = [piece.item for row in rows for piece in row]
    assert len(items) == len(set(items)) > 150


def test_items_stay_in_order():
    batches = in_order(torch.arange(200), lengths(), 64000, 10000)
    assert [row[0].item for batch in batches for row in batch] == list(range(200))
    assert max(max(row[0].length for row in batch) * len(batch) for batch in batches) <= 64000


@pytest.mark.parametrize("workers", [0, 3])
def test_streamed_batches_are_those_in_memory(folder, workers):
    def epoch(**options):
        torch.manual_seed(3)
        return list(data.read(folder, longest=0.5, seconds=1.5, **options).train)
    held, streamed = epoch(), epoch(memory=0, workers=workers)
    assert len(held) == len(streamed) > 1
    for a, b in zip(held, streamed, strict=True):
        assert torch.equal(a.lengths, b.lengths) and torch.equal(a.samples, b.samples)


@pytest.mark.parametrize("wrong", [{"skip": 2.0}, {"seconds": 1.0, "longest": 2.0}, {"rate": 0}, {"workers": -1}])
def test_options_are_checked(folder, wrong):
    with pytest.raises(ValueError):
        data.read(folder, **wrong)


def test_fingerprint_follows_the_content(folder):
    before = data.read(folder).fingerprint
    assert data.read(folder).fingerprint == before
    write(folder / "a" / "0.wav", tone(0.4, hertz=300))
    assert data.read(folder).fingerprint != before


def test_fsdd(shared_data):
    read = data.fsdd(root=shared_data("fsdd"))
    assert read.size == 2700 and len(read.names) == 3000 and not read.skipped
    assert [len(read.folds[name]) for name in ("train", "validation", "test")] == [2400, 300, 300]
    assert all(int(read.names[i][:-4].split("_")[2]) < 5 for i in read.folds["test"].tolist())
    assert read.classes == [str(i) for i in range(10)]
    assert [read.classes[i] for i in read.labels.tolist()] == [name[0] for name in read.names]
    words = sorted(length for batch in read.train for length in batch.lengths.tolist())
    assert len(words) == 2700 and words[1350] < 4000  # one by one, half a second and less, as they are scored
    joined = next(iter(data.fsdd(root=shared_data("fsdd"), join=2.0).train))
    assert joined.samples.shape[1] <= 16000 and joined.lengths.float().mean() > 12000


def test_fsdd_says_where_it_looked(tmp_path):
    with pytest.raises(DataError, match="data.root"):
        data.fsdd(root=tmp_path)


def test_other_real_recordings(shared_data):
    flac = data.read(shared_data("librispeech_sample"))
    assert next(iter(flac.items)).lengths[0] == pytest.approx(11.9 * 16000, rel=0.01)
    yesno = data.read(shared_data("waves_yesno"), seconds=16.0)
    assert len(yesno.names) == 60 and yesno.labels is None and not yesno.skipped


def test_vowels_are_seeded_and_told_apart():
    first, again, other = data.vowels(items=60), data.vowels(items=60), data.vowels(items=60, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.classes) == 10 and data.vowels(items=60, label="speaker").classes == [str(i) for i in range(6)]
    batch = next(iter(first.items))
    assert batch.samples.abs().max() <= 1.0 and batch.samples.std() > 0.01


def test_headers_are_enough_to_measure(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", tone(1.25))
    monkeypatch.setattr(readers, "decode", None)
    assert readers.seconds(find(path)[0]) == 1.25
    with pytest.raises(Bad, match="no such file"):
        readers.seconds(readers.Clip("x", tmp_path / "x.wav"))
