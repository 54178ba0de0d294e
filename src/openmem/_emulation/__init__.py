"""Turns the SDK of another memory service into a provider with every rule of the protocol.

A provider of this kind writes two things and inherits the rest:

1. A `Backend` (`translated.backend`): a plain class over the SDK's *sync* client with about ten small methods:
   insert, rewrite, remove, fetch, entries, nearest and so on. It knows requests, replies and errors of its service, and
   nothing of scopes, tags, validity, supersession, keys or pages. Its home is `openmem._io`, beside the other drivers.
2. A subclass of `AsyncEmulatedProvider` (`openmem._async.providers.emulated`) with a name, its options, and a
   function that makes the backend. It is built on the first verb, in a worker thread, so it may wait for the network.

Every verb is one call in a worker (`openmem._io.vendors.blocking_sdk`); what happens there stands in `reading` and
`writing`, plain functions over a backend. A cancelled caller leaves at once and the worker finishes its whole verb, so
nothing is left half done. Between two requests `Task.check` is called, which raises once the deadline has passed.

How a memory is kept (`envelope`): the text in the service's own field, everything else in flat metadata: one JSON text
under `omp`, which is the truth, and a few mirrors of it for equality filters. What was not written by openmem has no
envelope; it is read as it stands, with the rest under `x-<provider>`.

Filters: a backend is handed the user and, at most, equal values of mirrors. All else is judged here, over as many hits
as it takes (`reading.search` asks for more until the limit is full or the backend has no more). What one
search of the backend cannot reach follows with score 0, newest first: a list is short only if there is no more.

Supersession: before a memory is stored, those that it names are marked `outdated`. The mark is only a hint that says
where to look; who supersedes whom, and from when, is looked up at every read. So a crash in between, or
deleting the newer memory, hides nothing wrongly. A backend that cannot rewrite metadata sets
`marks_outdated = False`, and the lookup is made at every read.

Two methods of a backend are there to do better where the service can: `insert_many`, for parts of a batch, in one
request or so that what was stored without an answer is found again, and `following`, for an export that need not read
everything for each page.

What is weaker than in a store of our own: `key` and `update` are serialised within one instance only, and a batch
that fails is taken back memory by memory, which a killed process does not do. It has 30 seconds of its own for
that: the time of the call may be what was used up. Who is late at the end is told that the time is over, so what is
done by then is taken back, too.
"""
