from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrisim.errors import ResourceError, SpecError
from mrisim.paths import library_folder
from mrisim.phantom import json_schema, list_phantoms, load_model, load_phantom
from mrisim.phantom.grammar import SHAPE_KINDS
from mrisim.source import read_source

GOOD = """mrisim: 1
phantom: test
parameters:
  length: {value: 12 mm, min: 1 mm, max: 20 mm}
  stuff:  {value: csf}
  number: {value: 3, min: 1}
  shift:  {value: 5 Hz}
size: [60 mm, 60 mm, 40 mm]
voxel: 4 mm
shapes:
  - {ellipsoid: {radii: [length, 10 mm, 10 mm]}, tissue: stuff}
  - {ribbon: {radii: [6 mm, 6 mm, 6 mm], depth: 1 mm, width: 1 mm, folds: number}, tissue: white_matter}
fields:
  b0: {constant: -shift}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "test.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def _message(path: Path, **arguments: object) -> str:
    with pytest.raises(SpecError) as error:
        load_model(path, **arguments)  # type: ignore[arg-type]
    return str(error.value).replace(str(path), path.name)


def test_parameters_stand_for_their_values(write) -> None:
    path = write(GOOD)
    model = load_model(path)
    assert model.shapes[0].shape.body.reach[0] == pytest.approx(0.012)
    assert model.tissues[1].name == "csf"
    assert model.b0_at([[0.0, 0.0, 0.0]])[0] == -5.0
    changed = load_model(path, length="9 mm", stuff="gray_matter", number=5, shift=-7.0)
    assert changed.shapes[0].shape.body.reach[0] == pytest.approx(0.009)
    assert changed.tissues[1].name == "gray_matter"
    assert changed.shapes[1].shape.body.folds == 5
    assert changed.b0_at([[0.0, 0.0, 0.0]])[0] == 7.0
    assert load_model(path, length=0.009).shapes[0].shape.body.reach[0] == pytest.approx(0.009)
    assert changed.parameters["length"] == "9 mm"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lenght": "9 mm"}, "lenght: must be a parameter of test.yaml, but is none. Did you mean 'length'."),
        ({"length": "25 mm"}, "length: must be at most 20 mm, but is 25 mm."),
        ({"length": "9 ms"}, "length: must be a length such as 1 mm, but is '9 ms', a time."),
        ({"length": "9"}, "length: must be a length with its unit, but is '9'. Did you mean '9 mm'."),
        ({"number": 0}, "number: must be at least 1, but is 0."),
        ({"stuff": 3.0}, "stuff: must be a word such as 'csf', but is 3.0."),
        (
            {"stuff": "cfs"},
            "test.yaml:11:58: shapes[0].tissue: must be a known tissue, but is 'cfs'. Did you mean 'csf'.",
        ),
    ],
)
def test_wrong_parameters_are_refused(write, given: dict, message: str) -> None:
    assert _message(write(GOOD), **given) == message


def test_all_problems_come_at_once_with_their_places(write) -> None:
    text = """mrisim: 1
phantom: bad
size: [200 mm, 200]
voxl: 1 mm
shapes:
  - {ellipse: {radii: [62 mm, -44 mm], turn: 25}, tissue: csf}
  - {rectangle: {size: [36 mm, 22 ms], centre: [-6 mm, 19 mm]}, tissue: {extends: csf, T1: -3 ms}}
  - {tissue: csf}
"""
    assert _message(write(text)).splitlines() == [
        "test.yaml:3:16: size[1]: must be a length with its unit, but is '200'. Did you mean '200 mm'.",
        "test.yaml:6:31: shapes[0].ellipse.radii[1]: must be above 0 mm, but is -44 mm.",
        "test.yaml:6:46: shapes[0].ellipse.turn: must be an angle with its unit, but is '25'. Did you mean '25 deg'.",
        "test.yaml:7:92: shapes[1].tissue.T1: must be above 0 ms, but is -3 ms.",
        "test.yaml:7:32: shapes[1].rectangle.size[1]: must be a length such as 1 mm, but is '22 ms', a time.",
        "test.yaml:7:40: shapes[1].rectangle.centre: must be a known key, but 'centre' is none. Did you mean 'center'.",
        f"test.yaml:8:5: shapes[2]: must hold one shape, but holds none. Choose one of {', '.join(SHAPE_KINDS)}.",
        "test.yaml:4:1: voxl: must be a known key, but 'voxl' is none. Did you mean 'voxel'.",
    ]


def _body(shape: str = "sphere: {radius: 9 mm}") -> str:
    return BODY.replace("sphere: {radius: 9 mm}", shape).replace("TISSUE", "csf")


BODY = "mrisim: 1\nphantom: test\nsize: [60 mm, 60 mm, 40 mm]\nshapes:\n  - {sphere: {radius: 9 mm}, tissue: TISSUE}\n"


@pytest.mark.parametrize(
    ("tissue", "message"),
    [
        ("{extends: gray_matter, T1: 20 ms}", "must be at most 2 T1 = 40 ms, but is 72 ms"),
        ("{T1: 1 s, T2: 2.1 s}", "must be at most 2 T1 = 2 s, but is 2.1 s"),
        ("{T1: 1 s}", "must give T1 and T2 or extend a tissue, but lacks T2"),
        ("{T1: nan s, T2: 1 ms}", "must be a time such as 5 ms, but is 'nan s'"),
        ("{T1: 1 s, T2: 0 ms}", "must be above 0 ms, but is 0 ms"),
        ("{extends: csf, PD: -0.1}", "must be at least 0, but is -0.1"),
        ("{extends: csf, colour: 1}", "must be a known key, but 'colour' is none"),
        ("{water: 80 %, fat: 30 %}", "must be fractions that add up to 100 %, but add up to 110 %"),
        ("{water: 80 %, fatt: 20 %}", "must be a known tissue, but is 'fatt'. Did you mean 'fat'"),
        ("{extends: air, T1: 1 s}", "must extend a tissue with signal, but extends 'air'"),
    ],
)
def test_impossible_tissues_are_refused(write, tissue: str, message: str) -> None:
    assert message in _message(write(BODY.replace("TISSUE", tissue)))


def test_endless_relaxation_is_infinity(write) -> None:
    model = load_model(write(BODY.replace("TISSUE", "{T1: inf, T2: inf}")))
    assert model.tissues[1].t1 == math.inf
    assert np.isinf(load_phantom(write(BODY.replace("TISSUE", "{T1: inf, T2: inf}"))).t2).all()


def test_tissues_of_the_file_have_names(write) -> None:
    text = BODY.replace("TISSUE", "lesion") + "tissues:\n  lesion: {extends: white_matter, T1: 1.4 s, T2: 120 ms}\n"
    model = load_model(write(text))
    assert model.tissues[1].name == "lesion"
    assert model.tissues[1].t1 == pytest.approx(1.4)
    assert _message(write(text.replace("tissue: lesion", "tissue: leison"))).endswith("Did you mean 'lesion'.")


def test_custom_tissues_are_named_by_what_they_are(write) -> None:
    model = load_model(write(BODY.replace("TISSUE", "{extends: white_matter, T1: 1.4 s, T2: 120 ms}")))
    assert model.tissues[1].name == "white_matter (T1 1.4 s, T2 120 ms)"
    assert (
        load_model(write(BODY.replace("TISSUE", "{water: 80 %, fat: 20 %}"))).tissues[1].name == "water 80 %, fat 20 %"
    )


def test_a_tissue_unknown_at_the_field_is_refused_once(write) -> None:
    text = BODY.replace("TISSUE", "liver") + "  - {sphere: {radius: 3 mm}, tissue: liver}\n"
    assert _message(write(text), field="7 T") == (
        "test.yaml:5:38: shapes[0].tissue: must be a tissue known at 7 T, but 'liver' is known at 1.5 T and 3 T only. "
        "Choose one of these fields, or give the tissue its own T1 and T2."
    )


def test_the_field_asked_for_is_that_of_the_tissues() -> None:
    assert load_model("vials", "1.5 T").tissues[2].t1 == pytest.approx(2.033)
    assert load_model("vials", 3.0).tissues[2].t1 == pytest.approx(1.989)
    assert load_phantom("ellipse_box", field="7 T", voxel="5 mm").field == 7.0


def test_a_file_that_extends_another_paints_over_it(write) -> None:
    write(BODY.replace("TISSUE", "csf"), "base.yaml")
    child = write(
        "mrisim: 1\nphantom: child\nextends: base.yaml\nshapes:\n  - {sphere: {radius: 3 mm}, tissue: fat}\n",
        "child.yaml",
    )
    model = load_model(child)
    assert [model.tissues[i].name for i in model.tissue_at([[0.001, 0, 0], [0.006, 0, 0]])] == ["fat", "csf"]
    assert model.size == (0.06, 0.06, 0.04)


def test_a_file_that_extends_itself_is_refused(write) -> None:
    write("mrisim: 1\nextends: b.yaml\n", "a.yaml")
    path = write("mrisim: 1\nextends: a.yaml\n", "b.yaml")
    with pytest.raises(
        SpecError, match=r"a\.yaml:2:10: extends: must not extend itself, but does: b\.yaml → a\.yaml → b\.yaml"
    ):
        load_model(path)


@pytest.mark.parametrize("base", ["../secret.yaml", "/etc/passwd"])
def test_files_outside_the_folder_are_not_read(write, base: str) -> None:
    assert "must lie inside the specification's folder" in _message(write(f"mrisim: 1\nextends: {base}\n"))


def test_a_parameter_must_be_used_and_have_a_free_name(write) -> None:
    text = BODY.replace("TISSUE", "csf") + "parameters:\n  idle: {value: 1 mm}\n  voxel: {value: 1 mm}\n"
    assert _message(write(text)).splitlines() == [
        "test.yaml:8:3: parameters.voxel: must be a name that is free, but is 'voxel'. Choose another name.",
        "test.yaml:7:3: parameters.idle: must be used somewhere in the file, but is not. Remove it.",
        "test.yaml:8:3: parameters.voxel: must be used somewhere in the file, but is not. Remove it.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mrisim: 1\nphantom: x\nsize: [1 mm, 1 mm]\n", "must hold at least one shape, but holds none"),
        ("mrisim: 1\nphantom: x\nshapes:\n  - {sphere: {radius: 1 mm}, tissue: csf}\n", "must have the key 'size'"),
        ("mrisim: 2\nphantom: x\n", "mrisim: must be 1, but is 2"),
        ("- 1\n", "must be a mapping, but is a list"),
        ("", "must be a mapping, but is empty"),
        (_body("cylinder: {radius: 9 mm, axis: x}"), "must have a height"),
        (_body("ellipse: {radii: [1 mm, 2 mm], turn: [1 deg, 0 deg, 0 deg]}"), "must have a height"),
        (_body("polygon: {corners: [[0 mm, 0 mm], [1 mm, 1 mm], [2 mm, 2 mm]]}"), "lie on a line"),
        (_body() + "extrude: 3 mm\n", "must be left out for a solid phantom"),
        (_body() + "fields: {b1: {center: 1, constant: 1}}\n", "by center and edge or as a polynomial, but is both"),
        (_body() + "fields: {b1: {center: 1}}\n", "must give both center and edge"),
    ],
)  # fmt: skip
def test_broken_files_are_refused(write, text: str, message: str) -> None:
    assert message in _message(write(text))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voxel": "0 mm"}, "voxel: must be finite and above zero, but is 0 mm."),
        ({"voxel": ("1 mm", "1 mm")}, "voxel: must be three lengths, but is 2."),
        ({"voxel": "2 ms"}, "voxel: must be a length such as 1 mm, but is '2 ms', a time."),
        ({"slab": -0.1}, "slab: must be finite and above zero, but is -0.1."),
        ({"extent": ("1 mm", "1 mm", math.nan)}, "extent: must be finite and above zero, but is nan."),
        ({"field": "3"}, "field: must be a field strength with its unit, but is '3'. Did you mean '3 T'."),
        ({"extrude": "5"}, "extrude: must be a length with its unit, but is '5'. Did you mean '5 mm'."),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_phantom("ellipse_box", **arguments)
    assert str(error.value) == message


def test_an_unknown_phantom_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as error:
        load_model("brian")
    assert str(error.value) == (
        "phantom: must be a phantom of the library or a file (.yaml, .h5, .phantom, .npz), but is 'brian'. "
        "Did you mean 'brain'."
    )


def test_too_many_isochromats_are_refused_at_once() -> None:
    with pytest.raises(ResourceError, match="Take a larger voxel or fewer isochromats per voxel"):
        load_phantom("brain", voxel="0.05 mm", isochromats=1000)


def test_loading_takes_lengths_as_text_or_in_metres() -> None:
    text = load_phantom("ellipse_box", extrude="9 mm", voxel=("3 mm", "3 mm", "3 mm"), slab="3 mm", isochromats=1)
    number = load_phantom("ellipse_box", extrude=0.009, voxel=0.003, extent=(0.2, 0.2, 0.003), isochromats=1)
    np.testing.assert_array_equal(text.position, number.position)
    assert not text.model.flat
    assert text.sampling.voxel == (0.003, 0.003, 0.003)


def test_the_list_names_every_phantom_with_a_description() -> None:
    found = list_phantoms()
    assert {"brain", "brain_3d", "ellipse_box", "head_with_vials", "points", "shepp_logan_mr", "vials"} <= {
        i.name for i in found
    }
    assert "tissues" not in {i.name for i in found}
    assert all(info.description and info.path.is_file() for info in found)


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((library_folder("phantoms") / "phantom.schema.json").read_text())
    assert committed == json_schema(), "write json_schema() to phantoms/phantom.schema.json anew"


def test_listing_loads_neither_jax_nor_scipy() -> None:
    code = (
        "import sys; from mrisim.phantom import list_phantoms; "
        "assert len(list_phantoms()) > 5; print(sorted({'jax', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_descriptions_of_the_list_are_those_of_the_files() -> None:
    for info in list_phantoms():
        assert info.description == read_source(info.path).data["description"]


def test_the_example_of_the_documentation_loads(write) -> None:
    page = Path(__file__).parents[3] / "docs" / "phantoms.md"
    path = write(page.read_text().split("```yaml\n")[1].split("```")[0])
    assert load_phantom(path, voxel="6 mm", lesion="5 mm").n_spins > 1000


def test_furrows_of_a_ribbon_are_three_millimeters_wide_unless_told(write) -> None:
    model = load_model(write(GOOD.replace(", width: 1 mm", "")))
    assert model.shapes[1].shape.body.width == 3e-3


def test_an_apparent_diffusion_coefficient_goes_with_the_isochromats(write) -> None:
    tissue = "{extends: white_matter, ADC: 0.9e-3 mm^2/s}"
    path = write(GOOD.replace("tissue: white_matter", f"tissue: {tissue}"))
    model = load_model(path)
    changed = model.tissues[model.shapes[1].tissue]
    assert [species.diffusion for species in changed.species] == pytest.approx([0.9e-9])
    fluid = model.tissues[model.shapes[0].tissue].adc
    assert np.unique(load_phantom(path).diffusion) == pytest.approx([0.9e-9, fluid])
    assert load_phantom(path).findings == ()
    assert "ADC: must be at least 0" in _message(
        write(GOOD.replace("tissue: white_matter", "tissue: {T1: 1 s, T2: 50 ms, ADC: -1 mm^2/s}"))
    )
