"""The errors that varistar raises on purpose.

Each carries one sentence for the user that names the file, the row or the key, and what was expected. The command
line prints that sentence and exits with code 2; a library user catches `VaristarError`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class VaristarError(Exception):
    """Any mistake that the user can put right; the message is one clear sentence."""


class ConfigError(VaristarError):
    """A parameter that does not exist, has the wrong type, or lies outside its range."""


class DataError(VaristarError):
    """A light curve, table or file that cannot be read as what it should be."""


class RegistryError(VaristarError):
    """A model that is missing, damaged, unsafe, or may not be promoted."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Around a program's main: print a `VaristarError` as its sentence and exit with code 2."""
    try:
        yield
    except VaristarError as error:
        print(f"varistar: {error}", file=sys.stderr)
        sys.exit(2)
