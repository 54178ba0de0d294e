"""The whole kit as one class."""

from __future__ import annotations

from openmem.testing._async.audit import AuditRules
from openmem.testing._async.batches import BatchRules
from openmem.testing._async.by_key import ByKeyRules
from openmem.testing._async.changes import ChangeRules
from openmem.testing._async.circles import CircleRules
from openmem.testing._async.context import ContextRules
from openmem.testing._async.crud import CrudRules
from openmem.testing._async.deletion import DeletionRules
from openmem.testing._async.filters import FilterRules
from openmem.testing._async.honesty import HonestyRules
from openmem.testing._async.isolation import IsolationRules
from openmem.testing._async.keys_and_versions import KeyAndVersionRules
from openmem.testing._async.lifecycle import LifecycleRules
from openmem.testing._async.listing import ListingRules
from openmem.testing._async.maintenance import MaintenanceRules
from openmem.testing._async.metadata import MetadataRules
from openmem.testing._async.names import NameRules
from openmem.testing._async.overview import OverviewRules
from openmem.testing._async.portability import PortabilityRules
from openmem.testing._async.ready_vectors import ReadyVectorRules
from openmem.testing._async.scopes import ScopeRules
from openmem.testing._async.search import SearchRules
from openmem.testing._async.searchable import SearchableRules
from openmem.testing._async.stateful import StatefulRules
from openmem.testing._async.time import TimeRules
from openmem.testing._async.validation import ValidationRules


class AsyncProviderSuite(
    CrudRules,
    MetadataRules,
    SearchableRules,
    FilterRules,
    ReadyVectorRules,
    BatchRules,
    KeyAndVersionRules,
    ByKeyRules,
    ScopeRules,
    SearchRules,
    ContextRules,
    TimeRules,
    CircleRules,
    ListingRules,
    OverviewRules,
    DeletionRules,
    AuditRules,
    ChangeRules,
    PortabilityRules,
    MaintenanceRules,
    IsolationRules,
    HonestyRules,
    LifecycleRules,
    NameRules,
    ValidationRules,
    StatefulRules,
):
    """Every rule of the contract. Subclass it, override the fixture `open_memory`, and declare what differs.

    The rules use the public client only. They assume nothing about the form of an id, and after a write they
    wait until the memory can be found. `Declared` lists what may be declared absent.
    """
