"""The base of the models, and the types of single fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import PydanticSerializationError

from openmem._text.shortened import shortened

_INTERRUPTED: Final = re.compile(r"Error calling function `_keep_null_members`: KeyboardInterrupt: ?\Z")


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from None


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Confidence = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _raise_interrupt(error: PydanticSerializationError) -> None:
    # Pydantic makes an error of its own of all that ends a serializer, of a Ctrl-C too. As JSON, only its text is left.
    if isinstance(error.__cause__, KeyboardInterrupt) or _INTERRUPTED.search(str(error)):
        raise KeyboardInterrupt from None


class OMPModel(BaseModel):
    """Base of every model: unknown fields are kept, aliases and names are both accepted.

    What `repr` shows is what is set, and not too much of it.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    unsaid: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Fields that are not written where they have this value, as that is what most have."""

    @model_serializer(mode="wrap")
    def _keep_null_members(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        # `exclude_none` leaves out a field that is not given. A null in an unknown member is a value: it was given.
        fields: dict[str, Any] = serialize(self)
        extra = self.__pydantic_extra__
        if extra and info.exclude_none and info.include is None and info.exclude is None:
            fields.update((name, None) for name, value in extra.items() if value is None)
        for name, usual in self.unsaid.items():
            if fields.get(name) is usual:
                del fields[name]
        return fields

    if not TYPE_CHECKING:  # a type checker sees the signatures of pydantic

        def model_dump(self, **options):
            """Return a dictionary, as pydantic does; a Ctrl-C meanwhile is a `KeyboardInterrupt`."""
            try:
                return super().model_dump(**options)
            except PydanticSerializationError as error:
                _raise_interrupt(error)
                raise

        def model_dump_json(self, **options):
            """Return JSON, as pydantic does; a Ctrl-C meanwhile is a `KeyboardInterrupt`."""
            try:
                return super().model_dump_json(**options)
            except PydanticSerializationError as error:
                _raise_interrupt(error)
                raise

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the fields that have a value other than their usual one, long texts and lists cut short."""
        for name, value in super().__repr_args__():
            if value is not None and self.unsaid.get(name or "") is not value:
                yield name, shortened(value)


def field_names(model: OMPModel) -> list[str]:
    """Return the names of what a model holds, known and unknown."""
    return [*type(model).model_fields, *(model.model_extra or ())]


def field(model: OMPModel, name: str) -> Any:
    """Return what a model holds under a name."""
    if name not in field_names(model):
        raise KeyError(name)
    return getattr(model, name)
