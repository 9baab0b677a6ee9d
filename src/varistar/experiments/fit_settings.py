"""How networks are trained, as settings that load without torch."""

from typing import Annotated, Literal

from pydantic import Field

from varistar.foundation.settings import Settings


class FitSettings(Settings):
    """How a network is trained; the defaults are the paper's (000, section 3.4, and the released code).

    Attributes
    ----------
    schedule : `plateau` multiplies the learning rate by 0.7 after 3 epochs without a better validation loss (AMB-12);
        `onecycle` rises to `learning_rate` and falls to zero within `max_epochs`, `cosine` falls from there.
    patience : epochs without a better validation loss before training stops.
    shuffle : False repeats the same order in every epoch, as the released code does (AMB-13).
    precision : `mixed` computes the network in bfloat16 beside float32 on a processor too, which takes a third (wide
        networks) to two thirds of the time where it has instructions for that, and rounds coarser; on CUDA it is always
        mixed.
    threads : processor threads; results are equal to the bit for equal numbers of threads only. Two threads on a busy
        machine wait for each other and are slower than one.
    """

    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["plateau", "onecycle", "cosine", "constant"] = "plateau"
    batch_size: Annotated[int, Field(gt=0)] = 100
    max_epochs: Annotated[int, Field(gt=0)] = 500
    patience: Annotated[int, Field(gt=0)] = 20
    shuffle: bool = False
    seed: int = 0
    precision: Literal["float32", "mixed"] = "float32"
    threads: Annotated[int, Field(gt=0)] = 1


class Trainable(Settings):
    """What the variants of all wings have.

    Attributes
    ----------
    members : so many networks are trained, with seeds from `training.seed` on; their scores tell how far chance goes.
    ensemble : all members together are the model; otherwise the first is.
    """

    training: FitSettings = FitSettings()
    members: Annotated[int, Field(ge=1, le=20)] = 1
    ensemble: bool = False
