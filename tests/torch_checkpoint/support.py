"""What the tests of the converter share."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SAMPLES = os.path.join(ROOT, "tests", "checkpoints")
HOSTILE = os.path.join(SAMPLES, "hostile")
FORMATS = os.path.join(ROOT, "tests", "formats")
SCRIPT = os.path.join(ROOT, "scripts", "torch_checkpoint.py")
sys.path.insert(0, os.path.dirname(SCRIPT))

from checkpoint import container  # noqa: E402

CASES = sorted(
    name.removesuffix(".steps.safetensors")
    for name in os.listdir(SAMPLES)
    if name.endswith(".steps.safetensors")
)


def contents(source):
    """{name: (dtype, shape, bytes)} without the checksums."""
    return {
        name: (entry.dtype, entry.shape, source.bytes(name))
        for name, entry in source.entries.items()
        if name != container.CHECKSUM
    }


def content(path):
    """A file's bytes; None if there is none."""
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return file.read()


class Reading(unittest.TestCase):
    """Tests that read checkpoints."""

    def source(self, path):
        source = container.Source(path)
        self.addCleanup(source.file.close)
        return source

    def sample(self, case):
        return self.source(os.path.join(SAMPLES, case + ".safetensors"))

    def steps(self, case):
        return self.source(os.path.join(SAMPLES, case + ".steps.safetensors"))


class Converting(Reading):
    """Tests with a folder of their own that call the script as a user does."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def at(self, name):
        return os.path.join(self.folder, name)

    def json(self, name, value):
        with open(self.at(name), "w", encoding="utf-8") as file:
            json.dump(value, file)
        return self.at(name)

    def called(self, *arguments):
        """(exit status, standard output, standard error)"""
        import torch_checkpoint

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = torch_checkpoint.main(list(arguments))
        return status, out.getvalue(), err.getvalue()

    def convert(self, *arguments):
        """Calls the script, which must succeed, and tells what it printed."""
        status, out, err = self.called(*arguments)
        self.assertEqual((status, err), (0, ""), arguments)
        return out

    def refuse(self, *arguments, says):
        """Calls the script, which must refuse in one line with these words, and write nothing."""
        target = arguments[2]
        before = content(target)
        status, out, err = self.called(*arguments)
        self.assertEqual((status, out), (2, ""), err)
        self.assertRegex(err, r"\Aerror: .*expected .*found .*\n\Z")
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, err)
        self.assertEqual(content(target), before)
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".tmp")], [])
        return err
