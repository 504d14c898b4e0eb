"""PyTorch's files and tensors. Nothing of a file is executed: all are loaded with weights_only."""

import re
import sys

import torch

from .container import Array, Source, replacing
from .errors import Bad

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# Older versions of PyTorch lack these.
DTYPES |= {
    f"U{bits}": getattr(torch, f"uint{bits}")
    for bits in (16, 32, 64)
    if hasattr(torch, f"uint{bits}")
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

# The largest step count up to which f32 has every one.
MOST_F32_STEP = 2**24
MOST_STEP = 2**32 - 1


def load(path):
    """What torch.save or safetensors wrote."""
    if path.endswith(".safetensors"):
        with Source(path) as source:
            source.verify()
            return {name: tensor(source, name) for name in source.entries}
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise Bad(path, "a file that can be read", error.strerror, "check the path") from None
    except Exception as error:  # torch and pickle raise many kinds
        found, remedy = reason(error), "save plain tensors, numbers and containers"
        raise Bad(path, "a file of torch.save that weights_only takes", found, remedy) from None


def reason(error):
    """What torch says of a file, in a few words."""
    text = str(error)
    other = re.search(r"GLOBAL ([\w.]*\w)", text)
    if other:
        return f"an object of {other[1]}"
    told = re.search(r"WeightsUnpickler error: *(.+)", text)
    words = (told[1] if told else text).strip().split("\n")[0]
    return f"one that is not ({type(error).__name__}: {words:.80})"


def save(path, value):
    with replacing(path) as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:  # what torch makes of a file's error
            cause = str(error.__context__ or error).split("\n")[0]
            raise Bad(path, "a place to write to", cause, "check rights and space") from None


def tensor(source, name):
    """An array of a safetensors file."""
    entry = source.entries[name]
    if entry.dtype not in DTYPES:
        what, expected = f"{source.path}: the array {name!r}", f"one of {', '.join(DTYPES)}"
        raise Bad(what, expected, entry.dtype, "save it in one of these")
    data = source.bytes(name)
    if not data:
        return torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
    return torch.frombuffer(bytearray(data), dtype=DTYPES[entry.dtype]).reshape(entry.shape)


def array(name, value):
    """A tensor to write."""
    if sys.byteorder != "little":
        raise Bad("this machine", "a little-endian one", sys.byteorder, "convert on another")
    data = lambda: value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return Array(name, NAMES[value.dtype], list(value.shape), data)


def is_plain(value):
    """Whether this is a tensor whose elements are there: not sparse, quantised or without data."""
    dense = torch.is_tensor(value) and value.layout == torch.strided
    return dense and value.device.type == "cpu" and not value.is_quantized


def kind(value):
    """A value's type, for a message."""
    if torch.is_tensor(value):
        return f"a tensor {list(value.shape)} of {value.dtype}, {value.layout}"
    return f"{value!r:.40}" if isinstance(value, (int, float, str)) else f"a {type(value).__name__}"


def floats(value, what):
    """The value, if it is a plain tensor of floats."""
    if not is_plain(value) or value.dtype not in FLOATS:
        raise Bad(what, "a dense tensor of f32, f16, bf16 or f64", kind(value), "save it as one")
    return value


def number(value, what):
    """A finite number, which PyTorch may keep as a tensor."""
    given = value
    if is_plain(value) and value.numel() == 1:
        value = value.item()
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or value != value or abs(value) == float("inf"):
        raise Bad(what, "one finite number", kind(given), "check where the file comes from")
    return value


def step_count(value, what):
    """A step count, which was an int before PyTorch 1.12, as f32 where f32 has it."""
    steps = number(value, what)
    if steps != int(steps) or not 0 <= steps <= MOST_STEP:
        expected = f"a whole number from 0 to {MOST_STEP}"
        raise Bad(what, expected, steps, "check where the file comes from")
    return torch.tensor(int(steps), dtype=torch.float32 if steps <= MOST_F32_STEP else torch.int64)


def plain(value, what, finite=True):
    """JSON for what a state_dict has beside arrays. Numbers that are not finite are refused, or
    become words."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(v, f"{what}[{i}]", finite) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {str(k): plain(v, f"{what}.{k}", finite) for k, v in value.items()}
    if not finite and isinstance(value, float) and value in WORDS:
        return WORDS[value]
    if is_plain(value) and value.dtype == torch.bool and value.numel() == 1:
        return value.item()
    return number(value, what)


# JSON has no infinity; schedulers that wait for a best value have one.
WORDS = {float("inf"): "inf", float("-inf"): "-inf"}


def restored(value):
    """What `plain` was given, but for tuples."""
    if isinstance(value, list):
        return [restored(v) for v in value]
    if isinstance(value, dict):
        return {key: restored(v) for key, v in value.items()}
    numbers = {word: number for number, word in WORDS.items()}
    return numbers.get(value, value) if isinstance(value, str) else value
