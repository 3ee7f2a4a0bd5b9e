"""Pictures, labels and occlusion. Nothing in this package knows a model or a method."""

import os

# albumentations asks the network for a newer version of itself when imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
