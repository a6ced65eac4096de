"""Settings of the families: their organs, and settings that hold for the decoder of one family alone."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, SerializerFunctionWrapHandler, field_validator, model_serializer

from cellvit.config.base import Section
from cellvit.config.data import FamilyName, Organ, named_without_nulls
from cellvit.config.evaluation import WatershedSettings
from cellvit.config.models import DecoderSettings, TrainingSettings

Organs = Annotated[tuple[Organ, ...], Field(min_length=1)]
LeftOutOrgans = tuple[Organ, ...]


Given = dict[str, JsonValue]
"""Keys of a section as they were given; `Settings` checks them once they are merged with the section."""


def _part_of(section: type[Section]) -> BeforeValidator:
    """Null means that nothing differs, so that a later file can take back what an earlier one set.

    The schema is that of `section`, so that editors know the keys.
    """
    return BeforeValidator(lambda given: {} if given is None else given, json_schema_input_type=section | None)


class FamilySettings(Section):
    """One family: the organs that share a decoder, and the settings that hold for this decoder alone."""

    organs: Organs = Field(description="organs that share this decoder")
    training: Annotated[Given, _part_of(TrainingSettings)] = Field(
        default={}, description="keys of training that differ for this family"
    )
    decoder: Annotated[Given, _part_of(DecoderSettings)] = Field(
        default={}, description="keys of decoder that differ for this family"
    )
    watershed: Annotated[Given, _part_of(WatershedSettings)] = Field(
        default={}, description="keys of watershed that differ for this family"
    )

    @field_validator("training")
    @classmethod
    def _of_one_decoder(cls, training: Given) -> Given:
        if "shared_decoder" in training:
            raise ValueError(
                "shared_decoder is not a setting of one family, because it decides whether a decoder for all organs is "
                "trained; set training.shared_decoder"
            )
        return training

    @model_serializer(mode="wrap")
    def _without_empty_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name == "organs" or value}

    @property
    def own(self) -> dict[str, Given]:
        """The settings that differ for this family, by section; sections without any are left out."""
        parts = {"training": self.training, "decoder": self.decoder, "watershed": self.watershed}
        return {name: part for name, part in parts.items() if part}


def _with_organs(value: object) -> object:
    """A list of organs is short for a family without settings of its own."""
    return value if isinstance(value, Mapping | FamilySettings) else {"organs": value}


Family = Annotated[FamilySettings, BeforeValidator(_with_organs, json_schema_input_type=Organs | FamilySettings)]
Families = Annotated[dict[FamilyName, Family], BeforeValidator(named_without_nulls), Field(min_length=1)]
"""Families by name."""
