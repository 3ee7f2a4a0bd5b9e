"""Pictures and frames of videos from disk, decoded exactly or refused in one clear line."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError

from data_modules.errors import UserError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEOS = frozenset({".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
_MOST_PIXELS = 100_000_000  # a picture beyond this is refused before it is decoded


def read_picture(path: Path) -> np.ndarray:
    """A picture file -> uint8 RGB (H, W, 3), turned the way its EXIF data says.

    Raises `UserError` when the file is missing, no picture, damaged, or larger than 100 megapixels.
    """
    try:
        with Image.open(path) as header:  # reads the header only
            width, height = header.size
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except Image.DecompressionBombError:
        raise UserError(f"{path} is too large; the limit is {_MOST_PIXELS // 10**6} megapixels") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if width * height > _MOST_PIXELS:
        raise UserError(
            f"{path} has {width}×{height} pixels; the limit is {_MOST_PIXELS // 10**6} megapixels"
        )
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if bgr is None:
        raise UserError(f"{path} is a damaged picture")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def read_video(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video in the order they are shown, uint8 RGB (H, W, 3).

    Frames are counted, never sought by time: frame i is the i-th whatever the codec (B-frames) or the frame
    rate (constant or variable). The sequence ends before the first damaged frame, as those after it have no
    certain number. Raises `UserError` when the file is no video or not one frame can be decoded.
    """
    seen = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no video")
            for frame in container.decode(video=0):
                if frame.is_corrupt:
                    break
                seen += 1
                yield frame.to_ndarray(format="rgb24")
    except (FFmpegError, OSError) as error:
        if not seen:
            raise UserError(f"{path} is not a video that can be read ({error.strerror or error})") from None
    if not seen:
        raise UserError(f"{path} has no frame that can be decoded")


def open_video(path: Path) -> tuple[Iterator[np.ndarray], str]:
    """The frames of a video, or none and what is wrong with it: for those who count faults and go on."""
    if not path.is_file():
        return iter(()), "video missing"
    frames = read_video(path)
    try:
        return chain([next(frames)], frames), ""  # a video that cannot be read fails at its first frame
    except UserError:
        return iter(()), "video cannot be read"
