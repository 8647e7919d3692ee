"""Listeners to logged predictions: the terminal, the page."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from predictor.core import operator_log
from predictor.core.result import ManyPredictions
from predictor.recording import record_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.core.result import Prediction
    from predictor.recording.record_schema import Schema

    Observer = Callable[[Sequence[Prediction | ManyPredictions]], None]

_logger = logging.getLogger("predictor")


def display(setting: str, schema: Schema) -> Observer | None:
    """Return what shows each prediction on stderr, if anybody is there to read it."""
    if setting == "off" or (setting == "auto" and not sys.stderr.isatty()):
        return None

    def show(records: Sequence[Prediction | ManyPredictions]) -> None:
        for record in records:
            for prediction in record.all_rows() if isinstance(record, ManyPredictions) else (record,):
                operator_log.show(record_schema.body(schema, prediction))

    return show


def together(*observers: Observer | None) -> Observer | None:
    """Return one observer for all that are there, None for none; one that fails harms no prediction."""
    there = [each for each in observers if each]
    if not there:
        return None
    throttle = operator_log.Throttle()

    def observe(records: Sequence[Prediction | ManyPredictions]) -> None:
        for place, each in enumerate(there):
            try:
                each(records)
            except Exception:
                if throttle.due(place):
                    _logger.exception("predictions could not be shown")

    return observe
