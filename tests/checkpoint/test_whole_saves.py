"""Saves that are stopped at any point, that meet each other, or that find no room: what is read is
one save, whole.
"""

import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from engine import CheckpointError, build_model, load_model, save_model
from engine.checkpoint.files import sharding
from tests.checkpoint.folders import SMALL, small
from tokenization.files import staging

ONE, MANY = 10**9, 50_000


class Killed(BaseException):
    """The process ends here: nothing that touches files is done any more."""


@contextlib.contextmanager
def killed_at(point, monkeypatch):
    """The process ends before the `point`-th operation on files, or behind it where `point` is
    negative.
    """
    done = []

    def ends(operation):
        def run(*arguments, **named):
            done.append(operation)
            if len(done) >= abs(point):
                if point < 0 and len(done) == -point:
                    operation(*arguments, **named)
                raise Killed
            return operation(*arguments, **named)

        return run

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "chmod", "write_text", "write_bytes"):
            patched.setattr(Path, name, ends(getattr(Path, name)))
        patched.setattr(os, "fsync", ends(os.fsync))
        patched.setattr(shutil, "rmtree", ends(shutil.rmtree))
        patched.setattr(sharding, "save_file", ends(save_file))
        with contextlib.suppress(Killed):
            yield


def same(model, other):
    ours, theirs = dict(model.named_parameters()), dict(other.named_parameters())
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) for name in ours
    )


def theirs_in(folder):
    """What transformers makes of a folder, None where it finds no network there."""
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(folder)
    except (OSError, ValueError) as error:
        assert "config.json" in str(error), error
        return None


def state(folder):
    """What a folder holds, the drawn names of stages left out: modes, links and bytes by name."""
    held = {}
    for path in sorted(folder.rglob("*")):
        name, what = path.relative_to(folder).as_posix(), b""
        if path.is_symlink():
            what = str(path.readlink()).encode()
        elif path.is_file():
            what = path.read_bytes()
        drawn = STAGED.sub(staging.STAGE.encode(), name.encode() + b"\0" + what)
        held[drawn] = path.lstat().st_mode
    return tuple(sorted(held.items()))


STAGED = re.compile(re.escape(staging.STAGE).encode() + rb"\w+")


@pytest.mark.parametrize(
    ("old_form", "new_form"),
    [
        (("huggingface", MANY), ("huggingface", MANY)),
        (("huggingface", ONE), ("huggingface", MANY)),
        (("engine", MANY), ("huggingface", ONE)),
        (("huggingface", MANY), ("engine", MANY)),
    ],
)
def test_a_save_that_is_stopped_anywhere_is_the_old_one_or_the_new_one(
    old_form, new_form, tmp_path, monkeypatch
):
    """Before and behind every operation; what a state that several points leave is read as, and
    what the next save makes of it, is tried once.
    """
    old, new = small(), build_model("xglm", overrides={**SMALL, "dims.inner": 48}, seed=7)
    begun = tmp_path / "begun"
    save_model(old, begun, old_form[0], shard_bytes=old_form[1])
    (begun / "model_best.safetensors").write_bytes(b"mine")
    tried, seen = set(), set()
    for direction in (1, -1):
        point = 0
        while True:
            point += 1
            folder = tmp_path / f"{direction * point}"
            shutil.copytree(begun, folder)
            with killed_at(direction * point, monkeypatch):
                save_model(new, folder, new_form[0], shard_bytes=new_form[1])
                break
            left = state(folder)
            if left not in tried:
                tried.add(left)
                found = load_model(folder)
                seen.add(same(found, new))
                assert same(found, new) or same(found, old), direction * point
                assert (folder / "model_best.safetensors").read_bytes() == b"mine"
                # The next save clears up what is left.
                save_model(new, folder, new_form[0], shard_bytes=new_form[1])
                assert same(load_model(folder), new), direction * point
                assert not list(folder.glob(".*")), direction * point
            shutil.rmtree(folder)
        assert point > 10
    assert seen == {True, False} and len(tried) > 10


@pytest.mark.parametrize(
    "changes", [{}, {"dims.inner": 48}], ids=["same network", "another network"]
)
@pytest.mark.parametrize("shard_bytes", [ONE, MANY])
def test_transformers_never_reads_a_mixture(changes, shard_bytes, tmp_path, monkeypatch):
    old, new = small(), build_model("xglm", overrides={**SMALL, **changes}, seed=7)
    vectors = {
        seed: model.get_parameter("blocks.0.feed_forward.up.weight")
        for seed, model in enumerate((old, new))
    }
    begun = tmp_path / "begun"
    save_model(old, begun, "huggingface", shard_bytes=shard_bytes)
    for point in range(1, 200):
        folder = tmp_path / str(point)
        shutil.copytree(begun, folder)
        with killed_at(point, monkeypatch):
            save_model(new, folder, "huggingface", shard_bytes=shard_bytes)
            break
        if (folder / staging.RECORD).exists() or point % 6 == 0:
            opened = theirs_in(folder)
            assert opened is not None or changes, point
            if opened is not None:
                weight = opened.model.layers[0].fc1.weight
                assert any(
                    torch.equal(weight, vector)
                    for vector in vectors.values()
                    if vector.shape == weight.shape
                )
                assert weight.shape[0] == opened.config.ffn_dim
        shutil.rmtree(folder)


CHILD = """
import sys
from engine import build_model, save_model
from tests.checkpoint.folders import SMALL
models = [build_model("xglm", overrides={**SMALL, "dims.inner": 64 + 16 * (seed % 2)}, seed=seed) for seed in (0, 7)]
print("ready", flush=True)
for number in range(10**6):
    save_model(models[number % 2], sys.argv[1], ("engine", "huggingface")[number // 2 % 2], shard_bytes=50_000)
"""


def test_readers_beside_a_writer_that_is_killed(tmp_path):
    folder = tmp_path / "model"
    models = [
        build_model("xglm", overrides={**SMALL, "dims.inner": 64 + 16 * (seed % 2)}, seed=seed)
        for seed in (0, 7)
    ]
    save_model(models[0], folder)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            ends = time.monotonic() + 1.5
            while time.monotonic() < ends:
                try:
                    found = load_model(folder)
                except (
                    CheckpointError
                ) as error:  # on a busy machine a writer without rest may outrun a reader
                    assert "saved to again and again" in str(error)
                    continue
                assert any(same(found, model) for model in models)
        finally:
            child.send_signal(signal.SIGKILL)
    assert any(same(load_model(folder), model) for model in models)


def test_two_writers_in_one_folder(tmp_path):
    models = [
        build_model("xglm", overrides={**SMALL, "dims.inner": 64 + 16 * seed}, seed=seed)
        for seed in range(3)
    ]
    forms = [("engine", ONE), ("huggingface", MANY), ("huggingface", ONE)]

    def save(number):
        for _ in range(4):
            form, shard_bytes = forms[number]
            save_model(models[number], tmp_path, form, shard_bytes=shard_bytes)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(save, range(3)))
    assert sum(same(load_model(tmp_path), model) for model in models) == 1
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("without", [False, True], ids=["locks", "no locks"])
def test_a_folder_that_another_save_holds(without, tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "WAIT", 0.1)
    if without:
        monkeypatch.setattr(staging, "fcntl", None)
    save_model(small(), tmp_path)
    with staging._locked(tmp_path), pytest.raises(CheckpointError, match="another save holds it"):
        save_model(small(), tmp_path)
    save_model(small(), tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_files_that_no_save_wrote_stay(tmp_path):
    mine = (
        "model_best.safetensors",
        "model-ema.safetensors",
        "model.safetensors.bak",
        "model.safetensors.index.json.bak",
        "model-00001-of-00099.safetensors",
        "notes.json",
        "config.json",
    )
    for name in mine:
        (tmp_path / name).write_text("mine")
    save_model(small(), tmp_path, shard_bytes=MANY)
    save_model(small(), tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in mine)
    save_model(small(), tmp_path, "huggingface")
    assert all((tmp_path / name).read_text() == "mine" for name in mine[:-1])
    assert not (tmp_path / "spec.yaml").exists()


def test_a_spec_that_a_person_wrote_is_not_deleted(tmp_path):
    (tmp_path / "spec.yaml").write_text("name: mine\n")
    with pytest.raises(CheckpointError, match=r"holds a spec\.yaml that no save wrote"):
        save_model(small(), tmp_path, "huggingface")
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_links_are_replaced_and_never_written_through(tmp_path):
    (outside := tmp_path / "outside").write_text("theirs")
    (folder := tmp_path / "model").mkdir()
    for name in ("model.safetensors", "spec.yaml"):
        (folder / name).symlink_to(outside)
    save_model(small(), folder)
    assert outside.read_text() == "theirs" and same(load_model(folder), small())


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("shard_bytes", [ONE, MANY])
def test_modes_follow_the_umask(umask, shard_bytes, tmp_path):
    before = os.umask(umask)
    try:
        save_model(small(), tmp_path / "model", shard_bytes=shard_bytes)
    finally:
        os.umask(before)
    for path in (tmp_path / "model").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask, path


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    save_model(small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in (
        (sharding, "save_file"),
        (Path, "write_text"),
        (os, "fsync"),
        (Path, "mkdir"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, full)
            with pytest.raises(
                CheckpointError,
                match=r"cannot be written: No space left on device; what it held is as",
            ):
                save_model(small(), tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(theirs, name, monkeypatch):
    opened = Path.open

    def refuse(path, *arguments, **named):
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        CheckpointError, match=rf"{name} cannot be read: Permission denied"
    ) as caught:
        load_model(theirs)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '{"stage": "../x", "steps": []}',
        '{"stage": ".saving-/../..", "steps": []}',
        '{"stage": ".saving-x", "steps": [["remove", "../outside"]]}',
        '{"stage": ".saving-x", "steps": [["run", "model.safetensors"]]}',
    ],
)
def test_a_record_leads_nowhere_else(record, theirs):
    (outside := theirs.parent / "outside").write_text("theirs")
    (theirs / staging.RECORD).write_text(record)
    with pytest.raises(CheckpointError, match=r"\.save\.json cannot be read: .*delete it"):
        load_model(theirs)
    assert outside.exists()


def test_a_stage_that_is_a_link_is_not_followed(theirs):
    (outside := theirs.parent / "outside").mkdir()
    (outside / "secret").write_text("theirs")
    (theirs / ".saving-x").symlink_to(outside)
    (theirs / staging.RECORD).write_text('{"stage": ".saving-x", "steps": [["put", "secret"]]}')
    load_model(theirs)
    assert (outside / "secret").exists() and not (theirs / "secret").exists()


def test_a_save_in_progress_is_not_cleared_away(tmp_path):
    inside, go_on = threading.Event(), threading.Event()

    def slow():
        with staging.staged(tmp_path) as stage:
            (stage / "one").write_text("1")
            inside.set()
            assert go_on.wait(300)

    thread = threading.Thread(target=slow)
    thread.start()
    assert inside.wait(300)
    save_model(small(), tmp_path)
    go_on.set()
    thread.join()
    assert (tmp_path / "one").read_text() == "1" and same(load_model(tmp_path), small())
