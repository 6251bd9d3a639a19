"""Saves that are seen whole or not at all.

New files are written into a hidden folder beside the old ones. Then one rename puts a record of the
moves that are left in its place: with it the save has happened. Whoever opens the folder next
finishes a save that was stopped behind that point; what was stopped before it left nothing but a
hidden folder, which the next save clears away.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

try:
    import fcntl
except ImportError:  # no POSIX
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
# What is done to a name: `put` moves it out of the stage, `remove` deletes it, `hide` deletes it
# while its successor waits.
Step = tuple[str, str]
Arrange = Callable[[Path, Path], Iterable[Step]]
RECORD, STAGE, LOCK = ".save.json", ".saving-", ".save.lock"
WAIT, RETRIES = 60.0, 20
_KINDS = ("put", "remove", "hide")
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


def put_all(stage: Path, folder: Path) -> list[Step]:
    """Every staged file takes its place, by name."""
    return [("put", path.name) for path in sorted(stage.iterdir())]


@contextlib.contextmanager
def staged(folder: Path, arrange: Arrange = put_all) -> Iterator[Path]:
    """A hidden folder whose files take their places in `folder` all at once when the block ends
    well, or vanish.

    `arrange` says in which order, and what goes, while no other save can come between. A second
    writer waits for the moves of the first, the later one wins. Raises OSError where the folder
    cannot be written, or is held too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        finish_save(folder, locked=True)
        _clear(folder)
        stage = Path(tempfile.mkdtemp(dir=folder, prefix=STAGE))
        holding = _hold(stage)
    try:
        mode = _begin(probe := stage / "probe")
        probe.unlink()
        yield stage
        for path in stage.iterdir():
            path.chmod(mode)
            _sync(path)
        with _locked(folder):
            finish_save(folder, locked=True)
            steps = list(arrange(stage, folder))
            for path in stage.iterdir():
                _sync(path)
            _sync(stage)
            _record(folder, stage, steps)
            _finish(folder)
    finally:
        if holding is not None:
            os.close(holding)
        if not _recorded(folder, stage):
            shutil.rmtree(stage, ignore_errors=True)


def finish_save(folder: Path, locked: bool = False) -> None:
    """Make the moves that a stopped save has left; raises OSError where they cannot be made."""
    if not (folder / RECORD).is_file():
        return
    if locked:
        _finish(folder)
        return
    with _locked(folder):
        if (folder / RECORD).is_file():
            _finish(folder)


def read_whole(folder: Path, names: Iterable[str], read: Callable[[], T]) -> T:
    """What `read` makes of a folder, read again where a save changed one of the files (`names` are
    patterns) meanwhile.

    Raises OSError where saves follow each other without end, and whatever `read` raises.
    """
    patterns = tuple(names)
    for _ in range(RETRIES):
        finish_save(folder)
        before = _state(folder, patterns)
        try:
            found = read()
        except Exception:
            if _state(folder, patterns) == before:
                raise
            continue
        if _state(folder, patterns) == before:
            return found
    raise OSError(errno.EBUSY, "it is saved to again and again while it is read", str(folder))


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """A single file: `write` fills one of another name, which then takes the place of the old one."""
    with whole_file(path) as temporary:
        write(temporary)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty file of another name, which takes the place of `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        mode = _begin(temporary)
        yield temporary
        temporary.chmod(mode)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def is_plain(name: object) -> bool:
    """Whether a name that a file gives is one of a file beside it: no path, nothing hidden."""
    return (
        isinstance(name, str)
        and 0 < len(name) < 256
        and not name.startswith(".")
        and not set(name) & {"/", "\\", ":", "\0"}
    )


def _begin(path: Path) -> int:
    """Make an empty file; returns the mode that the process's umask leaves to new files."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # a system whose folders cannot be opened writes their entries at once
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _record(folder: Path, stage: Path, steps: list[Step]) -> None:
    for _, name in steps:
        if (folder / name).is_dir():
            raise IsADirectoryError(
                errno.EISDIR, "a folder stands where a file goes", str(folder / name)
            )
    written = folder / f"{stage.name}.json"
    try:
        written.write_text(json.dumps({"stage": stage.name, "steps": steps}), encoding="utf-8")
        _sync(written)
        written.replace(folder / RECORD)
        _sync(folder)
    finally:
        written.unlink(missing_ok=True)


def _read_record(folder: Path) -> tuple[Path, list[Step]]:
    """The stage and the steps of a record, which may name nothing but files of this folder."""
    try:
        data = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        stage, steps = data["stage"], [(kind, name) for kind, name in data["steps"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OSError(errno.EINVAL, f"damaged ({error}): delete it", str(folder / RECORD)) from None
    named = isinstance(stage, str) and stage.startswith(STAGE) and is_plain(stage[1:])
    if not named or not all(kind in _KINDS and is_plain(name) for kind, name in steps):
        raise OSError(
            errno.EINVAL, "names files that no save writes: delete it", str(folder / RECORD)
        )
    return folder / stage, steps


def _recorded(folder: Path, stage: Path) -> bool:
    try:
        return (folder / RECORD).is_file() and _read_record(folder)[0] == stage
    except OSError:
        return False


def _finish(folder: Path) -> None:
    """The recorded moves; each may have been made already."""
    if not (folder / RECORD).is_file():
        return
    stage, steps = _read_record(folder)
    waits = not stage.is_symlink() and stage.is_dir()
    for kind, name in steps:
        new = stage / name
        ready = waits and not new.is_symlink() and new.is_file()
        if kind == "put" and ready:
            new.replace(folder / name)
        elif kind == "remove" or (kind == "hide" and ready):
            (folder / name).unlink(missing_ok=True)
    _sync(folder)
    (folder / RECORD).unlink()
    _sync(folder)
    if waits:
        shutil.rmtree(stage, ignore_errors=True)


def _hold(path: Path) -> int | None:
    """A lock on a folder that ends with the process (None where the system has none, or another one
    holds it).
    """
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _clear(folder: Path) -> None:
    """Remove what stopped saves have left; stages of saves that go on are held."""
    for path in folder.glob(f"{STAGE}*"):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            continue
        holding = _hold(path)
        if holding is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(holding)
        elif fcntl is None and time.time() - path.stat().st_mtime > 24 * 3600:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time: a lock on the folder itself, or a file where the system locks no
    folders.
    """
    ends = time.monotonic() + WAIT
    handle: int | None = None if fcntl is None else os.open(folder, os.O_RDONLY)
    try:
        while handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in _WITHOUT_LOCKS:
                    os.close(handle)
                    handle = None
                elif error.errno not in (errno.EWOULDBLOCK, errno.EACCES) or not _wait(ends):
                    raise OSError(errno.EBUSY, "another save holds it", str(folder)) from None
        if handle is not None:
            yield
            return
        with _lock_file(folder / LOCK, ends):
            yield
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def _lock_file(path: Path, ends: float) -> Iterator[None]:
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            break
        except FileExistsError:
            if not _wait(ends):
                text = f"another save holds it; if none goes on, delete {path.name}"
                raise OSError(errno.EBUSY, text, str(path.parent)) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _wait(ends: float) -> bool:
    time.sleep(0.02)
    return time.monotonic() < ends


def _state(folder: Path, patterns: tuple[str, ...]) -> list[tuple[str, int, int, int]]:
    """Which files stand behind the names that a reader goes by."""
    found = []
    for path in {path for pattern in (*patterns, RECORD) for path in folder.glob(pattern)}:
        with contextlib.suppress(FileNotFoundError):
            told = path.stat()
            if not (stat.S_ISREG(told.st_mode) or stat.S_ISDIR(told.st_mode)):
                # Such as a pipe, whose reader waits for a writer without end.
                raise OSError(errno.EINVAL, "it is no plain file", str(path))
            found.append((path.name, told.st_ino, told.st_mtime_ns, told.st_size))
    return sorted(found)
