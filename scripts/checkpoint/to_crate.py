"""From PyTorch's files to this crate's checkpoint."""

import json
import os

import torch

from . import block8, checks, container, forms, rules, tensors
from .errors import Bad, listed, want


def convert(args):
    """Writes args.output, and returns what to tell the user."""
    is_lerobot = args.input.endswith(".safetensors")
    if args.groups and not is_lerobot:
        raise Bad("--groups", "lerobot's .safetensors", args.input, "leave it out")
    whole = forms.lerobot(args.input, args.groups) if is_lerobot else tensors.load(args.input)
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
    return forms.Form({path: counted(path, state) for path, state in states.items()}, groups), cls


def counted(path, state):
    """A parameter's state with its numbers as they are written."""
    out = dict(state)
    if "step" in state:
        out["step"] = tensors.step_count(state["step"], f"{path}: the state step")
    if "mu_product" in state:
        value = state["mu_product"]
        kept = torch.is_tensor(value) and value.dtype == torch.float32
        value = float(tensors.number(value, f"{path}: the state mu_product"))
        out["mu_product"] = torch.tensor(value, dtype=torch.float32 if kept else torch.float64)
    return out


def arrays(form, cls, model):
    """Parameter by parameter: itself, its states, its numbers."""
    out = []
    for group in form.groups:
        for path in group["params"]:
            param, states = model.get(path), form.states.get(path, {})
            checks.parameter(path, param, states, cls, group)
            if param is not None:
                out.append(tensors.array(f"param.{path}", param))
            names = (*rules.STATES[cls], *rules.scalars(cls))
            kept = [f"{name}{end}" for name in names for end in ("", ".absmax")]
            kept = [name for name in kept if name in states]
            out += [tensors.array(f"state.{path}.{name}", states[name]) for name in kept]
    return out


def found_at(whole, place, keys):
    """What a place names: a key of the same file, or a file; by default the first key there is."""
    if place is None:
        return next((v for v in (forms.at(whole, key) for key in keys) if v is not None), None)
    if forms.at(whole, place) is not None:
        return forms.at(whole, place)
    if not os.path.exists(place):
        has = listed(whole) if isinstance(whole, dict) else "no keys"
        found = f"neither (it has {has})"
        raise Bad(f"{place!r}", "a file, or a key of the input", found, "check the spelling")
    return tensors.load(place)


def parameters(form, whole, args):
    """The model's tensors by the optimizer's paths."""
    model = want(found_at(whole, args.model, ()), dict, "--model")
    inner = [model[key] for key in forms.MODEL_KEYS if isinstance(model.get(key), dict)]
    model = inner[0] if inner else model
    if args.unwrap:
        forms.different("the model's names", [forms.unwrapped(str(key)) for key in model])
        model = {forms.unwrapped(str(key)): value for key, value in model.items()}
    missing = [path for path in form.paths() if path not in model]
    if missing:
        what, remedy = f"the model: the parameter {missing[0]}", "give the run's model, or --unwrap"
        raise Bad(what, "to be there", listed(model), remedy)
    return {path: model[path] for path in form.paths()}


def beside(whole, args):
    """Scaler and scheduler, for the metadata."""
    out = {}
    scaler = found_at(whole, args.scaler, forms.SCALER_KEYS)
    scaler = checks.scaler({} if scaler is None else scaler)
    if scaler:
        out["scaler"] = json.dumps(scaler)
    scheduler = found_at(whole, args.scheduler, forms.SCHEDULER_KEYS)
    if want({} if scheduler is None else scheduler, dict, "the scheduler"):
        out["scheduler"] = json.dumps(tensors.plain(scheduler, "the scheduler", finite=False))
    return out
