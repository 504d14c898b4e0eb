#!/usr/bin/env python3
"""Time PyTorch's optimizer steps on the CPU or a CUDA device, with one JSON line for each case.

Usage: torch_step.py [--device cpu|cuda] [--reps 30]     all cases, one after another
       torch_step.py --serve                             steps on request, to time two libraries

Fields: peer, version, device, rule, impl, shape, n (parameters), ms_median, ms_min, device_ms,
gparam_s, gb_s (by the rule's f32 bytes for each parameter). The first line is the device's copy
bandwidth (bytes read plus written), the upper bound for all other lines.

The server reads one JSON request from each line and answers each with one line:
  {"make": "a", "device": "cpu", "threads": 2, "rule": "AdamW", "impl": "fused", "sizes": [4096, …],
   "dtype": "float32"}
  {"step": "a", "count": 3}                              → {"wall_ms": […], "device_ms": […]}
  {"drop": "a"}
"""
import argparse, json, os, statistics, sys, time

# Waiting threads must not occupy the cores while the other library is timed.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import torch

RULES = {  # f32 bytes for each parameter: every input is read once, every output is written once
    "AdamW": (torch.optim.AdamW, dict(lr=1e-3), 28), "Adam": (torch.optim.Adam, dict(lr=1e-3), 28),
    "RMSprop": (torch.optim.RMSprop, dict(lr=1e-3), 20), "Adagrad": (torch.optim.Adagrad, dict(lr=1e-3), 20),
    "SGD": (torch.optim.SGD, dict(lr=1e-3, momentum=0.9), 20), "NAdam": (torch.optim.NAdam, dict(lr=1e-3), 28),
}
SHAPES = {"1x1M": [1 << 20], "1x16M": [1 << 24], "1000x4096": [4096] * 1000, "1000x65536": [65536] * 1000}
CUDA_SHAPES = {"1x256M": [1 << 28], "1x1G": [1 << 30]}
WARM_UP = 5


def timed(step, count, cuda):
    """Milliseconds of step() from idle to idle: by the wall clock, on CUDA also by the device's."""
    wall, device = [], []
    for _ in range(count):
        if cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
        begin = time.perf_counter()
        step()
        if cuda:
            end.record()
            torch.cuda.synchronize()
            device.append(start.elapsed_time(end))
        wall.append((time.perf_counter() - begin) * 1e3)
    return wall, device


def make(rule, impl, sizes, device, dtype="float32"):
    """An optimizer over tensors of these sizes, or None if PyTorch lacks it or the memory."""
    cls, options, _ = RULES[rule]
    try:
        params = [torch.nn.Parameter(torch.randn(size, device=device).to(getattr(torch, dtype))) for size in sizes]
        for p in params:
            p.grad = torch.randn_like(p)
        optimizer = cls(params, **{impl: True}, **options)
        optimizer.step()
        return optimizer
    except (TypeError, RuntimeError, torch.cuda.OutOfMemoryError):
        return None


def say(**line):
    print(json.dumps(line), flush=True)


def device_name(cuda):
    return torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"


def copy(device, cuda, reps):
    n = 1 << 28 if cuda else 1 << 26
    x, y = torch.randn(n, device=device), torch.empty(n, device=device)
    timed(lambda: y.copy_(x), WARM_UP, cuda)
    wall, on_device = timed(lambda: y.copy_(x), reps, cuda)
    ms = statistics.median(on_device or wall)
    say(peer="copy", device=device_name(cuda), n=n, ms_median=round(ms, 4), gb_s=round(8 * n / ms / 1e6, 1))


def case(shape, sizes, rule, impl, device, cuda, reps):
    optimizer = make(rule, impl, sizes, device)
    if optimizer is None:
        return
    timed(optimizer.step, WARM_UP, cuda)
    wall, on_device = timed(optimizer.step, reps, cuda)
    n, m = sum(sizes), statistics.median(wall)
    d = statistics.median(on_device) if on_device else m
    say(peer="torch", version=torch.__version__, device=device_name(cuda), rule=rule, impl=impl, shape=shape, n=n,
        ms_median=round(m, 4), ms_min=round(min(wall), 4), device_ms=round(d, 4),
        gparam_s=round(n / m / 1e6, 3), gb_s=round(RULES[rule][2] * n / d / 1e6, 1))


def all_cases(device, reps):
    cuda = device == "cuda"
    copy(device, cuda, reps)
    shapes = {**SHAPES, **CUDA_SHAPES} if cuda else SHAPES
    for shape, sizes in shapes.items():
        for rule in RULES:
            if sum(sizes) >= 1 << 28 and rule not in ("AdamW", "RMSprop", "Adagrad"):
                continue
            for impl in ("fused", "foreach"):
                case(shape, sizes, rule, impl, device, cuda, reps)
                if cuda:
                    torch.cuda.empty_cache()


def answer(request, optimizers):
    if "make" in request:
        if request.get("threads"):
            torch.set_num_threads(request["threads"])
        cuda = request["device"] == "cuda"
        asked = [request[key] for key in ("rule", "impl", "sizes", "device", "dtype")]
        optimizer = make(*asked)
        optimizers[request["make"]] = (optimizer, cuda)
        return dict(made=optimizer is not None, version=torch.__version__, device=device_name(cuda))
    if "step" in request:
        optimizer, cuda = optimizers[request["step"]]
        wall, on_device = timed(optimizer.step, request["count"], cuda)
        return dict(wall_ms=wall, device_ms=on_device or wall)
    optimizers.pop(request["drop"], None)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {}


def serve():
    optimizers = {}
    say(cuda=torch.cuda.is_available())
    for line in sys.stdin:
        say(**answer(json.loads(line), optimizers))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--reps", type=int, default=30)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve()
    else:
        all_cases(options.device, options.reps)


if __name__ == "__main__":
    main()
