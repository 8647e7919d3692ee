"""What the settings say of callers: names, origins, tokens and TLS; the files are read again on SIGHUP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from predictor.api.access import Access, Tokens, is_loopback
from predictor.config.token_file import read_tokens
from predictor.core import operator_log
from predictor.http.tls import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from predictor.config.settings import Settings

_logger = logging.getLogger("predictor")
_TOKENS = "PREDICTOR_TOKEN_FILE"
_FEEDBACK_TOKENS = "PREDICTOR_FEEDBACK_TOKEN_FILE"
_CONTROL_TOKENS = "PREDICTOR_CONTROL_TOKEN_FILE"
_FEEDBACK_TOKEN = "PREDICTOR_FEEDBACK_TOKEN"  # noqa: S105 - its name


class Callers:
    """Who may call, and how."""

    def __init__(self, settings: Settings) -> None:
        """Read the files that the settings name; raises ValueError with a sentence."""
        self._settings = settings
        predictions, feedback, control = self._tokens()
        self.access = Access(
            local=is_local(settings),
            hosts=settings.allowed_hosts,
            origins=settings.cors_origins,
            tokens=Tokens(predictions, _TOKENS) if predictions else None,
            feedback_tokens=Tokens(feedback, self._feedback_settings()) if feedback else None,
            control_tokens=Tokens(control, _CONTROL_TOKENS) if control else None,
        )
        self.certificate = Certificate(settings.tls_certificate, settings.tls_key) if settings.tls_certificate else None
        self.renewed: list[Callable[[], None]] = []
        """Called when other tokens are right."""

    def renew(self) -> None:
        """Read the files again, and say so; what cannot be read is said, and stays as it was."""
        for what, renew in (("tokens", self._renew_tokens), ("the certificate", self._renew_certificate)):
            try:
                if renew():
                    operator_log.say(f"{what} were read again" if what == "tokens" else f"{what} was read again")
            except ValueError as error:
                _logger.error("%s; what was read before stays", error)  # noqa: TRY400 - a sentence, and no fault

    def _renew_tokens(self) -> bool:
        access = self.access
        pairs = [*zip((access.tokens, access.feedback_tokens, access.control_tokens), self._tokens(), strict=True)]
        for tokens, values in pairs:
            if tokens:
                tokens.replace(values)
        for tell in self.renewed:
            tell()
        return any(tokens for tokens, _ in pairs)

    def _renew_certificate(self) -> bool:
        if self.certificate:
            self.certificate.renew()
        return self.certificate is not None

    def _tokens(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return those for predictions, those for feedback (its own, or else the same), and those for control."""
        settings = self._settings
        predictions = _read(settings.token_file, _TOKENS)
        feedback = _read(settings.feedback_token_file, _FEEDBACK_TOKENS)
        if settings.feedback_token:
            feedback = (*feedback, settings.feedback_token)
        return predictions, feedback or predictions, _read(settings.control_token_file, _CONTROL_TOKENS)

    def _feedback_settings(self) -> str:
        settings = self._settings
        if settings.feedback_token:
            return _FEEDBACK_TOKEN
        return _FEEDBACK_TOKENS if settings.feedback_token_file else _TOKENS


def is_local(settings: Settings) -> bool:
    """Tell whether none but this machine reaches the server: by loopback addresses and Unix sockets only."""
    return all(is_loopback(host) or host.startswith("unix:") for host in settings.hosts)


def _read(path: Path | None, variable: str) -> tuple[str, ...]:
    return read_tokens(path, variable) if path else ()
