"""Settings written as YAML and read back are the same settings."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from panet.config import BackboneConfig, Config, DataConfig, MaskHeadConfig, ModelConfig, TrainConfig
from panet.settings import read_config, to_yaml

# `none` is the word for null; a lone surrogate is no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text != "none")
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False)
FRACTION = st.floats(0, 1)

CONFIGS = st.builds(
    Config,
    model=st.builds(
        ModelConfig,
        norm=st.sampled_from(["none", "group", "batch", "sync_batch"]),
        backbone=st.builds(BackboneConfig, name=TEXT, weights=st.none() | TEXT),
        mask_head=st.none() | st.builds(MaskHeadConfig, channels=st.integers(1)),
    ),
    data=st.builds(
        DataConfig,
        root=TEXT,
        short_sides=st.lists(st.integers(1)).map(tuple),
        scale_jitter=st.none() | st.tuples(POSITIVE, POSITIVE),
    ),
    train=st.builds(
        TrainConfig,
        epochs=st.floats(0, 1e6, exclude_min=True),
        learning_rate=POSITIVE,
        milestones=st.lists(FRACTION).map(tuple),
        max_grad_norm=st.none() | POSITIVE,
        scale_learning_rate=st.booleans(),
        device=TEXT,
    ),
)


@given(CONFIGS)
def test_settings_survive_their_yaml(config: Config) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(to_yaml(config), encoding="utf-8", newline="")
        assert read_config(path, None) == config
