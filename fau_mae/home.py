"""A name and a home for a user who has none: containers run as numbers that no list of users knows.

Libraries ask for both in passing (W&B for its settings, torch for a folder in the temporary one) and end in a
traceback where there is no answer.
"""

import getpass
import os
import tempfile
from pathlib import Path


def provide_home() -> None:
    """Set USER and HOME for this process and those it starts, where they cannot be found out."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user{os.getuid()}"
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()
