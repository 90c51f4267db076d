"""Whatever a data file holds, its reader gives data or a message that names the file; nothing else is raised."""
import io
import struct
import warnings

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from ssl_core.build import build
from ssl_core.errors import SSLError
from ssl_core.evaluation import raw


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def opened(read, path, **options):
    """Read as a run would: all items once, and their plain features. A refusal must say which file it means."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data, _ = build("data", read, given={"source": str(path)}, chosen=options, facts={"seed": 0})
            features = raw(data)
    except SSLError as error:
        said = str(error)
        assert "Traceback" not in said and len(said) < 20_000
        assert path.name in said or "could not be built" in said or "data." in said, said
        return None
    assert features is None or len(features) == sum(1 for _ in data.names or features)
    return data


def mutated(whole):
    """Bytes of a good file with some changed, cut, doubled or put in."""
    place = st.integers(0, max(0, len(whole) - 1))
    edit = st.tuples(place, st.sampled_from(["set", "cut", "insert", "zero", "big"]), st.binary(min_size=1, max_size=6))

    def apply(edits):
        content = bytearray(whole)
        for at, how, more in edits:
            at = min(at, len(content))
            if how == "set":
                content[at: at + len(more)] = more
            elif how == "cut":
                del content[at:]
            elif how == "insert":
                content[at:at] = more
            else:
                content[at: at + 4] = b"\0\0\0\0" if how == "zero" else b"\xff\xff\xff\x7f"
        return bytes(content)
    return st.lists(edit, min_size=1, max_size=4).map(apply)


# Tables

cell = st.sampled_from(["", "1", "2.5", "-3", "1e999", "nan", "inf", "?", "NA", "a", "b", "true", "2020-01-01", "9999-99-99",
                        '"', '""', "'",
                        " x ", "\t", ";", "\u2028", "0x1F", "1,5", "\x00", "9" * 25]) | st.text(max_size=6)
lines = st.lists(st.lists(cell, min_size=1, max_size=5).map(",".join), max_size=12)
csv = st.tuples(st.sampled_from(["a,b,y\n", "y\n", "a;b;y\n", "1,2,3\n", "a,a,y\n", "", "\ufeffa,b,y\n", ",,\n"]), lines,
                st.sampled_from(["\n", "\r\n", "\r",
                                 "\n\n"])).map(lambda part: (part[0] + part[2].join(part[1])).encode("utf-8", "replace"))
GOOD = b"a,b,c,y\n" + b"".join(f"{i},{i * 0.5},{'uvw'[i % 3]},{i % 2}\n".encode() for i in range(12))


@given(content=csv | mutated(GOOD) | st.binary(max_size=60),
       options=st.fixed_dictionaries({}, optional={"target": st.sampled_from(["y", "a", "no"]),
                                                   "delimiter": st.sampled_from([",", ";", "\t", "x"]),
                                                   "header": st.booleans(),
                                                   "encoding": st.sampled_from(["utf-8", "latin-1", "none"]),
                                                   "infinite": st.sampled_from(["error", "missing"])}))
def test_tables(content, options, folder):
    data = pytest.importorskip("ssl_tabular.data")
    path = folder / "rows.csv"
    path.write_bytes(content)
    opened(data.read, path, **options)


def parquet():
    import pyarrow as pa
    from pyarrow import parquet as pq
    held = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0, 4.0], "b": ["x", "y", "x", "z"], "y": [0, 1, 0, 1]}), held)
    return held.getvalue()


@given(draw=st.data())
def test_binary_tables(draw, folder):
    data = pytest.importorskip("ssl_tabular.data")
    path = folder / "rows.parquet"
    path.write_bytes(draw.draw(mutated(parquet())))
    opened(data.read, path)


# Recordings

def wav(rate=8000, samples=800):
    tone = (np.sin(np.arange(samples) * 0.3) * 9000).astype("<i2").tobytes()
    return (b"RIFF" + struct.pack("<I", 36 + len(tone)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
            + b"data" + struct.pack("<I", len(tone)) + tone)


def encoded(form):
    soundfile = pytest.importorskip("soundfile")
    held = io.BytesIO()
    soundfile.write(held, np.sin(np.arange(800) * 0.3) * 0.3, 8000, format=form)
    return held.getvalue()


FORMS = {"wav": wav(), **{form: encoded(form.upper()) for form in ("flac", "ogg", "au", "aiff", "w64", "caf")}}


@given(draw=st.data())
def test_recordings(draw, folder):
    data = pytest.importorskip("ssl_speech.data")
    form = draw.draw(st.sampled_from(sorted(FORMS)))
    head = FORMS[form][:120]
    rest = FORMS[form][120:]
    content = draw.draw(mutated(FORMS[form]) | mutated(head).map(lambda start: start + rest) | st.binary(max_size=40))
    path = folder / f"a.{form}"
    path.write_bytes(content)
    opened(data.read, path, rate=8000, shortest=0.001)


line = st.sampled_from(["path\tlabel", "path", "a.wav\tx", "a.wav", "../a.wav\tx", "/etc/passwd\ty", "b.wav\tz", "\t",
                        "a.wav\tx\ty", "path\tstart\tend",
                        "a.wav\tnan\tinf", "a.wav\t-1\t1e400", "a.wav\t0\t0.05", '{"path": "a.wav"}', '{"path": 3}', "[1]",
                        "{", "null",
                        '{"path": "a.wav", "start": 1e999}', '{"path": "a.wav", "duration": "x", "label": {}}', "u a.wav",
                        "u cat a.wav |", "u",
                        '{"audio_filepath": "a.wav", "offset": 0.01, "duration": 0.02}', "\x00",
                        "\ud7ff"]) | st.text(max_size=12)


@given(content=st.lists(line, max_size=5).map("\n".join).map(lambda t: t.encode("utf-8", "replace")) | st.binary(max_size=40),
       name=st.sampled_from(["m.tsv", "m.jsonl", "wav.scp"]))
def test_manifests(content, name, folder):
    data = pytest.importorskip("ssl_speech.data")
    (folder / "a.wav").write_bytes(wav())
    (folder / name).write_bytes(content)
    opened(data.read, folder / name, rate=8000, shortest=0.001, skip=1.0)


# Graphs

number = st.sampled_from([0, 1, 2, 3, -1, 10**9, 2**31, 2**62])
shape = st.lists(st.integers(0, 5), max_size=3).map(tuple)
array = st.one_of(
    st.builds(lambda shape, kind: np.zeros(shape, kind), shape,
              st.sampled_from(["f4", "f8", "i8", "i4", "u1", "?", "S3", "U2", "c8", "f2", "M8[s]"])),
    st.lists(number, max_size=6).map(lambda items: np.array(items, dtype=np.int64)),
    st.lists(st.floats(width=32), max_size=6).map(lambda items: np.array(items, dtype=np.float32)),
    st.lists(st.lists(number, min_size=2, max_size=2), max_size=5).map(lambda pairs: np.array(pairs,
                                                                                              dtype=np.int64).reshape(-1, 2).T))
NAMES = ["x", "edge_index", "y", "train_mask", "val_mask", "test_mask", "adj_data", "adj_indices", "adj_indptr", "adj_shape",
         "attr_data",
         "attr_indices", "attr_indptr", "attr_shape", "attr_matrix", "labels", "node_features", "node_labels", "edges",
         "train_masks"]
SETS = [NAMES[:2], NAMES[:3], NAMES[:6], NAMES[6:14], NAMES[6:10] + NAMES[14:16], NAMES[16:20], NAMES[16:19]]


@given(draw=st.data())
def test_graphs(draw, folder):
    data = pytest.importorskip("ssl_graph.data")
    held = {name: draw.draw(array) for name in draw.draw(st.sampled_from(SETS))}
    if draw.draw(st.booleans()):  # something that may be right
        held |= {"x": np.eye(4, dtype=np.float32), "node_features": np.eye(4, dtype=np.float32)}
    file = io.BytesIO()
    np.savez(file, **held)
    path = folder / "g.npz"
    path.write_bytes(draw.draw(mutated(file.getvalue())) if draw.draw(st.integers(0, 3)) == 0 else file.getvalue())
    opened(data.read, path, split=draw.draw(st.sampled_from(["random", "public"])))


def sparse_graph():
    return {"adj_data": np.ones(4, np.float32), "adj_indices": np.array([1, 0, 3, 2]), "adj_indptr": np.array([0, 1, 2, 3, 4]),
            "adj_shape": np.array([4, 4]), "attr_data": np.ones(4, np.float32), "attr_indices": np.array([0, 1, 2, 0]),
            "attr_indptr": np.array([0, 1, 2, 3, 4]), "attr_shape": np.array([4, 3]), "labels": np.array([0, 1, 0, 1])}


@given(name=st.sampled_from(sorted(sparse_graph())), at=st.integers(0, 4), item=number | st.integers(-5, 9))
def test_sparse_graphs(name, at, item, folder):
    data = pytest.importorskip("ssl_graph.data")
    held = sparse_graph()
    held[name][min(at, len(held[name]) - 1)] = item
    np.savez(folder / "s.npz", **held)
    opened(data.read, folder / "s.npz")


edge = st.sampled_from(["0,1", "1 2", "2\t0", "a,b", "#", "0", "-1,2", "9999,1", "1,1", "0,1,0.5", "", "1e3,2", "\u0663,1",
                        "9" * 30 + ",1"]) | st.text(max_size=8)


@given(edges=st.lists(edge, max_size=8).map("\n".join), rows=lines,
       head=st.sampled_from(["a,b\n", "a,y\n", "y\n", "a\tb\n", ""]),
       target=st.sampled_from(["", "y", "no"]))
def test_edge_lists(edges, rows, head, target, folder):
    data = pytest.importorskip("ssl_graph.data")
    place = folder / "graph"
    place.mkdir(exist_ok=True)
    (place / "edges.csv").write_bytes(edges.encode("utf-8", "replace"))
    (place / "features.csv").write_bytes((head + "\n".join(rows)).encode("utf-8", "replace"))
    opened(data.read, place, target=target)


MANY = {"A": b"1,2\n2,1\n4,5\n", "graph_indicator": b"1\n1\n1\n2\n2\n3\n", "node_labels": b"0\n2\n0\n1\n1\n1\n",
        "node_attributes": b"0.5\n1\n2\n3\n4\n5\n", "graph_labels": b"-1\n1\n1\n"}


@given(name=st.sampled_from(sorted(MANY)), draw=st.data())
def test_collections_of_graphs(name, draw, folder):
    data = pytest.importorskip("ssl_graph.data")
    place = folder / "many"
    place.mkdir(exist_ok=True)
    for part, content in MANY.items():
        (place / f"M_{part}.txt").write_bytes(draw.draw(mutated(content)) if part == name else content)
    opened(data.read, place)


def pickled_graph():
    import torch
    from torch_geometric.data import Data
    held = io.BytesIO()
    torch.save(Data(x=torch.eye(4), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), y=torch.tensor([0, 1, 0, 1])), held)
    return held.getvalue()


@given(draw=st.data())
def test_graphs_of_pyg(draw, folder):
    data = pytest.importorskip("ssl_graph.data")
    (folder / "g.pt").write_bytes(draw.draw(mutated(pickled_graph()) | st.binary(max_size=60)))
    opened(data.read, folder / "g.pt")


KINDS = {("a", "x"): [[0.5, 1]] * 4, ("a", "y"): [0, 1, 0, 1], ("a", "val_mask"): [True] * 4, ("b", "x"): [[1.0]] * 3,
         (("a", "to", "b"), "edge_index"): [[0, 1, 2], [0, 1, 2]], (("a", "by", "a"), "edge_index"): [[0, 3], [1, 2]],
         (("b", "rev_to", "a"), "edge_index"): [[0, 2], [1, 3]], ("b", "num_nodes"): 3}
ODD = st.lists(st.integers(-1, 5), max_size=6) | st.lists(st.lists(st.floats(-1, 5), min_size=3, max_size=3), max_size=4) | (
    st.sampled_from([0, 1.5, True, float("nan"), [float("inf")] * 4, [[1, 2], [3, 9**15]], [[]]]))


@given(odd=st.dictionaries(st.sampled_from(sorted(KINDS, key=str)), ODD, max_size=2), gone=st.sets(st.sampled_from([*KINDS])),
       kept=st.booleans(), target=st.sampled_from(["a", "b", ""]))
def test_graphs_with_nodes_of_several_kinds(odd, gone, kept, target, folder):
    data = pytest.importorskip("ssl_graph.data")
    import torch
    from torch_geometric.data import HeteroData
    held = HeteroData()
    for (part, name), content in (KINDS | odd).items():
        if kept or (part, name) not in gone:
            held[part][name] = torch.tensor(content) if name != "num_nodes" or (part, name) in odd else content
    torch.save(held, folder / "kinds.pt")
    opened(data.read, folder / "kinds.pt", target=target)


@given(content=st.binary(max_size=80) | mutated(__import__("pickle").dumps({"a": np.arange(6.0), "b": [1, "x"]}, protocol=2)))
@example(content=b"\x80\x02]r\xff\xff\xff\x7f.")  # the number of an object, and memory for as many
def test_pickles_of_arrays(content, folder):
    from ssl_core.opening import unpickled
    (folder / "ind.cora.x").write_bytes(content)
    try:
        unpickled(folder / "ind.cora.x")
    except SSLError as error:
        assert "ind.cora.x" in str(error)


# Images and volumes

def picture(form):
    from PIL import Image
    held = io.BytesIO()
    Image.fromarray((np.arange(12 * 12 * 3) % 251).astype(np.uint8).reshape(12, 12, 3)).save(held, form)
    return held.getvalue()


PICTURES = {form: picture(form) for form in ("png", "bmp", "gif", "tiff", "webp", "ppm", "jpeg")}


@given(draw=st.data())
def test_images(draw, folder):
    data = pytest.importorskip("ssl_vision.data")
    form = draw.draw(st.sampled_from(sorted(PICTURES)))
    place = folder / "images"
    place.mkdir(exist_ok=True)
    for i in range(2):
        (place / f"{i}.png").write_bytes(PICTURES["png"])
    head, rest = PICTURES[form][:64], PICTURES[form][64:]
    (place / "odd.png").write_bytes(draw.draw(mutated(head + rest) | mutated(head).map(lambda start: start + rest)))
    opened(data.read, place, size=8)
    opened(data.read, place, size=8, skip=1.0)


def volume():
    nib = pytest.importorskip("nibabel")
    return nib.Nifti1Image(np.arange(512, dtype=np.float32).reshape(8, 8, 8), np.eye(4)).to_bytes()


@given(draw=st.data())
def test_volumes(draw, folder):
    data = pytest.importorskip("ssl_medical.data")
    whole = volume()
    place = folder / "volumes"
    place.mkdir(exist_ok=True)
    for i in range(2):
        (place / f"{i}.nii").write_bytes(whole)
    (place / "odd.nii").write_bytes(draw.draw(mutated(whole) | mutated(whole[:352]).map(lambda start: start + whole[352:])))
    opened(data.read, place, skip=1.0)
