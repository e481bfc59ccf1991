"""Formulas as MathML, which browsers draw by themselves: pages read from disk need no network."""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml


def mathml(tex: str, block: bool) -> str:
    """MathML of a formula.

    Example:
        >>> mathml("T_2", block=False)[:5]
        '<math'
    """
    return latex2mathml.tex2mathml(tex, as_block=block)


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">{mathml(node.astext(), block=False)}</span>')
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    tex = html.unescape(node.astext())
    writer.body.append(f'<div class="math">{mathml(tex, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True}
