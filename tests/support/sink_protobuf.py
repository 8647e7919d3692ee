"""What a sink got as protobuf, told as the OTLP JSON that was sent."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


def as_sent(body: bytes) -> dict[str, Any]:
    """Return a request's records as OTLP JSON has them: ids in hexadecimal, enumerations as numbers."""
    said: dict[str, Any] = MessageToDict(ExportLogsServiceRequest.FromString(body), use_integers_for_enums=True)
    for resource in said["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            for record in scope["logRecords"]:
                for name in ("traceId", "spanId"):
                    if name in record:
                        record[name] = base64.b64decode(record[name]).hex()
    return said
