"""Which images are evaluated: by default those the model's card says were held out."""

from __future__ import annotations

import pytest
from evaluation_samples import write_data
from PIL import Image

from wsol_deploy.card import ModelCard
from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import DataError, UsageError
from wsol_deploy.evaluation.held_out import select


@pytest.fixture
def folder(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (8, 8)).save(tmp_path / "pets" / label / f"{number}.png")
    return tmp_path / "pets"


def card(dataset=None, seed: int = 0, **recipe: object) -> ModelCard:
    made = ModelCard(name="m", method="x", classes=["cat", "dog"], seed=seed, recipe=recipe)
    if dataset is not None:
        made.data = dataset.fingerprint()
    return made


def names(dataset) -> set[str]:
    return {sample.name for sample in dataset.samples}


def test_the_cards_split_and_seed_are_used(folder):
    trained = open_dataset(folder, split="stratified", seed=7)
    chosen = select(folder, card(trained, 7, data={"split": "stratified"}))
    assert names(chosen.dataset) == names(trained.subset("test"))
    assert names(chosen.dataset) != names(
        open_dataset(folder, split="stratified", seed=0).subset("test")
    )
    assert chosen.name == "pets, test images of the stratified split (seed 7)"
    assert chosen.warning == ""


def test_the_options_override_the_card(folder):
    chosen = select(folder, card(seed=7, data={"split": "stratified"}), split="hash", seed=3)
    assert (chosen.split, chosen.seed) == ("hash", 3)
    assert names(chosen.dataset) == names(open_dataset(folder, split="hash").subset("test"))


def test_the_cards_fractions_are_used(folder):
    chosen = select(folder, card(data={"split": "stratified", "test_fraction": 0.5}))
    assert len(chosen.dataset) == 20


def test_data_that_lacks_the_cards_split_has_its_own(tmp_path):
    data = write_data(tmp_path)
    chosen = select(data, card(data={"split": "paper"}))
    assert (chosen.split, len(chosen.dataset)) == ("auto", 8)


def test_another_split_than_in_training_is_a_warning(folder):
    trained = open_dataset(folder, split="stratified", seed=7)
    warning = select(folder, card(trained, 7), seed=8, split="stratified").warning
    assert "some images may have been trained on" in warning
    assert "was trained on" in select(folder, card(trained, 7), subset="all").warning
    assert "was trained on" in select(folder, card(trained, 7), subset="train").warning


def test_a_renamed_copy_is_known_by_its_content(folder):
    of_it = card(open_dataset(folder, seed=7), 7)
    copy = folder.rename(folder.parent / "copy")
    for subset in ("train", "all"):
        assert "was trained on" in select(copy, of_it, subset=subset).warning
    assert select(copy, of_it).warning == ""
    next(copy.rglob("*.png")).unlink()
    assert select(copy, of_it, subset="train").warning == "", "other data"


def test_other_data_raises_no_warning(folder, tmp_path):
    trained = open_dataset(write_data(tmp_path))
    assert select(folder, card(trained), subset="all").warning == ""


def test_all_takes_everything(folder):
    assert len(select(folder, card(), subset="all").dataset) == 40


def test_bad_subsets(folder, tmp_path):
    with pytest.raises(UsageError, match="no such subset: 'testing'"):
        select(folder, card(), subset="testing")
    with pytest.raises(DataError, match="no such file or folder"):
        select(tmp_path / "nowhere", card(data={"split": "paper"}))
