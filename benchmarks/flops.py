"""Parameters and floating-point operations of each preset, as the table of docs/paper.md gives them.

    python benchmarks/flops.py

One picture of 800 x 1344 px, 80 classes, 1000 proposals through the box head, 100 detections through the mask head.
Operations are those of convolutions and matrix products, a multiplication and an addition counted as two; RoIAlign,
norms and suppression are not counted. Shapes alone are computed with (meta device): it takes seconds and no memory.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from panet.cli.estimate import meta_model, run_stages
from panet.config import ModelConfig
from panet.presets import PRESETS

SIZE = (800, 1344)
NUM_PROPOSALS, NUM_DETECTIONS = 1000, 100


def count_flops(config: ModelConfig) -> int:
    """Count the operations of one forward pass."""
    model = meta_model(config)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_stages(model, 1, SIZE, NUM_PROPOSALS, NUM_DETECTIONS)
    return int(counter.get_total_flops())


def main() -> None:
    """Print a table in Markdown."""
    print("| preset | parameters (M) | GFLOPs |\n|---|---|---|")
    for name, config in PRESETS.items():
        parameters = sum(parameter.numel() for parameter in meta_model(config.model).parameters())
        print(f"| `{name}` | {parameters / 1e6:.3f} | {count_flops(config.model) / 1e9:.1f} |")


if __name__ == "__main__":
    main()
