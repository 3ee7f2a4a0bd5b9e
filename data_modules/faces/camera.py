"""What cameras do to a face: tint and curve of the light, softness, noise, compression; keyed per face.

Rendered faces all come from one camera that has none of these. A model that shall read photographs as well learns not
to mind them.
"""

import cv2
import numpy as np

from data_modules.streams import keyed_generator

_LEVELS = np.arange(256) / 255


class Camera:
    """Another camera's picture of the same face: nothing moves, so labels and landmarks stay.

    Each channel is multiplied by .8 to 1.25 and bent by a gamma of .6 to 1.6; one picture in eight loses its colours;
    half are softened, by up to 1.5 % of the side; half get noise of up to 9 grey levels; a quarter pass through JPEG
    of quality 25 to 90. Draws follow from (seed, sample id) alone.
    """

    def __call__(self, image: np.ndarray, seed: int, sample_id: int) -> np.ndarray:
        """uint8 RGB (H, W, 3) -> the same face, uint8 RGB (H, W, 3), a new array."""
        draws = keyed_generator("camera", seed, sample_id)
        # (256, 3): where each level of a channel goes
        curves = np.exp(draws.uniform(-0.223, 0.223, 3)) * _LEVELS[:, None] ** np.exp(
            draws.uniform(-0.5, 0.47)
        )
        image = cv2.LUT(image, (curves * 255).clip(0, 255).astype(np.uint8)[None])
        grey, soft, noisy, packed = draws.random(4)
        if grey < 0.125:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if soft < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), 0.2 + 0.015 * image.shape[0] * 2 * soft)
        if noisy < 0.5:
            # Even noise of a deviation of 74 levels, weighted: a tenth of the time that normal noise takes.
            noise = np.frombuffer(draws.bytes(image.size), np.uint8).reshape(image.shape)
            weight = 18 * noisy / 74
            image = cv2.addWeighted(image, 1, noise, weight, -127.5 * weight)
        if packed < 0.25:
            _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(25 + 260 * packed)])
            image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
        return image
