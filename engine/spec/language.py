"""A language of YAML files, such as specs and recipes: where its files stand, how one extends
another, and how all that is wrong in one is told.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import InputError, SpecError, nearest
from engine.spec.origins import KeyPath, Origins, parse
from tokenization.files.paths import as_path

Source = str | os.PathLike[str] | Mapping[str, Any]
Found = Iterable[tuple[KeyPath, str]]


def shipped_folder(name: str) -> Path:
    """A folder of YAML files that travels with the project: beside the packages of a checkout, as
    engine/_NAME in a wheel.
    """
    beside = Path(__file__).resolve().parents[2] / name
    return beside if beside.is_dir() else Path(__file__).resolve().parents[1] / f"_{name}"


def _as_it_is(data: dict[str, Any], own: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return data


@dataclass(frozen=True, kw_only=True)
class Language:
    """What is particular to one language of YAML files."""

    noun: str
    """What a file of it is called."""
    plural: str
    owner: str
    """In whose folder a file of it stands that says everything itself."""
    looks: str
    """What its files hold, with an example, for messages."""
    folder: Path
    """Where the shipped files stand."""
    error: type[SpecError] = SpecError
    named_in_full: tuple[str, ...] = ("",)
    """Folders below `folder` whose files cannot be named without them."""
    unions: Mapping[str, str] = field(default_factory=dict)
    """Sections whose keys depend on what they are, with the key that says it: another one replaces
    them whole."""
    alternatives: Mapping[KeyPath, tuple[str, ...]] = field(default_factory=dict)
    """Keys of a section of which a file gives one: it replaces those that the parent gave."""
    complete: Callable[[dict[str, Any], Mapping[str, Any], Path], dict[str, Any]] = _as_it_is
    """What is added to a merged file, from what the file itself says and its folder."""

    def read(self, source: Source, origins: Origins) -> dict[str, Any]:
        """The plain data of a file or mapping with its parents merged in, before validation."""
        if isinstance(source, Mapping):
            return self._extend(dict(source), Path.cwd(), origins, ())
        path = self.find(source)
        data = self.parse(path, origins)
        if "extends" in data and Path(source).is_dir():
            text = (
                f"the {self.noun} in a {self.owner}'s folder says everything itself: "
                "give the file, not the folder, to follow it"
            )
            raise self.failure(origins, [(("extends",), text)])
        return self._extend(data, path.parent, origins, (path.resolve(),))

    def parse(self, path: Path, origins: Origins) -> dict[str, Any]:
        """The plain data of one file (raises the language's error for what is no mapping)."""
        return parse(path, origins, self.looks, self.error)

    def find(self, source: str | os.PathLike[str]) -> Path:
        """The file at a path or under a bare name among the shipped ones (raises FileNotFoundError
        with the nearest name).
        """
        path = as_path(self.noun, source, InputError)
        if path.is_dir() and (path / f"{self.noun}.yaml").is_file():
            return path / f"{self.noun}.yaml"
        if path.is_file():
            return path
        wanted = path.as_posix().removeprefix(f"{self.plural}/").removesuffix(".yaml")
        known = self.shipped()
        if wanted in known:
            return known[wanted]
        raise FileNotFoundError(f"no {self.noun} file '{source}'{nearest(wanted, known)}")

    def shipped(self) -> dict[str, Path]:
        """Every file that the project ships, by its name below the folder (also without its own
        folder, where that is no part of the name).
        """
        files = {
            path.relative_to(self.folder).with_suffix("").as_posix(): path
            for path in sorted(self.folder.rglob("*.yaml"))
        }
        short = {
            name.rsplit("/", 1)[-1]: path
            for name, path in files.items()
            if not name.startswith(self.named_in_full)
        }
        return {**short, **files}

    def merge(
        self,
        base: Mapping[str, Any],
        over: Mapping[str, Any],
        replaced: Callable[[KeyPath], None] | None = None,
        path: KeyPath = (),
    ) -> dict[str, Any]:
        """`over` laid on `base`: sections merge key by key, all else is replaced; a union of
        another kind is replaced whole. `replaced` is told the path of all that gives way.
        """
        result = dict(base)
        for other in self._given_way(over, path):
            if result.pop(other, None) is not None and replaced is not None:
                replaced((*path, other))
        for key, value in over.items():
            old, here = result.get(key), (*path, str(key))
            tag = self.unions.get(str(key), "")
            if (
                isinstance(value, Mapping)
                and isinstance(old, Mapping)
                and value.get(tag, old.get(tag)) == old.get(tag)
            ):
                result[key] = self.merge(old, value, replaced, here)
            else:
                result[key] = value
                if replaced is not None:
                    replaced(here)
        return result

    def override(
        self, data: dict[str, Any], overrides: Mapping[str, Any] | None, origins: Origins
    ) -> dict[str, Any]:
        """The data with dotted keys changed to other values."""
        if overrides is not None and not isinstance(overrides, Mapping):
            raise InputError(f"overrides are a {type(overrides).__name__}, expected a mapping")
        for path, value in (overrides or {}).items():
            data = self.merge(data, _nest(path.split("."), value), origins.override)
        return data

    def failure(self, origins: Origins, found: Found) -> SpecError:
        """The error that tells all that was found, in the order of the files."""
        problems = [origins.problem(path, text) for path, text in dict.fromkeys(found)]
        return self.error(
            sorted(
                problems,
                key=lambda problem: (problem.source, problem.line or 0, problem.column or 0),
            )
        )

    def _given_way(self, over: Mapping[str, Any], path: KeyPath) -> list[str]:
        group = self.alternatives.get(path, ())
        given = [key for key in group if over.get(key) is not None]
        return [key for key in group if key not in over] if given else []

    def _extend(
        self, data: dict[str, Any], folder: Path, origins: Origins, chain: tuple[Path, ...]
    ) -> dict[str, Any]:
        parent = data.pop("extends", None)
        if parent is None:
            return self.complete(data, data, folder)
        here = ("extends",)
        if not isinstance(parent, str):
            text = f"should be one file or name, found {parent!r}"
            raise self.failure(origins, [(here, text)])
        beside = folder / parent
        try:
            path = beside if beside.is_file() else self.find(parent)
        except FileNotFoundError as error:
            raise self.failure(origins, [(here, str(error))]) from None
        if path.resolve() in chain:
            circle = " -> ".join(str(link) for link in (*chain, path.resolve()))
            text = f"{self.plural} extend each other in a circle: {circle}"
            raise self.failure(origins, [(here, text)])
        inherited = Origins(noun=self.noun)
        base = self._extend(
            self.parse(path, inherited), path.parent, inherited, (*chain, path.resolve())
        )
        merged = self.merge(base, data, inherited.forget)
        origins.places = {**inherited.places, **origins.places}
        return self.complete(merged, data, folder)


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nest(path[1:], value) if len(path) > 1 else value}
