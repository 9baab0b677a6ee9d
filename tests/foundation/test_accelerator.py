"""Choosing a device."""

import pytest
import torch

from varistar.foundation.accelerator import choose_device
from varistar.foundation.errors import ConfigError


@pytest.mark.parametrize(("available", "name", "kind"), [(True, "auto", "cuda"), (False, "auto", "cpu")])
def test_auto_takes_cuda_where_it_is(monkeypatch: pytest.MonkeyPatch, available: bool, name: str, kind: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device(name).type == kind


def test_what_is_asked_for_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("cpu").type == "cpu"
    assert choose_device("cuda").type == "cuda"


def test_missing_and_unknown_accelerators_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda' was asked for"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="got 'tpu'"):
        choose_device("tpu")
