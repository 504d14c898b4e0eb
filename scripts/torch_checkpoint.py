#!/usr/bin/env python3
"""Converts optimizer states between PyTorch's files and this crate's checkpoints, both ways.

    torch_checkpoint.py to checkpoint.pt run.safetensors --names NAMES.json
    torch_checkpoint.py from run.safetensors checkpoint.pt

`to` takes what torch.save wrote:
  - of optimizer.state_dict(), alone (accelerate's optimizer.bin, transformers' optimizer.pt) or
    under a key of the file: optimizer, optimizer_state_dict, optim, optimizer_states.0, or the one
    that --key names
  - of get_optimizer_state_dict(model, optimizer), nested (FSDP's full form) or flattened. For a
    parameter that took no step it may tell step 1.
  - of bitsandbytes' optimizers, in 8 or 32 bits. Their files do not tell the class: with two states
    it is taken to be AdamW, with one --class must say it.
  - or lerobot's optimizer_state.safetensors, with --groups optimizer_param_groups.json

States are kept by the parameters' paths. Where the file has integers instead, NAMES.json lists the
paths in the order in which the parameters were given to the optimizer. In the program that made the
optimizer:

    path = {p: name for name, p in model.named_parameters()}
    names = [path[p] for group in optimizer.param_groups for p in group["params"]]
    json.dump(names, open("NAMES.json", "w"))

It is not needed where the optimizer was built from model.named_parameters().

A GradScaler's and a scheduler's state come along from the keys scaler and scheduler (or the like),
or from what --scaler and --scheduler name. --model puts the parameters in, too: it names a key of
the same file, or another file.

`from` takes a checkpoint of this crate, or one that `to` made, and writes what
optimizer.load_state_dict(torch.load(OUT)) takes. Where the checkpoint has a scaler, a scheduler or
parameters, it writes {"optimizer": …, "scaler": …, "scheduler": …, "model": …}; the standard output
tells what to load. All groups must have one rule, which PyTorch has. States in 8 bits become
bitsandbytes'. Masters that are kept beside 16-bit parameters become the model's parameters, in f32.

Nothing of a file is executed (weights_only=True). What cannot be converted is refused in one
sentence with exit status 2, and nothing is written.

Requires: torch (tried with 2.11), numpy.
"""

import argparse
import sys

from checkpoint.errors import Bad


def parser():
    text = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    ways = top.add_subparsers(required=True, metavar="to|from")
    to = ways.add_parser("to", help="from PyTorch's file to this crate's checkpoint")
    to.set_defaults(way="to")
    to.add_argument("input")
    to.add_argument("output")
    to.add_argument(
        "--names", metavar="NAMES.json", help="the parameters' paths, in the optimizer's order"
    )
    to.add_argument(
        "--key",
        help="where the optimizer's state_dict is in the file; after a dot, a place in a list",
    )
    to.add_argument(
        "--class",
        dest="cls",
        metavar="CLASS",
        help="the optimizer's class, where the file does not tell",
    )
    to.add_argument("--groups", metavar="FILE", help="lerobot's param_groups")
    to.add_argument("--model", metavar="KEY|FILE", help="put the parameters in, too")
    to.add_argument("--scaler", metavar="KEY|FILE", help="the GradScaler's state_dict")
    to.add_argument("--scheduler", metavar="KEY|FILE", help="the scheduler's state_dict")
    to.add_argument(
        "--unwrap",
        action="store_true",
        help="remove module., _orig_mod., _fsdp_wrapped_module. and "
        "_checkpoint_wrapped_module. from paths",
    )
    back = ways.add_parser("from", help="from this crate's checkpoint to PyTorch's file")
    back.set_defaults(way="from")
    back.add_argument("input")
    back.add_argument("output")
    return top


def convert(args):
    # Only here, so that --help works without PyTorch.
    try:
        from checkpoint import from_crate, to_crate
    except ImportError as missing:
        remedy = "do pip install torch numpy"
        raise Bad("this script", "torch and numpy to be installed", str(missing), remedy) from None
    return (to_crate if args.way == "to" else from_crate).convert(args)


def main(arguments):
    args = parser().parse_args(arguments)
    try:
        print(convert(args))
    except Bad as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
