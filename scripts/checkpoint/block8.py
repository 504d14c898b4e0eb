"""bitsandbytes' states: 8 bits an element by its dynamic code, an f32 scale for each 256."""

import numpy as np
import torch

from .errors import Bad, listed, want
from .rules import STATES
from .tensors import floats, number

BLOCK = 256
# Where bitsandbytes 0.49.2 and later put what is quantised.
WRAPPED = "__bnb_optimizer_quant_state__"

# By class, what bitsandbytes calls state1 and state2.
NUMBERED = {
    "Adam": ("exp_avg", "exp_avg_sq"),
    "AdamW": ("exp_avg", "exp_avg_sq"),
    "SGD": ("momentum_buffer",),
    "RMSprop": ("square_avg",),
    "Adagrad": ("sum",),
    "Lion": ("exp_avg",),
}
# In this crate's code of numbers that are never negative. bitsandbytes has only state2 so.
UNSIGNED = ("exp_avg_sq", "square_avg", "sum")

# Maps made on other processors differ by so many units in the last place.
MAP_ULPS = 2


def dynamic_map(signed):
    """The 256 numbers of the code, with the bits that bitsandbytes gets from torch.linspace: its
    products are rounded once, as a fused multiply-add does."""
    f32 = np.float32
    values = [f32(0), f32(1)]
    for decade in range(7):
        n = 2**decade if signed else 2 ** (decade + 1)
        width = f32(f32(1) - f32(0.1)) / f32(n)
        up = lambda k: f32(float(f32(0.1)) + float(width) * k)
        edge = lambda k: up(k) if k < (n + 1) // 2 else f32(1.0 - float(width) * (n - k))
        middles = [
            f32(f32(edge(k) + edge(k + 1)) / f32(2)) * f32(10.0 ** (decade - 6)) for k in range(n)
        ]
        values += [f32(v) for v in middles] + ([f32(-v) for v in middles] if signed else [])
    return torch.from_numpy(np.sort(np.array(values, f32)))


def is_signed(name):
    return name not in UNSIGNED


def decoded(codes, absmax, signed):
    """The f32 that codes stand for."""
    scale = absmax.repeat_interleave(BLOCK)[: codes.numel()]
    return (dynamic_map(signed)[codes.reshape(-1).long()] * scale).reshape(codes.shape)


def flat(state):
    """A parameter's state as it was before 0.49.2."""
    return {
        **{k: v for k, v in state.items() if k != WRAPPED},
        **want(state.get(WRAPPED, {}), dict, WRAPPED),
    }


def is_here(states):
    """Whether these are bitsandbytes' states, in 8 or in 32 bits."""
    return any("state1" in state or WRAPPED in state for state in states.values())


def class_of(states, groups, said):
    """bitsandbytes' files do not tell the class, but how many states it has."""
    pairs = any("state2" in flat(state) for state in states.values())
    if any(isinstance(g.get("betas"), (list, tuple)) and len(g["betas"]) > 2 for g in groups):
        expected = f"one of {', '.join(NUMBERED)}"
        raise Bad("the optimizer's class", expected, "AdEMAMix", "this crate has no such rule")
    said = said or ("AdamW" if pairs else None)
    if said not in NUMBERED or (len(NUMBERED[said]) == 2) != pairs:
        found = f"{said or 'no --class'} for {2 if pairs else 1} states"
        expected = f"one of {', '.join(NUMBERED)} that fits"
        raise Bad("the optimizer's class", expected, found, "say it: --class Lion, …")
    return said


def states_of(path, state, cls):
    """A parameter's states by PyTorch's names. Codes stay codes where this crate has the same."""
    state, out = flat(state), {}
    numbers = range(1, len(NUMBERED[cls]) + 1)
    known = ["step", *(f"{kind}{i}" for i in numbers for kind in ("state", "qmap", "absmax"))]
    unknown = [name for name in state if name not in known]
    if unknown:
        what, remedy = f"{path}: the state {unknown[0]}", "train without max_unorm and percentiles"
        raise Bad(what, listed(known), "another", remedy)
    for number_, name in enumerate(NUMBERED[cls], 1):
        what, value = f"{path}: state{number_}", state.get(f"state{number_}")
        if not torch.is_tensor(value) or value.dtype != torch.uint8:
            out[name] = floats(value, what)
            continue
        signed = number_ == 1
        absmax = state.get(f"absmax{number_}")
        check_map(what, state.get(f"qmap{number_}"), signed)
        check_scales(what, value, absmax)
        if signed == is_signed(name):
            out |= {name: value, f"{name}.absmax": absmax}
        else:
            out[name] = decoded(value, absmax, signed)
    if "step" in state:
        out["step"] = state["step"]
    return out


def check_map(what, qmap, signed):
    """That a code is the dynamic one."""
    ours = dynamic_map(signed)
    like = torch.is_tensor(qmap) and (qmap.dtype, qmap.shape) == (ours.dtype, ours.shape)
    if not like or (ulps(qmap) - ulps(ours)).abs().max() > MAP_ULPS:
        expected = f"bitsandbytes' {'signed' if signed else 'unsigned'} dynamic map"
        raise Bad(f"{what}'s qmap", expected, "another", "save from Adam8bit or the like")


def ulps(values):
    return values.contiguous().view(torch.int32).long()


def check_scales(what, codes, absmax):
    """That there is a scale for each block of codes."""
    blocks = -(-codes.numel() // BLOCK)
    if codes.dtype != torch.uint8 or not torch.is_tensor(absmax):
        found, expected = f"codes of {codes.dtype}", "u8 codes, and absmax"
    elif absmax.dtype != torch.float32 or list(absmax.shape) != [blocks]:
        found, expected = f"{list(absmax.shape)} of {absmax.dtype}", f"f32 [{blocks}]"
    else:
        return
    raise Bad(f"{what}'s absmax", expected, found, f"save one for each {BLOCK} elements")


def groups_of(groups, cls):
    """Hyperparameters by PyTorch's names."""
    out = []
    for group in groups:
        betas = group.get("betas")
        if not isinstance(betas, (list, tuple)) or len(betas) != 2:
            found, remedy = f"{betas!r:.40}", "take a file of bitsandbytes"
            raise Bad("a group's betas", "two numbers", found, remedy)
        get = lambda key: number(group.get(key), f"a group's {key}")
        first, decay = number(betas[0], "a group's betas"), get("weight_decay")
        if number(group.get("alpha") or 0, "a group's alpha"):
            raise Bad("a group's alpha", "0", group["alpha"], "this crate has no AdEMAMix")
        if cls == "Adam" and decay:
            expected = "AdamW, since bitsandbytes' Adam decays as AdamW does"
            raise Bad("--class", expected, "Adam", "say AdamW")
        own = {
            "Adam": lambda: {
                "betas": betas,
                "eps": get("eps"),
                "amsgrad": False,
                "decoupled_weight_decay": False,
            },
            "AdamW": lambda: {
                "betas": betas,
                "eps": get("eps"),
                "amsgrad": False,
                "decoupled_weight_decay": True,
            },
            # Its kernel takes no dampening, whatever the group says.
            "SGD": lambda: {"momentum": first, "dampening": 0.0, "nesterov": False},
            "RMSprop": lambda: {
                "alpha": first,
                "eps": get("eps"),
                "momentum": 0.0,
                "centered": False,
            },
            "Adagrad": lambda: {
                "eps": get("eps"),
                "lr_decay": 0.0,
                "initial_accumulator_value": 0.0,
            },
            "Lion": lambda: {"betas": betas},
        }[cls]()
        out.append(
            {
                "lr": get("lr"),
                "weight_decay": decay,
                **own,
                "maximize": False,
                "params": group["params"],
            }
        )
    return out


# By class, what bitsandbytes does not have, with the value that it must have.
FIXED = {
    "Adam": {"amsgrad": False, "weight_decay": 0.0},
    "AdamW": {"amsgrad": False},
    "SGD": {"dampening": 0.0, "nesterov": False},
    "RMSprop": {"momentum": 0.0, "centered": False},
    "Adagrad": {"lr_decay": 0.0},
    "Lion": {},
}


def group_back(group, cls):
    """A group of bitsandbytes."""
    for key, value in {**FIXED[cls], "maximize": False}.items():
        if group.get(key, value) != value:
            what, expected = f"the hyperparameter {key}", f"{value}, as in bitsandbytes' {cls}"
            raise Bad(what, expected, group[key], "train on with states in f32")
    betas = {
        "SGD": lambda: (group["momentum"], 0.0),
        "RMSprop": lambda: (group["alpha"], 0.0),
        "Adagrad": lambda: (0.0, 0.0),
    }.get(cls, lambda: tuple(group["betas"]))()
    out = {
        "lr": group["lr"],
        "betas": betas,
        "eps": group.get("eps", 0.0),
        "weight_decay": group["weight_decay"],
    }
    return out | (
        {"alpha": 0.0, "t_alpha": None, "t_beta3": None} if len(NUMBERED[cls]) == 2 else {}
    )


def state_back(state, cls):
    """A parameter's state, flat, which every version takes. Where it is not all in bitsandbytes'
    own codes it becomes f32."""
    names = [name for name in STATES[cls] if name in state]
    coded = all(
        f"{name}.absmax" in state and is_signed(name) == (i == 0) for i, name in enumerate(names)
    )
    out = {"step": int(state["step"].item())}
    for number_, name in enumerate(names, 1):
        value, absmax = state[name], state.get(f"{name}.absmax")
        if coded:
            out |= {
                f"state{number_}": value,
                f"qmap{number_}": dynamic_map(is_signed(name)),
                f"absmax{number_}": absmax,
            }
        else:
            out[f"state{number_}"] = (
                value.float() if absmax is None else decoded(value, absmax, is_signed(name))
            )
    return out
