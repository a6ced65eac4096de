"""Settings of the watershed grid, of evaluation and of the gates."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from cellvit.config.base import Section

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


class WatershedSettings(Section):
    """Grid that `tune_watershed` searches; each list holds the values to try."""

    method: tuple[Literal["hovernet", "hv_flow"], ...] = Field(
        default=("hovernet", "hv_flow"), min_length=1, description="ways from maps to nuclei"
    )
    np_threshold: tuple[OpenShare, ...] = Field(
        default=(0.4, 0.5, 0.6), min_length=1, description="NP probability over which a pixel is nuclear"
    )
    hv_threshold: tuple[OpenShare, ...] = Field(
        default=(0.3, 0.4, 0.5, 0.6),
        min_length=1,
        description="hovernet: HV gradient energy over which a pixel is a border, no marker",
    )
    min_object_px: tuple[PositiveInt, ...] = Field(
        default=(10, 30, 60), min_length=1, description="smallest object that is kept, in pixels"
    )
    min_gain_px: tuple[NonNegativeFloat, ...] = Field(
        default=(2.0, 5.0, 15.0),
        min_length=1,
        description="hv_flow: what a cut between nuclei must explain of HV, in pixels",
    )
    min_fit: tuple[Share, ...] = Field(
        default=(0.3, 0.5, 0.7),
        min_length=1,
        description="hv_flow: least fit of a nucleus to HV, as a share of its tile's mean",
    )
    warn_at_border: bool = Field(default=True, description="warn where the best value is the first or last of its list")


class IntegrityGates(Section):
    """Limits outside which a run stops, because its figures would be wrong."""

    np_coverage: tuple[Share, Share] = Field(
        default=(0.005, 0.60), description="plausible share of nuclear pixels over all tiles of a family"
    )
    oracle_aji: Share = Field(
        default=0.80, description="least mean AJI of truth -> maps -> watershed; under it targets or decoder are broken"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.np_coverage
        if low >= high:
            raise ValueError(f"gates.integrity.np_coverage=[{low}, {high}] must rise")
        return self


class Gate(Section):
    """A graded limit; `partial` is the weaker one, where there is one."""

    passes: float = Field(alias="pass", description="limit for pass")
    partial: float | None = Field(default=None, description="limit for partial; null where there is no middle grade")


class QualityGates(Section):
    """Limits that grade a result pass, partial or fail; they never stop a run."""

    organ_accuracy: Gate = Field(
        default=Gate.model_validate({"pass": 0.99}), description="OrganHead accuracy over this"
    )
    hv_length: Gate = Field(
        default=Gate.model_validate({"pass": 0.40, "partial": 0.20}),
        description="mean length of the HV vectors on nuclei over this",
    )
    aji: Gate = Field(default=Gate.model_validate({"pass": 0.50, "partial": 0.30}), description="AJI over this")
    hv_mse: Gate = Field(default=Gate.model_validate({"pass": 0.30}), description="HV MSE under this")
    hv_skill: Gate = Field(default=Gate.model_validate({"pass": 0.0}), description="HV skill over this")
    np_dice: Gate = Field(default=Gate.model_validate({"pass": 0.70}), description="NP Dice over this")
    gap_np_dice: Gate = Field(
        default=Gate.model_validate({"pass": 0.02}), description="(train - test) / train of NP Dice, under this"
    )
    gap_hv_mse: Gate = Field(
        default=Gate.model_validate({"pass": 0.20}), description="(test - train) / train of HV MSE, under this"
    )
    gap_nt_accuracy: Gate = Field(
        default=Gate.model_validate({"pass": 0.03}), description="(train - test) / train of NT accuracy, under this"
    )


class GatesSettings(Section):
    """Integrity gates stop the run; quality gates are graded in the summary."""

    integrity: IntegrityGates = Field(default_factory=IntegrityGates, description="limits that stop the run")
    quality: QualityGates = Field(default_factory=QualityGates, description="limits that grade results")
