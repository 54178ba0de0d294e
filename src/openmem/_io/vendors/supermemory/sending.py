"""Sending of texts to supermemory, each once: a document that is sent again under its id would get it appended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from openmem._emulation.failures import is_refusal
from openmem._io.concurrency.retrying import repeat
from openmem._io.vendors.call_deadline import call_deadline, call_retry, time_left
from openmem._io.vendors.sdk_errors import SdkErrors, failed_attempt
from openmem._io.vendors.supermemory.items import NAME
from openmem._model.retry import FailedAttempt
from openmem.errors import OMPError, ProviderError

SDK: Final = SdkErrors(NAME)

Document = dict[str, Any]


class Sender:
    """Sends documents under ids of ours.

    Args:
        sdk: A `supermemory.Supermemory`.
        how: What the service does with texts.
        look: Returns the document of a namespace and an id, or `None`.
    """

    def __init__(self, sdk: Any, how: Mapping[str, str], look: Callable[[str, str], Any]) -> None:
        self._sdk, self._how, self._look = sdk, how, look

    def send(
        self, namespace: str, documents: Sequence[Document], in_doubt: Callable[[], object] = lambda: None
    ) -> dict[str, Any]:
        """Return what the service says of documents, by id. It has taken them all, or an error is raised.

        Args:
            namespace: Where they belong.
            documents: What to send; several are one request.
            in_doubt: Called before an error is raised, if some of them may be there.
        """
        refs: dict[str, Any] = {}
        failures: list[OMPError] = []

        def attempt() -> dict[str, Any] | FailedAttempt:
            # 1. All of them at first, later those that are not known to be there.
            waiting = [document for document in documents if document["id"] not in refs]
            if failures:  # what the failed request brought there all the same is not sent again
                refs.update(self._known(namespace, waiting))
                waiting = [document for document in documents if document["id"] not in refs]
            try:
                return refs | (SDK.ask(partial(self._send, namespace, waiting)) if waiting else {})
            except OMPError as error:
                failures.append(error)
                return failed_attempt(error)

        try:
            return repeat(attempt, call_retry(), call_deadline(), repeatable=True)
        except OMPError:
            # 2. Refused each time: nothing is there.
            # 3. Once it was not: some of them may be.
            if not all(map(is_refusal, failures)):
                in_doubt()
            raise

    def _send(self, namespace: str, documents: Sequence[Document]) -> dict[str, Any]:
        if len(documents) == 1:
            [document] = documents
            ref = self._sdk.add(namespace, **document, **self._how, request_options=options())
            return {document["id"]: ref}
        add = self._sdk.documents.batch_add
        reply = add(namespace, documents=documents, **self._how, request_options=options())
        if reply.failed or not len(documents) == reply.count == len(reply.results):
            raise ProviderError("supermemory did not take in all of the texts", provider=NAME)
        # Those that it took in come in the order in which they were sent.
        return {document["id"]: ref for document, ref in zip(documents, reply.results, strict=True)}

    def _known(self, namespace: str, documents: Sequence[Document]) -> dict[str, Any]:
        found = {document["id"]: self._look(namespace, document["id"]) for document in documents}
        return {
            handle: SimpleNamespace(id=known.id, status=known.system.status)
            for handle, known in found.items()
            if known is not None
        }


def options() -> dict[str, Any]:
    """Return how to make a request: repeats are ours, and it may take the time that is left of the call."""
    left = time_left()
    return {"max_retries": 0} if left is None else {"max_retries": 0, "timeout": left}
