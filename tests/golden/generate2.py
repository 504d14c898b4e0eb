#!/usr/bin/env python3
"""Reference trajectories of the rules that PyTorch and optax lack (and of ASGD), run by the libraries they come from.

Usage: generate2.py OUT_DIR           write the cases whose libraries are on PyPI
       generate2.py --check DIR       recompute every case of DIR by the formulas below (numpy, f64) and compare

One safetensors file per case, as generate.py writes them, and
  lr            [T]     f64   only where the learning rate changes by step; else hyper.lr holds
  traj_f64.eval [T, n]  f64   the evaluation point x of schedule-free, after every step
  group_f64.K   [T]     f64   a scalar of the group after every step (schedule-free's weight_sum, ...)

torch 2.15, schedulefree 1.4.1 and timm 1.0.31 come from PyPI. The cases of AdEMAMix, ADOPT, Adan and MARS were run by the authors'
code (apple/ml-ademamix c3d73c0, iShohei220/adopt 6468572, sail-sg/Adan 2c65bea, AGI-Arena/MARS 4831e28) and are data: --check
recomputes them.
"""
import importlib, json, math, os, sys
import numpy as np


def inputs(kind, n, steps, seed):
    r = np.random.default_rng(seed)
    if kind == "wide":                                    # as generate.py: nine decades, exact zeros, sparse steps
        p = r.normal(size=n); g = r.normal(size=(steps, n)) * 10.0 ** r.uniform(-6, 3, size=n)
        g[r.random((steps, n)) < 0.1] = 0.0
        g[:, :3] = 0.0; g[::2, 3:6] = 0.0
    elif kind == "drift":                                 # gradients that keep their sign
        p = r.normal(size=n) * 0.5; bias = np.sign(r.normal(size=n)) * 10.0 ** r.uniform(-2, 0.5, size=n)
        g = bias * (1 + 0.5 * r.normal(size=(steps, n)))
        g[:, :2] = 0.0
    return p.astype(np.float32), g.astype(np.float32)


# ---------------------------------------------------------------- libraries
def version(package):
    import importlib.metadata
    return importlib.metadata.version(package)


def push(d, k, v): d.setdefault(k, []).append(np.array(v, copy=True))


def runner(make, after=None):
    def run(p0, grads, dt, lrs):
        import torch
        torch.set_default_dtype(dt)
        p = torch.nn.Parameter(torch.tensor(p0, dtype=dt)); opt = make([p]); rec = {"traj": {}, "group": {}}; traj = []
        for t, g in enumerate(grads):
            if lrs is not None:
                for q in opt.param_groups: q["lr"] = float(lrs[t])
            p.grad = torch.tensor(g, dtype=dt)
            opt.step()
            traj.append(p.detach().numpy().copy())
            if after: after(opt, p, rec)
        state = {k: v.detach().numpy().copy() for k, v in opt.state[p].items() if torch.is_tensor(v) and v.ndim >= 1 and v.dtype == dt}
        torch.set_default_dtype(torch.float32)
        return np.stack(traj), state, rec
    return run


def lib(rule, h):
    """The library's run, its name and its version; None where the case is data."""
    import torch
    if rule.startswith("ScheduleFree"):
        import schedulefree
        cls = getattr(schedulefree, rule[12:] + "ScheduleFree")
        beta = h.get("momentum", (h.get("betas") or (0.9,))[0])

        def make(ps):
            o = cls(ps, **h, foreach=False); o.train(); return o

        def after(opt, p, rec):
            q = opt.param_groups[0]
            push(rec["traj"], "eval", torch.lerp(p.detach(), opt.state[p]["z"], 1 - 1 / beta).numpy())
            for k in ("weight_sum", "lr_max", "scheduled_lr"): push(rec["group"], k, float(q[k]))
        return runner(make, after), "schedulefree", version("schedulefree")
    if rule == "ASGD":
        return runner(lambda ps: torch.optim.ASGD(ps, foreach=False, **h)), "torch", torch.__version__.split("+")[0]
    if rule == "LaProp":
        cls = importlib.import_module("timm.optim.laprop").LaProp
        return runner(lambda ps: cls(ps, foreach=False, **h)), "timm", version("timm")


# ---------------------------------------------------------------- the formulas
def lerp(a, b, w): return a + w * (b - a)


def formula(rule, h, p, G, lrs=None):
    p = p.astype(np.float64); G = G.astype(np.float64); s = {}; traj = []; ex = {}; gr = {}
    Z = np.zeros_like(p)
    b = h.get("betas", (0.9, 0.999)); wd = h.get("weight_decay", 0.0); eps = h.get("eps", 1e-8)
    for t, g in enumerate(G, 1):
        lr = h.get("lr", 1.0) if lrs is None else float(lrs[t - 1])
        if rule.startswith("ScheduleFree"):
            z = s.get("z", p.copy()); k = t - 1; beta = h.get("momentum", b[0]); r = h.get("r", 0.0); hat = g; fac = 1.0
            if rule != "ScheduleFreeSGD":
                v = s["exp_avg_sq"] = b[1] * s.get("exp_avg_sq", Z) + (1 - b[1]) * g * g
                den = np.sqrt(v / (1 - b[1] ** t)) + eps
            if rule == "ScheduleFreeRAdam":
                ri = 2 / (1 - b[1]) - 1; rt = ri - 2 * t * b[1] ** t / (1 - b[1] ** t)
                fac = math.sqrt((rt - 4) * (rt - 2) * ri / ((ri - 4) * (ri - 2) * rt)) if rt > 4 else float(not h.get("silent_sgd_phase", True))
                hat = g / den if rt > 4 else g
            elif rule == "ScheduleFreeAdamW": hat = g / den
            if rule != "ScheduleFreeRAdam": fac = t / h["warmup_steps"] if k < h.get("warmup_steps", 0) else 1.0
            a = lr * fac; lm = s["lr_max"] = max(a, s.get("lr_max", -1.0)); w = t ** r * lm ** h.get("weight_lr_power", 2.0); ws = s["weight_sum"] = s.get("weight_sum", 0.0) + w
            c = w / ws if ws else 0.0
            hat = hat + wd * p
            p = lerp(p, z, c) + a * (beta * (1 - c) - 1) * hat; z = s["z"] = z - a * hat
            push(ex, "eval", lerp(p, z, 1 - 1 / beta))
            for kk, vv in (("weight_sum", ws), ("lr_max", lm), ("scheduled_lr", a)): push(gr, kk, vv)
        elif rule == "AdEMAMix":
            b1, b2, b3f = h["betas"]; al = h["alpha"]; wa, wb = h.get("alpha_warmup"), h.get("beta3_warmup")
            if wa and t < wa: al = al * t / wa
            b3 = b3f
            if wb and t < wb:
                f = lambda x: math.log(0.5) / math.log(x + 1e-8) - 1; x = t / wb
                b3 = 0.5 ** (1 / ((1 - x) * f(b1) + x * f(b3f) + 1))
            m1 = s["exp_avg_fast"] = b1 * s.get("exp_avg_fast", Z) + (1 - b1) * g; m2 = s["exp_avg_slow"] = b3 * s.get("exp_avg_slow", Z) + (1 - b3) * g
            v = s["exp_avg_sq"] = b2 * s.get("exp_avg_sq", Z) + (1 - b2) * g * g
            p = p - lr * ((m1 / (1 - b1 ** t) + al * m2) / (np.sqrt(v) / math.sqrt(1 - b2 ** t) + eps) + wd * p)
        elif rule == "ADOPT":
            eps = h.get("eps", 1e-6)
            if wd and not h.get("decouple"): g = g + wd * p
            if t == 1: s["exp_avg"] = Z; s["exp_avg_sq"] = g * g
            else:
                if wd and h.get("decouple"): p = p * (1 - lr * wd)
                x = g / np.maximum(np.sqrt(s["exp_avg_sq"]), eps)
                if h.get("clip", True): x = np.clip(x, -(t - 1) ** 0.25, (t - 1) ** 0.25)
                s["exp_avg"] = lerp(s["exp_avg"], x, 1 - b[0]); p = p - lr * s["exp_avg"]
                s["exp_avg_sq"] = b[1] * s["exp_avg_sq"] + (1 - b[1]) * g * g
        elif rule == "Adan":
            b1, b2, b3 = h.get("betas", (0.98, 0.92, 0.99)); one = lambda b, t=1: 1 - b ** t; root = lambda b, t: math.sqrt(1 - b ** t)
            df = g - s.get("prev", g) if t > 1 else Z
            m = s["exp_avg"] = b1 * s.get("exp_avg", Z) + one(b1) * g; df_ = s["exp_avg_diff"] = b2 * s.get("exp_avg_diff", Z) + one(b2) * df
            n = s["exp_avg_sq"] = b3 * s.get("exp_avg_sq", Z) + one(b3) * (g + b2 * df) ** 2
            s["prev"] = g; s["neg_pre_grad"] = -g; den = np.sqrt(n) / root(b3, t) + eps
            u = lr / one(b1, t) * m / den + lr * b2 / one(b2, t) * df_ / den
            p = p * (1 - lr * wd) - u if h.get("no_prox") else (p - u) / (1 + lr * wd)
        elif rule == "LaProp":
            eps = h.get("eps", 1e-15)
            v = s["exp_avg_sq"] = b[1] * s.get("exp_avg_sq", Z) + (1 - b[1]) * g * g; L = s["L"] = b[0] * s.get("L", 0.0) + (1 - b[0]) * lr
            m = s["exp_avg"] = b[0] * s.get("exp_avg", Z) + (1 - b[0]) * lr * g / (np.sqrt(v / (1 - b[1] ** t)) + eps)
            p = p - lr / L * m; p = p * (1 - lr * wd)
        elif rule == "MARS":
            c = g + h["gamma"] * b[0] / (1 - b[0]) * (g - s.get("last_grad", Z)); n = math.sqrt((c * c).sum()); c = c / n if n > 1 else c
            m = s["exp_avg"] = b[0] * s.get("exp_avg", Z) + (1 - b[0]) * c; v = s["exp_avg_sq"] = b[1] * s.get("exp_avg_sq", Z) + (1 - b[1]) * c * c; s["last_grad"] = g
            p = p - lr * (wd * p + m / ((np.sqrt(v) / math.sqrt(1 - b[1] ** t) + eps) * (1 - b[0] ** t)))
        elif rule == "ASGD":
            lam, al, t0 = h.get("lambd", 1e-4), h.get("alpha", 0.75), h.get("t0", 1e6)
            eta = s.get("_eta", lr); mu = s.get("_mu", 1.0); g = g + wd * p
            p = p * (1 - lam * eta) - eta * g; s["ax"] = p.copy() if mu == 1 else lerp(s.get("ax", Z), p, mu)
            s["_eta"] = lr / (1 + lam * lr * t) ** al; s["_mu"] = 1 / max(1, t - t0)
        else: raise KeyError(rule)
        traj.append(p.copy())
    return np.stack(traj), s, {k: np.stack(v) for k, v in ex.items()}, {k: np.array(v) for k, v in gr.items()}


def rel(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.max(np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-3 * max(float(np.max(np.abs(a))), 1e-300))))


def check(folder):
    from safetensors import safe_open
    from safetensors.numpy import load_file
    worst = 0.0
    for name, *_ in CASES:
        path = os.path.join(folder, name + ".safetensors")
        d = load_file(path); m = safe_open(path, "np").metadata()
        with np.errstate(all="ignore"):
            tr, st, ex, gr = formula(m["rule"], json.loads(m["hyper"]), d["param0"], d["grads"], d.get("lr"))
        e = rel(tr, d["params_f64"]); parts = {}
        for k, v in d.items():
            kind, _, n = k.partition(".")
            found = {"traj_f64": ex, "group_f64": gr, "state_f64": st}.get(kind, {})
            if n in found: parts[n] = rel(found[n], v)
        worst = max(worst, e, *parts.values(), 0)
        print(f"{name:20s} {m['rule']:20s} {m['library'][:20]:20s} params {e:.1e}  states {max(parts.values(), default=0):.1e} ({' '.join(parts)})")
    print(f"worst {worst:.1e}")


# ---------------------------------------------------------------- cases
def build(out):
    import torch
    from safetensors.numpy import save_file
    os.makedirs(out, exist_ok=True)
    for name, rule, h, n, kind, seed, *lrs in CASES:
        found = lib(rule, h)
        if found is None: print("data:", name); continue
        p0, grads = inputs(kind, n, 12, seed); lrs = np.array(lrs[0]) if lrs else None
        run, library, ver = found
        t64, st, rec = run(p0, grads, torch.float64, lrs); t32, _, _ = run(p0, grads, torch.float32, lrs)
        data = dict(param0=p0, grads=grads, params_f64=t64.astype(np.float64), params_f32=t32.astype(np.float32))
        if lrs is not None: data["lr"] = lrs.astype(np.float64)
        data.update({f"state_f64.{a}": np.asarray(v, np.float64) for a, v in st.items()})
        data.update({f"traj_f64.{a}": np.stack(v).astype(np.float64) for a, v in rec["traj"].items()})
        data.update({f"group_f64.{a}": np.array(v, np.float64) for a, v in rec["group"].items()})
        meta = dict(rule=rule, library=library, version=ver, hyper=json.dumps(h), steps="12", note="")
        save_file({a: np.ascontiguousarray(v) for a, v in data.items()}, os.path.join(out, name + ".safetensors"), metadata=meta)


RAMP = [1e-3 * min(1, (i + 1) / 4) * (1 if i < 6 else 0.5 ** (i - 5)) for i in range(12)]
CASES = [
    ("sf_adamw", "ScheduleFreeAdamW", dict(lr=2.5e-3), 131, "wide", 14),
    ("sf_adamw_warmup", "ScheduleFreeAdamW", dict(lr=1e-2, betas=(0.95, 0.99), weight_decay=0.1, warmup_steps=5, r=0.5), 67, "wide", 15),
    ("sf_sgd", "ScheduleFreeSGD", dict(lr=1e-1, momentum=0.9, weight_decay=1e-2, warmup_steps=3), 67, "drift", 16),
    ("sf_radam", "ScheduleFreeRAdam", dict(lr=2.5e-3), 67, "wide", 17),
    ("ademamix", "AdEMAMix", dict(lr=1e-3, betas=(0.9, 0.999, 0.9999), alpha=5.0, weight_decay=0.1), 131, "wide", 21),
    ("ademamix_warmup", "AdEMAMix", dict(lr=1e-2, betas=(0.9, 0.99, 0.999), alpha=2.0, beta3_warmup=8, alpha_warmup=6, eps=1e-6), 67, "wide", 22),
    ("adopt", "ADOPT", dict(lr=1e-3, betas=(0.9, 0.9999)), 131, "wide", 23),
    ("adopt_decoupled", "ADOPT", dict(lr=1e-2, betas=(0.8, 0.99), weight_decay=0.1, decouple=True, clip=False), 67, "wide", 24),
    ("adan", "Adan", dict(lr=1e-2, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.5), 131, "wide", 25),
    ("adan_no_prox", "Adan", dict(lr=1e-2, betas=(0.9, 0.8, 0.95), eps=1e-6, weight_decay=0.1, no_prox=True), 67, "wide", 26),
    ("laprop", "LaProp", dict(lr=4e-4, betas=(0.9, 0.999), eps=1e-15, weight_decay=1e-2), 67, "wide", 46),
    ("laprop_schedule", "LaProp", dict(lr=1e-3, betas=(0.8, 0.95), eps=1e-8, weight_decay=0.1), 67, "wide", 47, RAMP),
    ("mars_adamw", "MARS", dict(lr=3e-3, betas=(0.95, 0.99), eps=1e-8, weight_decay=1e-2, gamma=0.025), 67, "wide", 48),
    ("asgd", "ASGD", dict(lr=1e-2, lambd=1e-2, alpha=0.75, t0=4, weight_decay=1e-2), 67, "drift", 49),
]

if __name__ == "__main__":
    if sys.argv[1] == "--check": check(sys.argv[2])
    else: build(sys.argv[1])
