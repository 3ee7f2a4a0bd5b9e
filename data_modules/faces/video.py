"""Frames of videos from disk, decoded exactly or refused in one clear line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from data_modules.errors import UserError, shown
from data_modules.faces.frame_places import find_places
from data_modules.faces.pictures import MOST_PIXELS, size_fault

VIDEOS = frozenset({".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
# A list of other files or addresses is no video, whatever its name.
_TRUSTED = {
    "protocol_whitelist": "file",
    "format_whitelist": "avi,mov,matroska,mpeg,mpegvideo,mpegts,m4v,h264,hevc,asf",
}


class Video:
    """A video file: its frames in the order they are shown, each with its number, counted from 1.

    Frame i is the i-th frame of the file whatever the codec (B-frames) or the frame rate (constant or
    variable). A damaged frame is left out and moves no other frame's number; see `frame_places`. Pictures are
    turned and mirrored the way the file's display matrix says. `count`: frames the container has, as far as it says.

    Raises `UserError` when the file is no video, has frames of a size that `size_fault` refuses, or not one frame
    can be decoded. After frames of another such size there are no more.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with _opened(path) as (container, stream):
                self.places = find_places(container, stream)
        except (FFmpegError, OSError) as error:
            raise self._unreadable(error) from None
        self.count = self.places.count

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number and picture, uint8 RGB (H, W, 3), of every frame that can be decoded."""
        seen = 0
        try:
            with _opened(self.path) as (container, stream):
                counted = self.places.counted
                frames = (
                    enumerate(self._counted(container, stream), 1)
                    if counted
                    else self._placed(container, stream)
                )
                for number, frame in frames:
                    if fault := size_fault(frame.width, frame.height):
                        if not seen:
                            raise UserError(f"{shown(self.path)} {fault}")
                        break
                    seen += 1
                    yield number, _upright(frame)
        except (FFmpegError, OSError) as error:
            if not seen:
                raise self._unreadable(error) from None
        if not seen:
            raise UserError(f"{shown(self.path)} has no frame that can be decoded")

    def _placed(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """After a damaged frame nothing is shown up to the next one that stands alone."""
        places, lost, before = deepcopy(self.places), False, 0
        for packet in container.demux(stream):
            if places.stamps is not None and packet.size:
                packet.pts = packet.dts = stamp = places.stamps.get(packet.pos or 0)
                lost |= stamp is None or (stamp != before + 1)
                before = stamp or before
            if packet.size == 0 and packet.pts is not None:
                continue  # an empty packet would end decoding
            if lost and not packet.is_keyframe and packet.size:
                continue
            lost = False
            if packet.is_corrupt:
                places.damaged(packet.pts)
            try:
                frames = packet.decode()
            except FFmpegError:
                lost = True
                places.damaged(packet.pts)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    places.damaged(frame.pts)
                elif (number := places.number(frame.pts)) is not None:
                    yield number, frame

    def _counted(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.VideoFrame]:
        """Frames up to the first damage."""
        for at, packet in enumerate(container.demux(stream)):
            if self.places.stop_at is not None and at >= self.places.stop_at:
                return
            try:
                frames = packet.decode()
            except FFmpegError:
                return
            for frame in frames:
                if frame.is_corrupt:
                    return
                yield frame

    def _unreadable(self, error: Exception) -> UserError:
        reason = getattr(error, "strerror", None) or error
        return UserError(f"{shown(self.path)} is not a video that can be read ({reason})")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    if not path.is_file():
        raise UserError(f"{shown(path)} is no file")
    with av.open(f"file:{path}", options=_TRUSTED) as container:
        if not container.streams.video:
            raise UserError(f"{shown(path)} holds no video")
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        if (width or height) and (fault := size_fault(width, height)):
            raise UserError(f"{shown(path)} {fault}")
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        if stream.codec_context.name == "mjpeg":
            # else a picture cut short comes back grey below
            stream.codec_context.options |= {"err_detect": "explode"}
        yield container, stream


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """The picture (H, W, 3), turned and mirrored as the display matrix says: x' = ax + cy, y' = bx + dy."""
    picture = frame.to_ndarray(format="rgb24")
    kept: Iterable[Any] = frame.side_data  # its stub calls the entries text
    matrix = next((data for data in kept if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def open_video(path: Path) -> tuple[Iterator[tuple[int, np.ndarray]], int, str]:
    """The numbered frames of a video, its count, "" — or none, 0 and what is wrong: for those who go on."""
    if not path.is_file():
        return iter(()), 0, "video missing"
    try:
        video = Video(path)
        frames = iter(video)
        # One that cannot be read fails at its first frame.
        return chain([next(frames)], frames), video.count, ""
    except UserError:
        return iter(()), 0, "video cannot be read"
