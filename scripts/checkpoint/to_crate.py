"""From PyTorch's files to this crate's checkpoint."""

import json
import os

import torch

from . import block8, container, forms, rules, tensors
from .errors import Bad, listed, want

# What a GradScaler's state_dict has.
SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")


def convert(args):
    """Writes args.output, and returns what to tell the user."""
    whole = (
        forms.lerobot(args.input, args.groups)
        if args.input.endswith(".safetensors")
        else tensors.load(args.input)
    )
    names = forms.names_in(args.names) if args.names else None
    form = forms.by_path(forms.optimizer_in(whole, args.key), names)
    if args.unwrap:
        form = form.renamed(forms.unwrapped)
    form, cls = classed(form, args.cls)
    model = parameters(form, whole, args) if args.model else {}
    metadata = {
        "format": "pt",
        "optimizer": cls,
        "param_groups": json.dumps(form.groups),
        "names": json.dumps(form.paths()),
        **beside(whole, args),
    }
    container.write(args.output, arrays(form, cls, model), metadata)
    with_state = sum(bool(form.states.get(path)) for path in form.paths())
    also = "".join(f", {name}" for name in ("scaler", "scheduler") if name in metadata) + (
        ", parameters" if model else ""
    )
    return f"{args.output}: {cls}, {len(form.paths())} parameters, {with_state} with states{also}"


def classed(form, said):
    """The form with plain states by PyTorch's names, and its class."""
    states = {
        path: {k: v for k, v in state.items() if v is not None}
        for path, state in form.states.items()
    }
    groups = [tensors.plain(group, "param_groups") for group in form.groups]
    if block8.is_here(states):
        cls = block8.class_of(states, groups, rules.class_named(said) if said else None)
        states = {path: block8.states_of(path, state, cls) for path, state in states.items()}
        groups = block8.groups_of(groups, cls)
    else:
        cls = rules.class_of(groups, states, said)
    return forms.Form({path: checked(path, state) for path, state in states.items()}, groups), cls


def checked(path, state):
    """A parameter's state, all of it tensors that can be written."""
    out = {}
    for name, value in state.items():
        what = f"{path}: the state {name}"
        if name == "step":
            out[name] = tensors.step_count(value, what)
        elif name == "mu_product":
            kept = torch.is_tensor(value) and value.dtype == torch.float32
            dtype = torch.float32 if kept else torch.float64
            out[name] = torch.tensor(float(tensors.number(value, what)), dtype=dtype)
        elif f"{name}.absmax" in state:
            out[name] = value
        else:
            out[name] = tensors.floats(value, what)
    return out


def arrays(form, cls, model):
    """Parameter by parameter: itself, its states, its numbers."""
    out = []
    for group in form.groups:
        for path in group["params"]:
            states = form.states.get(path, {})
            rules.check(path, states, cls, group)
            if path in model:
                rules.same_shape(path, model[path], states, cls)
                out.append(tensors.array(f"param.{path}", model[path]))
            kept = [
                f"{name}{end}"
                for name in (*rules.STATES[cls], *rules.scalars(cls))
                for end in ("", ".absmax")
            ]
            out += [
                tensors.array(f"state.{path}.{name}", states[name])
                for name in kept
                if name in states
            ]
    return out


def found_at(whole, place, keys):
    """What a place names: a key of the same file, or a file; by default the first key there is."""
    if place is None:
        return next((v for v in (forms.at(whole, key) for key in keys) if v is not None), None)
    if forms.at(whole, place) is not None:
        return forms.at(whole, place)
    if not os.path.exists(place):
        has = listed(whole) if isinstance(whole, dict) else "no keys"
        raise Bad(
            f"{place!r}",
            "a file, or a key of the input",
            f"neither (it has {has})",
            "check the spelling",
        )
    return tensors.load(place)


def parameters(form, whole, args):
    """The model's tensors by the optimizer's paths."""
    model = want(found_at(whole, args.model, ()), dict, "--model")
    inner = next(
        (v for v in (forms.at(model, key) for key in forms.MODEL_KEYS) if isinstance(v, dict)), None
    )
    model = inner if inner is not None else model
    if args.unwrap:
        model = {forms.unwrapped(str(key)): value for key, value in model.items()}
    missing = [path for path in form.paths() if path not in model]
    if missing:
        what = f"the model: the parameter {missing[0]}"
        raise Bad(
            what,
            "to be there",
            f"{listed(model)}",
            "give the model of the same run, and --unwrap if one is wrapped",
        )
    return {path: tensors.floats(model[path], f"the model: {path}") for path in form.paths()}


def beside(whole, args):
    """Scaler and scheduler, for the metadata."""
    out = {}
    scaler = found_at(whole, args.scaler, forms.SCALER_KEYS)
    # A disabled scaler's state is empty.
    if want({} if scaler is None else scaler, dict, "the scaler"):
        missing = [name for name in SCALER if name not in scaler]
        if missing:
            raise Bad(
                f"the scaler: {missing[0]}",
                "to be there",
                listed(scaler),
                "give a GradScaler's state_dict",
            )
        out["scaler"] = json.dumps(
            {name: tensors.number(scaler[name], f"the scaler: {name}") for name in SCALER}
        )
    scheduler = found_at(whole, args.scheduler, forms.SCHEDULER_KEYS)
    if want({} if scheduler is None else scheduler, dict, "the scheduler"):
        out["scheduler"] = json.dumps(tensors.plain(scheduler, "the scheduler", finite=False))
    return out
