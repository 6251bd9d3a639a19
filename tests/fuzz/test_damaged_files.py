"""Whatever is wrong in a file, its reader gives something that works, or an error of ours:
FUZZ=5000 pytest tests/fuzz
"""

import os
import random
import shutil
import warnings

import pytest
import torch

from engine import (
    CheckpointError,
    InputError,
    Memory,
    SpecError,
    build_model,
    load_model,
    save_model,
)
from tests.fuzz.damage import damaged, one_damaged
from tests.tokenization.texts import CORPUS
from tokenization import TokenizationError, load_tokenizer, train_tokenizer
from tokenization.files.published import family_section

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
FORMS = ("huggingface", "engine", "shards", "zip", "legacy")
TIMES = int(os.environ.get("FUZZ", "4"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SMALL = {"dims.layers": 1, "dims.model": 16, "dims.heads": 2, "dims.inner": 16, "dims.vocab": 40}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def trials(name):
    """Dice for each trial; the number of one that failed is in the traceback's locals and repeats
    it.
    """
    return [(number, random.Random(f"{SEED}/{name}/{number}")) for number in range(TIMES)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_model_folders(family, form, tmp_path):
    folder = tmp_path / "model"
    model = build_model(f"tiny/{family}", overrides={"dims.layers": 1}, seed=0)
    save_model(
        model,
        folder,
        "engine" if form == "engine" else "huggingface",
        shard_bytes=40_000 if form == "shards" else 10**9,
    )
    if form in ("zip", "legacy"):
        state = {name: tensor.clone() for name, tensor in _stored(folder).items()}
        torch.save(
            state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip"
        )
        (folder / "model.safetensors").unlink()
    ids = torch.tensor([[5, 6, 7]])
    for number, dice in trials(f"{family}/{form}"):
        path, before = one_damaged(folder, dice)
        try:
            found = load_model(folder)
        except (CheckpointError, SpecError, InputError) as error:
            assert str(error), number
        else:
            found(ids)
        path.write_bytes(before)
    load_model(folder)


def _stored(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    made = {}
    for family in FAMILIES:
        directory = tmp_path_factory.mktemp(family)
        section = family_section(family)
        train_tokenizer(section, CORPUS, 700).save(directory / "huggingface", "huggingface")
        train_tokenizer(section, CORPUS, 700).save(directory / "engine", "engine")
        if "model_file" in section:
            train_tokenizer({**section, "backend": "tokenizers"}, CORPUS, 700).save(
                directory / "library", "huggingface"
            )
        made[family] = directory
    return made


@pytest.mark.parametrize("form", ["huggingface", "engine", "library"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_folders(family, form, vocabularies, tmp_path):
    whole = vocabularies[family] / form
    if not whole.is_dir():
        pytest.skip("words have no form for that library")
    folder = tmp_path / "tokenizer"
    shutil.copytree(whole, folder)
    for number, dice in trials(f"{family}/{form}/tokenizer"):
        path, before = one_damaged(folder, dice)
        try:
            found = load_tokenizer(folder)
            found.decode(found("Ein Text, a text.").input_ids)
        except TokenizationError as error:
            assert str(error), number
        path.write_bytes(before)
    load_tokenizer(folder)


@pytest.mark.parametrize("family", ["transformer-xl", "xglm"])
def test_memory_files(family, tmp_path):
    model = build_model(f"tiny/{family}", seed=0)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    path = tmp_path / "memory.safetensors"
    with torch.no_grad():
        model(ids, attention_mask=mask if family == "xglm" else None, use_memory=True).memory.save(
            path
        )
        whole = path.read_bytes()
        for number, dice in [
            pair for part in range(5) for pair in trials(f"{family}/{part}/memory")
        ]:
            path.write_bytes(damaged(whole, path.name, dice))
            try:
                memory = Memory.load(path)
                model(ids, memory=memory, use_memory=True)
            except InputError as error:
                assert str(error), number
