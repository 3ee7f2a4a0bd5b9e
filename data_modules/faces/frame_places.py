"""Which number each frame of a video has, so that damage never moves a label to another frame.

Three kinds of containers. MP4 and MOV hold a table of all frames: a frame's place is that of its time stamp
among all of them, whatever is damaged. AVI holds an index of where in the file each frame lies: a frame's place
is that of its bytes. All others are counted as long as nothing is wrong; after that, a frame is placed by its
time stamp in Matroska at a constant frame rate, and left out elsewhere.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import av
from av.error import FFmpegError

_REORDER = 16  # frames that a codec may hold back to bring them into the order they are shown
_FEW = 0.02  # share of odd steps up to which they are damage; beyond, the frame rate varies
# Of a frame, on average: a header that says more frames than so fit into the file is not believed.
_FEWEST_BYTES = 16
_MOST_FRAMES = 4_000_000  # 18 hours at 60 a second: nor is one that says more
_UNREAD = 512  # bytes between two packets that nobody read: more than any header


@dataclass
class FramePlaces:
    """What a first pass over the packets of a video says about the numbers of its frames, from 1.

    `numbers`: time stamp -> number. `stamps`: position in the file -> the time stamp a packet gets, where the
    container's own cannot be trusted. `limit`: frames from this time stamp on have no certain number.
    """

    count: int = 0  # frames the container says or shows it has
    numbers: dict[int, int] = field(default_factory=dict)
    stamps: dict[int, int] | None = None
    by_time: dict[int, int] = field(default_factory=dict)  # as `numbers`, after damage; empty if irregular
    indexed: bool = True  # the container says where every frame belongs
    counted: bool = False  # no time stamps at all: frames are counted up to the first damage
    stop_at: int | None = None  # of a counted one: the packet before which counting must end
    limit: float = float("inf")

    def damaged(self, stamp: int | None) -> None:
        """A frame could not be decoded: where only counting gives numbers, those after it have none."""
        if self.indexed:
            return
        if self.by_time:
            self.numbers = self.by_time
        elif stamp is not None:
            self.limit = min(self.limit, stamp)
        else:
            self.limit = -float("inf")

    def number(self, stamp: int | None) -> int | None:
        """The number of the frame with this time stamp; None when it is not certain."""
        return None if stamp is None or stamp >= self.limit else self.numbers.get(stamp)


def find_places(container: "av.container.InputContainer", stream: "av.VideoStream") -> FramePlaces:
    """Walk over all packets of `container`, decoding none."""
    index = [(entry.pos, entry.timestamp) for entry in stream.index_entries]
    kind, declared = container.format.name, int(stream.frames)
    if declared > min(container.size // _FEWEST_BYTES, _MOST_FRAMES):
        declared = 0
    reordered = bool(stream.codec_context.has_b_frames)
    packets, gap, harmed = _walk(container, stream)
    if kind == "avi":
        return _avi_places(packets, index, declared, gap, reordered)
    stamps = [packet.pts for packet in packets if packet.pts is not None]
    if not packets or len(stamps) < len(packets) or len(set(stamps)) < len(stamps):
        return FramePlaces(max(declared, len(packets)), counted=True, stop_at=gap, indexed=False)
    ranks = {stamp: place for place, stamp in enumerate(sorted(stamps), 1)}
    if "mov" in kind.split(","):
        return FramePlaces(max(declared, len(ranks)), ranks)
    matroska = "matroska" in kind.split(",")
    places = FramePlaces(max(declared, len(ranks)), ranks, indexed=False)
    if matroska:
        places.by_time = _regular(sorted(stamps))
        if gap is None and _is_cut(container, stream, stamps):
            gap = len(stamps)
    else:  # elsewhere packets lie between other bytes
        gap = min((at for at in (_jump(packets), harmed) if at is not None), default=None)
    if gap is not None:
        rest = stamps[max(0, gap - _REORDER) if reordered else gap :]
        places.damaged(min(rest, default=None) if rest or reordered else max(stamps) + 1)
        places.count = max(places.count, *places.numbers.values())
    elif reordered and not matroska and (torn := _torn_end(stamps)) is not None:
        places.damaged(torn)
    return places


class _Packet(NamedTuple):
    pts: int | None
    dts: int | None
    pos: int | None


def _walk(
    container: "av.container.InputContainer", stream: "av.VideoStream"
) -> tuple[list[_Packet], int | None, int | None]:
    """The packets of `stream`; before which of them bytes were passed over, which is marked as harmed, or None."""
    packets: list[_Packet] = []
    gap, harmed, end = None, None, None
    try:
        for packet in container.demux():
            if not packet.size:
                continue
            unread = end is not None and packet.pos is not None and packet.pos - end > _UNREAD
            mine = packet.stream_index == stream.index and not packet.is_discard
            if gap is None and unread:
                gap = len(packets)
            if harmed is None and mine and packet.is_corrupt:
                harmed = len(packets)
            if packet.pos is not None:
                end = max(end or 0, packet.pos + packet.size)
            if mine:
                packets.append(_Packet(packet.pts, packet.dts, packet.pos))
    except (FFmpegError, OSError):
        pass  # what came before is read
    return packets, gap, harmed


def _is_cut(container: "av.container.InputContainer", stream: "av.VideoStream", stamps: list[int]) -> bool:
    """Whether the file ends before the time its header gives."""
    if not container.duration or len(stamps) < 2 or stream.time_base is None:
        return False
    step = (max(stamps) - min(stamps)) / (len(stamps) - 1)
    return float((max(stamps) + 3 * step) * stream.time_base) < container.duration / av.time_base


def _torn_end(stamps: list[int]) -> int | None:
    """The first of the last time stamps that stands apart: the frames shown before it came later in the file."""
    ordered = sorted(stamps)
    steps = [after - before for before, after in pairwise(ordered)]
    if not steps:
        return None
    usual = sorted(steps)[len(steps) // 2]
    apart = [at for at, step in enumerate(steps, 1) if step > 1.5 * usual and at > len(steps) - _REORDER]
    return ordered[apart[0]] if apart else None


def _jump(packets: list[_Packet]) -> int | None:
    """The first packet that does not follow the one before at the usual step, where nearly all do."""
    times = [packet.dts if packet.dts is not None else packet.pts for packet in packets]
    steps = [after - before for before, after in pairwise(times)]  # type: ignore[operator]
    if not steps:
        return None
    usual = Counter(steps).most_common(1)[0][0]
    jumps = [at for at, step in enumerate(steps, 1) if not 0 < step < 1.5 * usual]
    return jumps[0] if 0 < len(jumps) <= max(1, _FEW * len(steps)) else None


def _avi_places(
    packets: list[_Packet],
    index: list[tuple[int, int]],
    declared: int,
    gap: int | None,
    reordered: bool,
) -> FramePlaces:
    """By the index when it is whole; else by counting packets, up to the first that may be lost."""
    if index and declared in (0, len(index)):
        slots = {pos + 8: place for place, (pos, _) in enumerate(index, 1)}  # 8: the header of a chunk
        count = len(index)
    else:
        whole = declared == len(packets)
        kept = packets if whole or gap is None else packets[:gap]
        slots = {pos: place for place, (*_, pos) in enumerate(kept, 1) if pos is not None}
        count = max(declared, len(packets))
    if reordered:  # AVI has no time stamps of the order frames are shown in
        places = [slots.get(pos) for *_, pos in packets if pos is not None]
        straight = next((at for at, place in enumerate(places) if place != at + 1), len(places))
        stop = None if straight == len(places) == count else straight
        return FramePlaces(count, counted=True, stop_at=stop, indexed=False)
    return FramePlaces(count, {place: place for place in slots.values()}, slots)


def _regular(ordered: list[int]) -> dict[int, int]:
    """Number of each time stamp at a constant frame rate; empty when there is none."""
    steps = [after - before for before, after in pairwise(ordered)]
    if not steps:
        return dict.fromkeys(ordered, 1)
    near = Counter(steps).most_common(1)[0][0]
    single = [step for step in steps if step < 1.5 * near]
    period = sum(single) / len(single)
    numbers = {stamp: 1 + round((stamp - ordered[0]) / period) for stamp in ordered}
    if any(abs(step / period - round(step / period)) > 0.2 or step < 0.5 * period for step in steps):
        return {}
    if round(ordered[0] / period) >= 1:  # whether frames before the first one are lost cannot be told
        return {}
    if numbers[ordered[-1]] > _MOST_FRAMES:
        return {}
    return numbers if len(set(numbers.values())) == len(numbers) else {}
