"""LitServe with a logger that writes each prediction as a line of JSON: `on_litserve.py PORT FILE`."""
# mypy: disable-error-code="import-not-found,misc"
# The package is in the peer's own environment.

import json  # no `from __future__ import annotations`: LitServe reads the signature
import sys
import time
import uuid
from typing import Any

import litserve
from iris import FEATURES, Iris


class Lines(litserve.Logger):
    """Appends what the workers log to a file; LitServe runs it in a process of its own, behind a queue."""

    def __init__(self, path: str) -> None:
        """Remember where to; the file is opened in the other process."""
        super().__init__()
        self._path = path
        self._file: Any = None

    def process(self, key: str, value: dict[str, Any]) -> None:
        """Append one prediction."""
        if self._file is None:
            self._file = open(self._path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
        self._file.write(json.dumps({"event": key, **value}) + "\n")


class IrisAPI(litserve.LitAPI):
    """`POST /predict` with `{"data": rows}`."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's
        """Open the model."""
        self.model = Iris()

    def decode_request(self, request: litserve.Request) -> Any:  # noqa: ANN401 - JSON
        """Return the rows; with this annotation LitServe hands over the decoded JSON."""
        return request["data"]

    def predict(self, x: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Run and log the rows."""
        job, answers = str(uuid.uuid4()), self.model.answers(x)
        for index, (row, answer) in enumerate(zip(x, answers, strict=True)):
            features = dict(zip(FEATURES, row, strict=True))
            self.log("prediction", {"time": time.time(), "job_id": job, "index": index, **features, **answer})
        return {"job_id": job, "predictions": answers}

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is."""
        return output


def main() -> None:
    """Serve on 127.0.0.1."""
    server = litserve.LitServer(IrisAPI(), accelerator="cpu", loggers=Lines(sys.argv[2]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)


if __name__ == "__main__":
    main()
