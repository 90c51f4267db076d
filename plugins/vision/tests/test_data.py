"""Reading images: every layout, every mode, and what is wrong with them."""
import gzip
import io
import pickle
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_core import DataError, Run, pretrain
from ssl_vision import data, decoding, download, readers
from ssl_vision.images import Images


def image(value, mode="RGB", size=(8, 6)):
    return Image.new(mode, size, value)


def save(path, value=(10, 200, 30), mode="RGB", size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image(value, mode, size).save(path)


@pytest.fixture
def pets(tmp_path):
    """Twelve images of two classes, each of its own brightness."""
    root = tmp_path / "pets"
    for i in range(12):
        save(root / ("cat", "dog")[i % 2] / f"{i:02d}.png", (20 * i, 0, 255 - 20 * i))
    return root


def zipped(root, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, file.relative_to(root.parent).as_posix())
    return path


def everything(found):
    return torch.cat([batch.pixels for batch in found.items])


def test_digits_are_the_default_and_embedded():
    found = data.digits()
    assert found.facts["channels"] == 1 and found.facts["image_size"] == [8, 8] and found.facts["classes"] == 10
    assert sum(map(len, found.folds.values())) == 1797 and len(torch.cat([*found.folds.values()]).unique()) == 1797
    assert everything(found).dtype is torch.uint8 and everything(found).max() == 255
    other = data.digits(seed=1)
    assert found.fingerprint == other.fingerprint and not torch.equal(found.folds["test"], other.folds["test"])


def test_folder_of_classes(pets):
    (pets / "cat" / ".hidden.png").write_bytes(b"")
    (pets / "notes.txt").write_text("no image")
    found = data.read(pets)
    assert found.classes == ["cat", "dog"] and found.names[0] == "cat/00.png"
    assert torch.equal(found.labels, torch.tensor([0] * 6 + [1] * 6))
    assert everything(found).shape == (12, 3, 6, 8) and everything(found)[1, 0, 0, 0] == 40
    batch = next(iter(found.train))
    assert torch.equal(found.target(batch), batch.labels) and len(batch.labels) == found.size == 7
    assert not found.skipped


def test_zip_is_read_in_place_like_the_folder(pets, tmp_path):
    found, same = data.read(zipped(pets, tmp_path / "pets.zip")), data.read(pets)
    assert torch.equal(everything(found), everything(same)) and torch.equal(found.labels, same.labels)
    assert found.classes == same.classes  # the folder around all of them is no class


def test_paths_in_an_archive_lead_nowhere(tmp_path):
    inside = io.BytesIO()
    image(7).save(inside, "PNG")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in ("../../escaped.png", "/absolute.png", "a/fine.png", "a/b/fine.png", "__MACOSX/a/fine.png"):
            archive.writestr(name, inside.getvalue())
    before = sorted(p for p in tmp_path.parent.rglob("*.png"))
    found = data.read(tmp_path / "evil.zip")
    assert len(everything(found)) == 4 and sorted(p for p in tmp_path.parent.rglob("*.png")) == before


@pytest.mark.parametrize("val, test, folds", [
    ("val", "test", {"train": 4, "validation": 3, "test": 2}), (None, "test", {"train": 3, "validation": 1, "test": 2}),
    ("val", None, {"train": 3, "validation": 1, "test": 3})])
def test_official_folds_are_kept(tmp_path, val, test, folds):
    for fold, count in (("train", 4), (val, 3), (test, 2)):
        for i in range(count if fold else 0):
            save(tmp_path / "set" / fold / "ab"[i % 2] / f"{i}.png", (i, i, i))
    found = data.read(tmp_path / "set")
    assert {name: len(rows) for name, rows in found.folds.items()} == folds
    assert all(found.names[i].startswith("train") for i in found.folds["train"].tolist() + list(found.train.rows))


def test_images_without_classes_have_no_labels(tmp_path):
    for i in range(3):
        save(tmp_path / "flat" / f"{i}.jpg")
    found = data.read(tmp_path / "flat")
    assert found.labels is None and not found.folds and found.target is None and found.size == 3


def test_unlabelled_images_are_trained_on_but_not_scored():
    names = [f"train/{c}/{i}.png" for c in "ab" for i in range(4)] + [f"test/a/{i}.png" for i in range(2)]
    labels, folds, classes = readers.layout(names + [f"unlabeled/{i}.png" for i in range(5)])
    assert classes == ["a", "b"] and labels.tolist() == [0] * 4 + [1] * 4 + [0] * 2 + [-1] * 5
    train, folds = data.split(readers.Raw(torch.zeros(15, 1, 2, 2), labels, folds), 15, seed=0)
    assert set(range(10, 15)) <= set(train.tolist()) and not set(range(10, 15)) & set(torch.cat([*folds.values()]).tolist())


@pytest.mark.parametrize("mode, value, expected", [
    ("L", 100, [100] * 3), ("RGBA", (200, 100, 0, 255), [200, 100, 0]), ("RGBA", (200, 100, 0, 0), [255] * 3),
    ("1", 1, [255] * 3), ("P", 0, [0] * 3), ("LA", (100, 255), [100] * 3), ("CMYK", (0, 0, 0, 0), [255] * 3)])
def test_modes_become_colour(mode, value, expected):
    assert decoding.pixels(image(value, mode), 3, (6, 8))[:, 2, 3].tolist() == expected


def test_sixteen_bits_are_not_cut_to_eight(tmp_path):
    root = tmp_path / "deep"
    root.mkdir()
    for i, value in enumerate((1000, 1003, 65535)):
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(root / f"{i}.png")
    pixels = everything(data.read(root))
    assert pixels.dtype is torch.float32 and pixels.shape == (3, 1, 4, 4)
    assert torch.allclose(pixels[:, 0, 0, 0], torch.tensor([1000, 1003, 65535]) / 65535)


def test_gray_and_colour_together_become_colour(tmp_path):
    save(tmp_path / "mixed" / "a.png", 90, "L")
    save(tmp_path / "mixed" / "b.png", (1, 2, 3))
    save(tmp_path / "gray" / "a.png", 90, "L")
    save(tmp_path / "gray" / "b.png", 91, "L")
    assert everything(data.read(tmp_path / "mixed"))[:, :, 0, 0].tolist() == [[90] * 3, [1, 2, 3]]
    assert everything(data.read(tmp_path / "gray")).shape == (2, 1, 6, 8)


def test_camera_rotation_is_undone(tmp_path):
    upright = image((0, 0, 0), size=(8, 6))
    upright.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (tmp_path / "camera").mkdir()
    for i in range(2):
        upright.save(tmp_path / "camera" / f"{i}.png", exif=exif)
    pixels = everything(data.read(tmp_path / "camera"))
    assert pixels.shape == (2, 3, 8, 6) and pixels[0, :, 0, 5].tolist() == [255] * 3


def test_mixed_sizes_ask_for_a_size(tmp_path):
    save(tmp_path / "set" / "a.png", size=(8, 6))
    save(tmp_path / "set" / "b.png", size=(9, 6))
    with pytest.raises(DataError, match=r"a.png has 6 x 8 pixels, b.png has 6 x 9.\n  Try: data.size=64"):
        data.read(tmp_path / "set")
    assert everything(data.read(tmp_path / "set", size=4)).shape == (2, 3, 4, 4)
    assert everything(data.read(tmp_path / "set", size=(4, 5))).shape == (2, 3, 4, 5)


def test_unreadable_images_are_left_out_and_listed(pets):
    (pets / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    whole = (pets / "dog" / "01.png").read_bytes()
    (pets / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    found = data.read(pets, skip=0.2)
    assert [name for name, _ in found.skipped] == ["cat/broken.png", "dog/cut.png"]
    assert all("cannot be read as an image" in why and str(pets) in why for _, why in found.skipped)
    assert len(everything(found)) == len(found.labels) == 12
    with pytest.raises(DataError, match=r"2 of 14 images cannot be read.*\n.*broken.png.*\n.*cut.png.*\n.*data.skip=0.15"):
        data.read(pets)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on a machine with one core
@pytest.mark.parametrize("workers", [0, 2])
def test_what_does_not_fit_into_memory_is_decoded_batch_by_batch(pets, tmp_path, workers):
    held, lazy = data.read(pets), data.read(zipped(pets, tmp_path / "p.zip"), memory=0.0, workers=workers, batch_size=5)
    assert torch.equal(everything(held), everything(lazy)) and held.facts == lazy.facts
    torch.manual_seed(0)
    assert [len(batch.pixels) for batch in lazy.train] == [5] and lazy.size == 5
    again = data.read(zipped(pets, tmp_path / "p.zip"), memory=0.0)
    assert lazy.fingerprint == again.fingerprint


def test_damage_found_late_names_the_file(pets):
    whole = (pets / "cat" / "04.png").read_bytes()
    (pets / "cat" / "04.png").write_bytes(whole[:45])  # the header is fine
    lazy = data.read(pets, memory=0.0, schema={"channels": 3, "image_size": [6, 8], "mean": [0.5] * 3, "std": [0.2] * 3})
    with pytest.raises(DataError, match="04.png cannot be read"):
        everything(lazy)
    assert [name for name, _ in data.read(pets, memory=0.0, check=True).skipped] == ["cat/04.png"]


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "PIXELS", 40)
    save(tmp_path / "set" / "bomb.png")
    with pytest.raises(DataError, match="8 x 6 pixels; more than 40 are refused"):
        data.read(tmp_path / "set", skip=1.0)
    monkeypatch.setenv("SSL_CORE_UNPACKED_GB", "0.00000001")
    with pytest.raises(DataError, match="unpacks to"):
        data.read(zipped(tmp_path / "set", tmp_path / "set.zip"))


def test_only_formats_of_images_are_opened(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(DataError, match="1 of 1 images cannot be read"):
        data.read(tmp_path / "set")


@pytest.mark.parametrize("make, match", [
    (lambda p: p.mkdir(), "there are no images in"), (lambda p: save(p / "one.png"), "holds 1 image, 1 of them to learn from"),
    (lambda p: p.write_text("x"), "is no set of images")])
def test_too_little_is_said(tmp_path, make, match):
    make(tmp_path / "set")
    with pytest.raises(DataError, match=match):
        data.read(tmp_path / "set")


@pytest.mark.parametrize("name, content, match", [
    ("a.zip", b"PK not", "cannot be opened as a zip"), ("a.npy", b"x", "cannot be read")])
def test_broken_files_are_named(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}.*{match}"):
        data.read(tmp_path / name)


@pytest.mark.parametrize("held, shape, dtype", [
    (np.zeros((4, 5, 6), np.uint8), (4, 1, 5, 6), torch.uint8), (torch.rand(4, 3, 5, 6), (4, 3, 5, 6), torch.float32),
    (np.full((3, 2, 4, 4), 255, np.int64), (3, 2, 4, 4), torch.uint8),
    (np.full((3, 4, 4), 999, np.uint16), (3, 1, 4, 4), torch.float32),
    (np.ones((3, 4, 4), bool), (3, 1, 4, 4), torch.uint8), (np.zeros((3, 4, 4), ">f4"), (3, 1, 4, 4), torch.float32)])
def test_arrays_in_memory(held, shape, dtype):
    pixels = everything(data.read(held))
    assert pixels.shape == shape and pixels.dtype is dtype and pixels.float().max() <= (255 if dtype is torch.uint8 else 1)


def test_arrays_with_labels_and_read_only_arrays():
    x = np.zeros((10, 4, 4), np.uint8)
    x.flags.writeable = False
    assert data.read((x, list("ababababab"))).labels.tolist() == [0, 1] * 5
    assert data.read(Images(torch.from_numpy(x.copy())[:, None], torch.arange(10) % 3)).facts["classes"] == 3


@pytest.mark.parametrize("held, match", [
    (np.zeros((4, 32, 32, 3)), r"channels last.*\n  Try: x.transpose"), (np.zeros((4, 4)), "expected .N, C, H, W."),
    (np.random.default_rng(0).normal(size=(4, 3, 8, 8)), "expected integers from 0 to 255"),
    (np.zeros((0, 3, 8, 8)), "none of them 0"),
    ((np.zeros((4, 8, 8)), [1, 2]), "2 labels for 4 images"), ("words".split(), "no array of numbers"),
    (np.full((4, 8, 8), np.nan), "expected integers")])
def test_arrays_that_are_no_images_are_refused(held, match):
    with pytest.raises(DataError, match=match):
        data.read(held)


def test_numpy_files(tmp_path):
    x, y = np.zeros((6, 4, 4), np.uint8), np.arange(6)
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", images=x, labels=y)
    np.savez(tmp_path / "c.npz", pictures=x)
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert data.read(tmp_path / "a.npy").labels is None and data.read(tmp_path / "b.npz").labels.tolist() == list(range(6))
    with pytest.raises(DataError, match="no array called `images`"):
        data.read(tmp_path / "c.npz")
    with pytest.raises(DataError, match="d.npy cannot be read"):
        data.read(tmp_path / "d.npy")


@pytest.mark.parametrize("options, match", [
    ({"batch_size": 1}, "batch_size should be 2"), ({"size": 0}, "size should be positive"),
    ({"skip": 2.0}, "skip should lie")])
def test_impossible_options_are_refused(pets, options, match):
    with pytest.raises(ValueError, match=match):
        data.read(pets, **options)


def test_shuffling_follows_torchs_generator_and_never_leaves_one_over():
    found = data.read(torch.rand(11, 1, 4, 4), batch_size=5)
    torch.manual_seed(3)
    first = [batch.pixels for batch in found.train]
    torch.manual_seed(3)
    assert all(torch.equal(a, b.pixels) for a, b in zip(first, found.train, strict=True))
    assert [len(x) for x in first] == [5, 5] and len(found.train) == 2 and found.size == 10
    assert [len(batch.pixels) for batch in found.items] == [5, 5, 1]


def test_other_data_are_read_as_the_encoder_knows_them():
    known = data.digits()
    schema = known.schema
    photos = torch.rand(1, 3, 30, 20)
    found = data.read(photos, schema=schema)  # one image is enough to embed
    assert everything(found).shape == (1, 1, 8, 8) and found.facts == {k: known.facts[k] for k in schema} | {"places": 1}
    gray = (photos * torch.tensor(data.LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    expected = torch.nn.functional.interpolate(gray, (8, 8), mode="bilinear", antialias=True)
    assert torch.allclose(everything(found), expected, atol=1e-5)


def test_facts_are_mean_and_deviation_of_the_training_fold():
    found = data.digits()
    x = everything(found)[found.folds["train"]].double() / 255
    assert found.facts["mean"] == [pytest.approx(float(x.mean()), abs=6e-5)]
    assert found.facts["std"] == [pytest.approx(float(x.std()), abs=6e-5)]


def test_raw_features_are_pixels_and_never_many():
    x = torch.rand(2, 3, 64, 96)
    assert data.plain(Images(x)).shape == (2, 3 * 32 * 32)
    assert torch.allclose(data.plain(Images(x))[0, 0], x[0, 0, :2, :3].mean())
    assert torch.equal(data.plain(Images(x[..., :8, :8])), x[..., :8, :8].flatten(1))


def write_idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_layout(tmp_path, end):
    rng = np.random.default_rng(0)
    for part, n in (("train", 20), ("t10k", 5)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{end}", rng.integers(0, 256, (n, 6, 7)))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{end}", np.arange(n) % 10)
    found = data.mnist(root=tmp_path)
    assert everything(found).shape == (25, 1, 6, 7) and found.folds["test"].tolist() == [20, 21, 22, 23, 24]
    assert len(found.folds["validation"]) == 2
    (tmp_path / f"t10k-labels-idx1-ubyte{end}").write_bytes(b"\0\0\x08\x01\0\0\0\x09abc" if not end else gzip.compress(b"abc"))
    with pytest.raises(DataError, match="not a whole IDX file"):
        data.mnist(root=tmp_path)


def cifar_parts(rng):
    return [(rng.integers(0, 256, (4, 3072)).astype(np.uint8), rng.integers(0, 10, 4)) for _ in range(6)]


def test_both_versions_of_cifar10_are_the_same_images(tmp_path):
    parts, names = cifar_parts(np.random.default_rng(0)), [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for folder in ("binary", "python"):
        (tmp_path / folder).mkdir()
    for (x, y), name in zip(parts, names, strict=True):
        (tmp_path / "binary" / f"{name}.bin").write_bytes(np.concatenate([y[:, None].astype(np.uint8), x], axis=1).tobytes())
        content = pickle.dumps({b"data": x, b"labels": y.tolist(), b"batch_label": b"x"}, protocol=2)
        (tmp_path / "python" / name).write_bytes(content)
    binary, python = data.cifar10(root=tmp_path / "binary"), data.cifar10(root=tmp_path / "python")
    assert torch.equal(everything(binary), everything(python)) and torch.equal(binary.labels, python.labels)
    assert everything(binary)[0, 1, 0, 5] == parts[0][0][0, 1024 + 5] and binary.folds["test"].tolist() == list(range(20, 24))


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('it ran')",))
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(DataError, match="asks for builtins.exec, which is no array"):
        data.cifar10(root=tmp_path)


def test_cifar100_counts_the_fine_label(tmp_path):
    for name, n in (("train", 6), ("test", 2)):
        records = np.zeros((n, 3074), np.uint8)
        records[:, 0], records[:, 1] = 3, 40 + np.arange(n)
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    assert data.cifar100(root=tmp_path).labels.tolist() == [40, 41, 42, 43, 44, 45, 40, 41]


def test_stl10_layout(tmp_path):
    rng = np.random.default_rng(0)
    held = {name: rng.integers(0, 256, (n, 3, 96, 96)).astype(np.uint8)
            for name, n in (("train", 5), ("test", 3), ("unlabeled", 4))}
    for name, x in held.items():
        x.transpose(0, 1, 3, 2).tofile(tmp_path / f"{name}_X.bin")
    for name in ("train", "test"):
        (np.arange(len(held[name])) % 10 + 1).astype(np.uint8).tofile(tmp_path / f"{name}_y.bin")
    found = data.stl10(root=tmp_path)
    assert np.array_equal(everything(found), np.concatenate([held["train"], held["test"], held["unlabeled"]]))
    assert found.labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, -1, -1, -1, -1]
    assert set(range(8, 12)) <= set(found.train.rows.tolist())


def test_missing_public_data_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"cifar10 is not there.*data_batch_1.bin.*\n  Try: data.root=FOLDER"):
        data.cifar10(root=tmp_path)


def test_shared_cifar10_slice(shared):
    found = data.cifar10(root=shared / "cifar10_jpg")
    assert found.facts["image_size"] == [32, 32] and found.classes == data.CIFAR10 and len(found.labels) == 24000
    assert torch.bincount(found.labels).tolist() == [2400] * 10 and len(found.folds["test"]) == 4000


def test_shared_mnist(shared):
    found = data.mnist(root=shared / "mnist10k")
    assert len(found.folds["test"]) == 2000 and found.facts["image_size"] == [28, 28]


class Answer(io.BytesIO):
    headers: dict[str, str] = {}


def test_download_unpacks_plain_files_only(tmp_path, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("cifar-10-batches-bin/data_batch_1.bin", "../../outside.bin"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    monkeypatch.setattr("ssl_core.files.urlopen", lambda url, timeout: Answer(packed.getvalue()))
    download.archive("cifar10", tmp_path / "in")
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["cifar-10-binary.tar.gz", "data_batch_1.bin", "outside.bin"]
    assert not (tmp_path.parent / "outside.bin").exists()


def test_nothing_is_fetched_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_core.files.urlopen", lambda *_, **__: pytest.fail("it went to the network"))
    with pytest.raises(DataError):
        data.mnist(root=tmp_path)
    with pytest.raises(DataError, match="data.download=true"):
        data.huggingface("uoft-cs/cifar10")


def test_hugging_face(monkeypatch):
    class Part(list):
        def __getitem__(self, key):
            return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)
    kind = types.SimpleNamespace
    rows = [{"img": image((i, i, i)), "label": i % 2} for i in range(9)]
    parts = {"train": Part(rows[:6]), "test": Part(rows[6:])}
    for part in parts.values():
        part.features = {"img": type("Image", (), {})(), "label": kind(names=["b", "a"])}
    asked = []
    module = types.ModuleType("datasets")
    module.load_dataset = lambda name, configuration: asked.append(name) or parts
    monkeypatch.setitem(sys.modules, "datasets", module)
    found = data.huggingface("someone/things", download=True)
    assert asked == ["someone/things"] and found.classes == ["a", "b"] and found.labels.tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert everything(found)[:, 0, 0, 0].tolist() == list(range(9)) and found.folds["test"].tolist() == [6, 7, 8]
    with pytest.raises(DataError, match="no column of images called 'picture'"):
        data.huggingface("someone/things", image="picture", download=True)


def test_from_folder_to_embedding(pets, tmp_path):
    run = pretrain("vision", "simclr", pets, out=tmp_path / "run", quiet=True, epochs=1, encoder="conv", optimizer="adamw",
                   probe="", trainer={"tensorboard": False}, **{"method.projector": [16]})
    assert run.result["verdict"] != "diverged"
    save(tmp_path / "one" / "only.jpg", size=(40, 30))
    again = Run.load(tmp_path / "run")
    assert again.embed(tmp_path / "one").shape == (1, 128)
    assert again.embed(torch.rand(3, 1, 8, 8)).shape == (3, 128)


def test_numbers_of_training_images_are_their_places_whatever_the_order():
    from ssl_vision.data import digits
    data = digits(batch_size=100)
    images = torch.cat([batch.pixels for batch in data.items])
    for batch in data.train:
        assert torch.equal(images[data.ids(batch)], batch.pixels) and int(data.ids(batch).max()) < data.facts["places"]
    assert data.facts["places"] == len(images)


def test_fewer_images_to_learn_from_and_as_many_to_be_tested_on():
    whole, tenth, half = data.digits(), data.digits(share=0.1), data.digits(share=0.5)
    few, more = (set(part.train.rows.tolist()) for part in (tenth, half))
    assert len(few) == 108 and few < more and set(tenth.folds["train"].tolist()) == few
    assert few <= set(whole.folds["train"].tolist()) and torch.equal(tenth.folds["test"], whole.folds["test"])
    assert sum(len(batch.pixels) for batch in tenth.train) == tenth.size == 108
    with pytest.raises(ValueError, match="share should lie above 0"):
        data.digits(share=0.0)
