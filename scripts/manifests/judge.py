"""Gathers what is wrong with rendered manifests, and which exceptions were of use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from scripts.manifests import rendering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from scripts.manifests.policy import Finding
    from scripts.manifests.rendering import Manifest


class Checks(Protocol):
    """Strict schemas of several versions of Kubernetes."""

    versions: tuple[str, ...]

    def faults(self, manifest: Manifest, version: str, /) -> list[str]:
        """Return what is wrong with one object in one version, a sentence each."""


class Judge:
    """Holds what it is shown to schemas and to checkov, and gathers the faults, each once."""

    def __init__(
        self,
        schemas: Checks,
        findings: Callable[[str], Iterable[Finding]],
        exceptions: Mapping[tuple[str, str], str],
    ) -> None:
        """Take the schemas, checkov, and the (check, resource) pairs that are let pass."""
        self._schemas = schemas
        self._findings = findings
        self._exceptions = exceptions
        self._needed: set[tuple[str, str]] = set()
        self._faults: dict[str, None] = {}  # in the order in which they were found

    @property
    def faults(self) -> list[str]:
        """Return the sentences."""
        return list(self._faults)

    def fault(self, sentence: str) -> None:
        """Add what was found elsewhere."""
        self._faults[sentence] = None

    def schemas(self, where: str, text: str) -> None:
        """Hold every object to every version's schema."""
        manifests = rendering.parsed(text)
        if not manifests:
            self.fault(f"{where}: there is nothing in it")
        for manifest in manifests:
            for version in self._schemas.versions:
                for sentence in self._schemas.faults(manifest, version):
                    self.fault(sentence)

    def policy(self, where: str, text: str) -> None:
        """Hold every object to checkov's checks."""
        for finding in self._findings(text):
            if finding.key in self._exceptions:
                self._needed.add(finding.key)
            else:
                self.fault(f"{where}: {finding.resource} fails {finding.check}: {finding.words}")

    def unneeded(self) -> None:
        """Hold the list of exceptions to what was needed so far."""
        for check, resource in sorted(self._exceptions.keys() - self._needed):
            self.fault(f"{resource} does not fail {check}: take the exception out")
