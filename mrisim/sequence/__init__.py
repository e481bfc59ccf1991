"""Sequence files → event blocks: the specification language."""

from __future__ import annotations

from mrisim.sequence.library import list_sequences as list_sequences
from mrisim.sequence.library import load_sequence as load_sequence
from mrisim.sequence.schema import json_schema as json_schema
