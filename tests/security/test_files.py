"""Files that lie about their size, unpack to too much, or lead elsewhere: named, refused, and nothing outside is touched."""
import gzip
import io
import json
import os
import struct

import numpy as np
import pytest
from hostile import archive, flac, npy, png, safetensors, wav, write
from PIL import Image

from ssl_core import SSLError
from ssl_core.opening import arrays

MIB = 2**20


def packed(**arrays):
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def picture(value=0, size=(8, 8)):
    held = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(held, "png")
    return held.getvalue()


def zip_of(*entries):
    return archive(io.BytesIO(), entries).getvalue()


def given(words, folder, name, content):
    """Words of a command that reads a file with some content, made only now if it is a function."""
    write(folder, **{name: content() if callable(content) else content})
    return *words, f"data={folder / name}"


def zeros(mib):
    return np.zeros((mib, MIB // 4), np.float32)


def graph(name, content, *words):
    return lambda folder: (*given(("graph", "gcool"), folder, name, content), *words)


def sparse(**changes):
    """A graph whose features are a sparse matrix that is wrong in one place."""
    held = {"adj_data": np.ones(3), "adj_indices": np.array([1, 2, 3]), "adj_indptr": np.array([0, 3, 3, 3, 3]),
            "adj_shape": np.array([4, 4]), "attr_data": np.ones(3, np.float32), "attr_indices": np.array([1, 2, 3]),
            "attr_indptr": np.array([0, 3, 3, 3, 3]), "attr_shape": np.array([4, 4])}
    return graph("g.npz", packed(**held | changes))


def vision(name, content, *words):
    return lambda folder: (*given(("vision", "simclr"), folder, name, content), *words)


def idx(shape, content=b""):
    """MNIST's format with any shape, gzipped."""
    return gzip.compress(b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content)


def mnist(images):
    def build(folder):
        for part in ("train", "t10k"):
            (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(images() if callable(images) else images)
            (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx((4,), bytes(4)))
        return "vision", "simclr", "data=mnist", f"data.root={folder}"
    return build


def pictures(*bad):
    """Good images beside one that is not."""
    def build(folder):
        for i in range(3):
            (folder / f"{i}.png").write_bytes(picture(i * 20))
        for i, content in enumerate(bad):
            (folder / f"bad{i}.png").write_bytes(content)
        return "vision", "simclr", f"data={folder}"
    return build


def zipped(bad):
    def build(folder):
        archive(folder / "a.zip", [*((f"{i}.png", picture(i)) for i in range(3)), ("bad.png", bad)])
        return "vision", "simclr", f"data={folder / 'a.zip'}"
    return build


def speech(name, content, *words):
    return lambda folder: (*given(("speech", "wav2vec2"), folder, name, content), *words)


def manifest(name, text):
    def build(folder):
        (folder.parent / "outside.wav").write_bytes(wav())
        (folder / "link.wav").symlink_to(folder.parent / "outside.wav")
        (folder / name).write_text(text.replace("FOLDER", str(folder.parent)))
        return "speech", "wav2vec2", f"data={folder / name}"
    return build


def tabular(name, content, *words):
    return lambda folder: (*given(("tabular", "tjepa"), folder, name, content), *words)


def runs(rows):
    """Parquet in which so many equal cells take a few bytes."""
    import pyarrow as pa
    from pyarrow import parquet
    held = io.BytesIO()
    parquet.write_table(pa.table({"a": np.zeros(rows), "b": np.zeros(rows)}), held, compression="zstd")
    return held.getvalue()


def weights(content):
    return lambda folder: write(folder, **{"a.safetensors": content}) and (
        "toy", "contrast", "--init", str(folder / "a.safetensors"))


def nifti(shape, gz=True, voxels=b""):
    """A NIfTI-1 header with any shape, and few voxels."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", head, 70, 16, 32)
    struct.pack_into("<8f", head, 76, *[1.0] * 8)
    struct.pack_into("<f", head, 108, 352.0)
    head[344:348] = b"n+1\0"
    return gzip.compress(bytes(head) + voxels) if gz else bytes(head) + voxels


def volumes(content, name="a.nii.gz"):
    def build(folder):
        for i in range(3):
            (folder / f"{i}_{name}").write_bytes(content)
        return "medical", "mae3d", f"data={folder}"
    return build


BIG = "unpacks to"
CASES = {  # who reads what -> words of the message
    "graph: .npz, a bomb": (graph("g.npz", lambda: packed(x=zeros(40), edge_index=np.zeros((2, 1), int))), [BIG]),
    "graph: .npz, endless header": (graph("g.npz", zip_of(("x.npy", npy((2**60,))))), ["g.npz"]),
    "graph: .npz, wrong magic": (graph("g.npz", zip_of(("x.npy", b"hello"))), ["g.npz"]),
    "graph: sparse, a column outside": (sparse(attr_indices=np.array([1, 10**9, 2])), ["sparse matrix"]),
    "graph: sparse, a negative column": (sparse(attr_indices=np.array([1, -5, 2])), ["sparse matrix"]),
    "graph: sparse, rows that run back": (sparse(attr_indptr=np.array([0, 3, -7, 3, 3])), ["sparse matrix"]),
    "graph: sparse, rows beyond the end": (sparse(attr_indptr=np.array([0, 3, 3, 3, 10**9])), ["sparse matrix"]),
    "graph: sparse, endless when written out": (sparse(attr_shape=np.array([4, 10**12])), [BIG]),
    "graph: sparse, edges outside": (sparse(adj_indices=np.array([1, 10**9, 2])), ["sparse matrix"]),
    "graph: sparse, of negative size": (sparse(attr_shape=np.array([-4, 4])), ["sparse matrix"]),
    "graph: .pt, a bomb": (graph("g.pt", lambda: zip_of(("archive/data.pkl", b"\x80\x02N."),
                                                        ("archive/data/0", bytes(40 * MIB)))), [BIG]),
    "vision: .npy, endless header": (vision("a.npy", npy((2**40, 3, 8, 8))), ["a.npy"]),
    "vision: .npy, negative size": (vision("a.npy", npy((-1, 3, 8, 8), content=bytes(1000))), ["a.npy"]),
    "vision: .npy, header without end": (vision("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"), ["a.npy"]),
    "vision: .npz, a bomb": (vision("a.npz", lambda: packed(images=zeros(40))), [BIG]),
    "vision: MNIST, a bomb": (mnist(lambda: idx((40, 1024, 1024), bytes(40 * MIB))), [BIG]),
    "vision: MNIST, sizes that overflow": (mnist(idx((2**31, 2**31, 4))), ["IDX"]),
    "vision: MNIST, cut short": (mnist(idx((4, 8, 8), bytes(256))[:-20]), ["cannot be unpacked"]),
    "vision: PNG of 2**31 x 2**31 pixels": (pictures(png(2**31 - 1, 2**31 - 1)), ["bad0.png"]),
    "vision: PNG, a bomb": (pictures(png(60000, 60000, bytes(MIB))), ["bad0.png"]),
    "vision: PNG with no pixels": (pictures(png(0, 0)), ["bad0.png"]),
    "vision: PNG cut short": (pictures(picture()[:40]), ["bad0.png"]),
    "vision: zip, a large entry": (zipped(bytes(32 * MIB)), ["bad.png"]),
    "vision: a zip that is none": (vision("a.zip", b"PK\x03\x04 and no more"), ["a.zip"]),
    "speech: WAV of 4 GiB": (speech("a.wav", wav(20, said=0xffffffff, riff=0xffffffff)), ["a.wav"]),
    "speech: FLAC of 2**36 samples": (speech("a.flac", flac(2**36 - 1)), ["a.flac", "its header promises"]),
    "speech: FLAC of 2**36 samples, cut": (speech("a.flac", flac(2**36 - 1), "data.long=segment"), ["its header promises"]),
    "speech: rate 0": (speech("a.wav", wav(rate=0)), ["a.wav"]),
    "speech: rate 2**31": (speech("a.wav", wav(rate=2**31 - 1)), ["a.wav"]),
    "speech: a rate without a simple ratio": (speech("a.wav", wav(rate=44101, samples=44101)), ["cannot be resampled"]),
    "speech: 65,535 channels": (speech("a.wav", wav(4, channels=65535)), ["a.wav"]),
    "speech: a manifest that leads out": (manifest("m.tsv", "path\n../outside.wav\n"), ["leads out of"]),
    "speech: a manifest with an absolute path": (manifest("m.tsv", "path\nFOLDER/outside.wav\n"), ["leads out of"]),
    "speech: a manifest with a link": (manifest("m.tsv", "path\nlink.wav\n"), ["leads out of"]),
    "speech: fairseq's, with a root elsewhere": (manifest("m.tsv", "FOLDER\noutside.wav\t100\n../outside.wav\t3\n"),
                                                 ["leads out of"]),
    "speech: lines that lead out": (manifest("m.jsonl", json.dumps({"path": "../outside.wav"})), ["leads out of"]),
    "speech: wav.scp that leads out": (manifest("wav.scp", "a ../outside.wav\n"), ["leads out of"]),
    "speech: a path with a zero": (manifest("m.jsonl", json.dumps({"path": "a\0.wav"})), ["m.jsonl, line 1"]),
    "speech: JSON without end": (manifest("m.jsonl", "[" * 100_000), ["m.jsonl, line 1"]),
    "speech: times that are none": (manifest("m.jsonl", '{"path": "a.wav", "start": NaN, "end": Infinity}'),
                                    ["m.jsonl, line 1"]),
    "tabular: .csv.gz, a bomb": (tabular("a.csv.gz", lambda: gzip.compress(b"a,b\n" + b"1,2\n" * 9 * MIB, 1)), [BIG]),
    "tabular: .csv.gz cut short": (tabular("a.csv.gz", gzip.compress(os.urandom(9999))[:5000]), ["cannot be unpacked"]),
    "tabular: Parquet, a bomb": (tabular("a.parquet", lambda: runs(3 * MIB)), [BIG]),
    "tabular: one endless cell": (tabular("a.csv", b'a,b\n"' + b"x" * 300_000 + b"\n"), ["a.csv"]),
    "weights: header of 2**63 bytes": (weights(safetensors(b"{}", size=2**63)), ["a.safetensors"]),
    "weights: header longer than the file": (weights(safetensors(b"{}", size=10**6)), ["a.safetensors"]),
    "weights: tensor outside the file": (weights(safetensors(json.dumps(
        {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode())), ["a.safetensors"]),
    "weights: negative offsets": (weights(safetensors(json.dumps(
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}).encode(), bytes(4))), ["a.safetensors"]),
    "medical: NIfTI of 32,767 a side": (volumes(nifti((32767, 32767, 32767))), ["a.nii.gz"]),
    "medical: NIfTI, negative size": (volumes(nifti((-5, 8, 8))), ["a.nii.gz"]),
    "medical: NIfTI, a bomb": (volumes(nifti((256, 256, 256))), [BIG]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_refused_by_name(case, tmp_path, monkeypatch, fails):
    build, words = CASES[case]
    folder = tmp_path / "data"
    folder.mkdir()
    plugin, method, *rest = build(folder)
    pytest.importorskip(f"ssl_{plugin}")
    monkeypatch.setenv("SSL_CORE_UNPACKED_GB", "0.03")  # 31 MiB, so that a bomb may be small
    before = sorted(path for path in tmp_path.rglob("*"))
    message = fails("--plugin", plugin, "--method", method, *rest, "--dry-run")
    assert "no method named" not in message
    assert all(word in message for word in words), message
    assert len(message) < 3000
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_the_limit_is_an_option(tmp_path, monkeypatch):
    """The same file opens with a larger limit, and a limit that is none is said to be so."""
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((64, 1, 64, 64), np.float32))
    for given, words in (("0.0001", "SSL_CORE_UNPACKED_GB=1"), ("much", "number of GiB"), ("nan", "number of GiB")):
        monkeypatch.setenv("SSL_CORE_UNPACKED_GB", given)
        with pytest.raises(SSLError, match=words):
            arrays(tmp_path / "a.npz")
    monkeypatch.setenv("SSL_CORE_UNPACKED_GB", "0.01")
    assert arrays(tmp_path / "a.npz")["images"].shape == (64, 1, 64, 64)


#: The fourth one begins with dots and is taken for a hidden file.
TRAVERSAL = ["../../evil.png", "/evil.png", "a/../../../evil.png", "..\\evil.png", "C:\\evil.png", "./../evil.png"]


def test_names_in_an_archive_are_followed_nowhere(tmp_path, monkeypatch):
    """Images are read in place: a name is a name. A link in the archive is its text, and no image."""
    pytest.importorskip("ssl_vision")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(picture(200))
    entries = [(f"good/{i}.png", picture(i)) for i in range(24)] + [(name, picture(3)) for name in TRAVERSAL]
    archive(tmp_path / "a.zip", entries, links=[("good/link.png", str(tmp_path / "secret.png")), ("good/dir", "/")])
    from ssl_vision.data import read
    found = read(tmp_path / "a.zip", skip=0.2)
    assert len(found.names) == 29 and all(len(batch.pixels) for batch in found.items)
    assert [name for name, _ in found.skipped] == ["good/link.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "secret.png"}


def test_an_archive_of_tu_leaves_only_its_own_text_files(tmp_path, monkeypatch):
    download = pytest.importorskip("ssl_graph.download")
    names = ["MUTAG/MUTAG_A.txt", "../../MUTAG_up.txt", "/MUTAG_root.txt", "MUTAG/../../MUTAG_far.txt", "MUTAG/run.sh",
             "../evil.txt"]
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.setattr(download, "fetch", lambda url, path: archive(path, [(n, b"1") for n in names],
                                                                     [("MUTAG_link.txt", "/etc/passwd")]))
    download.tu("MUTAG", folder)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"MUTAG.zip", "MUTAG_A.txt", "MUTAG_up.txt", "MUTAG_root.txt", "MUTAG_far.txt", "MUTAG_link.txt"}
    assert not (folder / "MUTAG_link.txt").is_symlink()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []
    monkeypatch.setenv("SSL_CORE_UNPACKED_GB", "0.01")
    monkeypatch.setattr(download, "fetch", lambda url, path: archive(path, [("MUTAG_A.txt", bytes(16 * MIB))]))
    with pytest.raises(Exception, match="unpacks to"):
        download.tu("MUTAG", folder)


def test_a_tar_archive_leaves_plain_files_under_their_own_names(tmp_path, monkeypatch):
    import tarfile
    download = pytest.importorskip("ssl_vision.download")

    def tar(url, path):
        with tarfile.open(path, "w:gz") as held:
            for name in ("cifar/data_batch_1.bin", "../../up.bin", "/root.bin"):
                entry = tarfile.TarInfo(name)
                entry.size = 3
                held.addfile(entry, io.BytesIO(b"abc"))
            for name, kind in (("soft.bin", tarfile.SYMTYPE), ("hard.bin", tarfile.LNKTYPE), ("pipe.bin", tarfile.FIFOTYPE),
                               ("device.bin", tarfile.CHRTYPE)):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = kind, "/etc/passwd"
                held.addfile(entry)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.setattr(download, "fetch", tar)
    download.archive("cifar10", folder)
    assert {path.name for path in folder.iterdir()} == {"cifar-10-binary.tar.gz", "data_batch_1.bin", "up.bin", "root.bin"}
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


ALIASES = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n" for old,
    new in zip("abcdefghi", "bcdefghij"))
YAML = {
    "aliases that unfold without end": ALIASES,
    "an alias of itself": "encoder: &a\n  width: *a\n",
    "lists without end": "epochs: " + "[" * 20_000,
    "dashes without end": "epochs: \n  " + "- " * 5_000,
    "many lists": "epochs: [" + "[]," * 9_000,
    "mappings without end": "".join("{a: " for _ in range(5_000)),
    "a number of 100,000 digits": "epochs: " + "9" * 100_000,
    "a number of 5,000 digits": "epochs: " + "9" * 5_000,
    "a date that is none": "epochs: 2001-99-99",
    "a binary that is none": "epochs: !!binary '***'",
    "an int that is none": "epochs: !!int ten",
    "a float that is none": "epochs: !!float ten",
    "a time without end": "epochs: 1:60:60:60:60:60:60:61:99:99:99:99:99",
    "a set": "? epochs",
    "a key that is a list": "? [a]\n: 1",
    "omap": "epochs: !!omap [a]",
    "pairs": "epochs: !!pairs {a: 1}",
    "bytes that are no text": b"epochs: \xff\xfe",
    "a zero": b"epochs: \x00",
    "a megabyte": "a: " + "x" * MIB,
    "nothing": "",
    "one word": "hello",
    "deep names": "encoder.a.b.c.d: 1",
    "surrogates": "data: '\\ud800'",
}


@pytest.mark.parametrize("name", YAML)
def test_a_file_of_options_that_is_none(name, tmp_path, fails):
    content = YAML[name]
    (tmp_path / "o.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    message = fails("--plugin", "toy", "--method", "contrast", "--config", "o.yaml", "--dry-run")
    assert len(message) < 5000
