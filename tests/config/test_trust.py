"""What a run may name without being trusted, and what is kept out of its records."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fmlab.config.trust import check_trusted, foreign_names
from fmlab.errors import UserError
from fmlab.records.secrets import values_without_secrets, without_secrets

OWN = {
    "model": {
        "class_path": "fmlab.training.FlowMatching",
        "init_args": {"network": {"class_path": "timm.models.x.Y"}, "optimizer": "torch.optim.AdamW"},
    },
    "data": {"class_path": "ImageFolder", "init_args": {"path": "photos.zip", "size": 8}},
    "trainer": {"precision": "32-true", "callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer"}]},
}


def test_what_stands_on_known_packages_is_trusted() -> None:
    assert list(foreign_names(OWN)) == []


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("model.network", "my_net.MyNet"),
        ("model.network", "torchvision.ops.MLP"),
        ("model.network", "torch_evil.Net"),
        ("trainer.callbacks[0]", "os.path.Thing"),
    ],
)
def test_classes_of_others_are_not(place: str, name: str) -> None:
    config = yaml.safe_load(yaml.safe_dump(OWN))
    target = config["model"]["init_args"]["network"] if "network" in place else config["trainer"]["callbacks"][0]
    target["class_path"] = name
    assert list(foreign_names(config)) == [(place, name)]


def test_a_plain_word_that_could_be_imported_counts(tmp_path: Path) -> None:
    """Where a function is wanted, its import path stands alone."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**OWN, "extra": [{"optimizer": "shutil.rmtree"}]}))
    with pytest.raises(UserError, match=r"extra\[0\].optimizer is shutil.rmtree"):
        check_trusted([tmp_path / "absent.yaml", file])


def test_secrets_are_left_out() -> None:
    environment = {
        "WANDB_API_KEY": "k" * 40,
        "HF_TOKEN": "hf_abcdefgh",
        "MY_PASSWORD": "short",
        "HOME": "/home/me",
    }
    said = f"tags: [{'k' * 40}] at /home/me with hf_abcdefgh, short"
    assert without_secrets(said, environment) == "tags: [<WANDB_API_KEY>] at /home/me with <HF_TOKEN>, short"
    for text, hidden in (
        ("--x.api_key=abc,d", "--x.api_key=<hidden>,d"),
        ('{"access_token": "abc"}', '{"access_token": "<hidden>"}'),
        ("password: abc", "password: <hidden>"),
        ("git https://me:abc@host/x", "git https://me:<hidden>@host/x"),
    ):
        assert without_secrets(text, {}) == hidden
    for plain in ("num_tokens: 256", "key: value", "seed_everything: 0", "http://host:80/a@b"):
        assert without_secrets(plain, {}) == plain
    assert values_without_secrets({"a": ["api_key=x", 3], "b": None}) == {"a": ["api_key=<hidden>", 3], "b": None}
