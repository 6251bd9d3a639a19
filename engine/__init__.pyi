from engine.build import build_model as build_model
from engine.build import load_spec as load_spec
from engine.checkpoint import load_model as load_model
from engine.checkpoint import save_model as save_model
from engine.errors import CheckpointError as CheckpointError
from engine.errors import InputError as InputError
from engine.errors import SpecError as SpecError
from engine.memory import Memory as Memory
from engine.model import Model as Model
from engine.network.outputs import Output as Output
from engine.spec import Spec as Spec
from engine.unpadded import run_unpadded as run_unpadded

__version__: str
