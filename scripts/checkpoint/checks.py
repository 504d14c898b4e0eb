"""What states and scalers must be, in either direction."""

from . import block8, rules, tensors
from .errors import Bad, listed, want

# What a GradScaler's state_dict has.
SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")


def scaler(state):
    """A GradScaler's numbers. A disabled one has none."""
    if not want(state, dict, "the scaler"):
        return {}
    missing = [name for name in SCALER if name not in state]
    if missing:
        what, remedy = f"the scaler: {missing[0]}", "give a GradScaler's state_dict"
        raise Bad(what, "to be there", listed(state), remedy)
    return {name: tensors.number(state[name], f"the scaler: {name}") for name in SCALER}


def parameter(path, param, states, cls, group):
    """That a parameter has the states of its class, all or none, of types and shapes that fit."""
    known = rules.allowed(cls, group)
    unknown = [name for name in states if name not in known and not is_scale(name, states, known)]
    if unknown:
        what, expected = f"{path}: the state {unknown[0]}", f"{cls}'s states {', '.join(known)}"
        raise Bad(what, expected, "another", "check class and hyperparameters")
    missing = [name for name in rules.needed(cls, group) if name not in states]
    if missing and states:
        what = f"{path}: the state {missing[0]}"
        raise Bad(what, "to be there", f"only {listed(states)}", "take a whole file")
    shapes = {}
    if param is not None:
        shapes["the parameter"] = tensors.floats(param, f"the parameter {path}").shape
    for name in (name for name in rules.STATES[cls] if name in states):
        shapes[name] = elements(f"{path}: the state {name}", states, name)
    same(path, shapes)


def is_scale(name, states, known):
    """Whether these are the scales of a state in 8 bits."""
    state = name.removesuffix(".absmax")
    return state != name and state in states and state in known and state not in rules.NUMBERS


def elements(what, states, name):
    """The shape of a state, if its type fits."""
    if f"{name}.absmax" in states:
        block8.check_scales(what, states[name], states[f"{name}.absmax"])
    else:
        tensors.floats(states[name], what)
    return states[name].shape


def same(path, shapes):
    first = next(iter(shapes), None)
    for name, shape in shapes.items():
        if shape != shapes[first]:
            expected = f"the shape {list(shapes[first])} of {first}"
            raise Bad(f"{path}: {name}", expected, list(shape), "take all from the same run")
