"""The scores of an evaluation: which decides, and which a user sees."""

from collections.abc import Mapping

__all__ = ["describe_scores", "score_of"]

_SHOWN = ("box/AP", "mask/AP", "mask/AP50", "loss/total")


def score_of(metrics: Mapping[str, float]) -> float:
    """Give what decides which weights are best: the AP of masks, or of boxes where there are none."""
    return metrics["mask/AP"] if "mask/AP" in metrics else metrics["box/AP"]


def describe_scores(metrics: Mapping[str, float]) -> str:
    """Give those that stand in the line of an evaluation."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN if name in metrics)
