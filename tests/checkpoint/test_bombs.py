"""Small files that ask for much, and archives whose bytes are not what they seem: refused before
anything is made.
"""

import json
import struct
import time
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import (
    CheckpointError,
    InputError,
    Memory,
    SpecError,
    build_model,
    load_model,
    load_spec,
)
from engine.checkpoint.files.shells import read_shells
from tests.checkpoint.folders import as_bin, edit_config, loaded, refused, tensors
from tokenization import VocabularyError
from tokenization.files.pickles import read_pickled_words


def rewritten(path, method=zipfile.ZIP_STORED, change=lambda name, content: content):
    with zipfile.ZipFile(path) as archive:
        records = [(record.filename, archive.read(record)) for record in archive.infolist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in records:
            archive.writestr(name, change(name, content))


def test_compressed_records_are_refused(theirs):
    rewritten(as_bin(theirs), zipfile.ZIP_DEFLATED)
    refused(theirs, "is compressed, which torch.save never does", "writes it plain")


def test_records_that_overlap_are_refused(theirs):
    path = as_bin(theirs)
    content = path.read_bytes()
    first = content.index(b"PK\1\2")
    second = content.index(b"PK\1\2", first + 4)
    size = struct.unpack_from("<I", content, first + 20)[0]
    changed = bytearray(content)
    for place in (first + 20, first + 24):
        struct.pack_into("<I", changed, place, size + (second - first) * 1000)
    path.write_bytes(bytes(changed))
    refused(theirs, "pytorch_model.bin is damaged: ")


def test_the_other_byte_order_is_read(theirs):
    expected = tensors(theirs)

    def turned(name, content):
        if name.endswith("byteorder"):
            return b"big"
        return (
            torch.frombuffer(bytearray(content), dtype=torch.uint8)
            .view(-1, 4)
            .flip(1)
            .numpy()
            .tobytes()
            if "/data/" in name
            else content
        )

    rewritten(as_bin(theirs), change=turned)
    model = loaded(theirs)
    assert torch.equal(model.final_norm.weight, expected["model.layer_norm.weight"])


def test_a_tensor_larger_than_its_storage_is_refused(theirs):
    state = tensors(theirs)
    state["lm_head.weight"] = torch.zeros(1).expand(60, 32)
    as_bin(theirs, state)
    refused(theirs, "lm_head.weight (60, 32) is larger than what it is stored in")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn])
@pytest.mark.parametrize("weights", [None, "int8"])
def test_integers_and_storage_forms_are_no_weights(theirs, dtype, weights):
    state = load_file(theirs / "model.safetensors")
    name = "model.layers.0.fc1.weight"
    state[name] = state[name].to(dtype)
    save_file(state, theirs / "model.safetensors", metadata={"format": "pt"})
    refused(theirs, f"is stored as {dtype}, which holds no weights", weights=weights)


def test_more_layers_than_tensors(theirs):
    edit_config(theirs, num_layers=9_999)
    refused(theirs, "describes 9999 layers, but holds")


@pytest.mark.parametrize(
    "pickled",
    [
        b"Nr\xff\xff\xff\x1f.",
        b"Np4000000000\n.",
        b"\x85" * 20_000 + b".",
        b"\x96" + b"\xff" * 8 + b".",
    ],
)
def test_a_word_list_that_asks_for_gigabytes(pickled, tmp_path):
    (tmp_path / "vocab.pkl").write_bytes(pickled)
    with pytest.raises(VocabularyError, match=r"vocab\.pkl"):
        read_pickled_words(tmp_path / "vocab.pkl")


MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # of torch.save's older layout


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"\x80\x02Nr" + struct.pack("<I", 2**30) + b".", "numbers an object 1073741824"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b".", "ends too early"),
        (b"\x80\x02)" + b"\x85" * 50_000 + b".", "more than 40000 tuples"),
    ],
)
def test_a_file_of_the_authors_that_asks_for_gigabytes(pickled, reason, zipped, tmp_path):
    path = tmp_path / "model.pt"
    if zipped:
        torch.save({"model": torch.zeros(2)}, path)
        rewritten(path, change=lambda name, old: pickled if name.endswith("data.pkl") else old)
    else:
        path.write_bytes(MAGIC + pickled)
    with pytest.raises(CheckpointError, match=reason):
        read_shells(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_whose_name_ends_the_process_when_it_is_hashed(zipped, theirs):
    path = as_bin(theirs)
    name = b"\x80\x02})" + b"\x85" * 3_000_000 + b"Ns."
    if zipped:
        rewritten(path, change=lambda record, old: name if record.endswith("data.pkl") else old)
    else:
        path.write_bytes(MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + name + b"\x80\x02].")
    refused(theirs, "more than 40000 tuples")


def test_a_memory_of_very_many_layers(tmp_path):
    path = tmp_path / "memory.safetensors"
    model = build_model("tiny/xglm", seed=0)
    model(torch.tensor([[5, 6]]), use_memory=True).memory.save(path)
    for layers in (10**9, -1, 0, True, "2"):
        about = {"spec": "x", "length": 2, "layers": layers, "keeps": "segments"}
        save_file(load_file(path), path, metadata={"memory": json.dumps(about)})
        with pytest.raises(
            InputError,
            match=r"memory\.safetensors' is not a file that Memory\.save wrote, or is damaged",
        ):
            Memory.load(path)


def test_very_many_unknown_keys_are_told_in_short():
    begun = time.process_time()
    with pytest.raises(SpecError, match="and 19801 more problems") as caught:
        load_spec({"name": "x", **{f"key{number}": 1 for number in range(20_000)}})
    assert len(str(caught.value).splitlines()) < 300 and time.process_time() - begun < 10


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 50_000, '{"a": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_that_nests_or_counts_without_end(theirs, name, text):
    (theirs / "model.safetensors").unlink()
    (theirs / name).write_text(text)
    refused(theirs, f"{name} is damaged")


def test_a_loaded_head_of_very_many_labels(theirs):
    edit_config(theirs, num_labels=2**31 - 1)
    with pytest.raises(Exception, match=r"too many for a new head|num_labels") as caught:
        load_model(theirs, "sequence_classification")
    assert type(caught.value).__module__ == "engine.errors"


def test_a_description_of_very_many_levels(theirs):
    (theirs / "generation_config.json").write_text(
        '{"max_new_tokens": ' + '{"a": ' * 90 + "1" + "}" * 91
    )
    refused(theirs, "generation_config.json is damaged: values lie more than 50 deep")


def test_tensors_of_several_dtypes_come_in_the_one_that_holds_all(theirs):
    state = load_file(theirs / "model.safetensors")
    halved = {name: tensor.bfloat16() for name, tensor in state.items()}
    exact = {name: tensor for name, tensor in state.items() if "norm" in name}
    save_file({**halved, **exact}, theirs / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(UserWarning, match="stored as bfloat16 and float32 are all float32 now"):
        model = load_model(theirs)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.get_parameter("final_norm.weight"), state["model.layer_norm.weight"])
    assert torch.isfinite(model(torch.tensor([[5, 6]])).logits).all()
    assert not load_model(theirs, dtype=torch.bfloat16).load_report


def test_a_description_with_half_a_character(theirs):
    edit_config(theirs, own_field={"name": ["\ud800"]})
    refused(theirs, "config.json is damaged: '\\ud800' holds half a character")


def test_a_very_long_value_is_not_printed_whole(theirs):
    edit_config(theirs, eos_token_id="x" * 100_000)
    with pytest.raises(CheckpointError) as caught:
        load_model(theirs)
    assert len(str(caught.value)) < 4_000
