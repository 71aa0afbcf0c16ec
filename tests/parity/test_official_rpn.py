"""The RPN and its proposals against the official ones (fixture 08), by the arithmetic of 2018."""

import torch
from torch import nn

from panet.model.proposals import ProposalRule, anchors_of, propose
from panet.model.rpn import RPNHead, RPNOutput
from panet.ops.anchors import legacy_cell_anchors
from panet.weights.convert import convert
from panet.weights.tables import official

SIZES = {2: 32, 3: 64, 4: 128, 5: 256, 6: 512}


def load(recorded):
    holder = nn.ModuleDict({"rpn": RPNHead(16, 3)})
    converted = convert({f"RPN.{key}": value for key, value in recorded.weights().items()}, official(), holder)
    assert not converted.unused
    assert not converted.missing
    holder.load_state_dict(converted.state)
    return holder["rpn"]


def maps(flat, height, width):
    """(1, H * W * A, ...) in the order y, x, anchor -> the official layout (1, A * values, H, W)."""
    return flat.reshape(1, height, width, -1).permute(0, 3, 1, 2)


def level_alone(output, k):
    return RPNOutput({k: output.objectness[k]}, {k: output.deltas[k]}, {k: output.grid_sizes[k]})


def test_the_rpn_and_its_proposals_equal_the_official_ones(oracle, same):
    recorded = oracle("08")
    name = "08 RPN and proposals"
    output = load(recorded)(recorded.pyramid("in.N"))
    cells = {k: legacy_cell_anchors(2**k, [size], (0.5, 1, 2)) for k, size in SIZES.items()}
    rule = ProposalRule(60, 40, 0.7, min_side=0, inclusive=True)
    for k in SIZES:
        same(name, f"cls_logits{k}", maps(output.objectness[k], *output.grid_sizes[k]), recorded[f"out.cls_logits{k}"])
        same(name, f"bbox_pred{k}", maps(output.deltas[k], *output.grid_sizes[k]), recorded[f"out.bbox_pred{k}"])
        same(name, f"cell_anchors{k}", cells[k], recorded[f"out.cell_anchors{k}"], atol=0)
        alone = level_alone(output, k)
        proposals = propose(alone, anchors_of(cells, alone.grid_sizes), [(128, 192)], rule)
        same(name, f"proposals{k}", proposals[0], recorded[f"out.proposals{k}"][:, 1:])
    together = propose(output, anchors_of(cells, output.grid_sizes), [(128, 192)], rule)
    same(name, "rois", together[0], recorded["out.rois"][:, 1:])


def test_proposals_carry_no_gradient(oracle):
    output = load(oracle("08"))(oracle("08").pyramid("in.N"))
    cells = {k: legacy_cell_anchors(2**k, [size], (0.5, 1, 2)) for k, size in SIZES.items()}
    proposals = propose(output, anchors_of(cells, output.grid_sizes), [(128, 192)], ProposalRule(60, 40))
    assert not torch.cat(proposals).requires_grad
