"""Why a value cannot be mapped. The reason never holds the value: it may be private."""


class Refusal(Exception):
    """A value that cannot be what its column is; ``path`` is filled in by who knows it."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
