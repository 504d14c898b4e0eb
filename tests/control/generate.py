#!/usr/bin/env python3
"""Write what PyTorch makes of steps that are clipped, scaled, skipped, accumulated, frozen and scheduled.

Usage: generate.py OUT_DIR [--seed S]

inputs.safetensors, for all cases:
  param.P       [..]    f32   a parameter before the first step
  grad.P        [R, ..] f32   rows of gradients; a case says which it takes when
  kept.P        [..]    i64   the elements of P that cases record: all, or those around the ends of blocks
One file per case, K being the number of kept elements of all parameters, one after the other:
  params        [T, K]  f64   parameters after every step, all arithmetic in f64
  state.S       [T, K]  f64   state S likewise, by PyTorch's name; 0 where PyTorch has none yet
  norms         [T]     f64   what clip_grad_norm_ returned, or the 2-norm of what the optimizer was given
  clips         [T]     f64   what clip_grad_norm_ multiplied gradients by; NaN where a gradient is not finite
and in the header's metadata, as JSON under `case`:
  library       which one, and its version
  rule, groups  the optimizer's class, and hyperparameters and parameters of each group
  clip_norm     [norm_type, max_norm];  clip_value;  scaler: GradScaler's arguments
  micro_batches by which each gradient was divided before they were summed up
  row_factor    a power of two that the rows of gradients are multiplied by
  cosine        CosineAnnealingLR's arguments
  f32_error     how far PyTorch's own f32 run is from its f64 run, of parameters, each state, norms and clips: the
                largest difference of an element, in parts of that element's largest magnitude in the run
  steps         of each: rows; non_finite [micro-batch, parameter, element, value]; frozen: those whose grad is
                None; add: a group that is added before it; max_norm, if it changes; and what came out: lrs,
                scale, next_scale, growth_tracker, skipped, taken (steps that each parameter has behind it)

A micro-batch's gradients are rows multiplied by scale and row_factor in f32, in the f64 run too, so that both
overflow alike. Requires: numpy, safetensors, torch==2.11.0
"""
import argparse, json, os
import numpy as np
import torch
from safetensors.numpy import save_file

ap = argparse.ArgumentParser()
ap.add_argument("out"); ap.add_argument("--seed", type=int, default=0)
args = ap.parse_args()
os.makedirs(args.out, exist_ok=True)

SHAPES = {"a": (1,), "b": (7,), "c": (259,), "d": (2, 6), "e": (5,)}
KEPT = {name: np.arange(np.prod(shape)) for name, shape in SHAPES.items()}
KEPT["c"] = np.array([0, 3, 127, 128, 255, 256, 257, 258])
KEPT["d"] = np.array([0, 3, 6, 7, 10, 11])
ROWS = 16
r = np.random.default_rng(args.seed)
PARAMS = {name: r.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
# Elements over three decades, rows over two; the last row is all zeros.
SIZES = {name: 10.0 ** r.uniform(-2.5, 0.5, size=shape) for name, shape in SHAPES.items()}
ROW_SIZES = np.append(10.0 ** r.uniform(-1, 1, size=ROWS - 1), 0.0)
GRADS = {
    name: np.stack([r.normal(size=shape) * SIZES[name] * size for size in ROW_SIZES]).astype(np.float32)
    for name, shape in SHAPES.items()
}


def torch_run(case, dtype):
    """Runs a case, and writes into its steps what came out; the arrays of all steps."""
    torch.set_default_dtype(dtype)  # of scalars, such as NAdam's product, too
    params = {name: torch.nn.Parameter(torch.tensor(value, dtype=dtype)) for name, value in PARAMS.items()}
    group = lambda spec: dict(params=[params[name] for name in spec["params"]], **spec["hyper"])
    optimizer = getattr(torch.optim, case["rule"])([group(spec) for spec in case["groups"]], foreach=False)
    members = [name for spec in case["groups"] for name in spec["params"]]
    scaler = torch.amp.GradScaler("cpu", **case["scaler"]) if case.get("scaler") else None
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **case["cosine"]) if case.get("cosine") else None
    norm_type, max_norm = case.get("clip_norm") or (None, None)
    taken = {name: 0 for name in params}
    arrays = []
    for step in case["steps"]:
        if step.get("add"):
            optimizer.add_param_group(group(step["add"]))
            members += step["add"]["params"]
        max_norm = step.get("max_norm", max_norm)
        out = dict(lrs=[group["lr"] for group in optimizer.param_groups])
        if scaler:
            scaler.scale(torch.zeros(()))  # as of a loss: it makes the scale's tensor
            out["scale"] = scaler.get_scale()
        factor = np.float32(case.get("row_factor", 1.0)) * np.float32(out.get("scale", 1.0))
        active = [name for name in members if name not in step.get("frozen", [])]
        optimizer.zero_grad(set_to_none=True)
        for micro, row in enumerate(step["rows"]):
            for name in active:
                with np.errstate(over="ignore"):
                    grad = GRADS[name][row] * factor
                for where, which, element, value in step.get("non_finite", []):
                    if (where, which) == (micro, name):
                        grad.flat[element] = float(value)
                grad = torch.tensor(grad, dtype=dtype) / len(step["rows"])
                params[name].grad = grad if micro == 0 else params[name].grad + grad
        active_params = [params[name] for name in active]
        if scaler and (norm_type or case.get("clip_value")):
            scaler.unscale_(optimizer)
        flat = lambda: torch.cat([p.grad.flatten() for p in active_params])
        before = flat()
        norm = torch.linalg.vector_norm(before)
        clip = 1.0
        if norm_type:
            norm = torch.nn.utils.clip_grad_norm_(active_params, max_norm, norm_type=float(norm_type))
            at = before.abs().argmax()
            clip = (flat()[at] / before[at]).item() if norm > 0 else 1.0
        if case.get("clip_value"):
            torch.nn.utils.clip_grad_value_(active_params, case["clip_value"])
        if scaler:
            # Without clipping, `step` unscales.
            scaler.step(optimizer)
            skipped = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
            out["skipped"] = any(found.item() for found in skipped.values())
            scaler.update()
            out["next_scale"] = scaler.get_scale()
            out["growth_tracker"] = scaler.state_dict()["_growth_tracker"]
            if not (norm_type or case.get("clip_value")) and not out["skipped"]:
                norm = torch.linalg.vector_norm(flat())
        else:
            optimizer.step()
            out["skipped"] = False
        if scheduler:
            scheduler.step()
        for name in active:
            taken[name] += not out["skipped"]
            step_count = optimizer.state[params[name]].get("step", torch.tensor(float(taken[name])))
            assert step_count.item() == taken[name]
        out["taken"] = {name: taken[name] for name in members}
        finite = bool(before.isfinite().all())
        step.setdefault("out", out)
        assert {**step["out"], "lrs": 0} == {**out, "lrs": 0}, "the f64 and f32 runs decide alike"
        recorded = {"params": torch.cat([p.detach().flatten()[KEPT[name]] for name, p in params.items()])}
        for state in case["states"]:
            value = lambda p: optimizer.state.get(p, {}).get(state, torch.zeros(p.shape)).flatten()
            recorded[f"state.{state}"] = torch.cat([value(p)[KEPT[name]] for name, p in params.items()])
        recorded["norms"] = norm
        recorded["clips"] = torch.tensor(clip if finite else float("nan"))
        arrays.append({key: value.numpy().astype(np.float64) for key, value in recorded.items()})
    return {key: np.stack([each[key] for each in arrays]) for key in arrays[0]}


def f32_error(exact, found, start=None):
    size = np.abs(exact if start is None else np.vstack([start, exact]))
    size = np.nanmax(np.where(np.isfinite(size), size, 0.0), axis=0)
    assert (np.isnan(exact) == np.isnan(found)).all() and (np.isinf(exact) == np.isinf(found)).all()
    finite = np.isfinite(exact)
    off = np.abs(np.where(finite, found, 0.0) - np.where(finite, exact, 0.0))
    return float(np.max(off / np.maximum(size, 1e-300)))


def save(name, case):
    wide = torch_run(case, torch.float64)
    narrow = torch_run(case, torch.float32)
    start = np.concatenate([PARAMS[p].flatten()[KEPT[p]] for p in PARAMS])
    case["f32_error"] = {k: f32_error(v, narrow[k], start if k == "params" else None) for k, v in wide.items()}
    for step in case["steps"]:
        step.update(step.pop("out"))
    del case["states"]
    case["library"] = "torch " + torch.__version__.split("+")[0]
    # All under one key: with several, their order would differ from run to run.
    meta = dict(case=json.dumps(case, allow_nan=False))
    save_file(wide, os.path.join(args.out, name + ".safetensors"), metadata=meta)
    skipped = "".join("x" if step["skipped"] else "." for step in case["steps"])
    clipped = "".join("c" if clip < 1 else "." for clip in wide["clips"])
    print(f"{name:28s} {skipped} {clipped} {({k: f'{v:.1e}' for k, v in case['f32_error'].items()})}")


STATES = {
    "AdamW": ["exp_avg", "exp_avg_sq"],
    "NAdam": ["exp_avg", "exp_avg_sq"],
    "RMSprop": ["square_avg", "momentum_buffer"],
    "SGD": ["momentum_buffer"],
}
HYPER = {
    "AdamW": [dict(lr=1e-2, weight_decay=1e-1), dict(lr=2e-2, betas=[0.8, 0.99], weight_decay=0.0, eps=1e-6)],
    "NAdam": [dict(lr=1e-2), dict(lr=5e-3, weight_decay=1e-2, decoupled_weight_decay=True)],
    "RMSprop": [dict(lr=1e-2, momentum=0.9), dict(lr=5e-3, momentum=0.5, alpha=0.9, weight_decay=1e-2)],
    "SGD": [dict(lr=1e-2, momentum=0.9, dampening=0.3), dict(lr=3e-2, momentum=0.8, weight_decay=1e-2)],
}
# The last element of all is `e`'s last.
MEMBERS = [["a", "c"], ["b", "d", "e"]]


def groups(rule, members=MEMBERS, **more):
    return [dict(hyper={**hyper, **more}, params=names) for hyper, names in zip(HYPER[rule], members)]


def steps(count, batches=1, seed=0):
    """Steps that take rows in an order of their own; one takes the zeros, if there is but one micro-batch."""
    order = np.random.default_rng(seed).permutation(ROWS - (batches > 1))
    order = order.tolist() * (1 + count * batches // len(order))
    return [dict(rows=order[i * batches : (i + 1) * batches]) for i in range(count)]


def with_events(steps, **events):
    """Adds to steps, each kind of event as a dictionary from steps, counted from 1."""
    for kind, of_steps in events.items():
        for step, event in of_steps.items():
            steps[step - 1][kind] = event
    return steps


def at(*places):
    return [[0, name, element, value] for name, element, value in places]


# One element of the last tensor, the tensor of one, and several in one step.
BAD = {
    4: at(("e", 4, "inf")),
    8: at(("a", 0, "nan")),
    9: at(("c", 256, "-inf")),
    13: at(("b", 6, "inf"), ("c", 0, "nan"), ("d", 3, "-inf")),
}
SCALER = dict(init_scale=2.0**10, growth_factor=2.0, backoff_factor=0.5, growth_interval=3)


def added(rule, names):
    """A group to add, with the second group's numbers but for its rate."""
    return dict(hyper={**HYPER[rule][1], "lr": 7e-3}, params=names)


CASES = {
    "clip_norm": ("AdamW", dict(clip_norm=[2, 15.0]), steps(16)),
    "clip_norm_max": ("RMSprop", dict(clip_norm=["inf", 5.0]), steps(16, seed=1)),
    # PyTorch's 1e-6 shows where norms are small.
    "clip_norm_small": ("SGD", dict(clip_norm=[2, 4e-6], row_factor=2.0**-22), steps(16, seed=2)),
    "clip_value": ("SGD", dict(clip_value=0.25), steps(16, seed=3)),
    "clip_norm_and_value": ("SGD", dict(clip_norm=[2, 10.0], clip_value=0.5, maximize=True), steps(16, seed=4)),
    "clip_not_finite": (
        "AdamW",
        dict(clip_norm=[2, 10.0]),
        # An infinity makes all others 0; a NaN makes all NaN.
        with_events(steps(8, seed=5), non_finite={3: at(("c", 256, "-inf")), 7: at(("e", 4, "nan"))}),
    ),
    "clip_value_not_finite": (
        "SGD",
        dict(clip_value=0.25),
        with_events(steps(8, seed=5), non_finite={3: at(("c", 256, "-inf")), 7: at(("e", 4, "nan"))}),
    ),
    "scaler": ("AdamW", dict(scaler=SCALER), with_events(steps(20, seed=6), non_finite=BAD)),
    "scaler_clip_norm": (
        "AdamW",
        dict(scaler=SCALER, clip_norm=[2, 15.0], maximize=True),
        with_events(steps(16, seed=7), non_finite=BAD),
    ),
    "scaler_clip_norm_max": (
        "RMSprop",
        dict(scaler=SCALER, clip_norm=["inf", 5.0]),
        with_events(steps(16, seed=8), non_finite=BAD),
    ),
    "scaler_clip_value": (
        "RMSprop",
        dict(scaler=SCALER, clip_value=0.25),
        with_events(steps(16, seed=9), non_finite=BAD),
    ),
    # The first step that counts is the third: momentum starts there.
    "scaler_first_skipped": (
        "SGD",
        dict(scaler={**SCALER, "growth_interval": 1}),
        with_events(steps(12, seed=10), non_finite={1: at(("e", 4, "nan")), 2: at(("a", 0, "inf"))}),
    ),
    # Its product of momentum factors waits with its steps.
    "scaler_nadam": ("NAdam", dict(scaler=SCALER), with_events(steps(16, seed=11), non_finite=BAD)),
    "scaler_odd_factors": (
        "AdamW",
        dict(
            scaler=dict(init_scale=1000.0, growth_factor=1.7, backoff_factor=0.3, growth_interval=2),
            clip_norm=[2, 15.0],
        ),
        with_events(steps(16, seed=12), non_finite={3: BAD[4], 8: BAD[8], 15: BAD[13], 16: BAD[9]}),
    ),
    # Gradients overflow until the scale fits.
    "scaler_overflow": ("SGD", dict(scaler={**SCALER, "init_scale": 2.0**126}, clip_norm=[2, 15.0]), steps(16, seed=13)),
    # The scale stays where it would become infinite.
    "scaler_ceiling": (
        "RMSprop",
        dict(scaler=dict(init_scale=2.0**124, growth_factor=4.0, backoff_factor=0.5, growth_interval=2), row_factor=2.0**-16),
        steps(12, seed=14),
    ),
    "accumulate": ("AdamW", dict(micro_batches=4, clip_norm=[2, 7.0]), steps(12, 4, seed=15)),
    "accumulate_plain": ("RMSprop", dict(micro_batches=4), steps(12, 4, seed=16)),
    # In the last of them infinities of both signs add up to a NaN.
    "accumulate_scaler": (
        "SGD",
        dict(micro_batches=3, scaler=SCALER, clip_norm=[2, 9.0], clip_value=0.8),
        with_events(
            steps(14, 3, seed=17),
            non_finite={
                3: [[1, "e", 4, "inf"]],
                8: [[2, "a", 0, "-inf"]],
                12: [[0, "c", 255, "inf"], [2, "c", 255, "-inf"]],
            },
        ),
    ),
    "frozen": (
        "AdamW",
        dict(clip_norm=[2, 15.0], members=[["a", "c"], ["b", "d"]]),
        with_events(
            steps(16, seed=18),
            frozen={1: ["c"], 2: ["c"], 4: ["a", "d"], 5: ["a", "d"], 9: ["b", "c", "d"], 14: ["e", "a"]},
            add={7: added("AdamW", ["e"])},
        ),
    ),
    "frozen_scaler": (
        "SGD",
        dict(scaler=SCALER, clip_norm=[2, 15.0], members=[["a"], ["b", "d"]]),
        with_events(
            steps(20, seed=19),
            # Those with bad gradients are frozen in some of these steps: then nothing is skipped.
            non_finite={2: BAD[8], 5: BAD[8], 10: BAD[4], 14: BAD[13], 17: BAD[4]},
            frozen={1: ["b"], 2: ["b"], 5: ["a"], 6: ["d"], 14: ["b", "c", "d"], 15: ["e"]},
            add={4: added("SGD", ["c"]), 9: added("SGD", ["e"])},
        ),
    ),
    "frozen_nadam": (
        "NAdam",
        dict(scaler=SCALER, members=[["a", "c"], ["b", "d"]]),
        with_events(
            steps(16, seed=20),
            non_finite={6: BAD[8], 10: BAD[4]},
            frozen={2: ["d"], 3: ["d"], 6: ["b"], 7: ["a", "b"]},
            add={9: added("NAdam", ["e"])},
        ),
    ),
    "all_at_once": (
        "AdamW",
        dict(
            micro_batches=4,
            scaler=SCALER,
            clip_norm=[2, 7.0],
            cosine=dict(T_max=16, eta_min=1e-4),
        ),
        with_events(
            steps(20, 4, seed=21),
            non_finite={4: [[3, "e", 4, "inf"]], 11: [[0, "a", 0, "nan"]], 12: [[1, "d", 11, "-inf"]]},
            frozen={2: ["a"], 8: ["c", "d"], 9: ["c"], 12: ["d"]},
            max_norm={7: 3.0, 15: 100.0},
        ),
    ),
}

file = {f"param.{name}": value for name, value in PARAMS.items()}
file |= {f"grad.{name}": value for name, value in GRADS.items()}
file |= {f"kept.{name}": value.astype(np.int64) for name, value in KEPT.items()}
save_file(file, os.path.join(args.out, "inputs.safetensors"), metadata=dict(names=json.dumps(list(SHAPES))))
for name, (rule, settings, plan) in CASES.items():
    settings = dict(settings)
    hyper = {"maximize": True} if settings.pop("maximize", False) else {}
    of = groups(rule, settings.pop("members", MEMBERS), **hyper)
    save(name, dict(rule=rule, groups=of, states=STATES[rule], steps=plan, **settings))
