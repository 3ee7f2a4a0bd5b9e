"""The one exception for mistakes a user can mend; the command line prints it as one line and exits with 2."""


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what is wrong, where, and what to do."""
