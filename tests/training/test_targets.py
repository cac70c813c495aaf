from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from topo.datasets import Split, load, make_dataset
from topo.errors import InputError
from topo.models import build
from topo.training import measure_targets


class Logits(nn.Module):
    """Returns its inputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def of_logits(logits: torch.Tensor, classes: torch.Tensor):
    split = Split(logits, classes)
    return make_dataset("logits", split, split, logits.shape[1], normalise=False)


def test_calibration_by_hand():
    """Ten answers of confidence .8 of which six are right and five of .6 of which all are."""
    probabilities = torch.tensor([[0.8, 0.2]] * 10 + [[0.4, 0.6]] * 5)
    classes = torch.tensor([0] * 6 + [1] * 4 + [1] * 5)
    data = of_logits(probabilities.log(), classes)
    found = measure_targets(Logits(), data, targets={"calibration": {}}, device="cpu")
    assert found == {"calibration_error": pytest.approx((10 * 0.2 + 5 * 0.4) / 15)}
    one = measure_targets(Logits(), data, targets={"calibration": {"bins": 1}}, device="cpu")
    assert one["calibration_error"] == pytest.approx(abs(11 / 15 - 11 / 15), abs=1e-6)


def test_calibration_against_bins_one_by_one():
    generator = torch.Generator().manual_seed(0)
    logits, classes = 2 * torch.randn(700, 4, generator=generator), torch.randint(4, (700,), generator=generator)
    confidence, said = logits.softmax(1).max(1)
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            right = (said == classes)[inside].double().mean()
            error += float(inside.double().mean() * (right - confidence[inside].double().mean()).abs())
    found = measure_targets(Logits(), of_logits(logits, classes), targets={"calibration": {}}, device="cpu")
    assert found["calibration_error"] == pytest.approx(error, abs=1e-5)


class Brightness(nn.Module):
    """Says class 1 where the middle pixel is brighter than a bound."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        above = (x[:, 0, 1, 1] > self.bound).float()
        return torch.stack([1 - above, above], dim=1)


def test_corruptions_do_what_they_say():
    """A lit middle pixel on black: blurred it is a ninth, faded .4 of the way from the mean, with much noise a coin."""
    images = torch.zeros(400, 1, 3, 3)
    images[::2, 0, 1, 1] = 1
    split = Split(images, (torch.arange(400) + 1) % 2)
    data = make_dataset("spots", split, split, 2, normalise=False)

    def found(bound: float, **settings: float) -> dict[str, float]:
        return measure_targets(Brightness(bound), data, targets={"corruption": settings}, device="cpu")

    assert found(0.1)["accuracy_blur"] == 1 and found(0.12)["accuracy_blur"] == 0.5
    faded = 1 / 9 + 0.4 * 8 / 9
    assert found(faded - 0.01)["accuracy_contrast"] == 1 and found(faded + 0.01)["accuracy_contrast"] == 0.5
    assert found(0.5, noise=0)["accuracy_noise"] == 1
    assert abs(found(0.5, noise=100)["accuracy_noise"] - 0.5) < 0.13  # five standard deviations
    assert found(0.5, noise=0.5) == found(0.5, noise=0.5) != found(0.5, noise=0.5, seed=1)


def test_what_has_no_images_or_numbers():
    features = of_logits(torch.randn(20, 3), torch.arange(20) % 3)
    row = measure_targets(Logits(), features, device="cpu")
    assert np.isnan(row["accuracy_blur"]) and np.isfinite(row["accuracy_noise"])
    text = load("text", context=8, train=20, test=10)
    gpt = build("gpt", input_shape=(8,), n_classes=text.n_classes, example=text.example, width=8, layers=1, heads=1)
    row = measure_targets(gpt, text, device="cpu")
    assert np.isnan(row["accuracy_noise"]) and 0 <= row["calibration_error"] <= 1


def test_epochs_to_a_share_of_the_last_accuracy():
    net, data = Logits(), of_logits(torch.randn(9, 3), torch.arange(9) % 3)
    nan = float("nan")
    history = pd.DataFrame({"epoch": [1, 2, 3, 4, 5], "test_accuracy": [0.2, nan, 0.46, 0.4, 0.5]})
    for share, epoch in ((0.3, 1), (0.9, 3), (0.95, 5), (1, 5)):
        found = measure_targets(net, data, history, targets={"convergence": {"share": share}}, device="cpu")
        assert found == {"epochs_to_share": epoch}
    assert np.isnan(measure_targets(net, data, targets={"convergence": {}}, device="cpu")["epochs_to_share"])


def test_the_model_stays_in_its_mode_and_bad_input_is_named():
    data = of_logits(torch.randn(9, 3), torch.arange(9) % 3)
    net = Logits().train()
    measure_targets(net, data, device="cpu")
    assert net.training
    for targets, message in (
        ({"calibraton": {}}, "did you mean 'calibration'"),
        ({"calibration": {"bin": 2}}, "did you mean 'bins'"),
        ({"convergence": {"share": 0}}, "share must be a number above 0"),
    ):
        with pytest.raises(InputError, match=message):
            measure_targets(net, data, targets=targets, device="cpu")
    with pytest.raises(InputError, match="no test samples"):
        measure_targets(net, make_dataset("train", data.train, None, 3, normalise=False), device="cpu")
