"""Thirty ways to break the engine, each of which some test must notice: `make mutations`.

A law that cannot fail is no law. Every mutation is applied to a copy of the tree, and the tests
that are named run there: those that end green let it live, and are shown.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

ROOT = Path(__file__).parents[1]
LAWS, PARITY, GENERATION = "tests/properties/", "tests/parity/", "tests/generation/"


class Mutation(NamedTuple):
    """A line of a file and what it becomes, with the tests that should notice."""

    file: str
    before: str
    after: str
    tests: str


MUTATIONS = (
    Mutation("engine/network/masks.py", "distance >= 0)", "distance >= -1)", LAWS + "test_causality_law.py"),
    Mutation("engine/network/masks.py", "return self.padding[:, None, tile.columns]", "return None", LAWS + "test_padding_law.py"),
    Mutation("engine/network/masks.py", "rules.append(distance < reach)", "rules.append(distance <= reach)", PARITY + "test_transformer_xl.py"),
    Mutation("engine/kernels/attention.py", "mixed = mixed * mask.sees", "mixed = mixed * 1", "tests/kernels/test_attention.py"),
    Mutation("engine/network/attention.py", "self.scale, self.softcap = spec.attention_scale", "self.scale, self.softcap = 2 * spec.attention_scale", PARITY + "test_xglm.py"),
    Mutation("engine/kernels/attention.py", "scores = (query * softmax.scale) @", "scores = query @", LAWS + "test_paths_law.py"),
    Mutation("engine/network/attention.py", "shared.scores.pairs.columns - known", "shared.scores.pairs.columns", GENERATION + "test_decoding.py"),
    Mutation("engine/network/block.py", "states + self.feed_forward_dropout(fed)", "self.feed_forward_dropout(fed)", PARITY + "test_xlm.py"),
    Mutation("engine/network/block.py", "self.before(self.feed_forward_norm or", "unnormed(self.feed_forward_norm or", PARITY + "test_variants.py"),
    Mutation("engine/network/positions/counting.py", "(steps - 1).clamp(min=0) + offset", "steps + offset", LAWS + "test_padding_law.py"),
    Mutation("engine/network/positions/rotary.py", "torch.addcmul(states * cosine, others, sine)", "torch.addcmul(states * cosine, others, -sine)", PARITY + "test_variants.py"),
    Mutation("engine/network/positions/table.py", "masked_fill((rows == self.zero_row)", "masked_fill((rows != rows)", PARITY + "test_xglm.py"),
    Mutation("engine/spec/sections.py", '"sqrt_model": width**0.5', '"sqrt_model": 1.0', PARITY + "test_xglm.py"),
    Mutation("engine/memory/memory.py", "tensor.index_select(0, rows)", "tensor[: len(rows)]", GENERATION + "test_memory.py"),
    Mutation("engine/network/output_layer.py", "self.cutoffs[1] + cluster - 1, None]", "self.cutoffs[1], None]", PARITY + "test_transformer_xl.py"),
    Mutation("engine/network/output_layer.py", "self.weight = tokens.tables[0]", "pass", LAWS + "test_tie_law.py"),
    Mutation("engine/kernels/dropout.py", "_LEVELS / (_LEVELS - dropped)", "1.0", "tests/kernels/test_dropout.py"),
    Mutation("engine/kernels/linear.py", "for_bias = rows.sum(0)", "for_bias = rows[0]", "tests/kernels/"),
    Mutation("engine/kernels/linear.py", "for_states = gradient @ weight if own", "for_states = gradient @ weight * 2 if own", "tests/kernels/"),
    Mutation("engine/kernels/losses.py", "index_put((chosen,), found)", "index_put((chosen,), found * 0.5)", "tests/heads/"),
    Mutation("engine/generation/decoding/sampling.py", "[:, :-1], (1, 0), value=False)", "[:, :-1], (1, 0), value=True)", GENERATION + "test_choosing.py"),
    Mutation("engine/generation/decoding/beams.py", "** self.options.length_penalty", "** 1.0", GENERATION + "test_published.py"),
    Mutation("engine/generation/decoding/state.py", "value=True)", "value=False)", GENERATION + "test_decoding.py"),
    Mutation("heads/language_modeling.py", "functional.pad(labels[:, 1:], (0, 1)", "functional.pad(labels[:, :-1], (0, 1)", PARITY + "test_xglm.py"),
    Mutation("heads/classification.py", "labels.masked_fill(~real, IGNORED)", "labels", "tests/heads/"),
    Mutation("heads/pooling.py", "last - real.flip(1).long()", "last - real.long()", "tests/heads/test_pooling.py"),
    Mutation("engine/checkpoint/config/fields.py", "return value + entry.offset", "return value", PARITY + "test_variants.py"),
    Mutation("engine/parameters/ties.py", "not _same(values[0], value)", "False", "tests/model/test_state.py"),
    Mutation("engine/training/optimizers.py", "section.decay * decayed", "section.decay", "tests/training/test_loop.py"),
    Mutation("tokenization/pipeline/formats.py", "Place(int(kind or 0), token_id", "Place(0, token_id", "tests/tokenization/test_parity.py"),
    Mutation("tokenization/options.py", "result[key] = laid_over(old, value)", "result[key] = value", "tests/tokenization/"),
)  # fmt: skip


def place(mutation: Mutation, root: Path = ROOT) -> int:
    """How often the line that is changed stands in its file."""
    return (root / mutation.file).read_text(encoding="utf-8").count(mutation.before)


def survives(mutation: Mutation) -> bool:
    """Whether the tests that are named end green beside a mutation."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        left_out = shutil.ignore_patterns(
            ".git", ".venv*", ".demo", "*_cache", "__pycache__", "*.egg-info"
        )
        shutil.copytree(ROOT, tree, ignore=left_out)
        path = tree / mutation.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(mutation.before, mutation.after, 1), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            mutation.tests,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
    return ended.returncode == 0


def main() -> int:
    """Print what survived; 1 where anything did."""
    alive = [mutation for mutation in track(MUTATIONS, "mutations") if survives(mutation)]
    for mutation in alive:
        print(
            f"survived: {mutation.file}: {mutation.before!r} -> {mutation.after!r} beside {mutation.tests}"
        )
    print(f"{len(MUTATIONS) - len(alive)} of {len(MUTATIONS)} were noticed")
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main())
