"""What `fau-mae run` was asked for, and the command line that asks for it again."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LADDER = "ladder"  # what `--stage` calls the occlusion ladder


@dataclass(frozen=True)
class Request:
    """What `fau-mae run` was asked for.

    `experiment`: a built-in name or a folder. `out`: the run's folder, `runs/NAME` by default. `store`: one that is
    there already, instead of preparing it. `folds`, `seeds`: instead of the experiment's own. `overrides`: `--set`
    texts. `root`: raw files of a licensed data set. `mae`: weights that stand in for the pre-training stage. `ablate`:
    train and test the ablations too. `stage`: this one alone, or `ladder`. `name`: of the run, instead of its folder's.
    """

    experiment: str
    out: Path | None = None
    store: Path | None = None
    folds: list[int] | None = None
    seeds: list[int] | None = None
    overrides: list[str] = field(default_factory=list)
    root: Path | None = None
    mae: Path | None = None
    ablate: bool = False
    stage: str | None = None
    name: str | None = None

    def given(self) -> dict[str, Any]:
        """The command line as it was typed, for `run.json`; `--stage` is a step of the same run."""
        values = dataclasses.asdict(self)
        del values["out"], values["stage"], values["name"]
        values["set"] = values.pop("overrides")
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}

    def line(self, **changes: Any) -> list[str]:
        """Arguments of `fau-mae` that ask for this, with some of it changed."""
        asked = dataclasses.replace(self, **changes)
        line = ["run", asked.experiment]
        for name in ("out", "store", "root", "mae", "stage", "name"):
            if (value := getattr(asked, name)) is not None:
                line += [f"--{name}", str(value)]
        for name in ("folds", "seeds"):
            if numbers := getattr(asked, name):
                line += [f"--{name}", ",".join(map(str, numbers))]
        if asked.overrides:
            line += ["--set", *asked.overrides]
        return [*line, "--ablate"] if asked.ablate else line
