"""What somebody who means harm would put into a file, as tables that the tests of any part may go through."""
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

#: Names of files, classes, columns and runs that a page, a terminal or a path must show as text and as nothing else.
STRINGS = {
    "script": "<script>window.hostile=1</script>",
    "script in capitals": "<SCRIPT SRC=https://example.invalid/x.js></SCRIPT>",
    "end of a script": "</script><script>window.hostile=1</script>",
    "end of a style": "</style><script>window.hostile=1</script>",
    "end of a title": "</title><img src=x onerror=window.hostile=1>",
    "comment": "--><script>window.hostile=1</script><!--",
    "cdata": "]]><script>window.hostile=1</script>",
    "image": "<img src=x onerror=window.hostile=1>",
    "svg": "<svg onload=window.hostile=1>",
    "svg text": "</text></svg><script>window.hostile=1</script>",
    "double quote": '"><script>window.hostile=1</script>',
    "single quote": "'><script>window.hostile=1</script>",
    "attribute": '" onmouseover="window.hostile=1',
    "attribute, single": "' onmouseover='window.hostile=1",
    "back quote": "` onmouseover=`window.hostile=1",
    "address": "javascript:window.hostile=1",
    "address of data": "data:text/html,<script>window.hostile=1</script>",
    "entity": "&lt;script&gt;window.hostile=1&lt;/script&gt;",
    "entity without end": "&#60script&#62window.hostile=1&#60/script&#62",
    "json": '"};window.hostile=1;//',
    "json, end of line": "\u2028window.hostile=1//",
    "template": "{{constructor.constructor('window.hostile=1')()}}",
    "template literal": "${window.hostile=1}",
    "markdown": "[x](javascript:window.hostile=1)",
    "format": "{0.__class__.__mro__}%s%n",
    "formula": "=cmd|' /C calc'!A0",
    "terminal": "\x1b]0;hostile\x07\x1b[2J",
    "bell and backspace": "safe\b\b\b\b\x07",
    "right to left": "\u202ephp.exe",
    "newline": "name\n<script>window.hostile=1</script>",
    "nothing": "",
    "spaces": "   ",
    "very long": "<b>" * 2000,
    "path": "../../etc/passwd",
    "path, absolute": "/etc/passwd",
    "path of windows": "..\\..\\windows\\system32",
    "drive": "C:\\autoexec.bat",
    "device": "CON",
    "option": "--out=/tmp",
    "assignment": "encoder.width=1",
    "shell": "$(touch hostile); `touch hostile` | touch hostile",
    "sql": "'; DROP TABLE runs; --",
    "yaml": "!!python/object/apply:os.system ['touch hostile']",
    "emoji and marks": "a\u0301\u200d\U0001f469\u200d\U0001f680",
}


class Touch:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def pickled(canary):
    return pickle.dumps(Touch(canary), protocol=2)


def objects(canary):
    """An array that can only be had by unpickling."""
    array = np.empty(1, dtype=object)
    array[0] = Touch(canary)
    return array


#: A pickled array of four objects whose type claims to hold plain bytes: numpy would take the bytes for pointers.
POINTERS = b"".join([
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(", b"K\x01K\x04\x85",
    b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x20",
    b"\x41" * 32, b"tb."])


def archive(path, entries, links=()):
    """A zip archive of (name, content), and of symbolic links (name, target)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
        for name, target in links:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o120777 << 16
            file.writestr(entry, target)
    return path


def png(width, height, rows=b""):
    """A PNG file that says it has so many pixels."""
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav(samples=8000, rate=16000, channels=1, said=None, riff=None):
    """A WAV file of noise, whose header may say what is not so."""
    data = np.random.default_rng(0).integers(-9000, 9000, samples * channels, dtype=np.int16).tobytes()
    form = struct.pack("<HHIIHH", 1, channels, rate & 0xffffffff, (rate * channels * 2) & 0xffffffff, channels * 2 & 0xffff, 16)
    size = len(data) if said is None else said
    return (b"RIFF" + struct.pack("<I", 36 + len(data) if riff is None else riff) + b"WAVEfmt " + struct.pack("<I", 16) + form
            + b"data" + struct.pack("<I", size) + data)


def flac(frames):
    """A FLAC file that says it has so many samples (up to 2**36), and holds none."""
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + ((16000 << 44) | (0 << 41) | (15 << 36) | frames).to_bytes(8, "big")
    return b"fLaC" + b"\x80" + (34).to_bytes(3, "big") + info + bytes(16)


def npy(shape, kind="<f4", content=b""):
    """An .npy file that says it has such a shape."""
    head = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + content


def safetensors(head, content=b"", size=None):
    """A .safetensors file with any header."""
    return struct.pack("<Q", len(head) if size is None else size) + head + content


def write(folder, **files):
    """Files by name (with __ for a dot), each bytes or text; the folder."""
    for name, content in files.items():
        path = Path(folder) / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(folder)
