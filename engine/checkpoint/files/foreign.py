"""What lies in a folder that holds no weights that we read, and what its owner can do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError

POINTER = b"version https://git-lfs.github.com/spec/"
CONVERT = "transformers 4.35 with TensorFlow: python -m transformers.models"
TF_CHECKPOINTS = {
    "xlnet": f"{CONVERT}.xlnet.convert_xlnet_original_tf_checkpoint_to_pytorch "
    "--tf_checkpoint_path FOLDER/xlnet_model.ckpt --xlnet_config_file FOLDER/xlnet_config.json "
    "--pytorch_dump_folder_path NEW",
    "transfo": f"{CONVERT}.transfo_xl.convert_transfo_xl_original_tf_checkpoint_to_pytorch "
    "--tf_checkpoint_path FOLDER/model.ckpt --transfo_xl_config_file CONFIG "
    "--pytorch_dump_folder_path NEW",
}
# The end of a file's name, what it is, and how it becomes a folder that opens.
KINDS = (
    (
        ".h5",
        "TensorFlow weights",
        "save it anew with transformers 4: from_pretrained(FOLDER, from_tf=True)",
    ),
    (
        ".msgpack",
        "Flax weights",
        "save it anew with transformers 4: from_pretrained(FOLDER, from_flax=True)",
    ),
    (".gguf", "a quantised network of llama.cpp", "open the folder that it was made from"),
    (".onnx", "an exported ONNX graph", "open the folder that it was exported from"),
    (".ot", "weights of rust-bert", "open the folder that it was made from"),
    (".xml", "an exported OpenVINO graph", "open the folder that it was exported from"),
    (".tflite", "an exported TensorFlow Lite graph", "open the folder that it was exported from"),
    (".nemo", "an archive of NeMo", "export it to transformers' format first"),
)
# Tensors that only a quantised network has.
QUANTISED = (
    ".absmax",
    ".quant_state.bitsandbytes__nf4",
    ".SCB",
    ".qweight",
    ".qzeros",
    ".g_idx",
    ".weight_scale_inv",
)


def nothing_to_open(folder: Path, lack: str) -> CheckpointError:
    """The error for a folder with some `lack`: what lies there instead, and what to do."""
    names = sorted(path.name for path in folder.iterdir())
    if "adapter_config.json" in names:
        return CheckpointError(f"{folder} holds a PEFT adapter, not a network: {_merge(folder)}")
    for end, kind, cure in KINDS:
        if found := [name for name in names if name.endswith(end)]:
            return CheckpointError(f"{lack}; it holds {kind} ({found[0]}): {cure}")
    if found := [name for name in names if ".ckpt" in name and name.endswith((".index", ".meta"))]:
        kind = "transfo"
        if "xlnet" in " ".join(names):
            kind = "xlnet"
        return CheckpointError(
            f"{lack}; it holds a TensorFlow checkpoint ({found[0]}), which this command converts, "
            f"with {TF_CHECKPOINTS[kind]}"
        )
    return CheckpointError(f"{lack}{_rest(names)}")


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError for what git left in the place of a large file."""
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise CheckpointError(
                f"{path} is a git-LFS pointer, not the file itself: run `git lfs pull` in its "
                "folder"
            )


def refuse_quantised(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a folder whose config.json says that its weights are quantised."""
    given = config.get("quantization_config")
    if not given:
        return
    method = given.get("quant_method") if isinstance(given, Mapping) else None
    raise CheckpointError(
        f"{folder} holds quantised weights ({method or 'config.json has quantization_config'}): "
        "open the folder that they were made from, or save it anew with transformers: "
        "from_pretrained(FOLDER).dequantize().save_pretrained(NEW); "
        "load_model(NEW, weights='int8') then keeps 8-bit weights of our own"
    )


def refuse_quantised_tensors(folder: Path, names: list[str]) -> None:
    """Raise CheckpointError where tensors of quantised layers stand among the others."""
    if found := [name for name in names if name.endswith(QUANTISED)]:
        raise CheckpointError(
            f"{folder} holds quantised weights ({found[0]}): open the folder that they were made "
            "from, or dequantize it with the library that wrote it"
        )


def _merge(folder: Path) -> str:
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get(
            "base_model_name_or_path"
        )
    except (ValueError, AttributeError):
        base = None
    named = ""
    if base:
        named = f" ({base})"
    return (
        f"open its base{named} with load_model, or merge both with peft: "
        "AutoPeftModel.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW)"
    )


def _rest(names: list[str]) -> str:
    if not names:
        return "; the folder is empty"
    told = f"; it holds {', '.join(names[:6])}"
    if len(names) > 6:
        told += f" and {len(names) - 6} more"
    return told
