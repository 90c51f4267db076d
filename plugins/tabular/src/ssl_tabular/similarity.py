"""How similar two columns are, in six ways, and what a column looks like on its own (OmniMatch, arXiv:2403.07653)."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from scipy.sparse import csr_matrix

#: Each gives (N, N) from 0 to 1. The paper embeds frequent tokens by fastText, here they are bags of three letters.
RELATIONS = ("rare tokens", "frequent tokens", "distribution", "values", "contained", "contains")
GRAMS = 512  # places that three letters are hashed to


def neighbours(columns: Sequence[Sequence[str]], tables: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of other tables that are most similar to each: indices and similarities, (R, N, k) both.

    Args:
        columns: N of them, their values as text.
        tables: (N,) which table each is of.
    """
    found = similarities(columns)
    names = np.array(tables)
    found[:, names[:, None] == names[None]] = 0.0
    k = min(k, len(columns) - 1)
    index = np.argsort(-found, axis=2, kind="stable")[:, :, :k]
    return index.astype(np.int64), np.take_along_axis(found, index, axis=2).astype(np.float32)


def similarities(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """All relations of all pairs, (R, N, N)."""
    counts = [Counter(token for value in values for token in tokens(value)) for values in columns]
    rare, frequent = [], []
    for values, count in zip(columns, counts, strict=True):
        cells = [found for value in set(values) if (found := tokens(value))]
        rare.append({min(cell, key=lambda token: (count[token], token)) for cell in cells})
        frequent.append({max(cell, key=lambda token: (count[token], token)) for cell in cells})
    values = matrix([dict.fromkeys(column, 1.0) for column in columns])
    both, size = (values @ values.T).toarray(), np.asarray(values.sum(axis=1))
    inside = both / np.maximum(size, 1)
    return np.stack([jaccard([dict.fromkeys(column, 1.0) for column in rare]), cosine(frequent), shared_shape(counts),
                     both / np.maximum(size + size.T - both, 1), inside, inside.T])


def tokens(value: str) -> list[str]:
    return re.findall(r"\w+", value)


def matrix(columns: Sequence[dict[str, float]]) -> csr_matrix:
    """Words by column as a sparse matrix, (N, words)."""
    place: dict[str, int] = {}
    rows, cells, held = [], [], []
    for i, column in enumerate(columns):
        for word, count in column.items():
            rows.append(i)
            cells.append(place.setdefault(word, len(place)))
            held.append(float(count))
    return csr_matrix((held, (rows, cells)), shape=(len(columns), max(1, len(place))))


def jaccard(columns: Sequence[dict[str, float]]) -> np.ndarray:
    """Words in both, of the words in either: (N, N)."""
    words = matrix(columns)
    both, size = (words @ words.T).toarray(), np.asarray(words.sum(axis=1))
    return both / np.maximum(size + size.T - both, 1)


def cosine(columns: Sequence[set[str]]) -> np.ndarray:
    """Cosine of counts of three letters in a row: (N, N)."""
    rows = np.zeros((len(columns), GRAMS))
    for row, words in zip(rows, columns, strict=True):
        for word in words:
            padded = f"<{word}>"
            for i in range(len(padded) - 2):
                row[crc32(padded[i:i + 3].encode()) % GRAMS] += 1
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T


def shared_shape(columns: Sequence[Counter[str]]) -> np.ndarray:
    """1 - Jensen-Shannon divergence, in bits, of token distributions: (N, N). Only tokens that two columns share count.

    With f(x) = x log x and m = (p + q) / 2, 1 - JSD = sum over shared tokens of m + f(m) - (f(p) + f(q)) / 2 is what is left
    when the terms of tokens that one of them lacks cancel.
    """
    share = matrix([{word: count / max(1, column.total()) for word, count in column.items()} for column in columns])
    found = np.zeros((len(columns), len(columns)))
    by_word = share.tocsc()
    for i in range(len(columns)):  # each against all, on its own tokens
        own = share.indices[share.indptr[i]:share.indptr[i + 1]]
        if not len(own):
            continue
        p, q = share.data[share.indptr[i]:share.indptr[i + 1]], by_word[:, own].toarray()  # (T,), (N, T)
        m = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = m + m * np.log2(m) - (p * np.log2(p) + q * np.log2(q)) / 2
        found[i] = np.where(q > 0, terms, 0.0).sum(axis=1)
    return np.clip(found, 0.0, 1.0)


def features(values: Sequence[str]) -> np.ndarray:
    """Statistics of the letters, the lengths and the numbers of a column: (47,), each of the order of 1."""
    text = "".join(values)
    total = max(1, len(text))
    letters = Counter(text)
    lengths, counts = np.array([len(v) for v in values]), np.array([len(tokens(v)) for v in values])
    numbers = np.array([found for value in values if (found := number(value)) is not None])
    size = np.sign(numbers) * np.log1p(np.abs(numbers)) / 10 if len(numbers) else np.zeros(1)
    return np.array([
        *(letters[chr(c)] / total for c in range(97, 123)), *(letters[str(d)] / total for d in range(10)),
        len(numbers) / len(values), len(set(values)) / len(values), lengths.mean() / 20, lengths.std() / 20, counts.mean() / 5,
        counts.std() / 5, letters[" "] / total, sum(n for c, n in letters.items() if not c.isalnum()) / total,
        size.mean(), size.std(), size.min() + size.max()])


def number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if np.isfinite(found) else None
