import re

import pytest
from click.testing import CliRunner

from fcp_runtime import Settings, SettingsError
from fcp_runtime.cli.options import ORDER
from fcp_runtime.cli.run import main
from fcp_runtime.setting_rows import GROUPS
from fcp_runtime.settings import DEFAULTS, ROWS, Options

IMPOSSIBLE = {
    "model": 3,
    "mode": "4d",
    "diameter": 0,
    "anisotropy": 0,
    "percentiles": (99, 1),
    "levels": (5, 5),
    "cellprob_threshold": float("nan"),
    "flow_threshold": -1,
    "min_flow": 3,
    "min_size": -1,
    "niter": 0,
    "stitch_threshold": 0,
    "resize_factor": 3,
    "tile": 63,
    "overlap": -1,
    "slice_spacing": 9,
    "empty_margin": -1,
    "augment": 2,
    "max_size_fraction": 1.5,
}


def help_text(option):
    result = CliRunner().invoke(main, [option])
    assert result.exit_code == 0
    return result.output


def test_every_setting_has_a_row_an_option_and_a_keyword():
    assert list(ROWS) == list(DEFAULTS) == list(Settings().as_dict())
    assert set(Options.__annotations__) == set(ROWS) - {"model"}
    shown = help_text("--help-all")
    for name, row in ROWS.items():
        assert re.search(rf"--{name.replace('_', '-')}\b", shown), name
        assert row.group in GROUPS


@pytest.mark.parametrize("name", ROWS)
def test_an_impossible_value_is_refused_by_the_name_of_its_setting(name):
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: IMPOSSIBLE[name]})


def test_help_shows_what_most_need_and_help_all_everything():
    short, long = help_text("--help"), help_text("--help-all")
    for name, row in ROWS.items():
        flag = f"--{name.replace('_', '-')}"
        assert (flag in short) == row.common
        assert flag in long
    titles = [title for title in ORDER if f"{title}:" in long]
    assert titles == list(ORDER)
    places = [long.index(f"{title}:") for title in titles]
    assert places == sorted(places)


def test_settings_read_back_from_a_result_are_the_same():
    settings = Settings(diameter=20, levels=[1, 2.5], min_size=3)
    assert Settings(**settings.as_dict()) == settings
