"""How long a training run will take, told from what a few batches took. Heavy to import."""

from dataclasses import dataclass
from datetime import timedelta

from panet.config import Config
from panet.data.build import mean_test_area, mean_train_area
from panet.data.coco import CocoDataset
from panet.train.loop import Plan

__all__ = ["Costs", "describe_duration", "estimate_seconds"]


@dataclass(frozen=True)
class Costs:
    """What the rehearsed batches took together.

    Args:
        area: px of all their padded pictures.
        running: seconds of their forward and backward passes.
        loading: seconds a picture.
        evaluating: seconds a px of a picture that is evaluated.
    """

    area: float
    running: float
    loading: float
    evaluating: float


def describe_duration(
    config: Config,
    plan: Plan,
    training: CocoDataset,
    validation: CocoDataset | None,
    costs: Costs,
    num_ranks: int,
) -> str:
    """Tell how long a step, an evaluation and the whole run take."""
    num_val = 0 if validation is None else -(-len(validation) // num_ranks)
    test_area = 0.0 if validation is None else mean_test_area(validation, config.model)
    areas = mean_train_area(training, config.data), test_area
    step, evaluation = estimate_seconds(config, plan, areas, num_val, costs)
    num_checks = -(-plan.num_steps // plan.steps_per_check)
    total = timedelta(seconds=round(plan.num_steps * step + num_checks * evaluation))
    evaluations = f" and {num_checks} evaluations of about {evaluation:.3g} s" if num_val else ""
    return f"about {step:.2g} s a step: {plan.num_steps:,} steps{evaluations} take about {total}"


def estimate_seconds(config: Config, plan: Plan, areas: tuple[float, float], num_val: int, costs: Costs) -> list[float]:
    """Estimate the seconds of a step and of an evaluation.

    Args:
        config: of the run.
        plan: of the run.
        areas: mean px of a picture in training and at test.
        num_val: pictures of each evaluation.
        costs: seconds are taken to grow with the px.
    """
    pictures = config.data.batch_size * plan.accumulate
    running = pictures * areas[0] * costs.running / costs.area
    loading = pictures * costs.loading
    step = max(running, loading / config.data.workers) if config.data.workers else running + loading
    return [step, num_val * areas[1] * costs.evaluating]
