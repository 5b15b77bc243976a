"""Why a value cannot be mapped. The reason never holds the value: it may be private."""


class Refusal(Exception):
    """A value that cannot be what its column is.

    ``path`` and ``column`` tell where, if who refuses knows; else it is found out afterwards.
    """

    def __init__(self, reason: str, path: str | None = None, column: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.column = column
