"""FaceStore: prepared face crops with labels in one Arrow table that Hugging Face `datasets` opens as it is.

On disk: `store.json` (what it is and how it was made), `data-*.arrow`, and the two small files that let
`datasets.load_from_disk(STORE)` work. `sequences.json` says which rows each sequence of the source has, and
`skipped.csv` lists the frames of the source that are not in the table, and why. `store_writer` makes all this.
"""

import hashlib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from data_modules import files
from data_modules.errors import UserError
from data_modules.stores.intact import AGAIN, check_bytes, check_sizes, check_table
from data_modules.stores.remote import address_of, fetch_store

FORMAT_VERSION = 2
_READ_VERSIONS = (1, 2)  # in 1 the column `image` held the bytes themselves, which `datasets` showed as such
SMALLEST, LARGEST = 16, 2048  # pixels of a side

SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        # JPEG or PNG, RGB, as the feature `Image` of `datasets` has it; `path` is not used.
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("subject", pa.string()),
        ("task", pa.string()),
        ("frame", pa.int32()),  # 1-based or 0-based as in the source; never renumbered
        ("labels", pa.list_(pa.int8())),  # (A,) 1 present, 0 absent, -1 unknown
        ("intensity", pa.list_(pa.float32())),  # (A,) 0-5, NaN unknown
        # x0, y0, x1, y1, ... in pixels of `image`; empty where unknown
        ("landmarks", pa.list_(pa.float32())),
        # x0, y0, x1, y1 of the face in the source picture; empty where unknown
        ("box", pa.list_(pa.float32())),
        ("source", pa.string()),  # path relative to the source's root
        ("source_hash", pa.string()),  # of the source file's content; empty for rendered faces
    ]
)


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds and how it was made. `aus` names the columns of `labels`, in order."""

    dataset: str
    aus: tuple[int, ...]
    size: int  # pixels of a side
    encoding: str  # "jpeg95" or "png"
    parts: dict[str, int] = field(default_factory=dict)  # subject -> part 1..3 of the published folds, if any
    options: dict[str, Any] = field(default_factory=dict)  # of `prepare`: crop preset, seed, versions, ...
    counts: dict[str, int] = field(default_factory=dict)  # rows, and what was skipped and why

    def __post_init__(self) -> None:
        """Raise `UserError` for values that no store can have."""
        if twice := [au for place, au in enumerate(self.aus) if au in self.aus[:place]]:
            raise UserError(f"AU{twice[0]} is named twice: name every action unit once")
        if strange := [au for au in self.aus if not isinstance(au, int) or not 1 <= au <= 99]:
            raise UserError(f"{strange[0]!r} is no action unit: they have numbers from 1 to 99")
        if not isinstance(self.size, int) or not SMALLEST <= self.size <= LARGEST:
            raise UserError(f"size {self.size}: crops have from {SMALLEST} to {LARGEST} pixels a side")

    @property
    def preset(self) -> str:
        """How its faces are cropped, one of `faces.alignment.PRESETS`; rendered ones as `canonical`."""
        return str(self.options.get("preset", "canonical"))

    @property
    def population(self) -> str:
        """Whose people its subjects' names name: stores of one population share a person where they share a name.

        That is the data set; of rendered faces, with their seed, each of which has people of its own, numbered alike.
        """
        return f"{self.dataset} {self.options['seed']}" if "seed" in self.options else self.dataset


def sample_id(dataset: str, subject: str, task: str, frame: int) -> int:
    """A 63-bit number that names this frame on every machine; masks are keyed on it."""
    key = f"{dataset}/{subject}/{task}/{frame}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def encode_image(image: np.ndarray, encoding: str) -> bytes:
    """uint8 RGB (H, W, 3) -> file bytes; `encoding` is "png" or "jpeg<quality>"."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if encoding == "png":
        return cv2.imencode(".png", bgr)[1].tobytes()
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(encoding.removeprefix("jpeg"))])[
        1
    ].tobytes()


def decode_image(data: bytes | pa.Buffer) -> np.ndarray:
    """File bytes -> uint8 RGB (H, W, 3)."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("the store holds bytes that are no picture")
    return image


class FaceStore:
    """A prepared store, memory-mapped; pictures are decoded when asked for.

    `path`: its folder, or an address that fsspec knows (`s3://…`), whose shards are fetched once.
    Raises `UserError` when it holds no store, or one that is damaged: `intact` says what is checked when.
    Pickled as its path, so that a worker process maps the pictures itself.
    """

    def __init__(self, path: Path | str):
        from datasets import load_from_disk

        address = address_of(path)
        self.path = Path(path) if address is None else fetch_store(address)
        if not (self.path / "store.json").exists():
            raise UserError(f"{self.path} is not a store: run `fau-mae prepare … --out {self.path}` first")
        self.info, self._checks = read_info(self.path)
        check_sizes(self.path, self._checks)
        try:
            self.table = load_from_disk(str(self.path))
            check_table(self.table.data, _schema_of(self.table.data), self.info.aus, self.path, self._checks)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"{self.path} is damaged and cannot be read ({reason}); {AGAIN}") from None
        images = self.table.data.column("image")
        self._images = images.flatten()[0] if pa.types.is_struct(images.type) else images
        self._landmarks = self.table.data.column("landmarks")
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.table)

    def __reduce__(self) -> tuple[type["FaceStore"], tuple[str]]:
        return FaceStore, (str(self.path),)

    def check_bytes(self) -> int:
        """Compare all bytes with their digests -> shards compared. Raises `UserError` where they differ."""
        return check_bytes(self.path, self._checks)

    @property
    def fingerprint(self) -> str:
        """Of its content, wherever it lies."""
        return self.table._fingerprint

    def column(self, name: str) -> np.ndarray:
        """A small column as one array: (rows,), or (rows, longest) for lists, shorter ones ending in NaN.

        Labels and intensity are (rows, A).
        """
        if name not in self._columns:
            values = self.table.data.column(name).combine_chunks()
            if pa.types.is_list(values.type):
                self._columns[name] = _rectangle(values)
            else:
                self._columns[name] = values.to_numpy(zero_copy_only=False)
        return self._columns[name]

    def image(self, index: int) -> np.ndarray:
        """Picture `index`, uint8 RGB (H, W, 3)."""
        try:
            return decode_image(self._images[int(index)].as_buffer())
        except ValueError:
            raise UserError(f"{self.path}: picture {index} is damaged; {AGAIN}") from None

    def landmarks(self, index: int) -> np.ndarray | None:
        """Landmarks of picture `index`, (points, 2) x, y in pixels of the stored picture; None if unknown."""
        values = self._landmarks[int(index)].values
        return values.to_numpy().reshape(-1, 2) if len(values) else None


def is_store(path: Path) -> bool:
    """Whether a folder is called a store, whole or not."""
    return (path / "store.json").is_file()


def read_info(folder: Path) -> tuple[StoreInfo, dict[str, Any]]:
    """What `store.json` says -> the store's description, and the checks of `intact`. Raises `UserError`."""
    path = folder / "store.json"
    meta = files.read_json(path)
    if not isinstance(meta, dict) or "format_version" not in meta:
        raise UserError(f"{path} describes no store: it has no format_version")
    if (version := meta.pop("format_version")) not in _READ_VERSIONS:
        raise UserError(f"{folder} has store format {version}, this version reads {FORMAT_VERSION}: {AGAIN}")
    checks = meta.pop("checks", {})
    needed = {f.name for f in fields(StoreInfo) if f.default is MISSING and f.default_factory is MISSING}
    if lacking := sorted(needed - set(meta)):
        raise UserError(f"{path} lacks {lacking[0]!r}: {AGAIN}")
    if strange := sorted(set(meta) - {f.name for f in fields(StoreInfo)}):
        raise UserError(f"{path} has {strange[0]!r}, which this version does not know: {AGAIN}")
    kinds = {"aus": list, "parts": dict, "options": dict, "counts": dict, "dataset": str, "encoding": str}
    for name, kind in kinds.items():
        if name in meta and not isinstance(meta[name], kind):
            raise UserError(f"{path}: {name!r} is {meta[name]!r}, not a {kind.__name__}: {AGAIN}")
    try:
        return StoreInfo(**{**meta, "aus": tuple(meta["aus"])}), checks if isinstance(checks, dict) else {}
    except UserError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from None


def _schema_of(table: pa.Table) -> pa.Schema:
    """What the table of a store has to hold, as this version writes it or as format 1 did."""
    place = SCHEMA.get_field_index("image")
    is_first = "image" in table.column_names and pa.types.is_binary(table.schema.field("image").type)
    return SCHEMA.set(place, pa.field("image", pa.binary())) if is_first else SCHEMA


def _rectangle(lists: pa.ListArray) -> np.ndarray:
    """Lists of numbers -> (rows, longest), NaN after the end of shorter ones."""
    flat, lengths = lists.flatten().to_numpy(zero_copy_only=False), lists.value_lengths().to_numpy()
    longest = int(lengths.max(initial=0))
    if (lengths == longest).all():
        return flat.reshape(len(lists), longest)
    table = np.full((len(lists), longest), np.nan, np.float32)
    table[np.arange(longest) < lengths[:, None]] = flat
    return table
