"""Text tables: find out encoding, separator and decimal mark, check every line, then read by pandas.

Nothing is repaired quietly: a line with too many or too few cells, a repeated header or a byte that is not
text is an error that names the line.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pandas as pd

from melogit.errors import DataError

MISSING = ["", "NA", "NaN", "nan", "."]
HEAD = 1 << 18
CHUNK = 1 << 24
# Numbers are read to the last bit; from 3.1 on pandas does so by default and the option is deprecated.
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT: dict[str, Any] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"))
_BOMS += ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d+,\d+\s*")
_POINT_NUMBER = re.compile(r"\s*[+-]?\d+\.\d+\s*")


@dataclass(frozen=True, slots=True)
class _Dialect:
    names: tuple[str, ...]
    separator: str
    decimal: str
    newline: bytes
    header_lines: int
    body: int  # bytes (after the BOM, in UTF-8) before the first line of data


def open_csv(path: Path) -> tuple[tuple[str, ...], Callable[[list[str]], pd.DataFrame]]:
    """Read the header of a text table.

    Parameters
    ----------
    path : Path
        .csv, .tsv or .txt, also compressed.

    Returns
    -------
    names : tuple of str
        Exactly as in the header.
    load : function of a list of names -> DataFrame

    Raises
    ------
    DataError
    """
    try:
        with _open_text(path) as file:
            dialect = _dialect(file.read(HEAD), path)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"'{path}' is damaged: {error}.") from error

    def load(columns: list[str]) -> pd.DataFrame:
        try:
            return _load(path, dialect, columns)
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise DataError(f"'{path}' is damaged: {error}.") from error

    return dialect.names, load


def _open_text(path: Path) -> BinaryIO:
    """Open a file as UTF-8 bytes behind its byte-order mark, whatever its compression and encoding."""
    with path.open("rb") as raw:
        magic = raw.read(6)
    if magic.startswith(b"\x1f\x8b"):
        file: BinaryIO = gzip.open(path, "rb")  # type: ignore[assignment]
    elif magic.startswith(b"BZh"):
        file = bz2.open(path, "rb")  # type: ignore[assignment]
    elif magic.startswith(b"\xfd7zXZ"):
        file = lzma.open(path, "rb")  # type: ignore[assignment]
    else:
        file = path.open("rb")
    start = file.read(4)
    bom, encoding = next((pair for pair in _BOMS if start.startswith(pair[0])), (b"", "utf-8"))
    if not bom and len(start) == 4 and start[1] == 0 and start[3] == 0:
        encoding = "utf-16-le"
    elif not bom and len(start) == 4 and start[0] == 0 and start[2] == 0:
        encoding = "utf-16-be"
    file.seek(len(bom))
    if encoding == "utf-8":
        return file
    with file:
        try:
            return io.BytesIO(file.read().decode(encoding).encode())
        except UnicodeDecodeError as error:
            raise DataError(
                f"'{path}' looks like {encoding} text but is not ({error.reason}). Save it as UTF-8."
            ) from error


def _dialect(head: bytes, path: Path) -> _Dialect:
    if b"\x00" in head:
        raise DataError(f"'{path}' is not a text file.")
    newline = b"\n" if b"\n" in head or b"\r" not in head else b"\r"
    text = head.decode("utf-8", errors="replace")
    if not text.strip():
        raise DataError(f"The file '{path}' is empty.")
    if len(head) == HEAD and newline.decode() not in text:
        raise DataError(f"The first line of '{path}' has more than {HEAD:,} characters; is it a text table?")
    separator = _separator(text, path)
    reader = csv.reader(io.StringIO(text.replace("\r", "\n") if newline == b"\r" else text), delimiter=separator)
    lines = []
    try:
        for line in reader:
            lines.append((line, reader.line_num))
            if len(lines) > 200:
                break
    except csv.Error as error:
        raise DataError(f"'{path}', line {reader.line_num}: {error}.") from error
    first = next((i for i, (line, _) in enumerate(lines) if line), 0)
    names, header_lines = lines[first]
    whole = lines if len(head) < HEAD else lines[:-1]  # the last line may be cut off
    sample = [cell for line, _ in whole[first + 1 :] for cell in line]
    decimal = "."
    if separator != ",":
        with_comma = next((cell for cell in sample if _COMMA_NUMBER.fullmatch(cell)), None)
        with_point = next((cell for cell in sample if _POINT_NUMBER.fullmatch(cell)), None)
        if with_comma and with_point:
            raise DataError(
                f"'{path}' has numbers with a decimal comma ({with_comma.strip()}) and with a decimal point "
                f"({with_point.strip()}). Use one of them."
            )
        decimal = "," if with_comma else "."
    body = sum(len(line) for line in head.splitlines(keepends=True)[:header_lines])
    return _Dialect(tuple(names), separator, decimal, newline, header_lines, body)


def _separator(text: str, path: Path) -> str:
    """Take the candidate that stands most often in the header line, outside quotes."""
    header = re.sub(r'"[^"]*"', "", next((line for line in text.splitlines() if line.strip()), ""))
    counts = {candidate: header.count(candidate) for candidate in ("\t", ";", ",", "|")}
    best = max(counts, key=lambda candidate: counts[candidate])
    if counts[best] == 0:
        return "\t" if ".tsv" in path.suffixes else ","
    return best


def _load(path: Path, dialect: _Dialect, columns: list[str]) -> pd.DataFrame:
    leading_zeros = _check_lines(path, dialect)
    places = [dialect.names.index(name) for name in columns]
    frame = _parse(path, dialect, places, None)
    # 007 and 7 are different ids, which pandas would both read as 7; and long ids with a missing one among
    # them would become floats and merge.
    doubtful = [
        place
        for place in places
        if (leading_zeros and frame[place].dtype.kind in "iu")
        or (frame[place].dtype.kind == "f" and np.nanmax(np.abs(frame[place].to_numpy()), initial=0.0) >= 2**53)
    ]
    if doubtful:
        texts = _parse(path, dialect, doubtful, str)
        for place in doubtful:
            pattern = r"\s*[+-]?0\d" if frame[place].dtype.kind in "iu" else r"\s*[+-]?\d{16,}\s*$"
            if texts[place].dropna().str.match(pattern).any():
                frame[place] = texts[place]
    frame = cast(pd.DataFrame, frame[places])
    frame.columns = pd.Index(columns)
    return frame


def _parse(path: Path, dialect: _Dialect, places: list[int], dtype: type | None) -> pd.DataFrame:
    with _open_text(path) as file:
        try:
            return pd.read_csv(
                file,
                sep=dialect.separator,
                decimal=dialect.decimal,
                header=None,
                names=list(range(len(dialect.names))),
                usecols=sorted(set(places)) if places else [0],
                skiprows=dialect.header_lines,
                index_col=False,
                dtype=dtype,
                keep_default_na=False,
                na_values=MISSING,
                low_memory=False,
                encoding="utf-8",
                **_EXACT,
            )
        except pd.errors.EmptyDataError:
            return pd.DataFrame({place: [] for place in places or [0]})
        except UnicodeDecodeError as error:
            raise _not_utf8(path, dialect) from error
        except pd.errors.ParserError as error:
            raise DataError(f"'{path}' cannot be read: {str(error).strip().rstrip('.')}.") from error


def _not_utf8(path: Path, dialect: _Dialect) -> DataError:
    with _open_text(path) as file:
        for number, line in enumerate(file.read().split(dialect.newline), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return DataError(
                    f"'{path}', line {number}: the byte 0x{byte:02x} is not UTF-8 text. Save the file as UTF-8."
                )
    return DataError(f"'{path}' is not UTF-8 text. Save the file as UTF-8.")


def _check_lines(path: Path, dialect: _Dialect) -> bool:
    """Count the cells of every line; return whether any cell starts with a zero and another digit."""
    expected = len(dialect.names)
    leading_zeros = False
    line_number = 1 + dialect.header_lines
    for block, quoted in _whole_lines(path, dialect):
        data = np.frombuffer(block, dtype=np.uint8)
        leading_zeros = leading_zeros or _has_leading_zero(data, dialect)
        inside = None
        if quoted:
            inside = np.logical_xor.accumulate(data == ord('"'))
        breaks = np.flatnonzero(_outside(data == dialect.newline[0], inside))
        cuts = np.flatnonzero(_outside(data == ord(dialect.separator), inside))
        cells = np.diff(np.searchsorted(cuts, breaks), prepend=0) + 1
        wrong = np.flatnonzero(cells != expected)
        for i in wrong:
            start = 0 if i == 0 else breaks[i - 1] + 1
            if not block[start : breaks[i]].strip():
                continue  # blank lines are left out
            physical = line_number + int((data[:start] == dialect.newline[0]).sum())
            raise DataError(
                f"'{path}', line {physical}: {cells[i]} cells, but the header has {expected} columns, "
                f"separated by {_name(dialect.separator)}. Correct the line; text with a separator in it needs quotes."
            )
        line_number += int((data == dialect.newline[0]).sum())
    return leading_zeros


def _has_leading_zero(data: np.ndarray, dialect: _Dialect) -> bool:
    zeros = np.flatnonzero(data[:-1] == ord("0"))
    after = data[zeros + 1]
    zeros = zeros[(after >= ord("0")) & (after <= ord("9"))]
    starts = [ord(dialect.separator), ord("\n"), ord("\r"), ord('"'), ord(" "), ord("+"), ord("-")]
    return bool((zeros == 0).any() or np.isin(data[zeros - 1], starts).any())


def _outside(mask: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    return mask if inside is None else mask & ~inside


def _whole_lines(path: Path, dialect: _Dialect) -> Iterator[tuple[bytes, bool]]:
    """Yield the body in blocks that end at a line end outside quotes, and whether a block has quotes."""
    with _open_text(path) as file:
        rest = b""
        skip = dialect.body
        while True:
            chunk = file.read(CHUNK)
            if skip:
                chunk, skip = chunk[skip:], 0
            rest += chunk
            if not chunk:
                break
            if len(rest) > 8 * CHUNK:
                raise DataError(f"'{path}' has a line or a quoted text of more than {8 * CHUNK:,} characters.")
            end = rest.rfind(dialect.newline)
            while end >= 0 and rest.count(b'"', 0, end) % 2:
                end = rest.rfind(dialect.newline, 0, end)
            if end >= 0:
                block, rest = rest[: end + 1], rest[end + 1 :]
                yield block, b'"' in block
        if rest.strip():
            if rest.count(b'"') % 2:
                raise DataError(f"'{path}': a quote is opened but not closed before the end of the file.")
            yield rest + dialect.newline, b'"' in rest


def _name(separator: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
