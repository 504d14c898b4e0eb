#!/usr/bin/env python3
"""The converter of PyTorch's files, held against samples and against PyTorch.

Needs torch, safetensors and numpy, and is skipped without.
"""

import copy
import json
import os
import subprocess
import sys
import unittest
import unittest.mock

try:
    import safetensors.torch
    import torch
except ImportError as missing:
    print(f"The converter's tests are skipped: {missing}.")
    raise unittest.SkipTest(str(missing)) from None

import support
from support import CASES, container, contents

from checkpoint import block8, forms, masters, tensors  # noqa: E402

VARIANTS = os.path.join(support.HERE, "variants")
FLAGS = ("foreach", "capturable", "differentiable", "fused", "param_names")


def case_file(case):
    return os.path.join(support.HERE, case + ".pt")


def variant(name):
    return os.path.join(VARIANTS, name)


def loaded(path):
    return torch.load(path, weights_only=True)


def metadata(case):
    with container.Source(os.path.join(support.SAMPLES, case + ".safetensors")) as source:
        return source.metadata


def names_of(case):
    return json.loads(metadata(case)["names"])


class Tests(support.Converting):
    def names(self, case="adamw"):
        return self.json("names.json", names_of(case))

    def save(self, name, value):
        torch.save(value, self.at(name))
        return self.at(name)

    def to(self, path, *more, out="out.safetensors"):
        self.convert("to", path, self.at(out), *more)
        return self.source(self.at(out))

    def back(self, path, out="back.pt"):
        self.convert("from", path, self.at(out))
        return loaded(self.at(out))

    def refuse_to(self, path, *more, says):
        self.refuse("to", path, self.at("no.safetensors"), *more, says=says)

    def refuse_from(self, path, says):
        self.refuse("from", path, self.at("no.pt"), says=says)

    def same(self, a, b, where=""):
        """The same containers, numbers and bits."""
        self.assertEqual(type(a), type(b), where)
        if isinstance(a, dict):
            self.assertEqual(set(a), set(b), where)
            for key in a:
                self.same(a[key], b[key], f"{where}.{key}")
        elif isinstance(a, (list, tuple)):
            self.assertEqual(len(a), len(b), where)
            for i, (x, y) in enumerate(zip(a, b)):
                self.same(x, y, f"{where}[{i}]")
        elif torch.is_tensor(a):
            self.assertEqual((a.dtype, a.shape), (b.dtype, b.shape), where)
            bits = lambda t: t.contiguous().reshape(-1).view(torch.uint8)
            self.assertTrue(torch.equal(bits(a), bits(b)), where)
        else:
            self.assertEqual(a, b, where)


def without_flags(groups):
    return [{k: v for k, v in group.items() if k not in FLAGS} for group in groups]


class Forms(Tests):
    """All forms of one state give the same arrays."""

    def test_each_case_gives_the_arrays_and_metadata_of_its_sample(self):
        for case in CASES:
            expected = self.sample(case)
            source = self.to(case_file(case), "--names", self.names(case))
            source.verify()
            self.assertEqual(contents(source), contents(expected), case)
            groups = [json.loads(s.metadata["param_groups"]) for s in (source, expected)]
            self.assertEqual(*map(without_flags, groups))
            for key in ("format", "optimizer"):
                self.assertEqual(source.metadata[key], expected.metadata[key])
            for key in ("names", "scaler", "scheduler"):
                told, wanted = (json.loads(s.metadata.get(key, "null")) for s in (source, expected))
                self.assertEqual(told, wanted, (case, key))

    def test_names_are_not_needed_where_the_file_has_them(self):
        for case in CASES:
            groups = loaded(case_file(case))["optimizer"]["param_groups"]
            if all("param_names" in group for group in groups):
                self.assertEqual(contents(self.to(case_file(case))), contents(self.sample(case)))
            else:
                self.refuse_to(case_file(case), says="--names")

    def test_each_variant_gives_the_arrays_of_adamw(self):
        names, by_name = ["--names", self.names()], []
        lerobot = ["--groups", variant("lerobot_groups.json")]
        for file, more in {
            "accelerate_optimizer.bin": names,
            "fsdp_full_optimizer.bin": by_name,
            "dcp_flat.pt": by_name,
            "lerobot_state.safetensors": [*names, *lerobot],
            "old_step_int.pt": [*names, "--class", "AdamW"],
        }.items():
            with self.subTest(file):
                source = self.to(variant(file), *more)
                self.assertEqual(contents(source), contents(self.sample("adamw")))
                self.assertEqual(source.metadata["optimizer"], "AdamW")
                groups = json.loads(source.metadata["param_groups"])
                self.assertEqual([g["lr"] for g in groups], [0.01, 0.005])
                self.assertEqual([g["weight_decay"] for g in groups], [0.1, 0.0])

    def test_a_state_dict_is_found_under_the_usual_keys_and_under_a_given_one(self):
        state = loaded(case_file("adamw"))["optimizer"]
        for key in ("optimizer", "optimizer_state_dict", "optim"):
            path = self.save("a.pt", {"epoch": 3, key: state})
            self.assertEqual(
                contents(self.to(path, "--names", self.names())), contents(self.sample("adamw"))
            )
        lightning = self.save("a.pt", {"optimizer_states": [state]})
        self.assertEqual(
            contents(self.to(lightning, "--names", self.names())), contents(self.sample("adamw"))
        )
        other = self.save("a.pt", {"generator": state, "critics": [{}, state]})
        for key in ("generator", "critics.1"):
            source = self.to(other, "--names", self.names(), "--key", key)
            self.assertEqual(contents(source), contents(self.sample("adamw")))
        self.refuse_to(other, "--names", self.names(), says=["--key", "generator, critics"])
        self.refuse_to(other, "--key", "critics.0", says="critics.0")

    def test_states_in_other_formats_stay_in_them_and_are_aligned(self):
        state = loaded(case_file("adamw"))["optimizer"]
        for dtype, name in ((torch.bfloat16, "bf16"), (torch.float64, "f64")):
            cast = copy.deepcopy(state)
            for s in cast["state"].values():
                s.update({k: v.to(dtype) for k, v in s.items() if k != "step"})
            source = self.to(self.save("a.pt", cast), "--names", self.names())
            expected = contents(self.source(variant(name + ".safetensors")))
            self.assertEqual(contents(source), expected)
            sizes = [container.SIZES[entry.dtype] for _, entry in source.in_order()]
            self.assertEqual(sizes, sorted(sizes, reverse=True))
            source.verify()
            # Hugging Face's reader takes it.
            read = safetensors.torch.load_file(source.path)
            self.assertEqual(read["state.embed.weight.exp_avg"].dtype, dtype)

    def test_states_that_are_not_contiguous_become_so(self):
        state = loaded(case_file("adamw"))["optimizer"]
        for s in state["state"].values():
            s.update({k: v.t().contiguous().t() for k, v in s.items() if v.dim() == 2})
        source = self.to(self.save("a.pt", state), "--names", self.names())
        self.assertEqual(contents(source), contents(self.sample("adamw")))

    def test_a_tensor_as_learning_rate_is_a_number(self):
        state = loaded(case_file("adamw"))["optimizer"]
        state["param_groups"][0]["lr"] = torch.tensor(0.5)
        source = self.to(self.save("a.pt", state), "--names", self.names())
        self.assertEqual(json.loads(source.metadata["param_groups"])[0]["lr"], 0.5)

    def test_a_buffer_that_is_none_is_no_state(self):
        state = loaded(case_file("sgd_plain"))["optimizer"]
        state["state"] = {0: {"momentum_buffer": None}}
        source = self.to(self.save("a.pt", state), "--names", self.names("sgd_plain"))
        self.assertEqual(contents(source), {})

    def test_counts_beyond_f32_are_integers_and_come_back_as_f32(self):
        state = loaded(case_file("adamw"))["optimizer"]
        for count, dtype in ((2**24, "F32"), (2**24 + 2, "I64")):
            state["state"][0]["step"] = count
            source = self.to(self.save("a.pt", state), "--names", self.names())
            of = f"state.{names_of('adamw')[0]}.step"
            self.assertEqual(source.entries[of].dtype, dtype)
            self.assertEqual(tensors.tensor(source, of).item(), count)
            source.verify()
            self.same(self.back(source.path)["state"][0]["step"], torch.tensor(float(count)))
        state["state"][0]["step"] = 2**32
        self.refuse_to(self.save("a.pt", state), "--names", self.names(), says="step")

    def test_wrappers_are_removed_on_demand(self):
        wrapped = self.json("wrapped.json", [f"module._orig_mod.{n}" for n in names_of("adamw")])
        source = self.to(case_file("adamw"), "--names", wrapped, "--unwrap")
        self.assertEqual(contents(source), contents(self.sample("adamw")))
        self.assertEqual(json.loads(source.metadata["names"]), names_of("adamw"))
        kept = self.to(case_file("adamw"), "--names", wrapped, out="b.safetensors")
        self.assertIn("state.module._orig_mod.norm.weight.step", kept.entries)
        for path, plain in {
            "_orig_mod.a.w": "a.w",
            "module.a._fsdp_wrapped_module.w": "a.w",
            "a._checkpoint_wrapped_module.module.w": "a.module.w",
            "module": "module",
        }.items():
            self.assertEqual(forms.unwrapped(path), plain)
        twice = ["module.w", "w", *names_of("adamw")[2:]]
        path = self.json("twice.json", twice)
        self.refuse_to(case_file("adamw"), "--names", path, "--unwrap", says="'w' 2 times")

    def test_parameters_come_along_on_demand(self):
        model = loaded(case_file("adamw"))["model"]
        whole = {"state_dict": {**model, "norm.running_mean": torch.zeros(5)}}
        safetensors.torch.save_file(model, self.at("model.safetensors"))
        places = [
            "model",
            self.save("a.pt", model),
            self.save("b.pt", whole),
            self.at("model.safetensors"),
        ]
        for place in places:
            source = self.to(case_file("adamw"), "--names", self.names(), "--model", place)
            found = contents(source)
            params = {n: tensors.tensor(source, f"param.{n}") for n in model}
            self.same(params, dict(model))
            self.assertEqual(len([n for n in found if n.startswith("param.")]), 7)
            for name, array in contents(self.sample("adamw")).items():
                self.assertEqual(found[name], array)
        order = [n for n, _ in source.in_order()][:3]
        of = "embed.weight"
        self.assertEqual(order, [f"param.{of}", f"state.{of}.exp_avg", f"state.{of}.exp_avg_sq"])

    def test_models_that_do_not_fit_are_refused(self):
        model = loaded(case_file("adamw"))["model"]
        names = ["--names", self.names()]
        less = self.save("a.pt", {k: v for k, v in model.items() if k != "norm.weight"})
        self.refuse_to(case_file("adamw"), *names, "--model", less, says="norm.weight")
        turned = self.save("a.pt", {k: v.t() if v.dim() == 2 else v for k, v in model.items()})
        self.refuse_to(case_file("adamw"), *names, "--model", turned, says="[5, 53]")
        self.refuse_to(case_file("adamw"), *names, "--model", "modle", says=["modle", "model"])

    def test_scaler_and_scheduler_come_from_other_files(self):
        state = loaded(case_file("adamw_scaler"))
        path = self.save("optimizer.pt", state["optimizer"])
        scaler = self.save("scaler.pt", state["scaler"])
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1)], 0.1))
        scheduler = self.save("scheduler.pt", plateau.state_dict())
        names = ["--names", self.names("adamw_scaler")]
        source = self.to(path, *names, "--scaler", scaler, "--scheduler", scheduler)
        self.assertEqual(json.loads(source.metadata["scaler"]), state["scaler"])
        self.assertEqual(json.loads(source.metadata["scheduler"])["best"], "inf")
        self.assertEqual(self.back(source.path)["scheduler"], plateau.state_dict())
        off = self.save("off.pt", {**state, "scaler": {}})
        self.assertNotIn("scaler", self.to(off, *names).metadata)
        broken = self.save("broken.pt", {"scale": 2.0})
        self.refuse_to(path, *names, "--scaler", broken, says="growth_factor")


class Resumed(Tests):
    """Runs go on in PyTorch bit for bit after there and back."""

    def test_each_case_by_the_metadata_of_pytorch(self):
        for case in CASES:
            with self.subTest(case):
                place = ["--names", self.names(case), "--model", "model"]
                source = self.to(case_file(case), *place)
                self.go_on(case, self.back(source.path))

    def test_each_case_by_the_metadata_of_the_crate(self):
        for case in CASES:
            with self.subTest(case):
                self.go_on(
                    case, self.back(as_the_crate(self.sample(case), self.at("crate.safetensors")))
                )

    def test_what_comes_back_is_what_went(self):
        for case in CASES:
            before = loaded(case_file(case))
            del before["epoch"], before["model"]
            back = self.back(self.to(case_file(case), "--names", self.names(case)).path)
            back = back if "optimizer" in back else {"optimizer": back}
            optimizer = before["optimizer"]
            for group in optimizer["param_groups"]:
                group.pop("param_names", None)
            # PyTorch tells of SGD without momentum that there is no buffer.
            states = {
                k: {n: v for n, v in s.items() if v is not None}
                for k, s in optimizer["state"].items()
            }
            optimizer["state"] = {k: s for k, s in states.items() if s}
            for key in before.pop("scheduler", {}):
                self.assertIn(key, back["scheduler"])
            back.pop("scheduler", None)
            self.same(before, back, case)

    def go_on(self, case, saved):
        expected = self.steps(case)
        read = lambda name: tensors.tensor(expected, name)
        model = (
            saved["model"]
            if "model" in saved
            else {n: read(f"param.0.{n}") for n in names_of(case)}
        )
        params = {name: torch.nn.Parameter(model[name]) for name in names_of(case)}
        groups = json.loads(metadata(case)["param_groups"])
        cls = getattr(torch.optim, metadata(case)["optimizer"])
        optimizer = cls([{"params": [params[n] for n in g["params"]]} for g in groups], lr=9.0)
        optimizer.load_state_dict(saved["optimizer"] if "optimizer" in saved else saved)
        scaler = None
        if "scale" in expected.entries:
            scaler = torch.amp.GradScaler("cpu")
            scaler.load_state_dict(saved["scaler"])
        for t in range(1, 6):
            self.step(optimizer, scaler, params, expected, t)
            for name, param in params.items():
                self.same(param.detach(), read(f"param.{t}.{name}"), f"{case} {t} {name}")
            if scaler:
                self.assertEqual(scaler.get_scale(), read("scale")[t - 1].item())
                self.assertEqual(
                    scaler.state_dict()["_growth_tracker"], read("growth_tracker")[t - 1]
                )

    def step(self, optimizer, scaler, params, expected, t):
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = tensors.tensor(expected, "lr")[t - 1, number].item()
            momentum = tensors.tensor(expected, "momentum")[t - 1, number].item()
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
        for name, param in params.items():
            given = f"grad.{t}.{name}" in expected.entries
            param.grad = tensors.tensor(expected, f"grad.{t}.{name}") if given else None
        if not scaler:
            optimizer.step()
            return
        scale = scaler.scale(torch.ones(()))
        for param in params.values():
            if param.grad is not None:
                param.grad *= scale
        scaler.step(optimizer)
        scaler.update()


def as_the_crate(source, path, change=lambda told: None, more=(), taken=()):
    """A sample with the crate's own metadata."""
    groups = json.loads(source.metadata["param_groups"])
    hyper = lambda group: {
        k: v for k, v in group.items() if k not in (*FLAGS, "params", *SCHEDULED)
    }
    if source.metadata["optimizer"] in ("Adam", "AdamW"):
        groups = [{k: v for k, v in g.items() if k != "decoupled_weight_decay"} for g in groups]
    told = {
        "version": 1,
        "crate": "0.30.0",
        "groups": [
            {
                "rule": source.metadata["optimizer"].lower(),
                "lr_multiplier": 1.0,
                "options": {},
                "hyperparameters": hyper(group),
                "params": group["params"],
            }
            for group in groups
        ],
        "scaler": json.loads(source.metadata.get("scaler", "null")),
    }
    if told["scaler"]:
        told["scaler"]["min_scale"] = 1.0
    change(told)
    arrays = [
        container.Array(name, *entry[:2], lambda name=name: source.bytes(name))
        for name, entry in source.entries.items()
        if name not in taken
    ]
    container.write(path, [*arrays, *more], {"format": "pt", "wgpu_optim": json.dumps(told)})
    return path


# What schedulers leave in groups.
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")


class FromTheCrate(Tests):
    """What only the crate's own metadata and arrays have."""

    def crate(self, case="adamw", **more):
        return as_the_crate(self.sample(case), self.at("crate.safetensors"), **more)

    def refused(self, says, case="adamw", **more):
        self.refuse_from(self.crate(case, **more), says)

    def set(self, **values):
        def change(told):
            for group in told["groups"]:
                group["hyperparameters"].update(values)

        return change

    def test_the_state_is_the_samples(self):
        self.same(
            self.back(self.crate())["state"], loaded(case_file("adamw"))["optimizer"]["state"]
        )

    def test_hyperparameters_of_the_crate_alone_must_be_off(self):
        off = self.set(
            max_after_correction=False, initial_square_avg=1.0, keep_momentum_buffer=True
        )
        group = self.back(self.crate(change=off))["param_groups"][0]
        self.assertTrue(group["decoupled_weight_decay"])
        self.assertEqual(
            set(group), set(loaded(case_file("adamw"))["optimizer"]["param_groups"][0])
        )
        self.refused("max_after_correction", change=self.set(max_after_correction=True))
        self.refused("eps_in_sqrt", "adagrad", change=self.set(eps_in_sqrt=True))
        self.refused(
            "lr_in_momentum", "rmsprop_centered_momentum", change=self.set(lr_in_momentum=True)
        )
        self.refused("novelty", change=self.set(novelty=1.0))

    def test_companded_states_are_refused(self):
        def change(told):
            told["parameters"] = [{"name": "a.w", "states": {"exp_avg": "companded8"}}]

        self.refused(["a.w", "exp_avg", "companded8", "Block8"], change=change)

    def test_rules_that_pytorch_lacks_or_mixes_are_refused(self):
        rule = lambda name: lambda told: told["groups"][0].update(rule=name)
        self.refused(["adamw", "sgd"], change=rule("sgd"))
        self.refused("lamb", change=lambda told: [g.update(rule="lamb") for g in told["groups"]])
        lion = lambda told: [
            g.update(rule="lion", hyperparameters=dict(lr=1.0, betas=[0.9, 0.99], weight_decay=0.0))
            for g in told["groups"]
        ]
        second = [n for n in self.sample("adamw").entries if n.endswith("exp_avg_sq")]
        self.refused("Lion", change=lion, taken=second)

    def test_other_versions_and_broken_metadata_are_refused(self):
        self.refused(["version", "1", "2"], change=lambda told: told.update(version=2))
        for change in (
            lambda told: told.update(groups=None),
            lambda told: told.update(groups=[]),
            lambda told: told.update(groups=[3]),
            lambda told: told["groups"][0].update(rule=3),
            lambda told: told["groups"][0].update(params="w"),
            lambda told: told["groups"][0].update(params=[1]),
            lambda told: told["groups"][0].update(hyperparameters=[]),
            lambda told: told["groups"][0]["hyperparameters"].update(betas=0.9),
            lambda told: told["groups"][1]["params"].pop(0),
            lambda told: told["groups"][1].update(params=told["groups"][0]["params"]),
            lambda told: told.update(scaler=[]) or told.update(scaler={"scale": 1.0}),
        ):
            self.refused("expected", change=change)

    def test_states_that_are_missing_unknown_or_of_another_kind_are_refused(self):
        of = "state.norm.weight"
        raw = lambda name, dtype, shape, data: [
            container.Array(f"{of}.{name}", dtype, shape, lambda: data)
        ]
        self.refused(["norm.weight", "exp_avg_sq"], taken=[f"{of}.exp_avg_sq"])
        self.refused("max_exp_avg_sq", "adam_amsgrad", taken=[f"{of}.max_exp_avg_sq"])
        self.refused("grad_avg", more=raw("grad_avg", "F32", [5], bytes(20)))
        self.refused("int32", more=raw("exp_avg", "I32", [5], bytes(20)), taken=[f"{of}.exp_avg"])
        self.refused(
            "shape", more=raw("exp_avg", "F32", [1, 5], bytes(20)), taken=[f"{of}.exp_avg"]
        )
        self.refused("uint16", more=raw("exp_avg", "U16", [5], bytes(10)), taken=[f"{of}.exp_avg"])
        absmax = raw("exp_avg.absmax", "F32", [2], bytes(8))
        codes = raw("exp_avg", "U8", [5], bytes(5))
        self.refused("absmax", more=codes + absmax, taken=[f"{of}.exp_avg"])
        for dtype, data in (("F32", "0000c03f"), ("F32", "0000c0ff"), ("F32", "0000803f0000803f")):
            data = bytes.fromhex(data)
            count = raw("step", dtype, [len(data) // 4] if len(data) > 4 else [], data)
            self.refused("step", more=count, taken=[f"{of}.step"])

    def test_counts_of_all_types_become_f32(self):
        of = "state.norm.weight.step"
        for dtype, data in (
            ("I64", b"\7" + bytes(7)),
            ("U32", b"\7" + bytes(3)),
            ("U64", b"\7" + bytes(7)),
            ("I32", b"\7" + bytes(3)),
            ("F64", bytes.fromhex("0000000000001c40")),
        ):
            array = container.Array(of, dtype, [], lambda: data)
            state = self.back(self.crate(taken=[of], more=[array]))["state"]
            self.same(state[names_of("adamw").index("norm.weight")]["step"], torch.tensor(7.0))

    def test_an_sgd_that_took_no_step_has_no_buffer(self):
        number = names_of("sgd_dampening").index("norm.weight")
        for steps_taken in (0.0, 3.0):
            count = tensors.array("state.norm.weight.step", torch.tensor(steps_taken))
            states = self.back(self.crate("sgd_dampening", more=[count]))["state"]
            self.assertEqual(number in states, steps_taken > 0)
            self.assertNotIn("step", states.get(number, {}))

    def test_scalars_in_f64_become_f32(self):
        of, value = "state.norm.weight.mu_product", torch.tensor(0.3, dtype=torch.float64)
        path = self.crate("nadam", taken=[of], more=[tensors.array(of, value)])
        state = self.back(path)["state"][names_of("nadam").index("norm.weight")]
        self.same(state["mu_product"], torch.tensor(0.3))

    def test_parameters_become_the_model_and_gradients_are_left(self):
        value = torch.arange(5.0)
        more = [tensors.array("param.norm.weight", value), tensors.array("grad.norm.weight", value)]
        path = self.crate("adamw_scaler", more=more)
        out = self.convert("from", path, self.at("b.pt"))
        saved = loaded(self.at("b.pt"))
        self.assertEqual(set(saved), {"optimizer", "scaler", "model"})
        self.assertEqual(
            set(saved["scaler"]),
            set(torch.amp.GradScaler("cpu").state_dict()) or set(saved["scaler"]),
        )
        self.same(saved["model"], {"norm.weight": value})
        self.assertIn('["optimizer"]', out)
        self.assertIn("grad.norm.weight", out)
        turned = [tensors.array("param.late.weight", torch.zeros(9))]
        self.refused(["late.weight", "[9]"], more=turned)

    def test_masters_become_the_model(self):
        exact = torch.tensor([1.0, -1.00390625, 3.1415927, 65504.123, -1e-30])
        half = exact.bfloat16()
        lower = exact.view(torch.int32) & 0xFFFF
        lower = torch.where(lower >= 0x8000, lower - 0x10000, lower).to(torch.int16)
        upper = (
            (exact.view(torch.int32).long() - lower.long() >> 16)
            .to(torch.int16)
            .view(torch.bfloat16)
        )
        comp = (exact - half.float()).bfloat16()
        for param, name, kept, expected in (
            (half, "master_param", exact, exact),
            (upper, "param_remainder", lower, exact),
            (half, "kahan_comp", comp, half.float() + comp.float()),
        ):
            more = [tensors.array("param.norm.weight", param)]
            more += [tensors.array(f"state.norm.weight.{name}", kept)]
            saved = self.back(self.crate(more=more))
            self.same(saved["model"], {"norm.weight": expected}, name)
            number = names_of("adamw").index("norm.weight")
            self.assertEqual(
                set(saved["optimizer"]["state"][number]), {"exp_avg", "exp_avg_sq", "step"}
            )
            if name != "master_param":
                self.refused(["norm.weight", name], more=more[1:])
            wrong = [more[0], tensors.array(f"state.norm.weight.{name}", kept[:4])]
            self.refused(name, more=wrong)
        # Who wrote the parameter elsewhere wins.
        written = half.clone()
        written[2] = 7.0
        more = [
            tensors.array("param.norm.weight", written),
            tensors.array("state.norm.weight.master_param", exact),
        ]
        expected = torch.where(torch.arange(5) == 2, torch.tensor(7.0), exact)
        self.same(self.back(self.crate(more=more))["model"]["norm.weight"], expected)

    def test_remainders_are_apex(self):
        golden = self.source(os.path.join(support.FORMATS, "codec_remainder.safetensors"))
        x, upper, lower = (tensors.tensor(golden, name) for name in ("x", "bf16", "remainder"))
        joined = masters.remainder("w", upper.view(torch.bfloat16), lower)
        finite = ~torch.isnan(x)
        self.same(joined[finite], x[finite])


class EightBits(Tests):
    """bitsandbytes' files."""

    def setUp(self):
        super().setUp()
        random = torch.Generator().manual_seed(1)
        self.shapes = {"a.w": (3, 100), "a.b": (256,), "small": (7,)}
        self.states = {}
        for number, shape in enumerate(self.shapes.values()):
            count = torch.Size(shape).numel()
            codes = lambda: torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
            scales = lambda: torch.rand(-(-count // 256), generator=random)
            state = {
                "step": 5,
                "state1": codes(),
                "qmap1": block8.dynamic_map(True),
                "absmax1": scales(),
            }
            state |= {"state2": codes(), "qmap2": block8.dynamic_map(False), "absmax2": scales()}
            if count < 256:
                state = {"step": 5, "state1": torch.rand(shape), "state2": torch.rand(shape)}
            self.states[number] = state
        group = dict(
            lr=1e-3,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=0.1,
            alpha=0.0,
            t_alpha=None,
            t_beta3=None,
        )
        self.whole = {"state": self.states, "param_groups": [{**group, "params": [0, 1, 2]}]}
        self.named = ["--names", self.json("n.json", list(self.shapes))]

    def one(self, **group):
        """With one state."""
        whole = copy.deepcopy(self.whole)
        for state in whole["state"].values():
            for key in ("state2", "qmap2", "absmax2"):
                state.pop(key, None)
        for key in ("alpha", "t_alpha", "t_beta3"):
            whole["param_groups"][0].pop(key)
        whole["param_groups"][0].update(group)
        return whole

    def test_the_maps_have_the_bits_of_bitsandbytes(self):
        golden = self.source(os.path.join(support.FORMATS, "codec_dynamic8.safetensors"))
        for signed, name in ((True, "signed"), (False, "unsigned")):
            ours = block8.dynamic_map(signed)
            self.same(ours, tensors.tensor(golden, f"map_{name}"))
            codes = tensors.tensor(golden, f"{name}.bnb_cuda.codes")
            decoded = block8.decoded(codes, tensors.tensor(golden, "signed.absmax"), signed)
            self.same(decoded, tensors.tensor(golden, f"{name}.bnb_cuda.decoded"))

    def test_both_layouts_give_codes_and_scales_and_come_back(self):
        wrapped = copy.deepcopy(self.whole)
        for state in wrapped["state"].values():
            inner = {k: state.pop(k) for k in list(state) if k != "step"}
            state["__bnb_optimizer_quant_state__"] = inner
        for name, whole in (("flat", self.whole), ("wrapped", wrapped)):
            source = self.to(self.save(name, {"optimizer": whole}), *self.named)
            source.verify()
            of = lambda path, state: tensors.tensor(source, f"state.{path}.{state}")
            for number, path in enumerate(self.shapes):
                given = self.states[number]
                self.same(of(path, "exp_avg"), given["state1"])
                self.same(of(path, "exp_avg_sq"), given["state2"])
                self.same(of(path, "step"), torch.tensor(5.0))
                if "absmax1" in given:
                    self.same(of(path, "exp_avg.absmax"), given["absmax1"])
                    self.same(of(path, "exp_avg_sq.absmax"), given["absmax2"])
            self.assertEqual(source.metadata["optimizer"], "AdamW")
            self.assertEqual(source.in_order()[-1][0], "checksum")
            group = json.loads(source.metadata["param_groups"])[0]
            self.assertEqual((group["betas"], group["weight_decay"]), ([0.9, 0.999], 0.1))
            self.same(self.back(source.path), self.whole)

    def test_other_codes_and_blocks_are_refused(self):
        def refused(says, **change):
            whole = copy.deepcopy(self.whole)
            whole["state"][0].update(change)
            self.refuse_to(self.save("x.pt", whole), *self.named, says=["a.w", says])

        linear = torch.linspace(-1, 1, 256)
        refused("dynamic map", qmap1=linear)
        refused("dynamic map", qmap2=block8.dynamic_map(True))
        refused("dynamic map", qmap1=None)
        refused("dynamic map", qmap1=block8.dynamic_map(True)[:255])
        refused("[2]", absmax1=torch.zeros(1))
        refused("absmax", absmax2=None)
        refused("state1", state1=None)
        refused("unorm_vec", unorm_vec=torch.zeros(1))
        near = block8.dynamic_map(True).view(torch.int32) + 2
        near = copy.deepcopy(self.whole) | {
            "state": {**self.states, 0: {**self.states[0], "qmap1": near.view(torch.float32)}}
        }
        self.to(self.save("x.pt", near), *self.named)

    def test_the_class_is_said_where_the_file_does_not_tell(self):
        path = self.save("lion.pt", self.one())
        self.refuse_to(path, *self.named, says="--class")
        self.refuse_to(path, *self.named, "--class", "AdamW8bit", says="AdamW for 1 states")
        lion = self.to(path, *self.named, "--class", "Lion8bit")
        self.same(tensors.tensor(lion, "state.a.w.exp_avg"), self.states[0]["state1"])
        back = self.back(lion.path)
        self.assertEqual(
            set(back["param_groups"][0]), {"lr", "betas", "eps", "weight_decay", "params"}
        )
        self.same(back["state"], self.one()["state"])
        both = self.save("adam.pt", self.whole)
        self.refuse_to(both, *self.named, "--class", "Adam", says="decays as AdamW")
        self.refuse_to(both, *self.named, "--class", "Lion", says="Lion for 2 states")
        three = copy.deepcopy(self.whole)
        three["param_groups"][0]["betas"] = (0.9, 0.99, 0.999)
        self.refuse_to(self.save("x.pt", three), *self.named, says="AdEMAMix")

    def test_momentum_comes_from_betas(self):
        path = self.save("sgd.pt", self.one(betas=(0.8, 0.0), eps=0.0))
        sgd = self.to(path, *self.named, "--class", "SGD8bit")
        group = json.loads(sgd.metadata["param_groups"])[0]
        self.assertEqual((group["momentum"], group["dampening"]), (0.8, 0.0))
        self.same(tensors.tensor(sgd, "state.a.w.momentum_buffer"), self.states[0]["state1"])
        self.same(self.back(sgd.path), self.one(betas=(0.8, 0.0), eps=0.0))

    def test_signed_codes_of_squares_become_f32(self):
        for cls, state in (("RMSprop", "square_avg"), ("Adagrad", "sum")):
            source = self.to(
                self.save("x.pt", self.one(betas=(0.9, 0.0))), *self.named, "--class", cls
            )
            given = self.states[0]
            expected = block8.decoded(given["state1"], given["absmax1"], True)
            self.same(tensors.tensor(source, f"state.a.w.{state}"), expected)
            self.assertNotIn(f"state.a.w.{state}.absmax", source.entries)

    def crate(self, **hyper):
        values = dict(
            lr=1e-3, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.1, amsgrad=False, maximize=False
        )
        group = {
            "rule": "adamw",
            "hyperparameters": {**values, **hyper},
            "params": list(self.shapes),
        }
        arrays = []
        for number, path in enumerate(self.shapes):
            state = self.states[number]
            arrays.append(tensors.array(f"state.{path}.step", torch.tensor(float(number))))
            for i, name in ((1, "exp_avg"), (2, "exp_avg_sq")):
                arrays.append(tensors.array(f"state.{path}.{name}", state[f"state{i}"]))
                if f"absmax{i}" in state:
                    arrays.append(tensors.array(f"state.{path}.{name}.absmax", state[f"absmax{i}"]))
        metadata = {"wgpu_optim": json.dumps({"version": 1, "groups": [group], "scaler": None})}
        container.write(self.at("c.safetensors"), arrays, metadata)
        return self.at("c.safetensors")

    def test_the_crates_codes_become_bitsandbytes(self):
        back = self.back(self.crate())
        # Parameter 0 took no step.
        expected = {i: {**self.states[i], "step": i} for i in (1, 2)}
        self.same(back["state"], expected)
        self.assertEqual(set(back["param_groups"][0]), set(self.whole["param_groups"][0]))
        self.refuse_from(self.crate(maximize=True), says="maximize")
        self.refuse_from(self.crate(max_after_correction=True), says="max_after_correction")

    def test_states_of_two_formats_become_f32(self):
        self.states[1]["state1"] = torch.rand(256)
        del self.states[1]["absmax1"]
        state = self.back(self.crate())["state"][1]
        given = self.states[1]
        self.same(state["state1"], given["state1"])
        self.same(state["state2"], block8.decoded(given["state2"], given["absmax2"], False))
        self.assertEqual(set(state), {"step", "state1", "state2"})


# What the refusal of a hostile file must name.
NAMED = {
    "lr_nan": "lr",
    "state_missing": ["late.weight", "exp_avg_sq"],
    "step_missing": ["late.weight", "step"],
    "parameter_unknown": "nobody",
    "state_unknown": "max_exp_avg_sq",
    "dtype_integer": "int32",
    "optimizer_other": ["RMSprop", "AdamW"],
    "overlap": "offsets",
    "shape_overflows": "shape",
    "duplicate_key": "twice",
    "not_utf8": "UTF-8",
    "data_longer": "bytes",
}


class Refused(Tests):
    """Bad files get one sentence and exit status 2."""

    def test_a_file_that_would_execute_something_does_not(self):
        class Hostile:
            def __reduce__(self):
                return (os.mkdir, (marker,))

        marker = self.at("executed")
        for value in (Hostile(), {"optimizer": Hostile()}):
            path = self.save("hostile.pt", value)
            self.refuse_to(
                path,
                says=["weights_only", "an object of posix.mkdir" if os.name == "posix" else ""],
            )
            self.assertFalse(os.path.exists(marker))

    def test_as_a_command(self):
        run = lambda *arguments: subprocess.run(
            [sys.executable, support.SCRIPT, *arguments], capture_output=True, text=True
        )
        missing = run("to", self.at("nothing.pt"), self.at("out"))
        self.assertEqual((missing.returncode, missing.stdout), (2, ""))
        self.assertRegex(missing.stderr, r"\Aerror: .*nothing\.pt.*No such file.*\n\Z")
        done = run("to", case_file("adamw"), self.at("out"), "--names", self.names())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("NAMES.json", run("--help").stdout)

    def test_names_that_do_not_fit(self):
        names = names_of("adamw")
        for value, says in (
            (names[:-1], "7, one for each"),
            ([*names[:-1], names[0]], names[0]),
            ([*names[:-1], 3], "int"),
            ([*names[:-1], ""], "empty"),
            ({"a": 1}, "dict"),
        ):
            self.refuse_to(case_file("adamw"), "--names", self.json("n.json", value), says=says)
        # Without states no array is there twice.
        twice = self.json("n.json", [*names[:-1], names[0]])
        self.refuse_to(case_file("sgd_plain"), "--names", twice, says=f"{names[0]!r} 2 times")
        other = self.json("n.json", [*names[:-1], "other"])
        self.refuse_to(variant("fsdp_full_optimizer.bin"), "--names", other, says="leave it out")
        self.to(variant("fsdp_full_optimizer.bin"), "--names", self.names())
        self.refuse_to(case_file("adamw"), "--groups", other, says="lerobot")
        with open(self.at("n.json"), "wb") as file:
            file.write(b"[\xff")
        self.refuse_to(case_file("adamw"), "--names", self.at("n.json"), says="n.json")
        self.refuse_to(case_file("adamw"), "--names", self.at("m.json"), says="No such file")

    def test_classes_that_do_not_fit(self):
        names = ["--names", self.names()]
        self.refuse_to(case_file("adamw"), *names, "--class", "Adam", says=["AdamW", "Adam"])
        self.refuse_to(case_file("adamw"), *names, "--class", "Muon", says="Muon")
        self.refuse_to(variant("old_step_int.pt"), *names, says="--class")
        w = torch.zeros(3, requires_grad=True)
        for cls in (
            "Adam",
            "SGD",
            "RAdam",
            "NAdam",
            "Adamax",
            "Adagrad",
            "Adadelta",
            "Rprop",
            "RMSprop",
            "AdamW",
        ):
            w.grad = torch.ones(3)
            optimizer = getattr(torch.optim, cls)([("w", w)], lr=0.1)
            optimizer.step()
            self.assertEqual(
                self.to(self.save("a.pt", optimizer.state_dict())).metadata["optimizer"], cls
            )
        for cls in ("ASGD", "Adafactor"):
            optimizer = getattr(torch.optim, cls)([("w", w)], lr=0.1)
            optimizer.step()
            path = self.save("a.pt", optimizer.state_dict())
            self.refuse_to(path, says="--class")
            self.refuse_to(path, "--class", "Adam", says="w: the state")

    def test_where_it_cannot_be_written(self):
        names = ["--names", self.names()]
        self.refuse("to", case_file("adamw"), self.at("no/out"), *names, says="No such file")
        self.convert("to", case_file("adamw"), self.at("out"), *names)
        self.refuse("from", self.at("out"), self.at("no/out.pt"), says="No such file")
        with unittest.mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
            for way, input in (("to", case_file("adamw")), ("from", self.at("out"))):
                more = names if way == "to" else []
                self.refuse(way, input, self.at("out"), *more, says="No space left")
        with unittest.mock.patch("torch.save", side_effect=RuntimeError("failed writing file")):
            self.refuse("from", self.at("out"), self.at("out"), says="failed writing file")
        os.mkdir(self.at("folder"))
        status, _, err = self.called("to", case_file("adamw"), self.at("folder"), *names)
        self.assertEqual(status, 2)
        self.assertIn("folder", err)

    def test_any_other_value_in_a_state_dict(self):
        """Each node is replaced by each value; what then is no state is refused."""
        odd = [
            None,
            True,
            -1,
            1.5,
            float("nan"),
            2**70,
            "x",
            b"y",
            [],
            {},
            (),
            [1],
            torch.zeros(2),
            torch.tensor(1),
        ]
        odd += [
            torch.zeros(2, dtype=torch.complex64),
            torch.zeros(2).to_sparse(),
            {"state": 1},
            [[]] * 3,
        ]
        sources = {
            case_file("sgd_plain"): [],
            case_file("adamw_scaler"): ["--model", "model"],
            variant("dcp_flat.pt"): [],
        }
        refused = taken = 0
        for path, more in sources.items():
            whole = trimmed(loaded(path))
            names = (
                ["--names", self.json("n.json", ["embed.weight"])] if "optimizer" in whole else []
            )
            self.to(self.save("a.pt", whole), *more, *names)
            for place in places(whole):
                for value in odd:
                    broken = replaced(whole, place, value)
                    self.save("a.pt", broken)
                    status, _, err = self.called("to", self.at("a.pt"), self.at("o"), *more, *names)
                    self.assertIn(status, (0, 2))
                    self.assertEqual(bool(err), status == 2)
                    refused, taken = refused + status // 2, taken + (status == 0)
        self.assertGreater(refused, 500)
        self.assertGreater(taken, 50)

    def test_damaged_files_of_pytorch(self):
        with open(case_file("sgd_plain"), "rb") as file:
            raw = file.read()
        names = ["--names", self.names("sgd_plain")]
        random = torch.Generator().manual_seed(3)
        cuts = list(range(0, len(raw), 97))
        flips = torch.randint(0, len(raw), (150,), generator=random).tolist()
        for damaged in [raw[:n] for n in cuts] + [
            raw[:n] + bytes([raw[n] ^ 1 << n % 8]) + raw[n + 1 :] for n in flips
        ]:
            with open(self.at("a.pt"), "wb") as file:
                file.write(damaged)
            status, _, err = self.called("to", self.at("a.pt"), self.at("out"), *names)
            self.assertIn(status, (0, 2))
            self.assertEqual(err.count("\n"), status // 2, err)

    def test_hostile_checkpoints(self):
        with open(os.path.join(support.HOSTILE, "expect.json"), encoding="utf-8") as file:
            expected = json.load(file)
        # Only a caller could tell the hyperparameters; and the format forbids a key twice.
        refused_here = {"metadata_missing", "duplicate_key"}
        for name, expect in expected.items():
            path = os.path.join(support.HOSTILE, name + ".safetensors")
            with self.subTest(name):
                if expect["verdict"] == "refuse" or name in refused_here:
                    self.refuse_from(path, says=NAMED.get(name, "expected"))
                else:
                    self.back(path)

    def test_each_damaged_byte_of_a_checkpoint(self):
        path = self.to(
            case_file("sgd_plain"), "--names", self.names("sgd_plain"), "--model", "model"
        ).path
        before = self.back(path)
        with open(path, "rb") as file:
            raw = file.read()
        start = 8 + int.from_bytes(raw[:8], "little")
        for n in [*range(0, start, 3), *range(start, len(raw), 11)]:
            with open(self.at("b.safetensors"), "wb") as file:
                file.write(raw[:n] + bytes([raw[n] ^ 1 << n % 8]) + raw[n + 1 :])
            status, _, err = self.called("from", self.at("b.safetensors"), self.at("b.pt"))
            self.assertIn(status, (0, 2))
            self.assertEqual(err.count("\n"), status // 2)
            if n >= start:
                self.assertEqual(status, 2, n)
        self.assertTrue(before)


def trimmed(whole):
    """With one parameter only, so that there are fewer nodes."""
    if "optimizer" not in whole:
        return {k: v for k, v in whole.items() if ".embed.weight." in k}
    optimizer = whole["optimizer"]
    group = {**optimizer["param_groups"][0], "params": [0]}
    group.pop("param_names", None)
    states = {0: optimizer["state"][0]} if optimizer["state"] else {}
    out = {"optimizer": {"state": states, "param_groups": [group]}}
    out["model"] = {"embed.weight": whole["model"]["embed.weight"]}
    return out | ({"scaler": whole["scaler"]} if "scaler" in whole else {})


def places(value, path=()):
    """The path to each node."""
    yield path
    keys = (
        value
        if isinstance(value, dict)
        else range(len(value)) if isinstance(value, (list, tuple)) else ()
    )
    for key in keys:
        yield from places(value[key], (*path, key))


def replaced(value, path, by):
    if not path:
        return by
    value = dict(value) if isinstance(value, dict) else list(value)
    value[path[0]] = replaced(value[path[0]], path[1:], by)
    return value


if __name__ == "__main__":
    unittest.main()
