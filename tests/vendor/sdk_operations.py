"""The method of a vendor's SDK behind each request that the providers make."""

from __future__ import annotations

from typing import Any

from tests.vendor.sdk_methods import Operation, SdkMethods, in_camel_case


def letta_methods() -> SdkMethods:
    """Return those of `letta-client`."""
    from letta_client import types
    from letta_client.resources.agents import agents
    from letta_client.resources.agents import archives as of_agents
    from letta_client.resources.agents import passages as seen_by_agents
    from letta_client.resources.archives import archives, passages
    from letta_client.resources.passages import PassagesResource
    from letta_client.types.archives import PassageCreateManyResponse

    archive, item = "/v1/archives/{archive_id}", archives.ArchivesResource
    inside = passages.PassagesResource
    attached = of_agents.ArchivesResource
    return SdkMethods(
        {
            ("POST", "/v1/archives"): Operation(item.create, types.Archive),
            ("GET", "/v1/archives"): Operation(item.list, list[types.Archive]),
            ("GET", archive): Operation(item.retrieve, types.Archive),
            ("PATCH", archive): Operation(item.update, types.Archive),
            ("DELETE", archive): Operation(item.delete),
            ("POST", f"{archive}/passages"): Operation(inside.create, types.Passage),
            ("POST", f"{archive}/passages/batch"): Operation(inside.create_many, PassageCreateManyResponse),
            ("DELETE", f"{archive}/passages/{{passage_id}}"): Operation(inside.delete),
            ("POST", "/v1/passages/search"): Operation(PassagesResource.search, types.PassageSearchResponse),
            ("POST", "/v1/agents"): Operation(agents.AgentsResource.create, types.AgentState),
            ("DELETE", "/v1/agents/{agent_id}"): Operation(agents.AgentsResource.delete),
            ("PATCH", "/v1/agents/{agent_id}/archives/attach/{archive_id}"): Operation(attached.attach),
            ("PATCH", "/v1/agents/{agent_id}/archives/detach/{archive_id}"): Operation(attached.detach),
            ("GET", "/v1/agents/{agent_id}/archival-memory"): Operation(
                seen_by_agents.PassagesResource.list, list[types.Passage]
            ),
            ("GET", "/v1/health"): Operation(_nothing, types.HealthResponse),
        }
    )


def supermemory_methods() -> SdkMethods:
    """Return those of `supermemory`."""
    from supermemory import Supermemory, types
    from supermemory.documents.client import DocumentsClient
    from supermemory.namespaces.client import NamespacesClient

    documents, document = "/ns/{namespace}/document", "/ns/{namespace}/document/{id}"
    return SdkMethods(
        {
            ("GET", "/organization"): Operation(_nothing, types.Organization),
            ("GET", "/ns"): Operation(NamespacesClient.list, types.NamespaceList),
            ("POST", documents): Operation(Supermemory.add, types.DocumentRef),
            ("POST", f"{documents}/batch"): Operation(DocumentsClient.batch_add, types.BatchAddResult),
            ("DELETE", documents): Operation(DocumentsClient.delete, types.DeleteDocumentsResult),
            ("GET", document): Operation(DocumentsClient.get, types.Document),
            ("PATCH", document): Operation(DocumentsClient.update, types.DocumentRef),
            ("POST", "/ns/{namespace}/list/{type}"): Operation(Supermemory.list, types.ListResponse),
            ("POST", "/ns/{namespace}/search"): Operation(Supermemory.search, types.SearchResponse),
        },
        in_camel_case,
    )


def _nothing(self: Any) -> None:
    """Stand for a method that sends nothing."""
