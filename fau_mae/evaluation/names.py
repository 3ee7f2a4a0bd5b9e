"""Names: in which order methods, masks and kinds of occlusion stand, wherever they are shown."""

CLEAN_KIND = "none"


METHOD_ORDER = ("clean", "reconstruct", "augmented", "dropped", "student", "specialist")


MASK_ORDER = ("none", "oracle", "blind")


KIND_ORDER = (CLEAN_KIND, "patches", "block", "upper", "lower", "left", "right", "eyes", "mouth")


def method_key(method: str, mask_source: str = "none") -> tuple[int, str, int, str]:
    """Sort key: the ladder of methods from baseline to student, unknown names behind it by name."""
    return (*_place(method, METHOD_ORDER), *_place(mask_source, MASK_ORDER))


def kind_key(kind: str) -> tuple[int, str]:
    """Sort key: grid kinds, edges, parts, then all others by name."""
    return _place(kind, KIND_ORDER)


def _place(name: str, order: tuple[str, ...]) -> tuple[int, str]:
    return (order.index(name), "") if name in order else (len(order), name)
