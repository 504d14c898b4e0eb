#!/usr/bin/env python3
"""Samples of checkpoints are whole, and checksums follow their rule. Needs only Python itself."""

import json
import os
import struct
import subprocess
import sys
import unittest
import zlib

import support
from support import container


class Samples(support.Reading):
    def test_there_are_fourteen_cases_with_their_steps(self):
        self.assertEqual(len(support.CASES), 14)
        for case in support.CASES:
            source, steps = self.sample(case), self.steps(case)
            groups = json.loads(source.metadata["param_groups"])
            names = json.loads(source.metadata["names"])
            self.assertEqual([p for group in groups for p in group["params"]], names)
            for name, entry in source.entries.items():
                path, state = name.removeprefix("state.").rsplit(".", 1)
                self.assertIn(path, names)
                shape = (
                    []
                    if state in ("step", "mu_product")
                    else steps.entries[f"param.0.{path}"].shape
                )
                self.assertEqual((entry.dtype, entry.shape), ("F32", shape), name)
            for path in names:
                for step in range(1, 6):
                    self.assertEqual(steps.entries[f"param.{step}.{path}"].dtype, "F32")
                    self.assertEqual(steps.entries[f"exact.{step}.{path}"].dtype, "F64")

    def test_each_hostile_file_has_a_verdict(self):
        with open(os.path.join(support.HOSTILE, "expect.json"), encoding="utf-8") as file:
            expected = json.load(file)
        names = [name.removesuffix(".safetensors") for name in os.listdir(support.HOSTILE)]
        self.assertEqual(sorted(expected), sorted(set(names) - {"expect.json"}))
        for name, expect in expected.items():
            self.assertIn(expect["verdict"], ("accept", "either", "refuse"), name)


class Written(support.Converting):
    ARRAYS = [
        container.Array("half", "BF16", [3], lambda: b"abcdef"),
        container.Array("param.w", "F32", [2, 1], lambda: b"12345678"),
        container.Array("codes", "U8", [3], lambda: b"xyz"),
        container.Array("none", "F32", [0], lambda: b""),
        container.Array("state.w.step", "I64", [], lambda: b"ABCDEFGH"),
    ]

    def written(self):
        container.write(self.at("a.safetensors"), self.ARRAYS, {"format": "pt"})
        with open(self.at("a.safetensors"), "rb") as file:
            return file.read()

    def test_arrays_come_by_size_and_checksums_last(self):
        raw = self.written()
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + length])
        self.assertEqual(length % 8, 0)
        self.assertEqual(header.pop("__metadata__"), {"format": "pt"})
        order = ["state.w.step", "param.w", "none", "half", "codes", "checksum"]
        self.assertEqual(list(header), order)
        self.assertEqual(
            [header[name]["data_offsets"][0] for name in order], [0, 8, 16, 16, 22, 25]
        )
        self.assertEqual((header["checksum"]["dtype"], header["checksum"]["shape"]), ("U8", [5, 4]))
        data = {array.name: array.data() for array in self.ARRAYS}
        sums = b"".join(zlib.crc32(data[name]).to_bytes(4, "little") for name in order[:-1])
        self.assertEqual(raw[8 + length :], b"ABCDEFGH12345678abcdefxyz" + sums)

    def test_a_known_checksum(self):
        self.assertEqual(container.crc(b"123456789"), bytes.fromhex("2639f4cb"))

    def test_every_changed_byte_of_the_data_is_seen(self):
        raw = self.written()
        start = 8 + struct.unpack("<Q", raw[:8])[0]
        self.source(self.at("a.safetensors")).verify()
        for place in range(start, len(raw)):
            with open(self.at("b.safetensors"), "wb") as file:
                file.write(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
            with self.assertRaises(container.Bad):
                self.source(self.at("b.safetensors")).verify()

    def test_every_shortened_file_is_refused(self):
        raw = self.written()
        for length in range(len(raw)):
            with open(self.at("b.safetensors"), "wb") as file:
                file.write(raw[:length])
            with self.assertRaises(container.Bad):
                self.source(self.at("b.safetensors"))

    def test_arrays_that_overlap_or_leave_holes_are_refused(self):
        for starts, size in (((0, 4), 8), ((0, 2), 6), ((0, 6), 10), ((2, 6), 10), ((0, 0), 4)):
            names = zip("ab", starts)
            entry = lambda start: {"dtype": "F32", "shape": [1], "data_offsets": [start, start + 4]}
            text = json.dumps({name: entry(start) for name, start in names}).encode()
            with open(self.at("a.safetensors"), "wb") as file:
                file.write(struct.pack("<Q", len(text)) + text + bytes(size))
            if starts == (0, 4):
                self.source(self.at("a.safetensors"))
            else:
                with self.assertRaisesRegex(container.Bad, "offsets"):
                    self.source(self.at("a.safetensors"))

    def test_a_name_is_there_once(self):
        with self.assertRaises(container.Bad):
            container.write(self.at("a"), [self.ARRAYS[0]] * 2, {})
        self.assertEqual(os.listdir(self.folder), [])

    def test_what_fails_leaves_the_old_file(self):
        before = self.written()

        def full():
            raise OSError(28, "No space left on device")

        broken = [*self.ARRAYS, container.Array("codes2", "U8", [3], full)]
        with self.assertRaisesRegex(container.Bad, "No space left"):
            container.write(self.at("a.safetensors"), broken, {})
        with open(self.at("a.safetensors"), "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(os.listdir(self.folder), ["a.safetensors"])


class WithoutTorch(unittest.TestCase):
    def test_the_script_helps_and_says_what_it_needs(self):
        # -S leaves out installed packages.
        command = [sys.executable, "-B", "-S", support.SCRIPT]
        run = lambda *more: subprocess.run([*command, *more], capture_output=True, text=True)
        self.assertIn("NAMES.json", run("--help").stdout)
        missing = run("to", "a.pt", "b.safetensors")
        self.assertEqual((missing.returncode, missing.stdout), (2, ""))
        self.assertRegex(missing.stderr, r"\Aerror: .*pip install torch numpy\.\n\Z")


if __name__ == "__main__":
    unittest.main()
