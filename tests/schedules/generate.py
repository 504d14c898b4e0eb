#!/usr/bin/env python3
"""Write the learning rates (and momenta) of PyTorch's schedulers, step by step.

Usage: generate.py > cases.json

A list of cases, one a line:
  name
  scheduler   [class, settings]; a composition's settings hold such pairs under `schedulers`
  lr          the optimizer's rate before the scheduler
  lrs         `get_last_lr()` after 0, 1, 2, ... calls of `scheduler.step()`; for ReduceLROnPlateau the
              rate after each metric
  closed      the same by PyTorch's own closed form, where it has one
  momenta     the optimizer's momentum (or first beta) at the same steps, where the scheduler cycles it
  metrics     what ReduceLROnPlateau was given; null is NaN

Requires: torch==2.11.0
"""
import json, math, random, warnings
import torch
from torch.optim import lr_scheduler

warnings.filterwarnings("ignore")  # of deprecated epochs and of rates past the end


def noam(d_model, warmup_steps):
    return lambda step: d_model**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup_steps**-1.5)


def build(optimizer, spec):
    cls, settings = spec
    if cls == "Noam":
        return lr_scheduler.LambdaLR(optimizer, noam(**settings))
    if cls == "SequentialLR":
        parts = [build(optimizer, part) for part in settings["schedulers"]]
        return lr_scheduler.SequentialLR(optimizer, parts, settings["milestones"])
    if cls == "ChainedScheduler":
        return lr_scheduler.ChainedScheduler([build(optimizer, part) for part in settings["schedulers"]], optimizer)
    return getattr(lr_scheduler, cls)(optimizer, **settings)


def run(name, lr, spec, steps, adam=False):
    p = [torch.nn.Parameter(torch.zeros(1))]
    make = lambda: torch.optim.Adam(p, lr=lr) if adam else torch.optim.SGD(p, lr=lr, momentum=0.9)
    optimizer = make()
    scheduler = build(optimizer, spec)
    momentum = lambda: optimizer.param_groups[0]["betas"][0] if adam else optimizer.param_groups[0]["momentum"]
    case = dict(name=name, scheduler=spec, lr=lr, lrs=[], momenta=[])
    for step in range(steps):
        if step:
            scheduler.step()
        (rate,) = scheduler.get_last_lr()
        assert rate == optimizer.param_groups[0]["lr"]
        case["lrs"].append(rate)
        case["momenta"].append(momentum())
    if not getattr(scheduler, "cycle_momentum", False):
        del case["momenta"]
    if hasattr(scheduler, "_get_closed_form_lr"):
        scheduler = build(make(), spec)
        case["closed"] = []
        for step in range(steps):
            scheduler.step(step)
            case["closed"] += scheduler.get_last_lr()
    return case


def run_plateau(name, lr, settings, metrics):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    case = dict(name=name, scheduler=["ReduceLROnPlateau", settings], lr=lr, lrs=[])
    for metric in metrics:
        scheduler.step(math.nan if metric is None else metric)
        case["lrs"] += scheduler.get_last_lr()
    case["metrics"] = metrics
    return case


def metrics(seed, n, slope):
    """A noisy descent that levels off; NaN now and then."""
    r = random.Random(seed)
    value = lambda t: round(1.0 + slope * math.exp(-t / 8) + 0.02 * r.random(), 4)
    return [None if t % 17 == 13 else value(t) for t in range(n)]


CASES = [
    (0.3, ["ConstantLR", dict(factor=1 / 3, total_iters=5)], 12),
    (0.1, ["ConstantLR", dict(factor=0.25, total_iters=1)], 5),
    (0.1, ["ConstantLR", dict(factor=1.0, total_iters=0)], 5),
    (0.05, ["LinearLR", dict(start_factor=1 / 3, end_factor=1.0, total_iters=5)], 10),
    (3e-4, ["LinearLR", dict(start_factor=1e-3, end_factor=1.0, total_iters=40)], 50),
    (0.1, ["LinearLR", dict(start_factor=1.0, end_factor=0.1, total_iters=7)], 12),
    (0.1, ["LinearLR", dict(start_factor=0.5, end_factor=0.0, total_iters=9)], 12),
    (0.1, ["ExponentialLR", dict(gamma=0.9)], 60),
    (1e-6, ["ExponentialLR", dict(gamma=1.3)], 40),
    (0.5, ["StepLR", dict(step_size=7, gamma=0.1)], 40),
    (0.05, ["StepLR", dict(step_size=1, gamma=0.7)], 20),
    (0.1, ["MultiStepLR", dict(milestones=[3, 8, 20], gamma=0.1)], 30),
    (0.1, ["MultiStepLR", dict(milestones=[9, 4, 4, 1], gamma=0.5)], 15),
    (0.1, ["PolynomialLR", dict(total_iters=5, power=1.0)], 10),
    (1e-3, ["PolynomialLR", dict(total_iters=40, power=0.9)], 45),
    (0.1, ["PolynomialLR", dict(total_iters=13, power=3.0)], 16),
    (0.1, ["PolynomialLR", dict(total_iters=6, power=0.0)], 9),
    (0.1, ["CosineAnnealingLR", dict(T_max=50, eta_min=0.0)], 51),
    (3e-4, ["CosineAnnealingLR", dict(T_max=10, eta_min=3e-5)], 45),
    (0.1, ["CosineAnnealingLR", dict(T_max=7, eta_min=0.2)], 20),
    (0.1, ["CosineAnnealingLR", dict(T_max=1, eta_min=0.01)], 8),
    (0.05, ["CosineAnnealingWarmRestarts", dict(T_0=10, T_mult=1, eta_min=0.0)], 35),
    (0.05, ["CosineAnnealingWarmRestarts", dict(T_0=1, T_mult=1, eta_min=0.01)], 5),
    (0.05, ["CosineAnnealingWarmRestarts", dict(T_0=5, T_mult=2, eta_min=1e-3)], 80),
    (0.05, ["CosineAnnealingWarmRestarts", dict(T_0=1, T_mult=3, eta_min=0.0)], 45),
    *[
        (0.1, ["OneCycleLR", dict(max_lr=0.1, total_steps=total, anneal_strategy=how, three_phase=three, **more)], total)
        for how in ("cos", "linear")
        for three in (False, True)
        for total, more in [
            (50, {}),
            (33, dict(pct_start=0.25, div_factor=10.0, final_div_factor=100.0, base_momentum=0.8, max_momentum=0.9)),
        ]
    ],
    (0.1, ["OneCycleLR", dict(max_lr=1.0, total_steps=10, pct_start=0.0)], 10),
    (0.1, ["OneCycleLR", dict(max_lr=1.0, total_steps=10, pct_start=1.0)], 10),
    (0.1, ["OneCycleLR", dict(max_lr=1.0, total_steps=20, pct_start=0.7, three_phase=True)], 20),
    (0.1, ["OneCycleLR", dict(max_lr=1.0, total_steps=1)], 1),
    (0.1, ["OneCycleLR", dict(max_lr=1.0, total_steps=12, cycle_momentum=False)], 12),
    *[
        (0.1, ["CyclicLR", dict(base_lr=0.01, max_lr=0.1, mode=mode, gamma=gamma, **more)], 70)
        for mode, gamma in [("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.98)]
        for more in [
            dict(step_size_up=8),
            dict(step_size_up=5, step_size_down=12, base_momentum=0.85, max_momentum=0.95),
        ]
    ],
    (0.1, ["CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=1, cycle_momentum=False)], 6),
    (1.0, ["Noam", dict(d_model=512, warmup_steps=20)], 60),
    (2.0, ["Noam", dict(d_model=64, warmup_steps=1)], 10),
]
CASES += [
    (0.1, ["SequentialLR", dict(schedulers=parts, milestones=milestones)], steps)
    for parts, milestones, steps in [
        (
            [["LinearLR", dict(start_factor=0.01, total_iters=10)], ["CosineAnnealingLR", dict(T_max=30, eta_min=1e-3)]],
            [10],
            41,
        ),
        ([["ConstantLR", dict(factor=0.1, total_iters=20)], ["ExponentialLR", dict(gamma=0.9)]], [20], 40),
        (
            [
                ["LinearLR", dict(start_factor=0.1, total_iters=5)],
                ["CosineAnnealingWarmRestarts", dict(T_0=4, T_mult=2)],
                ["StepLR", dict(step_size=3, gamma=0.5)],
            ],
            [5, 20],
            35,
        ),
        ([["PolynomialLR", dict(total_iters=8, power=2.0)], ["MultiStepLR", dict(milestones=[2, 5])]], [6], 20),
        ([["LinearLR", dict(start_factor=0.25, total_iters=5)], ["LinearLR", dict(start_factor=1.0, end_factor=0.0)]], [9], 20),
    ]
]
CASES += [
    (0.1, ["ChainedScheduler", dict(schedulers=parts)], 40)
    for parts in [
        [["ConstantLR", dict(factor=0.1, total_iters=4)], ["ExponentialLR", dict(gamma=0.9)]],
        [["LinearLR", dict(start_factor=0.1, total_iters=6)], ["StepLR", dict(step_size=10, gamma=0.3)]],
        [
            ["LinearLR", dict(start_factor=0.5, total_iters=9)],
            ["PolynomialLR", dict(total_iters=50, power=2.0)],
            ["MultiStepLR", dict(milestones=[3, 30], gamma=0.5)],
        ],
    ]
]
PLATEAUS = [
    dict(),
    dict(patience=2, factor=0.5),
    dict(patience=3, factor=0.3, cooldown=4),
    dict(patience=0, factor=0.5, min_lr=1e-3),
    dict(patience=1, threshold=0.05, threshold_mode="abs"),
    dict(patience=1, factor=0.5, eps=0.01),
    dict(mode="max", patience=2, factor=0.5),
    dict(patience=1, factor=0.8, threshold=0.01),
    dict(mode="max", patience=1, factor=0.8, threshold=0.01),
    dict(mode="max", patience=1, factor=0.7, threshold=0.01, threshold_mode="abs", cooldown=2),
]

cases = [run(f"{k} {spec[0]}", lr, spec, steps) for k, (lr, spec, steps) in enumerate(CASES)]
# Where the optimizer has betas, the first of them is the momentum.
cases += [run("OneCycleLR with Adam", 0.1, ["OneCycleLR", dict(max_lr=0.1, total_steps=20)], 20, adam=True)]
for k, settings in enumerate(PLATEAUS):
    slope = -1.0 if settings.get("mode") == "max" else 1.0
    cases += [run_plateau(f"{k} ReduceLROnPlateau", 0.1, settings, metrics(k, 60, slope))]
print("[\n" + ",\n".join(json.dumps(case, allow_nan=False) for case in cases) + "\n]")
