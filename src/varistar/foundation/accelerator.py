"""Where tensors live: on the processor, or on a GPU where there is one."""

from typing import TYPE_CHECKING, Literal

from .errors import ConfigError

if TYPE_CHECKING:
    import torch

Accelerator = Literal["auto", "cpu", "cuda"]


def choose_device(accelerator: Accelerator) -> "torch.device":
    """The device of that name; `auto` is CUDA where there is one, else the processor.

    Raises
    ------
    ConfigError
        When CUDA is asked for and there is none, or for another name.
    """
    import torch

    if accelerator not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"accelerator must be 'auto', 'cpu' or 'cuda'; got {accelerator!r}")
    available = torch.cuda.is_available()
    if accelerator == "cuda" and not available:
        raise ConfigError("accelerator 'cuda' was asked for, but torch finds no CUDA device here; 'cpu' or 'auto' work")
    return torch.device("cuda" if available and accelerator != "cpu" else "cpu")
