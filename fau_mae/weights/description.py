"""Description: what a checkpoint of ours says of itself: what it holds, for which faces, and who trained it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from data_modules.batch import FaceShape
from data_modules.errors import UserError
from data_modules.stores.store import StoreInfo
from fau_mae.models.au_model import AUModelConfig
from fau_mae.models.backbone.decoders import MAEConfig
from fau_mae.models.backbone.encoder import BackboneConfig
from fau_mae.models.detectors import DetectorConfig

KINDS = {
    "au": "an AU model (teacher or student)",
    "mae": "a pre-trained masked autoencoder",
    "detector": "an occlusion detector",
}
CONFIGS: dict[str, type[BackboneConfig]] = {
    "au": AUModelConfig,
    "mae": MAEConfig,
    "detector": DetectorConfig,
}
# What recipes were before they said it.
UNSAID: dict[str, dict[str, Any]] = {"mae": {"decoder": "full", "target": "pixels"}}


_DATA = (
    "dataset",
    "preset",
    "fingerprint",
    "fold",
    "num_folds",
    "val_share",
    "seed",
    "train",
    "validation",
    "test",
)


@dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself, under its key `fau_mae`.

    Args:
        kind: key of `KINDS`.
        net: the model's options.
        faces: what it reads, and how they are cropped.
        aus: of its logits, in order; for other kinds those of the store it was trained on.
        uses_mask: whether the model is to be told what is hidden.
        data: what it was trained on: `dataset`, `population`, `preset`, `fingerprint`, `fold`, `num_folds`,
            `val_share`, `seed`, and `prevalence` of each AU, and the names of the people in `train`, `validation` and
            `test`; in `also`, per further store (`dataset`, `population`), the names of the `people` who were read
            without labels, or whom weights it started or learnt from know; empty for one of an older version.
        decisions: how its probabilities become decisions and how far these hold, of an AU model that `fau-mae save RUN`
            wrote (`evaluation.observability.Decisions`); empty where that is not known.
    """

    kind: str
    net: BackboneConfig
    faces: FaceShape
    aus: tuple[int, ...] = ()
    uses_mask: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)

    def is_of(self, store: StoreInfo) -> bool:
        """Whether a person of that store who bears the name of one it was trained on is that person."""
        return _same_people(self.data, store)

    def knows(self, store: StoreInfo) -> set[str]:
        """Names of people of a store whom these weights have met: in training, and when the best ones were chosen."""
        groups = [_trained(self.data), *self.data.get("also", ())] if self.data else []
        return {name for group in groups if _same_people(group, store) for name in group["people"]}

    def after(self, other: "Description") -> "Description":
        """The same, knowing whom `other` has met too: for weights that started or learnt from others."""
        # An older version's says of nobody whether it has met them.
        if not other.data or not self.data:
            return self
        own = _trained(self.data)
        also: dict[tuple[str, str | None], dict[str, Any]] = {}
        for group in (*self.data.get("also", ()), _trained(other.data), *other.data.get("also", ())):
            key = group["dataset"], group.get("population")
            people = {*group["people"], *also.get(key, {"people": ()})["people"]}
            if key == (own["dataset"], own["population"]):
                people -= {*own["people"]}
            also[key] = {"dataset": key[0], "population": key[1], "people": sorted(people)}
        kept = [group for group in also.values() if group["people"]]
        return replace(self, data={**self.data, "also": kept})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or JSON."""
        plain = {"kind": self.kind, "recipe": asdict(self.net), "faces": asdict(self.faces)}
        known = {"decisions": self.decisions} if self.decisions else {}
        return {**plain, "aus": self.aus, "uses_mask": self.uses_mask, "data": self.data, **known}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], source: str) -> "Description":
        """The inverse of `to_dict`. Raises `UserError`, naming `source`, where it is of another version."""
        try:
            if "faces" not in plain:
                plain = _of_older_version(plain)
                print(f"{source}: it names no crop recipe, as older versions did not; taken for canonical")
            recipe = UNSAID.get(plain["kind"], {}) | plain["recipe"]
            faces = dict(plain["faces"])
            if "layers" in recipe:
                recipe["layers"] = tuple(recipe["layers"])
            faces["regions"] = tuple(tuple(region) for region in faces["regions"])
            data = dict(plain["data"])
            if data and (lacking := [key for key in _DATA if key not in data]):
                raise KeyError(lacking[0])
            if "prevalence" in data and len(data["prevalence"]) != len(plain["aus"]):
                raise ValueError(f"prevalence of {len(data['prevalence'])} AUs, not of {len(plain['aus'])}")
            return cls(
                plain["kind"],
                CONFIGS[plain["kind"]](**recipe),
                FaceShape(**faces),
                tuple(plain["aus"]),
                plain["uses_mask"],
                data,
                dict(plain.get("decisions", {})),
            )
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{source} is of another version of this project: train it again ({error})"
            ) from None


def _trained(data: Mapping[str, Any]) -> dict[str, Any]:
    """The people of a checkpoint's own store whom it has met."""
    people = [*data["train"], *data["validation"]]
    return {"dataset": data["dataset"], "population": data.get("population"), "people": people}


def _same_people(group: Mapping[str, Any], store: StoreInfo) -> bool:
    """Older versions kept the name of the data set alone."""
    if group.get("population"):
        return group["population"] == store.population
    return group.get("dataset") == store.dataset


def _of_older_version(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Flat recipes, without crop recipe and people, as versions before this one wrote them."""
    recipe = dict(plain["recipe"])
    faces = {"image_size": recipe.pop("image_size"), "grid": recipe.pop("grid")}
    faces |= {"regions": recipe.pop("regions", ()), "preset": "canonical"}
    if plain["kind"] == "au":
        options = {name: recipe.pop(name, None) for name in ("dropout", "node_width", "frozen_norms")}
        # Defaults are not said.
        recipe["head_options"] = {name: value for name, value in options.items() if value}
    rest = {"aus": plain.get("aus", ()), "uses_mask": plain.get("uses_mask", False), "data": {}}
    return {"kind": plain["kind"], "recipe": recipe, "faces": faces, **rest}
