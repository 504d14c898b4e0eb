"""The forms that PyTorch's optimizer states come in, brought to one: by parameters' paths."""

import json
from typing import NamedTuple

from . import tensors
from .container import parse
from .errors import Bad, listed, want

# Where savers put what, in the order of the search; a number picks from a list.
OPTIMIZER_KEYS = ("optimizer", "optimizer_state_dict", "optim", "optimizer_states.0")
MODEL_KEYS = ("model", "model_state_dict", "state_dict", "module")
SCALER_KEYS = ("scaler", "grad_scaler", "scaler_state_dict")
SCHEDULER_KEYS = ("scheduler", "lr_scheduler", "scheduler_state_dict", "lr_schedulers.0")

# Modules that wrap a model, by the names they put into paths. DDP's is only at the start.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
FIRST_WRAPPER = "module"


class Form(NamedTuple):
    """states: {path: {state: value}}; groups: their hyperparameters, and paths under `params`."""

    states: dict
    groups: list

    def paths(self):
        return [path for group in self.groups for path in group["params"]]

    def renamed(self, name):
        groups = [
            {**group, "params": [name(path) for path in group["params"]]} for group in self.groups
        ]
        form = Form({name(path): states for path, states in self.states.items()}, groups)
        different("the paths without wrappers", form.paths())
        return form


def different(what, names):
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        found = f"{twice!r} {names.count(twice)} times"
        raise Bad(what, "each to be there once", found, "give each another name")


def unwrapped(path):
    """A path without the names of wrapping modules."""
    parts = [part for part in path.split(".") if part not in WRAPPERS]
    return ".".join(parts[1:] if parts[0] == FIRST_WRAPPER and len(parts) > 1 else parts)


def at(value, key):
    """What is under a key, which may name a place in a list after a dot, or None."""
    if isinstance(value, dict) and key in value:
        return value[key]
    head, _, place = key.rpartition(".")
    found = value.get(head) if isinstance(value, dict) else None
    return (
        found[int(place)]
        if isinstance(found, list) and place.isdigit() and int(place) < len(found)
        else None
    )


def is_optimizer(value):
    """Whether this is a state_dict, nested or flattened."""
    if not isinstance(value, dict):
        return False
    return "param_groups" in value or any(
        isinstance(k, str) and k.startswith("param_groups.") for k in value
    )


def optimizer_in(whole, key):
    """The optimizer's state_dict in what a file holds."""
    if key:
        found = at(whole, key)
    else:
        found = next(
            (v for v in [whole, *(at(whole, k) for k in OPTIMIZER_KEYS)] if is_optimizer(v)), None
        )
    if not is_optimizer(found):
        has = (
            f"the keys {listed(whole)}" if isinstance(whole, dict) else f"a {type(whole).__name__}"
        )
        what = f"the key {key!r}" if key else "the file"
        expected = "an optimizer's state_dict, with state and param_groups"
        raise Bad(what, expected, has, "say its key: --key KEY")
    return found


def by_path(optimizer, names):
    """A state_dict of any form. `names` are the parameters' paths in the order of the integers."""
    form = nested(optimizer, names) if "param_groups" in optimizer else flattened(optimizer)
    if names is not None and set(names) != set(form.paths()):
        found = f"paths such as {listed(form.paths(), 1)} in the file"
        raise Bad("--names", "a file that has integers, or these names", found, "leave it out")
    different("the parameters' names", form.paths())
    unknown = set(form.states) - set(form.paths())
    if unknown:
        what = f"the state of {listed(unknown)}"
        raise Bad(what, "a group that holds it", "none", "take a whole file")
    return form


def flattened(optimizer):
    """state.<path>.<state> and param_groups.<path>.<hyperparameter>, as torch.distributed has
    them."""
    parts = {"state": {}, "param_groups": {}}
    for key, value in optimizer.items():
        kind, _, rest = key.partition(".") if isinstance(key, str) else ("", "", "")
        path, dot, name = rest.rpartition(".")
        if kind not in parts or not dot:
            expected = "state.<path>.<state> or param_groups.<path>.<name>"
            raise Bad(f"the key {key!r}", expected, "another", "take a whole file")
        parts[kind].setdefault(path, {})[name] = value
    groups = {}
    for path, group in parts["param_groups"].items():
        group.pop("param_names", None)
        key = json.dumps(tensors.plain(group, f"param_groups.{path}"), sort_keys=True)
        groups.setdefault(key, {**group, "params": []})["params"].append(path)
    return Form(parts["state"], list(groups.values()))


def nested(optimizer, names):
    """{"state": …, "param_groups": …}, by integers or by paths."""
    groups = want(optimizer["param_groups"], list, "param_groups")
    for group in groups:
        want(want(group, dict, "a group").get("params"), list, "a group's params")
    states = want(optimizer.get("state"), dict, "state")
    for key, state in states.items():
        want(state, dict, f"the state of {key}")
    order = [param for group in groups for param in group["params"]]
    if not all(isinstance(param, str) for param in order):
        path = dict(zip(map(count, order), names_of(groups, order, names)))
        states = {named(key, path): state for key, state in states.items()}
        paths = lambda group: [path[count(param)] for param in group["params"]]
        groups = [{**group, "params": paths(group)} for group in groups]
    kept = lambda group: {key: value for key, value in group.items() if key != "param_names"}
    return Form(states, [kept(group) for group in groups])


def count(key):
    """A parameter's integer, which JSON and safetensors have as text."""
    if isinstance(key, str) and key.isdigit():
        return int(key)
    return want(key, int, "the key of a parameter", "params must be all integers or all paths")


def named(key, path):
    if count(key) not in path:
        what = f"the state of parameter {key}"
        raise Bad(what, "a group that holds it", "none", "take a whole file")
    return path[count(key)]


def names_of(groups, order, names):
    """The paths in the order of the integers: the caller's, or those that the optimizer was built
    with."""
    if names is None:
        if not all(isinstance(group.get("param_names"), list) for group in groups):
            remedy = "give --names NAMES.json (see --help)"
            raise Bad("the parameters' names", "paths in the file", "integers", remedy)
        names = [name for group in groups for name in group["param_names"]]
    for name in names:
        if not want(name, str, "a name"):
            raise Bad("a name", "a path", "an empty string", "name each parameter")
    if len(names) != len(order):
        expected = f"{len(order)}, one for each parameter in groups"
        raise Bad("the names", expected, str(len(names)), "name each one")
    different("the parameters in groups", list(map(count, order)))
    return names


def names_in(path):
    """NAMES.json."""
    try:
        with open(path, encoding="utf-8") as file:
            return want(parse(file.read(), path), list, path, "write a list of paths (see --help)")
    except (OSError, UnicodeDecodeError) as error:
        raise Bad(path, "a file of JSON that can be read", str(error), "check the path") from None


def lerobot(path, groups):
    """safetensors of state/<integer>/<state> beside a JSON of groups."""
    states = {}
    for key, value in tensors.load(path).items():
        parts = key.split("/", 2)
        if len(parts) != 3 or parts[0] != "state":
            what, expected = f"{path}: the array {key!r}", "a name state/<integer>/<state>"
            raise Bad(what, expected, "another", "give a file of torch.save")
        states.setdefault(parts[1], {})[parts[2]] = value
    if not groups:
        raise Bad("--groups", "the JSON of param_groups that is beside it", "nothing", "give it")
    return {"state": states, "param_groups": names_in(groups)}
