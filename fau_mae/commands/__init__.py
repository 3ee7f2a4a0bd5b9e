"""Parsers of the subcommands of `fau-mae`."""
