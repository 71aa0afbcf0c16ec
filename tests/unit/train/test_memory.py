"""Memory that runs out in a step."""

import pytest

from panet.errors import ResourceError
from panet.train.memory import OutOfMemory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_the_step_and_the_shapes_are_named(make_batch, error: Exception) -> None:
    expected = r"step 3: memory ran out on a batch of shape \(2, 3, 64, 96\), \(1, 3, 64, 96\) .* with 6 objects: lower"
    with pytest.raises(ResourceError, match=expected), OutOfMemory(3, [make_batch(), make_batch(num_images=1)]):
        raise error


def test_other_errors_pass(make_batch) -> None:
    with pytest.raises(RuntimeError, match="of another kind"), OutOfMemory(3, [make_batch()]):
        raise RuntimeError("of another kind")
