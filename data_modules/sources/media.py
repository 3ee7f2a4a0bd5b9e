"""The pictures and videos below a folder, each once, and how many other files there are, and why they are not taken."""

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_modules.errors import UserError, shown
from data_modules.faces.pictures import PICTURES
from data_modules.faces.video import VIDEOS


@dataclass(frozen=True)
class Media:
    """What is below a folder: the files taken, by their paths below it, and those that are not.

    `other`: reason -> how many are left out because they are of another kind, hidden, or taken already. `unfit`:
    path and reason of what is called like a picture or a video, or may hold some, and cannot be read.
    """

    found: list[str]
    other: Counter[str]
    unfit: list[tuple[str, str]]

    @property
    def left_out(self) -> Counter[str]:
        """Reason -> how many, of both."""
        return +self.other + Counter(reason for _, reason in self.unfit)


def find_media(root: Path, endings: frozenset[str] = PICTURES | VIDEOS, aside: Path | None = None) -> Media:
    """The files below `root` with one of `endings`, sorted, with `/` between the parts of their paths.

    Hidden files and folders are no people's. Links are followed, and a file that is reached twice is taken
    once, by its own name where that is below `root`. The folder `aside`, an output, is passed over.
    """
    media = Media([], Counter(), [])
    links: list[str] = []
    seen_folders = {os.path.realpath(path) for path in (root, aside) if path is not None}
    ours = os.path.realpath(aside) if aside is not None else ""
    waiting = [Path(root)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder == Path(root):
                raise
            media.unfit.append((_below(root, folder), f"folder that cannot be opened ({error.strerror})"))
            continue
        for entry in entries:
            path = Path(entry.path)
            if _is_folder(entry):
                real = os.path.realpath(path)
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    media.other["hidden folder"] += 1
                elif real in seen_folders:
                    media.other["link to a folder that is read already"] += real != ours
                elif not _is_utf8(entry.name):
                    media.unfit.append((_below(root, path), "folder whose name is not UTF-8"))
                else:
                    seen_folders.add(real)
                    waiting.append(path)
            elif path.suffix.lower() not in endings or entry.name.startswith("."):
                media.other[_other_kind(entry.name, endings)] += 1
            elif reason := fault_of(path):
                media.unfit.append((_below(root, path), reason))
            else:
                name = _below(root, path)
                (links if os.path.realpath(path) != _own_name(root, name) else media.found).append(name)
    _take_links(media, root, links)
    media.found.sort()
    return media


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _take_links(media: Media, root: Path, links: list[str]) -> None:
    """Add the linked files that are not found already."""
    files = {os.path.realpath(root / name) for name in media.found}
    for name in sorted(links):
        if (real := os.path.realpath(root / name)) in files:
            media.other["link to a file that is read already"] += 1
        else:
            files.add(real)
            media.found.append(name)


def _own_name(root: Path, name: str) -> str:
    return str(Path(os.path.realpath(root)) / name)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _other_kind(name: str, endings: frozenset[str]) -> str:
    if name.startswith("."):
        return "hidden file"
    ending = shown(Path(name).suffix.lower()) or "no ending"
    return f"neither picture nor video ({ending})" if endings & VIDEOS else f"not a picture ({ending})"


def fault_of(path: Path) -> str:
    """Why a file cannot be read, whatever it holds; "" when it can."""
    if not _is_utf8(path.name):
        return "name that is not UTF-8"
    try:
        mode = path.stat().st_mode
    except OSError:
        return "link to nothing" if path.is_symlink() else "file missing"
    return "" if stat.S_ISREG(mode) else "not a regular file"


def said(left_out: Mapping[str, int]) -> str:
    """`"3 neither picture nor video (.txt), 1 hidden folder"`."""
    return ", ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()) if number)


def first_of(lines: Sequence[str]) -> str:
    """The first of some lines and how many more there are."""
    return lines[0] + f" (and {len(lines) - 1} more)" * (len(lines) > 1)


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
