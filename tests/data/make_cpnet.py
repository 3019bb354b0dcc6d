"""Make cpnet.npz: outputs of Cellpose's own network, against which ours is tested.

Run where Cellpose 3.1.1.2 is installed, with the teacher's checkpoint:
``python tests/data/make_cpnet.py nuclei_teacher.pt``.

The input is `formula.uniform("image", (1, 2, 48, 64))`. ``formula`` is the output of
``CPnet([2, 32, 64, 128, 256], 3, sz=3)`` with the weights of `formula.weights`, ``teacher`` that
with the checkpoint's.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from cellpose.resnet_torch import CPnet

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
import formula


def run(state: dict) -> np.ndarray:
    """Return the network's output with these weights."""
    net = CPnet([2, 32, 64, 128, 256], 3, sz=3).eval()
    net.load_state_dict({name: torch.as_tensor(value).float() for name, value in state.items()})
    with torch.inference_mode():
        return net(torch.from_numpy(formula.uniform("image", (1, 2, 48, 64))))[0].numpy()


def main(checkpoint: str) -> None:
    """Write the file."""
    wanted = CPnet([2, 32, 64, 128, 256], 3, sz=3).state_dict()
    by_formula = run(formula.weights({name: tuple(value.shape) for name, value in wanted.items()}))
    teacher = run(torch.load(checkpoint, map_location="cpu", weights_only=True))
    path = Path(__file__).with_name("cpnet.npz")
    np.savez_compressed(path, formula=by_formula, teacher=teacher)
    print(by_formula.std((0, 2, 3)), teacher.std((0, 2, 3)))


if __name__ == "__main__":
    main(sys.argv[1])
