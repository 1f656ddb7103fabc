from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
import torch
from annotated_types import Ge, Gt, Lt, MinLen
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fmlab.config import catalog
from fmlab.config.build import Context, build, plan, plan_arguments
from fmlab.config.classes import FOREIGN_MODULES, accepted_arguments
from fmlab.config.hints import Mismatch, component_classes, describe, fit
from fmlab.errors import UserError
from fmlab.paths import CondOT, GaussianPath


class Engine:
    """Something to derive from."""


class Diesel(Engine):
    def __init__(self, power: int, cylinders: int = 4) -> None:
        self.power = power


class Turbo(Diesel):
    def __init__(self, pressure: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)


@dataclass
class Tyres:
    width: int
    make: str = "any"


class Electric(Engine, ABC):
    @abstractmethod
    def charge(self) -> None: ...


class Colour(Enum):
    RED = "red"


@dataclass
class Garage:
    engine: Engine
    tyres: Tyres
    spare: list[Engine]
    by_name: dict[str, Engine]
    optimizer: Callable[[Iterable], Optimizer]
    standard: type[Engine]


class Car:
    def __init__(
        self,
        engine: Engine,
        tyres: Tyres | None = None,
        spare: list[Engine] | None = None,
        by_name: dict[str, Engine] | None = None,
        seats: int = 4,
        colour: Literal["red", "green"] = "red",
        weights: Sequence[float] = (),
        optimizer: Callable[[Iterable], Optimizer] | None = None,
        standard: type[Engine] | None = None,
        tune: Callable[[Iterable], Engine] = Turbo,
        note: str | None = None,
        anything=None,
    ) -> None:
        pass


def check(cls: type, arguments: dict[str, Any], links: dict[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of a class as they would be written down."""
    return plan_arguments(cls, arguments, cls.__name__.lower(), Context(links=links or {})).written


def checked(links: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    return check(Car, {"engine": {"class_path": "Diesel", "init_args": {"power": 1}}, **arguments}, links)


def refused(**arguments: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        checked(**arguments)
    assert "\n" not in caught.value.message
    return caught.value


HERE = Diesel.__module__


def test_classes_get_their_import_path_and_inherited_arguments_are_known() -> None:
    engine = {"class_path": "Turbo", "init_args": {"power": 3, "cylinders": 6, "pressure": 2}}
    expected = {"class_path": f"{HERE}.Turbo", "init_args": {"pressure": 2, "power": 3, "cylinders": 6}}
    assert checked(engine=engine)["engine"] == expected


def test_an_unknown_key_names_the_nearest() -> None:
    error = refused(engine={"class_path": "Diesel", "init_args": {"power": 1, "cylindres": 3}})
    assert (error.key, error.hint) == ("car.engine.cylindres", "did you mean cylinders?")
    assert refused(engin="Diesel").key == "car.engin"


def test_a_missing_argument_is_named() -> None:
    error = refused(engine="Diesel")
    assert error.key == "car.engine.power"
    assert "missing, Diesel needs a value" in error.message


def test_a_link_fills_its_target_where_it_is_left_out_and_nothing_else() -> None:
    links = {"car.engine.power": 9, "car.seats": 2}
    assert checked(links, engine="Diesel")["engine"]["init_args"] == {"power": 9}
    assert checked(links)["engine"]["init_args"] == {"power": 1}
    assert checked(links)["seats"] == 2
    assert "seats" not in checked({"seats": 2, "bus.seats": 2})
    with pytest.raises(UserError, match="expected int"):
        checked({"car.engine.power": "many"}, engine="Diesel")


def test_an_unknown_class_names_the_nearest() -> None:
    error = refused(engine="Deisel")
    assert (error.key, error.hint) == ("car.engine", "did you mean Diesel?")
    assert "no Engine is called 'Deisel'" in error.message


def test_an_abstract_class_is_no_choice() -> None:
    assert refused(engine="Electrik").hint == "choose from: Diesel, Turbo"


def test_a_list_is_no_mapping_of_parts() -> None:
    assert refused(by_name=["Diesel"]).message == "expected a mapping or null, got [Diesel]"
    assert refused(spare={"left": "Diesel"}).key == "car.spare"


def test_a_short_name_means_one_class() -> None:
    names = [*catalog.exported_names(), *(name for module in FOREIGN_MODULES for name in catalog.public_names(module))]
    assert len(names) == len(set(names))


def test_what_a_class_takes_is_known() -> None:
    assert accepted_arguments("VP") == accepted_arguments("fmlab.paths.VP") == {"beta_min", "beta_max"}
    assert "momentum" in (accepted_arguments("SGD") or ())
    assert accepted_arguments("no_such.Class") is None
    assert accepted_arguments("NoSuchClass") is None


def test_a_class_of_another_kind_is_refused() -> None:
    assert "fmlab.paths.VP is no Engine" in refused(engine="VP").message
    assert "is no Engine" in refused(engine="fmlab.paths.VP").message


def test_arguments_beside_class_path_are_told_where_to_stand() -> None:
    error = refused(engine={"class_path": "Diesel", "power": 3})
    assert error.key == "car.engine.power"
    assert error.hint == "arguments of Diesel stand under init_args"


def test_arguments_without_a_class() -> None:
    error = refused(engine={"power": 3})
    assert error.key == "car.engine"
    assert "names no class" in error.message
    assert checked(tune={"power": 3})["tune"] == {"class_path": f"{HERE}.Turbo", "init_args": {"power": 3}}


def test_components_in_lists_and_mappings_are_checked() -> None:
    spare = [{"class_path": "Diesel", "init_args": {"power": 1}}, {"class_path": "Turbo", "init_args": {"power": 2}}]
    assert [part["class_path"] for part in checked(spare=spare)["spare"]] == [f"{HERE}.Diesel", f"{HERE}.Turbo"]
    assert refused(spare=["Deisel"]).key == "car.spare[0]"
    assert (
        refused(by_name={"left": {"class_path": "Diesel", "init_args": {"power": "x"}}}).key == "car.by_name.left.power"
    )


def test_a_dataclass_is_a_group_of_keys() -> None:
    assert checked(tyres={"width": 205})["tyres"] == {"width": 205}
    assert refused(tyres={"wdith": 205}).hint == "did you mean width?"
    assert refused(tyres={"width": "wide"}).key == "car.tyres.width"


def test_what_the_caller_supplies_need_not_be_given() -> None:
    optimizer = {"class_path": "AdamW", "init_args": {"lr": 0.1}}
    assert checked(optimizer=optimizer)["optimizer"] == {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}}
    error = refused(optimizer={"class_path": "AdamW", "init_args": {"params": []}})
    assert error.key == "car.optimizer.params"
    assert str(refused(optimizer="AdmaW").hint).startswith("did you mean AdamW")


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        ({"seats": "abc"}, "car.seats", 'expected int, got "abc"'),
        ({"seats": 1.5}, "car.seats", "expected int, got 1.5"),
        ({"seats": True}, "car.seats", "expected int, got true"),
        ({"seats": None}, "car.seats", "expected int, got null"),
        ({"seats": [1]}, "car.seats", "expected int, got [1]"),
        ({"seats": {"x": 1}}, "car.seats", "expected int, got {x: 1}"),
        ({"colour": "blue"}, "car.colour", 'expected one of red, green, got "blue"'),
        ({"weights": 3}, "car.weights", "expected a list of float, got 3"),
        ({"weights": [1, "x"]}, "car.weights", "expected a list of float, got [1, x]"),
        ({"engine": 3}, "car.engine", "expected Engine, got 3"),
        ({"engine": None}, "car.engine", "expected Engine, got null"),
        ({"note": [1]}, "car.note", "expected str or null, got [1]"),
    ],
)
def test_a_wrong_type_is_told_in_one_line(arguments: dict[str, Any], key: str, message: str) -> None:
    error = refused(**arguments)
    assert (error.key, error.message) == (key, message)


def test_a_long_choice_is_cut_short_but_its_nearest_word_named() -> None:
    with pytest.raises(UserError) as caught:
        check(Trainer, {"precision": "bf16-mixd"})
    assert len(caught.value.message) < 160
    assert "bf16-mixed" in str(caught.value.hint)


def test_a_number_where_a_text_is_wanted_is_the_text() -> None:
    assert checked(note=7)["note"] == "7"


def test_values_stay_as_they_were_written() -> None:
    assert checked(weights=[1, 2], seats=3, anything={"x": [None]})["anything"] == {"x": [None]}
    weights = checked(weights=[1, 2])["weights"]
    assert [type(weight) for weight in weights] == [int, int]


def test_the_trainer_is_known() -> None:
    arguments = {"precision": "16-mixed", "devices": "auto", "strategy": "ddp", "max_steps": 10, "logger": False}
    assert check(Trainer, arguments) == arguments
    with pytest.raises(UserError) as caught:
        check(Trainer, {"max_step": 10})
    assert "max_steps" in str(caught.value.hint)
    callbacks = {"callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer"}]}
    assert check(Trainer, callbacks) == callbacks


def test_hints_are_read() -> None:
    assert component_classes(GaussianPath | None) == ([GaussianPath], 0)
    assert component_classes(Callable[[Iterable], Optimizer]) == ([Optimizer], 1)
    assert component_classes(int | str | list[int] | None) == ([], 0)
    assert component_classes(nn.Module) == ([nn.Module], 0)
    assert describe(int | None) == "int or null"
    assert fit(tuple[float, float], [0.9, 0.99]) == (0.9, 0.99)
    with pytest.raises(Mismatch):
        fit(tuple[float, float], [0.9])


def test_abstract_bases_are_no_choice() -> None:
    with pytest.raises(UserError) as caught:
        build("Gauss", GaussianPath, "model.path")
    assert "CondOT" in str(caught.value.hint)
    assert "GaussianPath" not in str(caught.value.hint)
    assert plan("CondOT", GaussianPath, "model.path", Context()).written == {"class_path": "fmlab.paths.CondOT"}
    assert isinstance(build("CondOT", GaussianPath, "model.path"), CondOT)


def test_a_constructors_error_gets_its_full_key() -> None:
    sampler = {"class_path": "LogitNormal", "init_args": {"std": -1.0}}
    model = {"class_path": "FlowMatching", "init_args": {"network": "torch.nn.Identity", "time_sampler": sampler}}
    with pytest.raises(UserError) as caught:
        build(model, LightningModule, "model")
    assert caught.value.key == "model.time_sampler.std"
    schedule = {"class_path": "WarmupCosine", "init_args": {"total_steps": 0}}
    factory = build(schedule, Callable[[Optimizer], LRScheduler], "model.lr_scheduler")
    with pytest.raises(UserError) as caught:
        factory(AdamW([nn.Parameter(torch.zeros(1))]))
    assert caught.value.key == "model.lr_scheduler.total_steps"


def test_what_torch_refuses_is_told_in_one_line() -> None:
    factory = build({"class_path": "AdamW", "init_args": {"lr": -1.0}}, Callable[[Iterable], Optimizer], "optimizer")
    with pytest.raises(UserError, match=r"optimizer: Invalid learning rate: -1.0"):
        factory([nn.Parameter(torch.zeros(1))])


def test_objects_are_made_as_the_hints_say() -> None:
    car = build(
        {
            "engine": {"class_path": "Turbo", "init_args": {"power": 3}},
            "tyres": {"width": 205},
            "spare": [{"class_path": "Diesel", "init_args": {"power": 1}}],
            "by_name": {"left": {"class_path": "Diesel", "init_args": {"power": 2}}},
            "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.1, "betas": [0.5, 0.6]}},
            "standard": "Turbo",
        },
        Garage,
        "garage",
    )
    assert isinstance(car.engine, Turbo)
    assert car.tyres == Tyres(205)
    assert [type(engine) for engine in car.spare] == [Diesel]
    assert car.by_name["left"].power == 2
    optimizer = car.optimizer([nn.Parameter(torch.zeros(1))])
    assert optimizer.defaults["betas"] == (0.5, 0.6)
    assert pickle.loads(pickle.dumps(car.optimizer)) == car.optimizer
    assert car.standard is Turbo


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (Annotated[int, Ge(1)], 0, "has to be at least 1, got 0"),
        (Annotated[float, Gt(0), Lt(1)] | None, 1.5, "has to be below 1.0, got 1.5"),
        (Annotated[list[int], MinLen(2)], [1], "needs at least 2 entries, got [1]"),
        (Annotated[int, Ge(1)], "1", 'expected int, got "1"'),
        (float, True, "expected float, got true"),
    ],
)
def test_a_range_in_a_hint_is_kept(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(value, hint, "key")
    assert caught.value.message == message


def test_a_value_is_what_its_hint_wants() -> None:
    assert build([1, 2], tuple[int, ...], "key") == (1, 2)
    assert build("red", Colour, "key") is Colour.RED
    assert build(3, Annotated[int, Ge(1)], "key") == 3
    assert type(build(1, float, "key")) is float
    assert build("math.sqrt", Callable[[float], float], "key") is math.sqrt
