"""Patches: geometry moves image and maps together, noise changes the image only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from fcp_export.data import patches
from fcp_export.data.augmentation import (
    PLAIN,
    Augmentation,
    blemish,
    coarsen,
    debris,
    degrade,
    dim,
    gaussian_blur,
    haze,
    hollow,
    shade,
)
from fcp_export.data.cache import Targets
from fcp_export.data.patches import Sampler, chances, cut
from fcp_export.data.slices import SliceSet

SEEDS = range(12)


def disc(shape=(140, 150), centre=(66.0, 81.0), radius=22.0) -> tuple[torch.Tensor, torch.Tensor]:
    """An image of one disc, and maps whose flow points to its centre with length 5."""
    rows, cols = np.indices(shape)
    dy, dx = centre[0] - rows, centre[1] - cols
    distance = np.hypot(dy, dx)
    flow = 5 * np.stack((dy, dx)) / np.maximum(distance, 1e-6)
    maps = np.concatenate((flow, (radius - distance)[None]))
    image = (distance < radius).astype(np.float32)
    return torch.from_numpy(image), torch.from_numpy(maps.astype(np.float32))


def targets(image: torch.Tensor, maps: torch.Tensor, source: str = "disc") -> Targets:
    images = image.numpy().astype(np.float16)[None]
    slices = SliceSet(f"{source}/image", source, source, images)
    return Targets(slices, maps.numpy().astype(np.float16)[None])


@pytest.mark.parametrize("seed", SEEDS)
def test_flows_still_point_to_the_centre_of_a_moved_disc(seed):
    _, maps, inside = cut(*disc(), 128, np.random.default_rng(seed), 1.3)
    flow, logit = maps[:2].numpy(), maps[2].numpy()
    whole = inside[0].numpy() > 0
    # the logit is the distance to the rim: its plane-free peak is the moved centre
    peak = np.array(np.unravel_index(np.where(whole, logit, -np.inf).argmax(), logit.shape))
    rows, cols = np.indices(logit.shape)
    towards = np.stack((peak[0] - rows, peak[1] - cols)).astype(float)
    distance = np.hypot(*towards)
    here = whole & (distance > 8)
    assert here.sum() > 2000
    cosine = (flow * towards).sum(0)[here] / (distance[here] * np.hypot(*flow)[here])
    assert cosine.min() > 0.98
    np.testing.assert_allclose(np.hypot(*flow)[here], 5, atol=0.1)


@pytest.mark.parametrize("blur", [0.0, 0.1, 0.3])
def test_a_patch_may_be_blurred_little_or_not_at_all(blur):
    image, how = torch.rand(1, 32, 32), replace(Augmentation(), blur=blur)
    assert all(degrade(image, np.random.default_rng(s), how).isfinite().all() for s in range(20))


def twin_coordinates(rng, shape, edge, zoom):
    """Draw as `cut` does; return where in the image each pixel of the patch lies, and the turn."""
    angle = rng.uniform(0, 2 * math.pi)
    scale = zoom ** rng.uniform(-1, 1)
    mirror = rng.choice((-1.0, 1.0))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = rotation @ np.diag((1.0, mirror))
    centre = np.array(
        [
            length / 2 + rng.uniform(-0.5, 0.5) * max(0.0, length - 0.8 * edge / scale)
            for length in shape
        ]
    )
    u = np.indices((edge, edge)) + 0.5 - edge / 2
    # pixel i covers i to i + 1, so its middle is at i + 0.5
    return np.tensordot(turn / scale, u, 1) + centre[:, None, None] - 0.5, turn


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("edge", [96, 192])
def test_a_patch_equals_the_image_sampled_by_scipy(seed, edge):
    shape = (130, 170)
    noise = np.random.default_rng(99)
    image = ndimage.gaussian_filter(noise.standard_normal(shape), 2).astype(np.float32)
    maps = ndimage.gaussian_filter(noise.standard_normal((3, *shape)), (0, 2, 2)).astype(np.float32)
    found = cut(torch.from_numpy(image), torch.from_numpy(maps), edge, np.random.default_rng(seed), 1.3)  # fmt: skip
    pixels, moved, inside = (part.numpy() for part in found)
    at, turn = twin_coordinates(np.random.default_rng(seed), shape, edge, 1.3)

    def sample(array):
        return ndimage.map_coordinates(array, at, order=1, mode="reflect")

    within = np.all([(at[i] > 0.01) & (at[i] < shape[i] - 1.01) for i in (0, 1)], axis=0)
    beyond = np.any([(at[i] < -0.01) | (at[i] > shape[i] - 0.99) for i in (0, 1)], axis=0)
    assert (inside[0][within] == 1).all()
    assert (inside[0][beyond] == 0).all()
    # also beyond the border, where the image goes on reflected
    np.testing.assert_allclose(pixels[0], sample(image), atol=2e-4)
    flow = np.stack([sample(maps[0]), sample(maps[1])])
    turned = np.tensordot(turn.T, flow, 1)
    np.testing.assert_allclose(moved[:2, within], turned[:, within], atol=2e-4)
    np.testing.assert_allclose(moved[2][within], sample(maps[2])[within], atol=2e-4)


def test_noise_leaves_maps_alone_and_changes_the_image():
    source = [targets(*disc())]
    plain = Sampler(source, PLAIN, 1)
    noisy = Sampler(source, Augmentation(scale=1.0), 1)
    changed = 0
    for seed in SEEDS:
        one = plain.batch(np.random.default_rng(seed))
        two = noisy.batch(np.random.default_rng(seed))
        assert torch.equal(one.maps, two.maps)
        assert torch.equal(one.inside, two.inside)
        changed += not torch.equal(one.images, two.images)
    assert changed > len(SEEDS) / 2


def test_plain_patches_are_not_degraded():
    image = torch.rand(1, 32, 32)
    assert degrade(image, np.random.default_rng(0), PLAIN) is image


@pytest.mark.parametrize("seed", SEEDS)
def test_degrading_keeps_numbers_finite_and_structure_visible(seed):
    image, _ = disc()
    image = image[None, 20:116, 40:136] - 0.1  # background below zero, as percentiles leave it
    found = degrade(image, np.random.default_rng(seed), Augmentation())
    assert found.shape == image.shape
    assert found.dtype == torch.float32
    assert np.corrcoef(found.ravel(), image.ravel())[0, 1] > 0.7


def test_a_seed_determines_a_batch():
    sampler = Sampler([targets(*disc())], Augmentation(), 2)
    one, again, other = (sampler.batch(np.random.default_rng(seed)) for seed in (5, 5, 6))
    for field in ("images", "maps", "inside"):
        assert torch.equal(getattr(one, field), getattr(again, field))
    assert one.images.shape != other.images.shape or not torch.equal(one.images, other.images)


def test_a_batch_has_the_form_that_networks_take():
    batch = Sampler([targets(*disc())], Augmentation(), 3).batch(np.random.default_rng(1))
    edge = batch.images.shape[-1]
    assert edge in (96, 128, 160, 192, 224, 256)
    assert batch.images.shape == (3, 2, edge, edge)
    assert batch.maps.shape == (3, 3, edge, edge)
    assert batch.inside.shape == (3, 1, edge, edge)
    assert not batch.images[:, 1].any()
    assert set(batch.inside.unique().tolist()) <= {0.0, 1.0}


def test_most_patches_of_background_are_drawn_again():
    """One small disc in a wide image: a patch drawn once would mostly miss it."""
    source = [targets(*disc((400, 400), (200.0, 200.0), 12.0))]
    sampler = Sampler(source, PLAIN, 4)
    batches = [sampler.batch(np.random.default_rng(seed)) for seed in range(40)]
    pairs = [pair for batch in batches for pair in zip(batch.maps, batch.inside, strict=True)]
    once = [
        cut(*disc((400, 400), (200.0, 200.0), 12.0), 128, np.random.default_rng(seed), 1.0)[1:]
        for seed in range(160)
    ]
    seen, by_chance = (
        [bool((maps[2] * inside[0] > 0).any()) for maps, inside in several]
        for several in (pairs, once)
    )
    assert 0.93 < np.mean(seen) < 1
    assert np.mean(by_chance) < 0.7


def test_chances_follow_roots_of_pixels_and_of_sources():
    """Two images of one source, one of them four times as large, and a lone one of another."""
    sets = [((20, 20), "a"), ((40, 40), "a"), ((20, 20), "b")]
    items = [targets(torch.zeros(shape), torch.zeros(3, *shape), source) for shape, source in sets]
    shares = np.array([20 / 60**0.75, 40 / 60**0.75, 20**0.25])
    np.testing.assert_allclose(chances(items), shares / shares.sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_dimming_scales_each_nucleus_alone_and_leaves_the_background(seed):
    rows, cols = np.indices((120, 120))
    truth = np.zeros((120, 120), int)
    for index, (y, x) in enumerate([(25, 25), (25, 90), (85, 60)], start=1):
        truth[np.hypot(rows - y, cols - x) < 13] = index
    rng = np.random.default_rng(7)
    texture = rng.uniform(0.5, 1.0, truth.shape).astype(np.float32)
    image = torch.from_numpy(np.where(truth, texture, np.float32(0.1)))[None]
    found = dim(image, torch.from_numpy(truth > 0), np.random.default_rng(seed), 5.0)[0].numpy()
    far = ndimage.distance_transform_edt(truth == 0) > 6
    np.testing.assert_allclose(found[far], 0.1, atol=1e-6)
    factors = []
    for index in (1, 2, 3):
        gain = ((found - 0.1) / (texture - 0.1))[truth == index]
        factors.append(gain.mean())
        np.testing.assert_allclose(gain, gain.mean(), rtol=0.05)
    assert all(0.19 < factor <= 1 for factor in factors)
    assert max(factors) > 1.05 * min(factors)


@pytest.mark.parametrize("pixels", [np.zeros, np.ones])
def test_dimming_takes_a_patch_of_background_or_of_nucleus_alone(pixels):
    nuclei = torch.from_numpy(pixels((40, 40), bool))
    image = torch.full((1, 40, 40), 0.4)
    found = dim(image, nuclei, np.random.default_rng(0), 5.0)
    np.testing.assert_allclose(found, image, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_haze_adds_light_without_edges(seed):
    """Of nuclei or of streaks: in no pixel as sharp as a nucleus in focus, and never negative."""
    sharp = torch.zeros(1, 128, 128)
    sharp[:, 40:60, 30:50] = 1.0
    found = haze(sharp, np.random.default_rng(seed), 0.6).numpy()
    assert found.shape == (1, 128, 128)
    assert found.min() >= 0
    assert 0 < found.max() < 1.2
    assert max(np.abs(np.diff(found, axis=axis)).max() for axis in (1, 2)) < 0.12


def test_haze_shows_the_mirrored_patch_out_of_focus_or_does_not_depend_on_it():
    point = torch.zeros(1, 128, 128)
    point[0, 64, 40] = 1.0
    of_nuclei = 0
    for seed in SEEDS:
        found = haze(point, np.random.default_rng(seed), 0.6)[0].numpy()
        if found.sum() < 1.3:  # the light of the point, spread
            of_nuclei += 1
            assert np.unravel_index(found.argmax(), found.shape) == (64, 127 - 40)
        else:
            other = haze(point.flip(1), np.random.default_rng(seed), 0.6)[0].numpy()
            np.testing.assert_array_equal(found, other)
    assert 0 < of_nuclei < len(SEEDS)


@pytest.mark.parametrize("sigma", [1.0, 2 / 3])
def test_blur_equals_that_of_scipy(sigma):
    image = np.random.default_rng(0).random((1, 24, 30), np.float32)
    wanted = ndimage.gaussian_filter(image[0], sigma, mode="mirror", radius=math.ceil(3 * sigma))
    found = gaussian_blur(torch.from_numpy(image), sigma)[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_coarsening_takes_detail_along_rows_only(seed):
    rng = np.random.default_rng(1)
    across = np.tile(rng.random((1, 60), np.float32), (70, 1))
    along = np.tile(rng.random((70, 1), np.float32), (1, 60))
    kept = coarsen(torch.from_numpy(across), np.random.default_rng(seed), 4.0)
    np.testing.assert_allclose(kept, across, atol=1e-5)  # what varies along columns stays
    found = coarsen(torch.from_numpy(along), np.random.default_rng(seed), 4.0).numpy()
    assert found.shape == along.shape
    assert abs(found.mean() - along.mean()) < 0.03
    changed = not np.array_equal(found, along)
    rng = np.random.default_rng(seed)
    assert changed == (rng.random() >= 0.5)
    if changed:
        spacing = rng.uniform(1, 4)
        assert np.abs(np.diff(found, axis=0)).mean() < np.abs(np.diff(along, axis=0)).mean()
        if spacing > 2:
            assert found.std() < 0.9 * along.std()


def test_nuclei_of_images_by_themselves_are_dimmed_and_those_of_stacks_are_not(monkeypatch):
    seen = []
    monkeypatch.setattr(patches, "dim", lambda image, *_: seen.append(1) or image)
    image = targets(*disc())
    stack = Targets(replace(image.slices, stack=True), image.maps)  # one slice is left of it
    for item, how, wanted in (
        (image, Augmentation(dim=6.0), True),
        (image, Augmentation(), False),
        (stack, Augmentation(dim=6.0), False),
    ):
        seen.clear()
        Sampler([item], how, 30).batch(np.random.default_rng(0))
        assert bool(seen) == wanted


def test_a_hollow_nucleus_is_dark_inside_and_nothing_else_changes():
    image, maps = disc((64, 64), (32.0, 32.0), 12.0)
    nuclei = maps[2] > 0
    image = torch.where(nuclei, 1.0, 0.2)[None]
    for seed in SEEDS:
        found = hollow(image, nuclei, np.random.default_rng(seed), 1.0)
        assert torch.equal(found[0][~nuclei], image[0][~nuclei])
        assert (found <= image + 1e-6).all()
        assert (found >= 0.2 - 1e-6).all()  # no darker than the background
        assert (found[0][nuclei] < 0.9).any()


def test_a_patch_without_nuclei_stays_as_it_is_when_nuclei_are_hollowed():
    image = torch.rand(1, 32, 32)
    nothing = torch.zeros(32, 32, dtype=torch.bool)
    assert torch.equal(hollow(image, nothing, np.random.default_rng(0), 1.0), image)


@pytest.mark.parametrize("seed", SEEDS)
def test_debris_is_a_few_bright_specks(seed):
    light = debris(64, np.random.default_rng(seed), 4.0)
    assert light.shape == (1, 64, 64)
    assert 0 <= float(light.min()) <= float(light.max())
    assert 0.2 < float(light.max()) < 12  # specks may lie on one another
    assert float((light > 0.1).float().mean()) < 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_shade_darkens_slowly_and_by_no_more_than_told(seed):
    found = shade(torch.ones(1, 96, 96), np.random.default_rng(seed), 2.0)[0]
    assert 0.5 <= float(found.min()) <= float(found.max()) <= 1
    for axis in (0, 1):
        assert float(found.diff(dim=axis).abs().max()) < 0.05


def test_bright_pixels_are_cut_off_and_grey_levels_are_few():
    image = torch.rand(1, 32, 32, generator=torch.manual_seed(0))
    how = replace(PLAIN, saturation=0.4, levels=12)
    found = [blemish(image, np.random.default_rng(seed), how) for seed in range(60)]
    assert any((one == 1).sum() > (image > 0.95).sum() for one in found)
    counts = [len(one.unique()) for one in found]
    assert min(counts) < 100
    assert max(counts) == image.numel()


def test_what_is_not_asked_for_is_not_drawn():
    """Older recipes see the patches they saw: new kinds of augmentation draw nothing when off."""
    image = torch.rand(1, 32, 32)
    rng, untouched = np.random.default_rng(3), np.random.default_rng(3)
    assert torch.equal(blemish(image, rng, Augmentation()), image)
    assert rng.random() == untouched.random()


def test_only_slices_along_z_are_coarsened(monkeypatch):
    seen = []
    monkeypatch.setattr(patches, "coarsen", lambda image, *_: seen.append(1) or image)
    for view, wanted in (("XY", 0), ("ZY", 3), ("ZX", 3)):
        seen.clear()
        item = targets(*disc())
        item = Targets(replace(item.slices, view=view), item.maps)
        Sampler([item], Augmentation(), 3).batch(np.random.default_rng(0))
        Sampler([item], PLAIN, 3).batch(np.random.default_rng(0))
        assert len(seen) == wanted
