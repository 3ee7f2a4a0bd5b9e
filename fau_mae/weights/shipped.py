"""Weights that come with the package: `shipped:NAME` stands for one wherever a checkpoint's file may be given."""

from pathlib import Path

from data_modules.errors import UserError

PREFIX = "shipped:"
FOLDER = Path(__file__).parent / "shipped"


def shipped() -> list[str]:
    """Names of the weights that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def is_shipped(source: str | Path) -> bool:
    """Whether `source` names weights of the package rather than a file."""
    return str(source).startswith(PREFIX)


def file_of(source: str | Path) -> Path:
    """`shipped:NAME` -> its file in the package; any other path as it is. Raises `UserError` for an unknown name."""
    if not is_shipped(source):
        return Path(source)
    name = str(source).removeprefix(PREFIX)
    if name not in (known := shipped()):
        there = ", ".join(PREFIX + one for one in known) or "none"
        raise UserError(f"{source}: no such weights come with this version; there are: {there}")
    return FOLDER / f"{name}.safetensors"
