"""From files to cubes: orientation, spacing, intensities, sets in all their layouts, and everything that can be wrong."""
import gzip
import importlib.util

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError, DataError
from ssl_medical import decoding, readers
from ssl_medical.data import read, split, synthetic
from ssl_medical.decoding import Wish, weights
from ssl_medical.readers import Known
from ssl_medical.vit import ViT
from ssl_medical.volumes import Crops, cut, prepared

SHAPE, EDGES = (20, 24, 16), (1.0, 1.5, 2.0)


def scene(shape=SHAPE, seed=0, low=0.0, high=1000.0):
    """Smooth values with a bright body, different along each axis: (X, Y, Z) float32."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = np.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2) * 3) * (1 + 0.3 * x - 0.2 * y)
    noise = np.random.RandomState(seed).rand(*shape) * 0.05
    return (low + (high - low) * (body + noise)).astype(np.float32)


def save(path, values=None, edges=EDGES, codes="RAS", dtype=np.float32):
    """A NIfTI file of values given in RAS, stored in another orientation."""
    values = scene() if values is None else values
    image = nib.Nifti1Image(values.astype(dtype), np.diag([*edges, 1.0]))
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)
    return path


def folder_of(where, count=4):
    for i in range(count):
        save(where / f"case{i}.nii.gz", scene(seed=i))
    return where


def whole(path, **wish):
    wanted = Wish(**wish)
    volume = decoding.opened(path, wanted.orient)
    return decoding.decoded(volume, wanted, *decoding.looked_at(volume, wanted)[1:])


@pytest.mark.parametrize("codes", ["LPS", "RSA", "PIR", "SAL", "LAS"])
def test_another_orientation_reads_the_same(tmp_path, codes):
    plain, turned = save(tmp_path / "a.nii.gz"), save(tmp_path / "b.nii.gz", codes=codes)
    volume = decoding.opened(turned)
    assert volume.shape == SHAPE
    np.testing.assert_allclose(volume.spacing, EDGES, rtol=1e-6)
    np.testing.assert_array_equal(whole(plain), whole(turned))


def test_another_orientation_gives_the_same_embedding(tmp_path):
    """The whole way: files, cubes, encoder."""
    found = []
    for codes in ("RAS", "PIR"):
        for i in range(3):
            save(tmp_path / codes / f"{i}.nii.gz", scene(seed=i), codes=codes)
        found.append(read(tmp_path / codes, size=16, spacing=1.5))
    torch.manual_seed(0)
    encoder = ViT(patch=8, width=24, depth=1, **found[0].facts)
    a, b = (torch.cat([encoder(batch).pooled for batch in data.items]) for data in found)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 0.0, 1.0)])
def test_anisotropic_spacing_is_resampled(tmp_path, spacing):
    """A ramp in mm stays that ramp, whatever the edges of a voxel."""
    ramp = np.broadcast_to((np.arange(SHAPE[2]) + 0.5)[None, None] * EDGES[2], SHAPE)  # mm from the bottom
    volume = decoding.opened(save(tmp_path / "a.nii.gz", ramp))
    found = decoding.decoded(volume, Wish(spacing=spacing), 0.0, 100.0) * 100.0
    edges = [want or have for want, have in zip(spacing, EDGES, strict=True)]
    assert found.shape == tuple(round(n * have / want) for n, have, want in zip(SHAPE, EDGES, edges, strict=True))
    wanted = (np.arange(found.shape[2]) + 0.5) * edges[2]
    np.testing.assert_allclose(found[3, 3, 2:-2], wanted[2:-2], atol=0.05)  # 16 bits


@pytest.mark.parametrize("inputs, outputs", [(10, 10), (10, 25), (25, 10), (9, 4)])
def test_resampling_is_that_of_torch(inputs, outputs):
    row = torch.rand(1, 1, 1, inputs, dtype=torch.double)
    wanted = F.interpolate(row, (1, outputs), mode="bilinear", antialias=outputs < inputs, align_corners=False)
    np.testing.assert_allclose(weights(inputs, outputs) @ row.flatten().numpy(), wanted.flatten().numpy(), atol=1e-6)


def test_slabs_give_the_same_volume(tmp_path, monkeypatch):
    path = save(tmp_path / "a.nii.gz", codes="LSP")
    at_once = whole(path, spacing=(1.2, 1.2, 1.2))
    monkeypatch.setattr(decoding, "SLAB", 700)
    assert len(list(decoding.slabs(SHAPE))) > 5
    np.testing.assert_allclose(at_once, whole(path, spacing=(1.2, 1.2, 1.2)), atol=1e-3)


def test_a_window_in_hounsfield_units(tmp_path):
    path = save(tmp_path / "a.nii.gz", scene(low=-1000, high=1500).round(), dtype=np.int16)
    stored = scene(low=-1000, high=1500).round()
    volume = decoding.opened(path)
    assert decoding.looked_at(volume, Wish(window=(-125.0, 225.0))) == ("ct", -125.0, 225.0)
    found = whole(path, window=(-125.0, 225.0))
    np.testing.assert_allclose(found, np.clip((stored + 125) / 350, 0, 1), atol=1e-3)


def test_percentiles_of_mr_ignore_its_scale(tmp_path):
    plain, scaled = save(tmp_path / "a.nii.gz"), save(tmp_path / "b.nii.gz", scene() * 7 + 50)
    assert decoding.looked_at(decoding.opened(plain), Wish())[0] == "mr"
    np.testing.assert_allclose(whole(plain), whole(scaled), atol=2e-3)


def truncated(path):
    content = save(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without_affine(path):
    image = nib.Nifti1Image(scene(), None)
    image.header.set_qform(None, 0)
    image.header.set_sform(None, 0)
    nib.save(image, path)


def broken_affine(path):
    image = nib.Nifti1Image(scene(), np.diag([1.0, 1.0, 1.0, 1.0]))
    image.header["qform_code"], image.header["sform_code"] = 0, 1
    image.header["srow_x"][:] = 0
    image.set_sform(np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), 1)
    nib.save(image, path)


def spoilt(value):
    def make(path):
        values = scene()
        values[3, 4, 5] = value
        save(path, values)
    return make


BAD = {
    "no affine": (without_affine, "affine"),
    "a broken affine": (broken_affine, "affine"),
    "a series": (lambda p: save(p, np.stack([scene(), scene()], axis=-1)), r"series"),
    "a single slice": (lambda p: save(p, scene((20, 24, 1))), "single slice"),
    "constant": (lambda p: save(p, np.full(SHAPE, 3.0)), "constant"),
    "not a number": (spoilt(np.nan), "1 voxels that are NaN"),
    "infinite": (spoilt(np.inf), "NaN or infinite"),
    "a truncated gzip": (truncated, "whole|read"),
    "no gzip at all": (lambda p: p.write_bytes(b"not a volume"), "read"),
    "an empty gzip": (lambda p: p.write_bytes(gzip.compress(b"")), "read"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_used_is_named(tmp_path, what):
    make, words = BAD[what]
    make(tmp_path / "bad.nii.gz")
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path)
    assert "bad.nii.gz" in str(caught.value)


@pytest.mark.parametrize("what", BAD)
def test_a_few_bad_volumes_are_left_out_and_listed(tmp_path, what):
    folder_of(tmp_path / "set", 10)
    BAD[what][0](tmp_path / "set" / "bad.nii.gz")
    found = read(tmp_path / "set", size=16, skip=0.1)
    assert len(found.names) == 10 and [name for name, _ in found.skipped] == ["bad.nii.gz"]
    with pytest.raises(DataError, match="data.skip"):
        read(tmp_path / "set", size=16, skip=0.05)


def test_axes_can_be_taken_as_they_are_stored(tmp_path):
    without_affine(tmp_path / "a.nii.gz")
    without_affine(tmp_path / "b.nii.gz")
    assert len(read(tmp_path, size=16, orient=False).names) == 2


def test_mixed_modalities_are_refused(tmp_path):
    save(tmp_path / "mr.nii.gz")
    save(tmp_path / "ct.nii.gz", scene(low=-1000, high=1500))
    with pytest.raises(DataError, match="mixed modalities.*ct.nii.gz looks like CT"):
        read(tmp_path)
    assert len(read(tmp_path, size=16, modality="mr").names) == 2


@pytest.mark.parametrize("suffix, library", [(".nrrd", "nrrd"), (".mha", "itk"), (".dcm", "pydicom")])
def test_a_missing_library_is_named(tmp_path, suffix, library, monkeypatch):
    (tmp_path / f"a{suffix}").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"{library}.*\n.*pip install"):
        read(tmp_path / f"a{suffix}")


def test_nrrd_and_metaimage_read_as_nifti(tmp_path):
    itk = pytest.importorskip("itk", reason="itk is not installed")
    nifti = save(tmp_path / "a.nii.gz", codes="LPS")
    for suffix in ("mha", "nrrd"):
        if suffix == "nrrd":
            pytest.importorskip("nrrd", reason="pynrrd is not installed")
        other = tmp_path / f"a.{suffix}"
        itk.imwrite(itk.imread(str(nifti)), str(other))
        assert decoding.opened(other).shape == SHAPE
        np.testing.assert_allclose(whole(other), whole(nifti), atol=2e-3)


def test_a_dicom_series_reads_as_it_was(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
    stored, series = scene(high=1000).astype(np.int16), generate_uid()
    (tmp_path / "set" / "case").mkdir(parents=True)
    for k in range(SHAPE[2]):
        head = pydicom.dataset.FileMetaDataset()
        head.TransferSyntaxUID, head.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        head.MediaStorageSOPInstanceUID = generate_uid()
        path = tmp_path / "set" / "case" / f"{k:03}.dcm"
        one = pydicom.dataset.FileDataset(str(path), {}, file_meta=head, preamble=b"\0" * 128)
        one.SeriesInstanceUID, one.SOPInstanceUID, one.SOPClassUID = series, head.MediaStorageSOPInstanceUID, CTImageStorage
        one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, EDGES[2] * k], [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness, one.InstanceNumber, one.Modality = [EDGES[1], EDGES[0]], EDGES[2], k + 1, "CT"
        one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = SHAPE[1], SHAPE[0], 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation, one.RescaleIntercept, one.RescaleSlope = 15, 1, -1000, 1
        one.PixelData = np.ascontiguousarray(stored[::-1, ::-1, k].T).tobytes()  # rows run from front to back, in LPS
        one.save_as(str(path), enforce_file_format=True)
    assert [case.name for case in readers.cases(tmp_path / "set")] == ["case"]
    volume = decoding.opened(tmp_path / "set" / "case")
    np.testing.assert_allclose(volume.spacing, EDGES)
    np.testing.assert_array_equal(decoding.block(volume, 0, SHAPE[2]), stored - 1000.0)


def test_folders_are_classes_and_folds(tmp_path):
    for fold, count in (("train", 4), ("test", 2)):
        for kind in ("sick", "well"):
            folder_of(tmp_path / fold / kind, count)
    found = read(tmp_path, size=16, batch_size=2)
    assert found.classes == ["sick", "well"] and len(found.labels) == 12
    assert len(found.folds["test"]) == 4 and len(found.folds["train"]) + len(found.folds["validation"]) == 8
    assert found.size <= 8  # nothing of the test fold is trained on


def test_images_beside_labels_are_pairs(tmp_path):
    folder_of(tmp_path / "imagesTr", 3)
    for i in (0, 2):
        save(tmp_path / "labelsTr" / f"case{i}.nii.gz", np.zeros(SHAPE))
    found = readers.cases(tmp_path)
    assert [case.name for case in found] == ["case0.nii.gz", "case1.nii.gz", "case2.nii.gz"]
    assert [case.segmentation is not None for case in found] == [True, False, True]


def test_a_manifest_names_labels_splits_and_subjects(tmp_path):
    folder_of(tmp_path / "v", 6)
    splits = ["train"] * 4 + ["test"] * 2
    rows = "".join(f"v/case{i}.nii.gz,{'ab'[i % 2]},{split},p{i // 2}\n" for i, split in enumerate(splits))
    (tmp_path / "m.csv").write_text("image,label,split,subject\n" + rows)
    found = read(tmp_path / "m.csv", size=16, batch_size=2)
    assert found.classes == ["a", "b"] and found.folds["test"].tolist() == [4, 5]
    subject = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2}
    people = {fold: {subject[i] for i in rows.tolist()} for fold, rows in found.folds.items()}
    assert not people["train"] & people["validation"]


@pytest.mark.parametrize("text, words", [
    ("picture,label\na,b\n", "no column 'image'"), ("image\n", "no rows"), ("image,split\nv/case0.nii.gz,later\n", "'later'"),
    ("image\n../outside.nii.gz\n", "outside of its folder"), ("image\n/etc/hosts\n", "outside of its folder")])
def test_a_wrong_manifest_is_explained(tmp_path, text, words):
    folder_of(tmp_path / "in" / "v", 1)
    save(tmp_path / "outside.nii.gz")
    (tmp_path / "in" / "m.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "in" / "m.csv")


def test_a_bids_tree(tmp_path):
    for i in range(5):
        for suffix in ("T1w", "T2w"):
            save(tmp_path / f"sub-0{i}" / "anat" / f"sub-0{i}_{suffix}.nii.gz", scene(seed=i))
    people = "".join(f"sub-0{i}\t{'AB'[i % 2]}\n" for i in range(5))
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\n" + people)
    found = readers.cases(tmp_path, label="group", suffix="T1w")
    assert len(found) == 5 and [case.label for case in found] == ["A", "B", "A", "B", "A"]
    assert {case.subject for case in readers.cases(tmp_path)} == {f"sub-0{i}" for i in range(5)}
    with pytest.raises(DataError, match="no column 'groop'; did you mean 'group'"):
        readers.cases(tmp_path, label="groop")


def test_folds_never_share_a_subject():
    subjects = [f"p{i // 3}" for i in range(60)]
    train, folds = split(Known(torch.arange(60) % 2, ["a", "b"], {}), subjects, seed=1)
    people = [{subjects[i] for i in folds[name].tolist()} for name in ("train", "validation", "test")]
    assert sum(map(len, people)) == 20 == len(set.union(*people)) and all(people)
    assert torch.equal(train, folds["train"])


@pytest.mark.parametrize("held, words", [
    (np.zeros((3, 4)), "shape"), (np.full((3, 8, 8, 8), np.nan), "NaN"), (np.full((3, 8, 8, 8), 7.0), "0 to 1"),
    ((np.zeros((3, 8, 8, 8)), [1, 2]), "2 labels for 3"), ("nothing.txt", "no set of volumes")])
def test_wrong_arrays_are_explained(held, words):
    with pytest.raises(DataError, match=words):
        read(held)


def test_npz_of_medmnist_has_official_folds(tmp_path):
    draw = np.random.RandomState(0)
    parts = {f"{fold}_{what}": draw.randint(0, 2, (n, 16, 16, 16) if what == "images" else (n, 1)).astype(np.uint8)
             for fold, n in (("train", 8), ("val", 3), ("test", 4)) for what in ("images", "labels")}
    np.savez(tmp_path / "m.npz", **parts)
    found = read(tmp_path / "m.npz", batch_size=4)
    assert {name: len(rows) for name, rows in found.folds.items()} == {"train": 8, "validation": 3, "test": 4}
    assert found.facts["image_size"] == [16, 16, 16] and found.size == 8


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="a.npy cannot be read"):
        read(tmp_path / "a.npy")


def test_a_second_run_decodes_nothing_again(tmp_path, monkeypatch):
    source, kept = folder_of(tmp_path / "set"), tmp_path / "kept"
    first = read(source, size=16, cache=kept)
    assert len(list(kept.glob("*.npy"))) == 4
    monkeypatch.setattr(decoding, "block", lambda *_: pytest.fail("decoded again"))
    second = read(source, size=16, cache=kept)
    for a, b in zip(first.items, second.items, strict=True):
        assert torch.equal(a.voxels, b.voxels)
    assert first.fingerprint == second.fingerprint


def test_little_memory_maps_files(tmp_path, monkeypatch):
    import ssl_medical.data
    monkeypatch.setattr(ssl_medical.data, "CACHE", tmp_path / "kept")
    source = folder_of(tmp_path / "set")
    mapped, held = read(source, size=16, memory=0.0), read(source, size=16)
    for a, b in zip(mapped.items, held.items, strict=True):
        assert torch.equal(a.voxels, b.voxels)
    assert list((tmp_path / "kept").glob("*.npy"))


def test_crops_centre_on_the_foreground():
    x = torch.zeros(1, 40, 40, 40)
    x[:, 30:34, 6:9, 20:22] = 1
    crops = Crops([prepared(x)] * 4, None, torch.arange(4), (8, 8, 8), 4, shuffle=True, foreground=1.0)
    assert all((batch.voxels.flatten(1).sum(dim=1) > 0).all() for batch in crops)
    middle = next(iter(Crops([prepared(x)], None, torch.arange(1), (8, 8, 8), 1)))
    assert middle.voxels.sum() == 4 * 3 * 2


def test_pairs_are_cut_at_the_same_place_of_two_bodies():
    """The same ramp in a body of another size and place: cubes of a pair show about the same values."""
    volumes = []
    for start, side in ((4, 40), (20, 60)):
        x = torch.full((1, 90, 90, 90), -1.0)
        ramp = torch.linspace(0, 1, side)
        x[:, start:start + side, start:start + side, start:start + side] = ramp[:, None, None].expand(side, side, side)
        volumes.append(prepared(x))
    torch.manual_seed(0)
    crops = Crops(volumes * 8, None, torch.arange(16), (2, 2, 2), 16, shuffle=True, paired=True)
    values = next(iter(crops)).voxels.mean(dim=(1, 2, 3, 4))
    assert (values[::2] - values[1::2]).abs().mean() < 0.1 < values.std()


def test_small_volumes_are_padded():
    x = torch.ones(1, 3, 10, 4)
    found = cut(x, (1, 5, 2), (6, 6, 6))
    assert found.shape == (1, 6, 6, 6) and found.sum() == 3 * 6 * 4 and found[0, 1:4, :, 1:5].all()


def test_order_and_places_come_from_torchs_generator():
    data = synthetic(volumes=20, side=24, size=16, batch_size=4)
    torch.manual_seed(3)
    first = [batch.voxels for batch in data.train]
    torch.manual_seed(3)
    assert all(torch.equal(a, b.voxels) for a, b in zip(first, data.train, strict=True))


def test_the_synthetic_set_says_so_and_does_not_move():
    from ssl_core.plugins import Plugins
    record = Plugins()["medical"].offers["datasets"]["synthetic"]
    assert record.synthetic and "synthetic" in record.summary
    a, b = synthetic(volumes=20, side=24), synthetic(volumes=20, side=24, seed=5)
    assert torch.equal(a.labels, b.labels) and a.fingerprint == b.fingerprint
    assert not torch.equal(a.folds["test"], b.folds["test"])


def test_real_volumes(shared):
    found = read(shared / "volumes", spacing=4.0, size=16, repeats=2, batch_size=4)
    assert len(found.names) == 5 and not found.skipped
    batch = next(iter(found.train))
    assert batch.voxels.shape == (4, 1, 16, 16, 16) and 0 <= batch.voxels.min() and batch.voxels.max() <= 1


@pytest.mark.parametrize("options, words", [
    ({"batch_size": 1}, "batch_size"), ({"size": -1}, "size"), ({"foreground": 2.0}, "foreground"), ({"skip": 2.0}, "skip"),
    ({"window": (3.0, 1.0)}, "window"), ({"percentiles": (-1.0, 50.0)}, "percentiles"), ({"spacing": -1.0}, "spacing")])
def test_wrong_options_are_named(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        read(folder_of(tmp_path, 1), **options)
