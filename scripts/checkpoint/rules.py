"""PyTorch's optimizers: what their states are called, and how their files tell them apart."""

import re

from .errors import Bad, listed

# By class, each state in PyTorch's order with the hyperparameter without which it is not needed.
STATES = {
    "SGD": {"momentum_buffer": "momentum"},
    "Adagrad": {"sum": None},
    "RMSprop": {"square_avg": None, "momentum_buffer": "momentum", "grad_avg": "centered"},
    "Adam": {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"},
    "AdamW": {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"},
    "NAdam": {"exp_avg": None, "exp_avg_sq": None},
    "RAdam": {"exp_avg": None, "exp_avg_sq": None},
    "Adamax": {"exp_avg": None, "exp_inf": None},
    "Adadelta": {"square_avg": None, "acc_delta": None},
    "Rprop": {"prev": None, "step_size": None},
    # bitsandbytes' alone.
    "Lion": {"exp_avg": None},
}

# Hyperparameters that only one class has. The other classes take more to tell.
SIGNS = {
    "etas": "Rprop",
    "rho": "Adadelta",
    "momentum_decay": "NAdam",
    "lr_decay": "Adagrad",
    "centered": "RMSprop",
    "dampening": "SGD",
}

# What a parameter has beside its arrays.
NUMBERS = ("step", "mu_product")

# Hyperparameters that are pairs, tuples in PyTorch.
PAIRS = ("betas", "etas", "step_sizes")


def scalars(cls):
    """A parameter's numbers beside its states."""
    return NUMBERS if cls == "NAdam" else ("step",)


def needed(cls, group):
    """The states that a group's parameters have, once they took a step. PyTorch's SGD needs none:
    it has no count, and no buffer before a parameter's first step."""
    if cls == "SGD":
        return []
    states = [name for name, on in STATES[cls].items() if on is None or group.get(on)]
    return [*states, *scalars(cls)]


def allowed(cls, group):
    """Those that they may have. A buffer may be there without momentum, which schedules change."""
    buffers = [name for name, on in STATES[cls].items() if on == "momentum"]
    return [*STATES[cls], *scalars(cls)] if cls == "SGD" else [*needed(cls, group), *buffers]


def class_named(name):
    """The class of a name, which may be bitsandbytes' (PagedAdamW8bit) or this crate's (adamw)."""
    plain = re.sub(r"^paged|(8|32)bit$", "", name.lower())
    found = next((cls for cls in STATES if cls.lower() == plain), None)
    if found is None:
        raise Bad(
            f"the class {name}",
            f"one of {', '.join(STATES)}",
            "another",
            "only these can be converted",
        )
    return found


def recognised(group, states):
    """The class that a group is of, or None where two have the same hyperparameters."""
    sign = next((cls for key, cls in SIGNS.items() if key in group), None)
    if sign:
        return sign
    if "decoupled_weight_decay" in group:
        if "amsgrad" not in group:
            return "RAdam"
        return "AdamW" if group["decoupled_weight_decay"] else "Adam"
    return "Adamax" if any("exp_inf" in s for s in states.values()) else None


def class_of(groups, states, said, who="--class"):
    """The class of a state_dict, by what it holds and what `who` says."""
    found = {recognised(group, states) for group in groups} - {None}
    said = class_named(said) if said else None
    if len(found) > 1:
        raise Bad(
            "the groups", "one class", " and ".join(sorted(found)), "convert each class by itself"
        )
    if found and said and said not in found:
        expected = f"{found.pop()}, by the hyperparameters"
        raise Bad(who, expected, said, "check that it is the right file")
    if not found and not said:
        expected = "to be told by the hyperparameters"
        remedy = "say which: --class AdamW, --class Adam, …"
        raise Bad("the optimizer's class", expected, listed(groups[0] if groups else []), remedy)
    return said or found.pop()
