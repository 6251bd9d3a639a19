"""A folder to break."""

import pytest

from engine import save_model
from tests.checkpoint.folders import small


@pytest.fixture
def theirs(tmp_path):
    """A folder with a small XGLM in transformers' format."""
    folder = tmp_path / "theirs"
    save_model(small(), folder, format="huggingface")
    return folder
