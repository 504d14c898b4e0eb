"""Safetensors files with a checksum for each array. Only Python's own library is used."""

import contextlib
import json
import os
import struct
import zlib
from typing import NamedTuple

from .errors import Bad

# Bytes of an element.
SIZES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}

# The array of checksums: the CRC-32 of each array before it, in 4 bytes, little-endian.
CHECKSUM = "checksum"

# The format's limit.
MOST_HEADER = 100_000_000

COPY = "take another copy of the file"


class Entry(NamedTuple):
    """An array of a file; offsets count from the header's end."""

    dtype: str
    shape: list
    start: int
    end: int


class Array(NamedTuple):
    """An array to write. `data` is called when its bytes are needed, and not kept."""

    name: str
    dtype: str
    shape: list
    data: object


def once(pairs):
    """A JSON object, of which no key may be given twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Bad(f"the key {twice!r}", "to be given once", "it twice", COPY)
    return found


def parse(text, what):
    """JSON, in which no key is given twice."""
    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Bad(what, "JSON", f"text that is not ({error})", COPY) from None


class Source:
    """A safetensors file whose header was read and checked."""

    def __init__(self, path):
        self.path = path
        try:
            self.file = open(path, "rb")
        except OSError as error:
            raise unreadable(path, error) from None
        try:
            self._read()
        except BaseException as error:
            self.file.close()
            if isinstance(error, OSError):
                raise unreadable(path, error) from None
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def _read(self):
        self.size = os.fstat(self.file.fileno()).st_size
        self.data, header = self._header()
        self.metadata = self._metadata(header.pop("__metadata__", {}))
        self.entries = {name: self._entry(name, entry) for name, entry in header.items()}
        self._check_places()

    def _header(self):
        start = self.file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if len(start) < 8 or length > min(MOST_HEADER, self.size - 8):
            found = f"a header length of {length} in {self.size} bytes"
            raise Bad(
                self.path, "a safetensors file", found, "the file was cut or is of another kind"
            )
        try:
            text = self.file.read(length).decode()
        except UnicodeDecodeError:
            raise Bad(f"{self.path}: the header", "UTF-8", "other bytes", COPY) from None
        header = parse(text, f"{self.path}: the header")
        if not isinstance(header, dict):
            raise Bad(f"{self.path}: the header", "an object", f"a {type(header).__name__}", COPY)
        return 8 + length, header

    def _metadata(self, metadata):
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise Bad(f"{self.path}: the metadata", "strings", "something else", COPY)
        return metadata

    def _entry(self, name, entry):
        natural = lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= 0
        naturals = lambda x: isinstance(x, list) and all(map(natural, x))
        what = f"{self.path}: the array {name!r}"
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise Bad(what, "dtype, shape and data_offsets", "something else", COPY)
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in SIZES:
            raise Bad(
                what, f"one of the types {', '.join(SIZES)}", repr(dtype), "save it in one of these"
            )
        if not naturals(shape) or not naturals(offsets) or len(offsets) != 2:
            raise Bad(what, "a shape and two offsets", f"{shape} and {offsets}", COPY)
        if offsets[1] - offsets[0] != elements(shape) * SIZES[dtype]:
            found = f"{offsets[1] - offsets[0]}"
            raise Bad(
                what, f"{elements(shape) * SIZES[dtype]} bytes for its shape {shape}", found, COPY
            )
        return Entry(dtype, shape, *offsets)

    def _check_places(self):
        """Arrays follow one another up to the file's end."""
        end = 0
        for name, entry in self.in_order():
            if entry.start != end:
                what = f"{self.path}: the offsets of {name!r}"
                raise Bad(what, f"a start at {end}", str(entry.start), COPY)
            end = entry.end
        if self.data + end != self.size:
            expected = f"{self.data + end} bytes as the header says"
            raise Bad(
                self.path, expected, str(self.size), "the file was cut or something was appended"
            )

    def in_order(self):
        """(name, entry) by offsets."""
        return sorted(self.entries.items(), key=lambda item: (item[1].start, item[1].end))

    def bytes(self, name):
        entry = self.entries[name]
        self.file.seek(self.data + entry.start)
        data = self.file.read(entry.end - entry.start)
        if len(data) != entry.end - entry.start:
            raise Bad(
                f"{self.path}: the array {name!r}",
                f"{entry.end - entry.start} bytes",
                f"{len(data)}",
                COPY,
            )
        return data

    def verify(self):
        """Holds the arrays against their checksums, where the file has some."""
        if CHECKSUM not in self.entries:
            return
        entry, others = self.entries[CHECKSUM], [
            name for name, _ in self.in_order() if name != CHECKSUM
        ]
        if (
            entry.dtype != "U8"
            or entry.shape != [len(others), 4]
            or entry.end != self.size - self.data
        ):
            found = f"{entry.dtype} {entry.shape}"
            raise Bad(f"{self.path}: {CHECKSUM}", f"U8 [{len(others)}, 4] at the end", found, COPY)
        sums = self.bytes(CHECKSUM)
        for number, name in enumerate(others):
            if crc(self.bytes(name)) != sums[4 * number : 4 * number + 4]:
                what = f"{self.path}: the array {name!r}"
                raise Bad(
                    what,
                    "the bytes that its checksum is of",
                    "others",
                    "the file is damaged: " + COPY,
                )


def unreadable(path, error):
    return Bad(path, "a file that can be read", error.strerror, "check the path")


def elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def crc(data):
    return struct.pack("<I", zlib.crc32(data))


@contextlib.contextmanager
def replacing(path):
    """A file to write that takes the place of `path` when it is whole, and else leaves no trace."""
    folder, name = os.path.split(os.path.abspath(path))
    draft = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise Bad(
            path, "a place to write to", error.strerror, "check folder, rights and space"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(draft)


def write(path, arrays, metadata):
    """Writes arrays and their checksums; arrays with the largest elements come first, so that all
    are aligned."""
    arrays = sorted(arrays, key=lambda array: -SIZES[array.dtype])
    header, end = {"__metadata__": metadata}, 0
    for name, dtype, shape in [array[:3] for array in arrays] + [
        (CHECKSUM, "U8", [len(arrays), 4])
    ]:
        if name in header:
            raise Bad(
                f"the array {name!r}", "to be there once", "it twice", "give parameters other names"
            )
        start, end = end, end + elements(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        sums = b""
        for array in arrays:
            data = array.data()
            sums += crc(data)
            file.write(data)
        file.write(sums)
