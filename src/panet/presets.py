"""The models that have a name, each with the data and training settings that suit it."""

from panet.config import (
    BackboneConfig,
    BoxHeadConfig,
    Config,
    DataConfig,
    MaskHeadConfig,
    ModelConfig,
    NeckConfig,
    ObjectiveConfig,
    PixelConfig,
    PoolingConfig,
    RPNConfig,
    TrainConfig,
)
from panet.errors import ConfigError, nearest

__all__ = ["PRESETS", "preset"]

_ONE_SCALE = DataConfig(short_sides=(800,), max_side=1333)

PRESETS: dict[str, Config] = {
    # The three released configurations (R-50, GN, multi-scale training).
    "panet_r50": Config(train=TrainConfig(epochs=24.0)),
    "panet_r50_det": Config(model=ModelConfig(mask_head=None)),
    "panet_r50_det_2fc": Config(model=ModelConfig(mask_head=None, box_head=BoxHeadConfig(kind="2fc"))),
    # The same code with the three ideas off.
    "mask_rcnn_r50": Config(
        model=ModelConfig(
            norm="none",
            neck=NeckConfig(bottom_up=False),
            pooling=PoolingConfig(levels="assigned"),
            box_head=BoxHeadConfig(kind="2fc"),
            mask_head=MaskHeadConfig(fc_path=False),
            short_side=800,
            max_side=1333,
        ),
        data=_ONE_SCALE,
    ),
    # Trains on two CPU cores, ships in 25 MB: EfficientNet-Lite0 features, narrow pyramid and heads.
    "panet_lite": Config(
        model=ModelConfig(
            norm_groups=16,
            pixels=PixelConfig(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
            backbone=BackboneConfig(name="tf_efficientnet_lite0", weights="efficientnet-lite", frozen_stages=1),
            neck=NeckConfig(channels=96),
            rpn=RPNConfig(
                anchor_sizes=((16,), (32,), (64,), (128,), (256,)),
                num_before_nms_train=1000,
                num_before_nms_test=1000,
                num_after_nms_train=500,
                num_after_nms_test=500,
            ),
            pooling=PoolingConfig(mask_size=12),
            box_head=BoxHeadConfig(kind="2fc", fc_channels=192),
            mask_head=MaskHeadConfig(channels=64),
            short_side=512,
            max_side=1024,
        ),
        objective=ObjectiveConfig(anchor_straddle=None, roi_samples=128, mask_samples=32),
        data=DataConfig(short_sides=(384, 448, 512, 576, 640), max_side=1024, batch_size=4),
        train=TrainConfig(
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=0.05,
            bias_rate_factor=1.0,
            schedule="cosine",
            warmup_steps=100,
            warmup_factor=0.01,
            max_grad_norm=10.0,
            scale_learning_rate=False,
        ),
    ),
}


def preset(name: str) -> Config:
    """Give the settings of a named model; ConfigError names the nearest known one."""
    if name not in PRESETS:
        raise ConfigError(f"model {name!r} is unknown{nearest(name, PRESETS)}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
