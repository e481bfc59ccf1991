"""Settings of the documentation site: `make docs` builds it into docs/_build/html."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from _pages import gallery, reference  # noqa: E402
from _pages.links import linked  # noqa: E402

import mrisim  # noqa: E402

project = "mrisim"
author = "the mrisim authors"
copyright = "the mrisim authors, MIT license"
version = release = mrisim.__version__

extensions = [
    "_pages.mathematics",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_pages"]
nitpicky = False

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks come with their outputs; tests run them
copybutton_exclude = ".linenos, .gp, .go"

default_role = "code"  # docstrings are written for reading: `this` is code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_custom_sections = [("Source", "notes_style"), ("Example", "example")]
napoleon_use_rtype = False

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "mrisim"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options: dict[str, Any] = {
    "light_css_variables": {"color-brand-primary": "#0b5c8a", "color-brand-content": "#0b5c8a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4ea", "color-brand-content": "#7cc4ea"},
    "navigation_with_keys": True,
}


def make_pages(app: Any) -> None:
    """Write what is made from the package: reference, gallery, notebooks, changelog."""
    made = DOCS / "generated"
    for old in made.rglob("*.md"):
        old.unlink()
    (made / "notebooks").mkdir(parents=True, exist_ok=True)
    reference.write(made)
    gallery.write(made, ROOT / ".cache" / "gallery")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copyfile(path, made / "notebooks" / path.name)
    (made / "changelog.md").write_text((ROOT / "CHANGELOG.md").read_text("utf-8"), encoding="utf-8")


def link_pages(app: Any, docname: str, source: list[str]) -> None:
    """Turn mentions of pages and notebooks into links, and list the notebooks beneath their page."""
    if docname.startswith("generated/notebooks/"):
        return
    source[0] = linked(source[0], "../" if docname.startswith("generated/") else "")
    if docname == "notebooks":
        names = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
        entries = "\n".join(f"generated/notebooks/{name}" for name in names)
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", make_pages)
    app.connect("source-read", link_pages)
    return {"parallel_read_safe": True}
