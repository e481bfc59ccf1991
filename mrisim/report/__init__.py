"""One self-contained HTML page."""

from __future__ import annotations

from mrisim.report.html import Page as Page
from mrisim.report.html import Picture as Picture
from mrisim.report.html import Section as Section
from mrisim.report.html import Table as Table
from mrisim.report.html import Text as Text
from mrisim.report.html import render as render
