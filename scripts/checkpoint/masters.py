"""What this crate keeps beside a parameter in 16 bits, and the f32 parameter that comes of it."""

import torch

from .errors import Bad


def joined(params, states):
    """The parameters, in f32 where exact ones were kept; removes what was kept from `states`."""
    params = dict(params)
    for path, state in states.items():
        for name, exact in EXACT.items():
            if name in state:
                params[path] = exact(path, params.get(path), state.pop(name))
    return params


def needed(path, name, param, kept, dtypes):
    """The parameter, without which a part of it says nothing."""
    if param is None:
        found, remedy = f"{name} without it", "save parameters into the checkpoint, too"
        raise Bad(f"{path}: the parameter", "to be there", found, remedy)
    if (
        kept.dtype not in dtypes
        or kept.shape != param.shape
        or param.element_size() != kept.element_size()
    ):
        found = f"{kept.dtype} {list(kept.shape)} beside {param.dtype} {list(param.shape)}"
        raise Bad(
            f"{path}: {name}",
            "as many elements in 16 bits as its parameter",
            found,
            "save the checkpoint again",
        )
    return param


def master(path, param, kept):
    """A parameter that is not its master's rounding was written by someone else, and is its own."""
    if param is None:
        return kept
    if kept.shape != param.shape:
        raise Bad(
            f"{path}: master_param",
            f"the shape {list(param.shape)}",
            str(list(kept.shape)),
            "save the checkpoint again",
        )
    return torch.where(kept.to(param.dtype) == param, kept, param.to(kept.dtype))


def remainder(path, param, kept):
    """The upper half, rounded by the lower, which is signed."""
    upper = needed(path, "param_remainder", param, kept, [torch.int16]).view(torch.int16).long()
    lower = kept.long()
    bits = ((upper - (lower < 0).long()) << 16 | lower & 0xFFFF) & 0xFFFFFFFF
    bits = torch.where(bits >= 2**31, bits - 2**32, bits)
    return bits.to(torch.int32).view(torch.float32)


def kahan(path, param, kept):
    halves = [torch.float16, torch.bfloat16]
    return needed(path, "kahan_comp", param, kept, halves).float() + kept.float()


EXACT = {"master_param": master, "param_remainder": remainder, "kahan_comp": kahan}
