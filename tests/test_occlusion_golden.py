"""The masks of protocol version 1, frozen: changing one without raising the version fails.

After raising `PROTOCOL_VERSION`: `python -m tests.test_occlusion_golden` writes the new file.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from data_modules.occlusion.apply import KINDS, occlude
from data_modules.occlusion.objects import Cutout
from data_modules.occlusion.spec import LADDER, PROTOCOL_VERSION, OcclusionSpec

GOLDEN = Path(__file__).parent / "golden" / f"occlusion_v{PROTOCOL_VERSION}.json"
TURNED = np.array([[70, 80], [128, 84], [84, 124], [78, 160], [122, 163]], float)


def hashes(kind: str) -> list[str]:
    """50 masks: ten faces, half of them turned, at the five severities of the ladder."""
    face = np.full((224, 224, 3), 128, np.uint8)
    cutout = np.zeros((40, 60, 4), np.uint8)
    cutout[8:32, 10:50] = 255
    given = {
        "donor": face,
        "saliency": np.add.outer(np.arange(14) % 5, np.arange(14) % 3),
        "objects": [Cutout.of(cutout)],
    }
    result = []
    for sample_id in range(10):
        for severity in LADDER[1:]:
            landmarks = TURNED if sample_id % 2 else None
            spec = OcclusionSpec(kind, severity)
            _, visible = occlude(face, spec, sample_id, grid=14, landmarks=landmarks, **given)
            result.append(hashlib.sha256(np.packbits(visible).tobytes()).hexdigest()[:16])
    return result


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_masks_of_this_version_are_unchanged(kind):
    assert hashes(kind) == json.loads(GOLDEN.read_text())[kind]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({kind: hashes(kind) for kind in KINDS if kind != "none"}, indent=0) + "\n")
