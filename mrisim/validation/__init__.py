"""Sequences against the closed forms that their files state."""

from mrisim.validation.records import Outcome as Outcome
from mrisim.validation.records import Point as Point
from mrisim.validation.records import Validation as Validation
from mrisim.validation.run import validate as validate
