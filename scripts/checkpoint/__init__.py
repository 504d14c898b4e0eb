"""The parts of torch_checkpoint.py."""
