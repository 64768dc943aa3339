"""Cards, as their makers' data sheets have them.

FLOP/s are dense: sheets of cards since Ampere print twice as much, for weights of which half are zeros. Memory is in
bytes of what the sheet calls GB, which are GiB. The link is one direction of the PCIe slot.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
PCIE_4, PCIE_5 = 32e9, 64e9
"""Bytes a second of 16 lanes, one way: sheets print both ways, 64 and 128 GB/s."""


@dataclass(frozen=True)
class Card:
    """What a card can do at most."""

    flops: float
    """FLOP/s of matrix products in bf16, sums in fp32, dense."""
    bandwidth: float
    """Bytes a second of its memory."""
    memory: int
    """Bytes."""
    link: float
    """Bytes a second between card and host, one way."""


CARDS: dict[str, Card] = {
    # NVIDIA H100 Tensor Core GPU data sheet, column SXM: 1,979 TFLOPS with sparsity, 3.35 TB/s, 80 GB, PCIe Gen5
    "H100": Card(989e12, 3.35e12, 80 * GIB, PCIE_5),
    # NVIDIA H200 Tensor Core GPU data sheet, column SXM: 1,979 TFLOPS with sparsity, 4.8 TB/s, 141 GB, PCIe Gen5
    "H200": Card(989e12, 4.8e12, 140 * GIB, PCIE_5),  # its 141 GB are 143,771 MiB by nvidia-smi
    # NVIDIA A100 Tensor Core GPU data sheet, column 80GB SXM: 312 TFLOPS dense, 2,039 GB/s, 80 GB, PCIe Gen4
    "A100": Card(312e12, 2.039e12, 80 * GIB, PCIE_4),
    # NVIDIA L40S data sheet: 362.05 TFLOPS dense, 864 GB/s, 48 GB (ECC takes a sixteenth), PCIe Gen4 x16
    "L40S": Card(362.05e12, 0.864e12, 45 * GIB, PCIE_4),
    # NVIDIA Ada GPU architecture white paper, GeForce RTX 4090: 165.2 TFLOPS dense with fp32 sums, 1,008 GB/s, 24 GB,
    # PCIe Gen4 x16
    "RTX4090": Card(165.2e12, 1.008e12, 24 * GIB, PCIE_4),
}
