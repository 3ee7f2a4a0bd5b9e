"""Pictures from disk: decoded whole, upright and in 8-bit RGB, or refused in one clear line."""

import stat
import warnings
from pathlib import Path

import av
import numpy as np
from av.error import InvalidDataError
from PIL import Image, UnidentifiedImageError

from data_modules.errors import UserError, shown

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
# What such a file may hold, whatever its ending.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")

_SHORTEST = 16  # pixels of a side: no face is recognised in less
_LONGEST = 32_000  # OpenCV resamples no picture with a longer side
MOST_PIXELS = 100_000_000
_MOST_BYTES = 1 << 30  # more than the largest picture takes in any of these formats

_ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(path: Path, transparent: bool = False) -> np.ndarray:
    """A picture file -> uint8 RGB (H, W, 3), turned the way its EXIF data says; `transparent`: RGBA (H, W, 4).

    16-bit colours keep their upper 8 bits; transparency is dropped unless asked for. Raises `UserError` for a file
    that is missing, no picture, damaged, cut short, an animation or, where that is asked for, not transparent; and,
    before it is decoded, for a size that `size_fault` refuses.
    """
    name = shown(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{name} is no file")
        if status.st_size > _MOST_BYTES:
            raise UserError(f"{name} is no picture: it has more than {_MOST_BYTES >> 30} GB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and oddities in headers: what is wrong is said below
            return _decode(path, name, transparent)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name} is too large; {_LIMITS}") from None
    except UnidentifiedImageError:
        raise UserError(f"{name} is not a picture that can be read") from None
    except OSError as error:
        fault = f"cannot be read: {error.strerror}" if error.strerror else "is a damaged picture"
        raise UserError(f"{name} {fault}") from None
    except Exception:  # whatever a decoder makes of a stranger's bytes
        raise UserError(f"{name} is a damaged picture") from None


def size_fault(width: int, height: int) -> str:
    """Why no picture or frame of this size is read; "" for a size that is."""
    if min(width, height) < _SHORTEST or max(width, height) > _LONGEST or width * height > MOST_PIXELS:
        return f"has {width}×{height} pixels; {_LIMITS}"
    return ""


_LIMITS = (
    f"sides from {_SHORTEST} to {_LONGEST} pixels and at most {MOST_PIXELS // 10**6} megapixels are read"
)


def _decode(path: Path, name: str, transparent: bool) -> np.ndarray:
    with Image.open(path, formats=_FORMATS) as image:  # reads the header only
        if fault := size_fault(*image.size):
            raise UserError(f"{name} {fault}")
        is_jpeg = image.format in ("JPEG", "MPO")  # MPO: a phone's, with more pictures behind the first
        if not is_jpeg and (count := getattr(image, "n_frames", 1)) > 1:
            raise UserError(f"{name} holds {count} pictures: save each as a file, or all as a video")
        if is_jpeg and _is_garbled(path.read_bytes()):
            raise UserError(f"{name} is a damaged picture")
        image.verify()  # checksums of a PNG, which are not looked at below
    with Image.open(path, formats=_FORMATS) as image:  # anew, as `verify` has it
        image.load()
        turn = _TURNS.get(_orientation(image))
        upright = image if turn is None else image.transpose(turn)
        return _colours(upright, image, name, transparent)


def _is_garbled(jpeg: bytes) -> bool:
    """Whether the codes of a JPEG break off or make no sense somewhere: Pillow shows what it can, and says nothing."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode", "lowres": "3"}  # an eighth of the size, for time
    try:
        return any(frame.is_corrupt for frame in [*decoder.decode(av.Packet(jpeg)), *decoder.decode(None)])
    except InvalidDataError:
        return True
    except av.FFmpegError:  # a kind of JPEG that this decoder lacks
        return False


def _orientation(image: Image.Image) -> int:
    """What EXIF says; 1, upright, where it says nothing that can be read. TIFF is turned when it is loaded."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _colours(image: Image.Image, source: Image.Image, name: str, transparent: bool) -> np.ndarray:
    is_deep = image.mode.startswith("I;16") or (image.mode == "I" and source.format == "PNG")
    if image.mode in ("I", "F") and not is_deep:
        raise UserError(f"{name} holds measurements, not colours of 8 or 16 bits")
    has_alpha = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in source.info
    if transparent and (is_deep or not has_alpha):
        raise UserError(f"{name} has no transparency: save it as RGBA")
    if is_deep:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    for mode in ("RGBA",) * (has_alpha and not is_deep) + ("RGB",) * (not transparent):
        image = image.convert(mode) if image.mode != mode else image
    return np.asarray(image).copy()  # as that of Pillow cannot be written
