"""From this crate's checkpoint to PyTorch's files."""

from typing import NamedTuple

import torch

from . import block8, checks, container, masters, rules, tensors
from .errors import Bad, listed, want

VERSION = 1

# Hyperparameters that PyTorch has not, and what they must be for it. None: any, since they matter
# only where states are made.
OURS = {
    "max_after_correction": False,
    "lr_in_momentum": False,
    "eps_in_sqrt": False,
    "keep_momentum_buffer": None,
    "initial_square_avg": None,
}

SAVE_AGAIN = "save the checkpoint again"


class Saved(NamedTuple):
    """What a checkpoint says beside its arrays."""

    cls: str
    groups: list
    scaler: dict
    scheduler: dict


def convert(args):
    """Writes args.output, and returns what to tell the user."""
    with container.Source(args.input) as source:
        source.verify()
        saved = described(source)
        paths = [path for group in saved.groups for path in group["params"]]
        params, states, left = sorted_out(source, set(paths))
    params = masters.joined(params, states)
    for group in saved.groups:
        for path in group["params"]:
            checks.parameter(path, params.get(path), states.get(path, {}), saved.cls, group)
    out = {"optimizer": optimizer(saved, states)}
    beside = {"scaler": saved.scaler, "scheduler": saved.scheduler}
    out |= {key: value for key, value in beside.items() if value}
    if params:
        out["model"] = {path: params[path] for path in paths if path in params}
    alone = list(out) == ["optimizer"]
    tensors.save(args.output, out["optimizer"] if alone else out)
    told = f'torch.load("{args.output}")' + ("" if alone else '["optimizer"]')
    also = f"; beside it: {listed(list(out)[1:])}" if not alone else ""
    without = f"; left out: {listed(left)}" if left else ""
    return f"optimizer.load_state_dict({told}){also}{without}"


def described(source):
    """The metadata, of either form."""
    metadata = source.metadata
    if "wgpu_optim" in metadata:
        return ours(want(container.parse(metadata["wgpu_optim"], "wgpu_optim"), dict, "wgpu_optim"))
    if "param_groups" not in metadata:
        found = listed(metadata) or "none"
        what, remedy = f"{source.path}: the metadata", "give a checkpoint of this crate"
        raise Bad(what, "wgpu_optim or param_groups", found, remedy)
    groups = checked_groups(container.parse(metadata["param_groups"], "param_groups"))
    states = {name: [name.rpartition(".")[2]] for name in source.entries}
    scaler = checks.scaler(container.parse(metadata.get("scaler", "{}"), "scaler"))
    scheduler = want(
        container.parse(metadata.get("scheduler", "{}"), "scheduler"), dict, "scheduler"
    )
    cls = rules.class_of(groups, states, metadata.get("optimizer"), "the metadata's optimizer")
    return Saved(cls, groups, scaler, tensors.restored(scheduler))


def checked_groups(groups):
    for group in want(groups, list, "param_groups"):
        for path in want(want(group, dict, "a group").get("params"), list, "a group's params"):
            want(path, str, "a parameter's name")
        for key in set(group) - {"params"}:
            tensors.plain(group[key], f"a group's {key}")
        for key in rules.PAIRS:
            if key in group and (not isinstance(group[key], list) or len(group[key]) != 2):
                raise Bad(f"a group's {key}", "two numbers", f"{group[key]!r:.40}", SAVE_AGAIN)
    paths = [path for group in groups for path in group["params"]]
    if len(set(paths)) < len(paths):
        raise Bad("the parameters in groups", "each once", "one twice", SAVE_AGAIN)
    return [{k: tuple(v) if k in rules.PAIRS else v for k, v in group.items()} for group in groups]


def ours(told):
    """What this crate wrote."""
    if told.get("version") != VERSION:
        found, remedy = repr(told.get("version")), "take this script from the crate's later version"
        raise Bad("the checkpoint's version", str(VERSION), found, remedy)
    groups = [want(group, dict, "a group") for group in want(told.get("groups"), list, "groups")]
    names = {want(group.get("rule"), str, "a group's rule") for group in groups}
    if len(names) != 1:
        expected, found = "one for all groups, as in PyTorch", listed(sorted(names)) or "none"
        raise Bad("the groups' rules", expected, found, "give each rule an optimizer of its own")
    cls = rules.class_named(names.pop())
    known_codes(want(told.get("parameters", []), list, "parameters"))
    hyper = [want(group.get("hyperparameters"), dict, "hyperparameters") for group in groups]
    plain = [{**values, "params": group.get("params")} for values, group in zip(hyper, groups)]
    plain = checked_groups(plain)
    scaler = told.get("scaler")
    scaler = checks.scaler({} if scaler is None else scaler)
    return Saved(cls, [without_ours(group, cls) for group in plain], scaler, {})


def known_codes(parameters):
    """Refuses 8-bit states of which the file's arrays alone do not tell how they are coded."""
    for parameter in (want(parameter, dict, "a parameter") for parameter in parameters):
        for state, coded in want(parameter.get("states", {}), dict, "a parameter's states").items():
            if str(coded).startswith("companded8"):
                what = f"{parameter.get('name')}: the state {state}"
                remedy = "load it with states in f32 or `Block8`, and save it again"
                raise Bad(what, "in f32, f16, bf16 or bitsandbytes' 8 bits", coded, remedy)


def without_ours(group, cls):
    """A group's hyperparameters, complete for PyTorch of this version."""
    for key, off in OURS.items():
        if off is not None and group.get(key, off) != off:
            what, expected = f"the hyperparameter {key}", f"{off}, since PyTorch's {cls} has none"
            raise Bad(what, expected, group[key], "train on with this crate")
    known = defaults(cls)
    unknown = [key for key in group if key not in known and key not in OURS]
    if unknown:
        what = f"the hyperparameter {unknown[0]}"
        raise Bad(what, f"one of PyTorch's {cls}", "another", "use a later PyTorch")
    return known | {key: value for key, value in group.items() if key not in OURS}


def defaults(cls):
    """A group of PyTorch's, with the flags that this version has."""
    if not hasattr(torch.optim, cls):
        return {key: None for key in ("lr", "betas", "weight_decay", "maximize", "params")}
    group = getattr(torch.optim, cls)([torch.zeros(1)], lr=0.0).state_dict()["param_groups"][0]
    return {key: value for key, value in group.items() if key != "param_names"}


def sorted_out(source, paths):
    """Parameters and states by path, and what was left out."""
    params, states, left = {}, {}, []
    for name in (name for name in source.entries if name != container.CHECKSUM):
        kind, _, rest = name.partition(".")
        path, _, state = rest.rpartition(".")
        if state == "absmax" and f"state.{path}" in source.entries:
            path, _, coded = path.rpartition(".")
            state = f"{coded}.absmax"
        if kind == "param" and rest in paths:
            params[rest] = tensors.tensor(source, name)
        elif kind == "grad" and rest in paths:
            left.append(name)
        elif kind == "state" and path in paths:
            states.setdefault(path, {})[state] = tensors.tensor(source, name)
        else:
            expected = "param., grad. or state. of a parameter in groups"
            raise Bad(f"the array {name!r}", expected, "another", SAVE_AGAIN)
    return params, states, left


def optimizer(saved, states):
    """A state_dict: parameters count over groups in order."""
    paths = [path for group in saved.groups for path in group["params"]]
    number = {path: i for i, path in enumerate(paths)}
    coded = any(name.endswith(".absmax") for state in states.values() for name in state)
    if not coded and not hasattr(torch.optim, saved.cls):
        remedy = "only its states in 8 bits can be converted, to bitsandbytes'"
        raise Bad("the rule", "one that PyTorch has", saved.cls, remedy)
    if coded and saved.cls not in block8.NUMBERED:
        expected = f"a rule of bitsandbytes' ({', '.join(block8.NUMBERED)})"
        raise Bad("the rule of states in 8 bits", expected, saved.cls, "save them in f32")
    group_of = (lambda group: block8.group_back(group, saved.cls)) if coded else dict
    integers = lambda group: [number[path] for path in group["params"]]
    groups = [{**group_of(group), "params": integers(group)} for group in saved.groups]
    state_of = coded_state if coded else plain_state
    with_state = [path for path in paths if path in states]
    kept = {number[path]: state_of(path, states[path], saved.cls) for path in with_state}
    return {"state": {key: state for key, state in kept.items() if state}, "param_groups": groups}


def coded_state(path, state, cls):
    """For bitsandbytes, which makes the states of a parameter that took no step."""
    state = state | numbers(path, state)
    if "step" not in state:
        raise Bad(f"{path}: the state step", "to be there for bitsandbytes", "none", SAVE_AGAIN)
    if not state["step"].item():
        return {}
    return block8.state_back(state, cls)


def plain_state(path, state, cls):
    """For PyTorch. Its SGD has no count: a parameter without a buffer has taken no step."""
    numbered = numbers(path, state)
    if cls == "SGD" and "step" in numbered and not numbered["step"].item():
        return {}
    kept = state | numbered
    return {name: value for name, value in kept.items() if cls != "SGD" or name != "step"}


def numbers(path, state):
    """Step count and scalars in f32, as PyTorch has them."""
    out = {}
    if "step" in state:
        out["step"] = tensors.step_count(state["step"], f"{path}: the state step").to(torch.float32)
    if "mu_product" in state:
        value = tensors.number(state["mu_product"], f"{path}: the state mu_product")
        out["mu_product"] = torch.tensor(value, dtype=torch.float32)
    return out
