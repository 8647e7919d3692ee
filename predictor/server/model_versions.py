"""Makes what serves a loaded model version: its log, its pipeline, its codecs; all versions share the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.body_size import default_body_bytes, elements_of_a_row
from predictor.api.catalog import ServedVersion
from predictor.api.codecs import codecs
from predictor.core import cpu_quota
from predictor.core.rate_limit import TokenBucket
from predictor.core.worker_threads import WorkerThreads
from predictor.recording import model_event, record_schema
from predictor.recording.feedback import FeedbackLog
from predictor.recording.prediction_log import NoPredictionLog, PredictionLog
from predictor.recording.redaction import scope_attributes
from predictor.recording.tensor_texts import TensorRecorder
from predictor.serving import listeners
from predictor.serving.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.api.catalog import RecordRefusal
    from predictor.api.protobuf.infer import InferMessages
    from predictor.config.settings import Settings
    from predictor.core.problems import Kind
    from predictor.core.result import Origin
    from predictor.inference.model import Model
    from predictor.server.log_service import LogService
    from predictor.server.model_loading import Loaded
    from predictor.serving.listeners import Observer
    from predictor.tracing.tracer import Tracer

    Watch = Callable[[Loaded], Observer | None]


class VersionMaker:
    """Makes served versions over one log, one pool of threads and one bound of rows a second."""

    def __init__(
        self, settings: Settings, log_service: LogService | None, tracer: Tracer, watch: Watch | None = None
    ) -> None:
        """Start the threads that batches run in (raises OSError); `watch` says who else looks at a version."""
        self._settings = settings
        self._log_service = log_service
        self._tracer = tracer
        self._watch = watch
        self._threads = settings.threads or cpu_quota.usable()
        # One pool for all: a model more, or a version that comes while the old one ends, is no reason for more batches
        # at once than there are cores. What waits in it runs in the order in which it came.
        self._pool = WorkerThreads(self._threads, "inference")
        rows = settings.rows_per_second
        self._rate = TokenBucket(rows, max(rows, settings.batch_rows)) if rows else None

    def serve(self, loaded: Loaded) -> ServedVersion:
        """Return a version that can answer; on the event loop."""
        settings, about = self._settings, loaded.model.description
        log = self._prediction_log(loaded) if self._log_service else None
        observer = listeners.together(
            listeners.display(settings.display, record_schema.schema_of(about, loaded.redaction)),
            self._watch(loaded) if self._watch else None,
        )
        pipeline = Pipeline(
            loaded.model,
            log or NoPredictionLog(),
            self._tracer,
            batch_rows=min(settings.batch_rows, about.batch_rows or settings.batch_rows),
            threads=self._threads,
            queue_rows=settings.queue_rows,
            slow=settings.slow,
            wait=about.batch_wait if loaded.model.together else 0.0,
            inline=about.batch_inline > 0,
            pool=self._pool,
            rate=self._rate,
            observe=observer,
        )
        bounds = {"batch_rows": settings.batch_rows, "body_bytes": body_bytes(loaded.model, settings)}
        return ServedVersion(
            loaded.facts,
            pipeline,
            codecs(loaded.model, **bounds),
            messages=_messages(loaded.model, **bounds) if settings.grpc_port is not None else None,
            refused=_refused(log, observer) if log else None,
            feedback=FeedbackLog(log, pipeline.admit_feedback).write if log else None,
        )

    def close(self) -> None:
        """End the threads, once no pipeline is left."""
        self._pool.shutdown()

    def _prediction_log(self, loaded: Loaded) -> PredictionLog:
        about, redaction, log_service = loaded.model.description, loaded.redaction, self._log_service
        assert log_service is not None  # noqa: S101 - tells mypy: asked before
        scope = {
            "prediction.model.name": about.name,
            "prediction.model.version": about.version,
            "prediction.model.digest": loaded.model.digest,
        }
        if redaction:
            scope |= scope_attributes(about, redaction)
        return PredictionLog(
            record_schema.schema_of(about, redaction),
            scope,
            log_service.stream,
            log_service.outbox,
            log_service.refusals,
            refuses=self._settings.refuses,
            waits=self._settings.outbox_fsync == "batch",
            about=model_event.encoded(loaded.model),
            tensors=self._tensor_recorder(loaded),
            record_bytes=self._settings.record_bytes,
        )

    def _tensor_recorder(self, loaded: Loaded) -> TensorRecorder | None:
        model = loaded.model
        if model.tensors is None:
            return None
        inputs, outputs = ({spec.name: spec for spec in specs} for specs in (model.signature.inputs, model.own_outputs))
        by_row = model.tensors.row_axis and model.description.log_rows == "per_row"
        return TensorRecorder(inputs, outputs, self._settings.record_bytes, loaded.redaction, by_row=by_row)


def body_bytes(model: Model, settings: Settings) -> int:
    """Return how large the body of a request to a model may be."""
    return settings.body_bytes or default_body_bytes(elements_of_a_row(model), settings.batch_rows)


def _messages(model: Model, **bounds: int) -> InferMessages:
    """Return the codec of gRPC."""
    from predictor.api.protobuf.infer import InferMessages  # noqa: PLC0415 - the extra may not be installed

    return InferMessages(model, **bounds)


def _refused(log: PredictionLog, observer: Observer | None) -> RecordRefusal:
    """Return what records, and shows, a request that was refused before its rows were known."""

    def refused(origin: Origin, error: Kind) -> None:
        refusal = log.refused(origin, error)
        if refusal and observer:
            observer([refusal])

    return refused
