"""varistar: an experiment platform for neural networks that measure variable stars."""

__version__ = "0.1.0"
