"""One self-contained HTML page."""

from __future__ import annotations

from mrisim.report.html import Content as Content
from mrisim.report.html import Explorer as Explorer
from mrisim.report.html import Folds as Folds
from mrisim.report.html import Page as Page
from mrisim.report.html import Picture as Picture
from mrisim.report.html import Section as Section
from mrisim.report.html import Table as Table
from mrisim.report.html import Text as Text
from mrisim.report.html import render as render
