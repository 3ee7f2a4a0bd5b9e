"""The pictures and videos below a folder, each once, and how many other files there are, and why they are not taken."""

import os
import re
from collections import Counter
from pathlib import Path

from data_modules.errors import UserError
from data_modules.faces.video import PICTURES, VIDEOS


def find_media(root: Path) -> tuple[list[str], Counter[str]]:
    """Paths below `root`, sorted, with `/` between their parts; reason -> files left out.

    Hidden files and folders are no people's. Links are followed, and a file that is reached twice is taken
    once, by its own name where that is below `root`.
    """
    found: list[str] = []
    links: list[str] = []
    left_out: Counter[str] = Counter()
    seen_folders = {os.path.realpath(root)}
    waiting = [Path(root)]
    while waiting:
        folder = waiting.pop()
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir():
                real = os.path.realpath(path)
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    left_out["hidden folder"] += 1
                elif real in seen_folders:
                    left_out["link to a folder that is read already"] += 1
                else:
                    seen_folders.add(real)
                    waiting.append(path)
            elif reason := _unfit(entry, path):
                left_out[reason] += 1
            else:
                name = path.relative_to(root).as_posix()
                (links if os.path.realpath(path) != _own_name(root, name) else found).append(name)
    files = {os.path.realpath(root / name) for name in found}
    for name in sorted(links):
        if (real := os.path.realpath(root / name)) in files:
            left_out["link to a file that is read already"] += 1
        else:
            files.add(real)
            found.append(name)
    return sorted(found), left_out


def _own_name(root: Path, name: str) -> str:
    return str(Path(os.path.realpath(root)) / name)


def _unfit(entry: os.DirEntry, path: Path) -> str:
    """Why a file is not taken; "" when it is."""
    if entry.name.startswith("."):
        return "hidden file"
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "name that is not UTF-8"
    if path.suffix.lower() not in PICTURES | VIDEOS:
        return f"neither picture nor video ({path.suffix.lower() or 'no ending'})"
    if not entry.is_file():
        return "link to nothing" if entry.is_symlink() and not path.exists() else "not a regular file"
    return ""


def match_names(folder: Path, pattern: str) -> dict[str, Path]:
    """Entries of `folder` whose whole name `pattern` matches in any case: group 1 in capitals -> path.

    Hidden ones are passed over. Raises `UserError` when two entries differ in case or spelling only.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = None if path.name.startswith(".") else re.fullmatch(pattern, path.name, re.IGNORECASE)
        if match:
            key = match.group(1).upper()
            if key in found:
                raise UserError(f"{path} and {found[key].name} are both {key}: remove one")
            found[key] = path
    return found


def check_published(subjects: set[str], parts: dict[str, int], name: str, where: Path) -> None:
    """Raise `UserError` for subjects that the published folds do not know: no test would be theirs."""
    if strange := sorted(subjects - set(parts)):
        raise UserError(
            f"{strange[0]} is in none of the published folds of {name} ({len(strange)} such in all): move it out of "
            f"{where}, or prepare this copy with `fau-mae prepare folder` and a table that has a column fold"
        )
