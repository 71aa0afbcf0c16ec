"""Settings of a network that trains a step of two small pictures in a tenth of a second."""

TINY = [
    "model.norm=none",
    "model.backbone={name: lcnet_035, norm: batch, frozen_stages: 0}",
    "model.neck.channels=8",
    "model.box_head={kind: 2fc, fc_channels: 16}",
    "model.mask_head.channels=8",
    "model.short_side=64",
    "model.rpn={num_before_nms_train: 64, num_before_nms_test: 64, num_after_nms_train: 32, num_after_nms_test: 32}",
    "model.detection.max_detections=8",
    "model.pooling.mask_size=4",
    "objective.roi_samples=16",
    "data.short_sides=[48, 64]",
    "data.batch_size=2",
    "train.warmup_steps=2",
]
