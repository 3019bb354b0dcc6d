"""Make masks_2d.npz, masks_3d.npz, mask_parts.npz: Cellpose's masks, against which ours are tested.

Run where Cellpose 3.1.1.2 is installed: ``python tests/data/make_masks.py``.

The fields are those of phantoms of touching ellipsoids: Cellpose's flows of the labels, view by
view, with smooth noise, in fixed point (flow 8192 a pixel, logit 512),
rounded coarsely so that the files stay small. Cellpose gets the same numbers (five times the flow,
as its network gives it): in 3-D once our mean of two views, and once their sum, which is what it
makes itself.
"""

from pathlib import Path

import fastremap
import numpy as np
import torch
from cellpose import dynamics, metrics, utils
from scipy.ndimage import gaussian_filter

HERE = Path(__file__).parent
CPU = torch.device("cpu")
FLOW, LOGIT = 8192, 512


def ellipsoids(shape, diameter, count, rng):
    """Return labels of ``count`` ellipsoids that touch but do not overlap."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    centres = []
    while len(centres) < count:
        new = rng.uniform(0, shape)
        if all(np.linalg.norm(new - old) > 0.75 * diameter for old in centres):
            centres.append(new)
    nearest, labels = np.full(shape, np.inf), np.zeros(shape, np.int32)
    for number, centre in enumerate(centres, 1):
        radii = diameter / 2 * rng.uniform(0.85, 1.2, len(shape))
        distance = (((grid - centre) / radii) ** 2).sum(-1)
        labels = np.where((distance < 1) & (distance < nearest), number, labels)
        nearest = np.minimum(nearest, distance)
    return labels


def noisy_fields(labels, mean_flow, rng, noise):
    """Return flow and logit as coarsely rounded int16, the flow zero outside the foreground."""
    smooth = np.stack([gaussian_filter(rng.normal(size=labels.shape), 1.2) for _ in mean_flow])
    flow = mean_flow + noise * smooth / smooth.std()
    ragged = gaussian_filter(rng.normal(size=labels.shape), 1.0)
    inside = gaussian_filter((labels > 0).astype(float), 0.5) - 0.5
    logit = np.clip(8 * inside + 1.5 * ragged / ragged.std(), -4, 4)
    flow_step, logit_step = {2: (FLOW // 16, LOGIT // 2), 3: (FLOW // 8, LOGIT)}[labels.ndim]
    logit = (np.rint(logit * LOGIT / logit_step) * logit_step).astype(np.int16)
    flow = (np.rint(flow * FLOW / flow_step) * flow_step * (logit > 0)).astype(np.int16)
    return flow, logit


def save(name, **arrays):
    """Write a compressed file and say how large it is."""
    np.savez_compressed(HERE / name, **arrays)
    print(name, (HERE / name).stat().st_size)


def plane():
    """Make 2-D fields with Cellpose's masks and flow errors, in one image."""
    rng = np.random.default_rng(1)
    truth = ellipsoids((224, 224), 20, 85, rng)
    flow, logit = noisy_fields(truth, dynamics.masks_to_flows(truth, device=CPU), rng, 0.25)
    flow[:, 60:90, 60:90] = 0  # objects that the flow check must drop
    flow[:, 120:150, 150:180] *= -1
    to_cellpose = (5 * flow.astype(np.float32) / FLOW, logit.astype(np.float32) / LOGIT)
    unchecked = dynamics.compute_masks(*to_cellpose, niter=200, flow_threshold=0, device=CPU)
    errors, _ = metrics.flow_error(unchecked, to_cellpose[0], CPU)
    masks = dynamics.resize_and_compute_masks(*to_cellpose, niter=200, min_size=15, device=CPU)
    save(
        "masks_2d.npz",
        flow=flow[:, np.newaxis],
        logit=logit[np.newaxis],
        masks=masks.astype(np.uint16),
        unchecked=unchecked.astype(np.uint16),
        errors=errors.astype(np.float32),
    )
    print("objects", truth.max(), unchecked.max(), masks.max())


def space():
    """Make 3-D fields with Cellpose's masks."""
    rng = np.random.default_rng(2)
    truth = ellipsoids((40, 70, 68), 16, 52, rng)
    summed = dynamics.masks_to_flows(truth, device=CPU)
    flow, logit = noisy_fields(truth, summed / 2, rng, 0.2)
    mean_flow, mean_logit = 5 * flow.astype(np.float32) / FLOW, logit.astype(np.float32) / LOGIT
    settings = {"niter": 200, "min_size": 15, "do_3D": True, "device": CPU}
    masks = dynamics.resize_and_compute_masks(mean_flow, mean_logit, **settings)
    of_sum = dynamics.resize_and_compute_masks(2 * mean_flow, 3 * mean_logit, **settings)
    save(
        "masks_3d.npz",
        flow=flow,
        logit=logit,
        masks=masks.astype(np.uint8),
        masks_of_sum=of_sum.astype(np.uint8),
        truth=(truth * (logit > 0)).astype(np.uint8),
    )
    print("objects", truth.max(), masks.max(), of_sum.max(), "foreground", (logit > 0).mean())


def parts():
    """Make small cases of single steps: flows of labels, filled holes, stitched planes."""
    rng = np.random.default_rng(3)
    labels = ellipsoids((72, 80), 16, 14, rng)
    labels[30:34, 20:60] = 15  # long
    labels[5:20, 5:20] = 16
    labels[8:17, 8:20] = 0  # concave
    labels[60, 70] = 17  # one pixel
    labels[50:56, 50:56] = labels[64:68, 50:56] = 18  # two pieces
    labels = fastremap.renumber(labels)[0].astype(np.int32)
    flow = dynamics.labels_to_flows([labels.copy()], device=CPU)[0][2:4]

    holes = ellipsoids((24, 40, 40), 15, 10, rng)
    holes[rng.random(holes.shape) < 0.06] = 0  # holes
    holes[rng.random(holes.shape) < 0.004] = 11  # scattered, some inside other objects
    holes[3, 3:6, 3:6] = 12  # small
    holes = fastremap.renumber(holes)[0].astype(np.uint16)
    filled = utils.fill_holes_and_remove_small_masks(holes.copy(), 15)
    flat = holes[12].copy()
    flat_filled = utils.fill_holes_and_remove_small_masks(
        fastremap.renumber(flat.copy())[0].astype(np.uint16), 15
    )

    planes = ellipsoids((20, 48, 48), 14, 20, rng)
    per_plane = np.stack([fastremap.renumber(plane)[0] for plane in planes]).astype(np.uint16)
    stitched = utils.stitch3D(per_plane.copy(), 0.25)
    save(
        "mask_parts.npz",
        labels=labels.astype(np.uint8),
        label_flow=flow,
        holes=holes.astype(np.uint8),
        filled=filled.astype(np.uint8),
        flat=flat.astype(np.uint8),
        flat_filled=flat_filled.astype(np.uint8),
        planes=per_plane.astype(np.uint8),
        stitched=stitched.astype(np.uint8),
    )


if __name__ == "__main__":
    plane()
    space()
    parts()
