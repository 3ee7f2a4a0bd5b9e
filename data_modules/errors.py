"""The exceptions that the command line turns into one line and an exit code: a user's mistake, and a signal."""

import signal


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what is wrong, where, and what to do. Exit code 2."""


class Stopped(BaseException):
    """A signal asked this process to stop. Exit code 128 + signal, as shells have it. `except Exception` lets it by."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum
