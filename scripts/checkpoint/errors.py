"""What is said of bad input."""


class Bad(Exception):
    """Input that is refused, in one sentence."""

    def __init__(self, what, expected, found, remedy):
        super().__init__(f"{what}: expected {expected}, found {found}; {remedy}.")


def want(value, kind, what, remedy="the file is not of the form that --help describes"):
    """The value, if it is of this type."""
    if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
        raise Bad(what, f"a {kind.__name__}", f"a {type(value).__name__}", remedy)
    return value


def listed(names, most=8):
    """Names for a message."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
