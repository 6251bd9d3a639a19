"""Weight files of torch.save: what is checked before their bytes are taken for tensors."""

import mmap
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import CheckpointError
from tokenization.files.pickles import check_pickle

# Tensors that share storage count once a name: more of that than any network has is meant to fill
# the memory.
MOST_SHARED = 64
LARGEST_PICKLE = 2**28
MOST_TUPLES = 40_000  # several times those of the tensors of any published network
_ARCHIVE, _LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# The older layout: a number, a version, the system, the tensors, the keys of their storages.
_LEGACY_PICKLES = 5
_LOCAL = struct.Struct("<4s2xHH8xIIHH")


def is_archive(path: Path) -> bool:
    """Whether a file of torch.save has the layout of a zip archive, else the older one; raises
    CheckpointError where torch must not open it.

    Every pickle in it is looked through before a reader follows it: one may ask for more memory
    than there is, or for a hash that ends the process.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_LEGACY))
            if start.startswith(_ARCHIVE):
                check_archive(path)
                with zipfile.ZipFile(file) as archive:
                    for name in archive.namelist():
                        if name.endswith("data.pkl"):
                            check_pickle(archive.read(name), most_tuples=MOST_TUPLES)
                return True
            if start != _LEGACY:
                raise pickle.UnpicklingError("torch.save did not write it")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                place = 0
                for _ in range(_LEGACY_PICKLES):
                    place = check_pickle(content, place, MOST_TUPLES)
    except (pickle.UnpicklingError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no weight file: {error}") from None
    return False


def check_archive(path: Path) -> None:
    """Raise CheckpointError unless every record of a zip file lies in it as torch.save writes it:
    plain, whole and apart.

    torch maps such a file and takes the bytes at a record's place for its values, whatever they
    are.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            records = sorted(archive.infolist(), key=lambda record: record.header_offset)
            ends = [*(record.header_offset for record in records[1:]), archive.start_dir]
            for record, end in zip(records, ends):
                file.seek(record.header_offset)
                _check_record(record, file.read(_LOCAL.size), end)
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    names = [record.filename for record in records]
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path} is damaged: two of its records have one name")


def _check_record(record: zipfile.ZipInfo, header: bytes, end: int) -> None:
    """One record beside its local header; `end` is where the next one begins."""
    mark, flags, method, packed, size, name, extra = _LOCAL.unpack(header)
    if mark != b"PK\3\4":
        raise ValueError(f"there is no record {record.filename} where its table says")
    if record.compress_type or method:
        raise ValueError(
            f"its record {record.filename} is compressed, which torch.save never does: "
            "torch.save(torch.load(FILE), FILE) writes it plain"
        )
    if (record.flag_bits | flags) & 1:
        raise ValueError(f"its record {record.filename} is encrypted")
    # 0 and the largest number stand for sizes that are told elsewhere.
    told = {packed, size} - {0, 2**32 - 1}
    if record.file_size != record.compress_size or told - {record.file_size}:
        raise ValueError(f"its record {record.filename} has two sizes")
    if record.header_offset + _LOCAL.size + name + extra + record.file_size > end:
        raise ValueError(f"its record {record.filename} reaches into the next one")
    if record.filename.endswith("data.pkl") and record.file_size > LARGEST_PICKLE:
        raise ValueError(f"its record {record.filename} is larger than any list of tensors")


def check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for tensors that hold no values, or more of them than their file."""
    total = 0
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(
                f"{path}: {name} holds no plain values ({tensor.layout}, {tensor.device}): "
                "save it dense"
            )
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path} is damaged: {name} {tuple(tensor.shape)} is larger than what it is "
                "stored in"
            )
    if total > MOST_SHARED * path.stat().st_size:
        raise CheckpointError(
            f"{path} is damaged: its tensors are {total} bytes, the file holds "
            f"{path.stat().st_size}"
        )
