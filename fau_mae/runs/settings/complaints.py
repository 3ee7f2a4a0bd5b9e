"""Complaints: what Lightning, jsonargparse and torch say of a user's settings, as one `UserError`.

Told apart by where and as what they are raised, never by their words: those of Lightning's own class for wrong
settings always are; any other error is a setting's while a stage is put together, unless our code raised it.
"""

import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

import data_modules
import fau_mae
from data_modules.errors import UserError

_OURS = tuple(str(Path(package.__path__[0]).resolve()) for package in (data_modules, fau_mae))
_LONGEST = 300  # letters of another's words


@contextmanager
def as_user_errors(where: str) -> Iterator[None]:
    """Raise what settings are to blame for as `UserError`: `where`, then the library's own words in one line."""
    try:
        yield
    except (UserError, OSError):  # the door tells these as they are
        raise
    except Exception as error:
        if (said := user_error_behind(error)) is not None:
            raise said from error
        if not _of_settings(error):
            raise
        raise UserError(f"{where}: {words_of(error)}") from error


@contextmanager
def misconfigurations(where: str) -> Iterator[None]:
    """As `as_user_errors`, but for Lightning's own class alone: for what runs for long, where others are faults."""
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(f"{where}: {words_of(error)}") from error


def user_error_behind(error: BaseException) -> UserError | None:
    """The `UserError` that a library caught and raised as its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    return cause


def words_of(error: BaseException) -> str:
    """A library's message as one line of bounded length; the error's class where it says nothing."""
    line = " ".join(str(error).split())
    if len(line) > _LONGEST:
        line = line[:_LONGEST].rpartition(" ")[0] + " …"
    return line or type(error).__name__


def _of_settings(error: Exception) -> bool:
    if isinstance(error, MisconfigurationException | ImportError | pickle.UnpicklingError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and not str(Path(frames[-1].filename).resolve()).startswith(_OURS)
