"""Training from the weights of another decoder: these take part in the selection."""

import math

import torch

from cellvit.config.steps import TrainHovernetSettings
from cellvit.training.hovernet import fit_decoder

CPU = torch.device("cpu")


def changed(settings: TrainHovernetSettings, **training: object) -> TrainHovernetSettings:
    raw = settings.model_dump()
    return TrainHovernetSettings.model_validate({**raw, "training": {**raw["training"], **training}})


def test_the_start_stays_if_no_step_makes_it_better(family_data, rows, small_settings):
    learned = fit_decoder(family_data, rows, changed(small_settings, steps=24, learning_rate=2e-2, ema=0.0), device=CPU)
    harmful = changed(small_settings, steps=2, record_every=1, validate_every=1, learning_rate=3.0, ema=0.0)

    model = fit_decoder(family_data, rows, harmful, device=CPU, start=learned.weights)

    assert [record.step for record in model.history] == [0, 1, 2]
    assert model.history[0].validate["bpq"] == learned.record.validate["bpq"]
    assert math.isnan(model.history[0].train["total"])
    assert model.record.step == 0
    assert all((model.weights[name] == values).all() for name, values in learned.weights.items())


def test_a_start_with_a_new_head_of_classes_cannot_be_selected(family_data, rows, small_settings):
    learned = fit_decoder(family_data, rows, changed(small_settings, steps=1), device=CPU)
    without_head = {name: values for name, values in learned.weights.items() if not name.startswith("nt.")}

    model = fit_decoder(family_data, rows, changed(small_settings, steps=1), device=CPU, start=without_head)

    assert [record.step for record in model.history] == [1]
