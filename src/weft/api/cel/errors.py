"""What is wrong with an expression, worded and drawn as cel-go does; and what goes wrong while one is evaluated."""


class CelSyntaxError(ValueError):
    """An expression that cannot be compiled; `str()` shows the place, as `ERROR: <input>:1:6: ...`."""

    def __init__(self, text: str, position: int, message: str) -> None:
        line = text.count("\n", 0, position) + 1
        begin = text.rfind("\n", 0, position) + 1
        column = position - begin
        shown = text[begin:].partition("\n")[0]
        super().__init__(f"ERROR: <input>:{line}:{column + 1}: {message}\n | {shown}\n | {'.' * column}^")
        self.message = message


class CelError(Exception):
    """An evaluation that has no result: a missing key, a division by zero, a type that does not fit."""


class CostError(CelError):
    """The evaluation took more steps than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_such_overload() -> CelError:
    return CelError("no such overload")
