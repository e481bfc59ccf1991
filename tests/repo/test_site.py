"""What the documentation site makes from the package: reference, gallery, links. `make docs` builds it all."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

import mrisim as mr
from mrisim.paths import library_files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))
gallery, links, pictures, reference = (
    importlib.import_module(f"_pages.{name}") for name in ("gallery", "links", "pictures", "reference")
)
sys.path.remove(str(ROOT / "docs"))


@pytest.mark.parametrize("module", [gallery, links, pictures, reference], ids=lambda module: module.__name__)
def test_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("language", reference.LANGUAGES)
def test_every_key_says_what_it_means(language):
    silent = [
        f"{section.model.__name__}.{key}"
        for section in reference.sections(language)
        for key, field, _ in reference._keys(section.model)
        if not field.description
    ]
    assert silent == []


@pytest.mark.parametrize("language", reference.LANGUAGES)
def test_the_reference_holds_every_model_of_the_schema(language):
    module = importlib.import_module(
        {"sequence": "mrisim.sequence", "phantom": "mrisim.phantom", "protocol": "mrisim.protocol"}[language]
    )
    shown = {section.model.__name__ for section in reference.sections(language)}
    assert set(module.json_schema()["$defs"]) <= shown
    page = reference.page(language)
    assert all(f"(#{anchor})=" not in page for anchor in shown)
    targets = set(re.findall(r"\]\(#([\w-]+)\)", page))
    assert targets <= set(re.findall(r"^\(([\w-]+)\)=", page, re.MULTILINE))


def test_units_and_defaults_of_the_reference():
    page = reference.page("sequence")
    assert "| `max_gradient` | a gradient<br>default `40 mT/m` |" in page
    assert "| `flip` | an angle<br>may be left out | flip angle on resonance; or amplitude<br>`flip:" in page
    assert "| `width` | length<br>default `3 mm` | of a furrow" in reference.page("phantom")


def test_every_sequence_is_shown_once():
    assert sorted(name for names in gallery.groups().values() for name in names) == sorted(library_files("sequences"))


def test_pages_of_the_gallery():
    page = gallery.sequence_page("flash_2d", mr.load_sequence("flash_2d"), True)
    assert "| `flip` | 15 deg |" in page
    assert "| TE | 5 ms | 5 ms |" in page
    assert "yaml-language-server" not in page
    assert "ellipsoid" in gallery.phantom_page("brain", "A head")


def test_a_picture_depends_on_what_it_shows():
    jobs = [(pictures.sequence_diagram, name, Path()) for name in ("fid", "flash_2d")]
    assert len({pictures._digest(job, state) for job in jobs for state in ("a", "b")}) == 4


def test_the_api_page_names_all_that_is_public():
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    shown = set(re.findall(r"auto\w+:: mrisim\.(\w+)$", page, re.MULTILINE))
    assert shown == set(mr.__all__) - {"mapping", "phantom", "physics", "plot", "recon"}


def test_mentions_in_code_stay():
    text = "see docs/maps.md\n\n```sh\nmrisim mutate --write docs/maps.md\n```\n"
    assert links.linked(text) == text.replace("see docs/maps.md", "see [maps](maps.md)")
