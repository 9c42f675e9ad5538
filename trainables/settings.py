"""Settings of a personalization: frozen, checked once, and free of torch, so that a driver loads them quickly.

`__pydantic_config__` makes pydantic, by which the orchestrator reads them from YAML, refuse unknown keys.
"""

from dataclasses import dataclass
from typing import ClassVar

from trainables.checks import check_at_most, check_types
from trainables.errors import InvalidInput
from trainables.text import did_you_mean

MINIATURE = "miniature"
OF_THE_MINIATURE = "All of this is measured on the miniature, and says nothing about Stable Diffusion 1.5."
DTYPES = ("float32", "bfloat16", "float16")
TRAIN_IMAGE, VALIDATION_IMAGE, VALIDATION_TEXT = "train_clip_image", "val_clip_image", "val_clip_text"
#: Which samples each score is computed on: those of the training prompt, or those of the validation prompts.
SAMPLES_OF = {TRAIN_IMAGE: "train", VALIDATION_IMAGE: "val", VALIDATION_TEXT: "val"}

#: The batches of inputs that are drawn once: the paper's; one whose timesteps are stratified; one of images that are
#: never trained on; and "gap", the third minus the first.
PAPER, STRATIFIED, HELD_OUT, GAP = "paper", "stratified", "held_out", "gap"
BATCHES = (PAPER, STRATIFIED, HELD_OUT, GAP)

#: Share of the noise schedule below which the stratified batches draw no timestep: the losses there vary most, and say
#: least about the concept.
FLOOR = 0.2

#: Limits that only a mistake exceeds: pixels of an image's side, and images, inputs or steps (the paper's: 8, 8, 50).
MAX_RESOLUTION, MAX_COUNT, MAX_INFERENCE_STEPS = 4096, 10_000, 1000

#: Part of every recording's key: raise it when a change of this program changes what a run computes.
RECIPE_VERSION = 2


@dataclass(frozen=True)
class BaseModelSettings:
    """Which model is personalized, and in which precision.

    Attributes:
        id: "miniature", a folder in diffusers' format, or a hub id ("stable-diffusion-v1-5/stable-diffusion-v1-5").
        revision: branch, tag or commit of a hub id.
        resolution: side of the square training images in pixels.
        dtype: precision of the frozen weights: float32, bfloat16 or float16. What trains is kept in float32.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    id: str = MINIATURE
    revision: str | None = None
    resolution: int = 64
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInput: a setting is empty or of another type, the precision is unknown, or the resolution is no
                multiple of 8 in 8..4096.
        """
        check_types(self)
        if not self.id.strip():
            raise InvalidInput(f"id must name a base model, got {self.id!r}; 'miniature' ships with the program")
        if self.dtype not in DTYPES:
            raise InvalidInput(f"unknown dtype {self.dtype!r}; {did_you_mean(self.dtype, DTYPES)}")
        if not 8 <= self.resolution <= MAX_RESOLUTION or self.resolution % 8:
            allowed = f"a positive multiple of 8 pixels, at most {MAX_RESOLUTION}"
            raise InvalidInput(f"resolution must be {allowed}, got {self.resolution}")


@dataclass(frozen=True)
class FixedBatchSettings:
    """How the fixed batch is drawn.

    Attributes:
        size: number of inputs (the paper's choice is 8).
        seed: of the batch's own streams, independent of the training's.
        first_timestep: lowest timestep that may be drawn.
        last_timestep: highest timestep that may be drawn; None is the noise schedule's last.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    size: int = 8
    seed: int = 0
    first_timestep: int = 0
    last_timestep: int | None = None

    def __post_init__(self) -> None:
        """Check the settings; the timesteps are checked against the model's schedule when the batch is drawn.

        Raises:
            InvalidInput: a setting has another type, or the size is not in 1..10,000.
        """
        check_types(self)
        if self.size < 1:
            raise InvalidInput(f"the fixed batch needs at least one input, got size {self.size}")
        check_at_most(self, size=MAX_COUNT)


@dataclass(frozen=True)
class StratifiedBatchSettings:
    """How the stratified batch is drawn, whose timesteps are spread evenly over the noise schedule above a floor.

    The schedule between the floor and its end is cut into `size` equal strata; each gives one input, whose timestep is
    drawn uniformly in it. Inputs that follow each other come from strata far apart, so that a few in turn cover it.

    Attributes:
        size: number of inputs and strata.
        seed: of the batch's own streams, independent of the training's.
        floor: share of the noise schedule below which no timestep is drawn, 0..1 without 1.
        every: steps between the evaluations that a full-length run records; a live run evaluates what its criterion
            needs.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    size: int = 8
    seed: int = 0
    floor: float = FLOOR
    every: int = 1

    def __post_init__(self) -> None:
        """Check the settings; the floor is checked against the model's schedule when the batch is drawn.

        Raises:
            InvalidInput: a setting has another type, the size is not in 1..10,000, the floor not in 0..1 without 1, or
                `every` is below 1.
        """
        check_types(self)
        _check_strata("stratified_batch", self.size, self.floor, self.every)


@dataclass(frozen=True)
class HeldOutSettings:
    """Which images are never trained on, and how the batch of them is drawn: stratified as the stratified batch.

    With the same size, seed and floor, its inputs have the timesteps, captions and noise of the stratified batch.

    Attributes:
        images: how many of a concept's own images are spared: the last by name. What is trained on changes with it.
        source: folder of further views, with a folder of images for each concept, of the concept's name; they are not
            trained on either.
        size: number of inputs and strata.
        seed: of the batch's own streams.
        floor: as in `StratifiedBatchSettings`.
        every: as in `StratifiedBatchSettings`.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    images: int = 0
    source: str | None = None
    size: int = 8
    seed: int = 0
    floor: float = FLOOR
    every: int = 1

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInput: a setting has another type or is out of its range, or no image is held out at all.
        """
        check_types(self)
        if self.images < 0:
            raise InvalidInput(f"held_out.images must be at least 0, got {self.images}")
        check_at_most(self, "held_out.", images=MAX_COUNT)
        if self.source is not None and not self.source.strip():
            raise InvalidInput(f"held_out.source must name a folder, got {self.source!r}")
        if not self.images and self.source is None:
            raise InvalidInput(
                "held_out needs images: a number of each concept's own to spare (held_out.images=1), or a folder of "
                "further views (held_out.source)"
            )
        _check_strata("held_out", self.size, self.floor, self.every)


def _check_strata(key: str, size: int, floor: float, every: int) -> None:
    if not 1 <= size <= MAX_COUNT:
        raise InvalidInput(f"{key}.size must lie between 1 and {MAX_COUNT:,}, got {size}")
    if not 0 <= floor < 1:
        raise InvalidInput(f"{key}.floor must be at least 0 and less than 1, got {floor}")
    if every < 1:
        raise InvalidInput(f"{key}.every must be at least 1, got {every}")


@dataclass(frozen=True)
class LDetSchedule:
    """How L_det is evaluated during training: less often and on fewer inputs is cheaper.

    Attributes:
        every: steps between evaluations.
        inputs: how many of the inputs that count an evaluation takes, all of them in turn; L_det is the mean of every
            input's latest loss, which is that before the first step until its turn comes. None takes all. Of "gap", so
            many of either batch.
        relative: whether each input's loss counts as a multiple of its loss before the first step.
        batch: whose inputs are evaluated, one of `BATCHES`.
        first_timestep: inputs with a lower timestep do not count.

    Example:
        >>> LDetSchedule(batch="gap").batches, LDetSchedule().is_papers, CHEAP.is_papers
        (('held_out', 'paper'), True, False)
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    every: int = 1
    inputs: int | None = None
    relative: bool = False
    batch: str = PAPER
    first_timestep: int = 0

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInput: `every` or `inputs` is below 1, `first_timestep` is below 0, or there is no such batch.
        """
        if self.batch not in BATCHES:
            raise InvalidInput(f"unknown batch {self.batch!r}; {did_you_mean(self.batch, BATCHES)}")
        if self.first_timestep < 0:
            raise InvalidInput(f"first_timestep must be at least 0, got {self.first_timestep}")
        for name in ("every", "inputs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} must be at least 1, got {value}")

    @property
    def batches(self) -> tuple[str, ...]:
        """The batches that are evaluated; of "gap", the second is subtracted from the first."""
        return (HELD_OUT, PAPER) if self.batch == GAP else (self.batch,)

    @property
    def is_papers(self) -> bool:
        """Whether a value is the paper's: the plain mean over all inputs of its batch (equation 4)."""
        return self.batch == PAPER and self.inputs is None and not self.relative and not self.first_timestep


#: About a twentieth of what the paper's form costs, and better conditioned: no timestep dominates the mean.
CHEAP = LDetSchedule(every=5, inputs=2, relative=True, batch=STRATIFIED)


@dataclass(frozen=True)
class QualitySettings:
    """When and how samples are drawn and scored.

    Attributes:
        every: steps between snapshots, counted from step 0; None takes a snapshot only at the end.
        samples: images of the training prompt (the paper draws 8), and as many of all validation prompts together.
        inference_steps: DDIM steps of a sample.
        guidance_scale: of classifier-free guidance (the paper: 7.5 for Textual Inversion).
        seed: of the samples' starting noise, the same at every snapshot.
        scorer: CLIP model, "miniature", a folder or a hub id.
        repeats: how often the last snapshot of a full-length run is sampled and scored again, each time with other
            starting noise, which shows by how much chance alone moves a score.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    every: int | None = 500
    samples: int = 8
    inference_steps: int = 50
    guidance_scale: float = 7.5
    seed: int = 0
    scorer: str = MINIATURE
    repeats: int = 0

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInput: a setting is empty or of another type, `every`, `samples` or `inference_steps` is below 1,
                there are more than 10,000 samples or 1,000 inference steps, or `guidance_scale` or `repeats` is below
                0.
        """
        check_types(self)
        for name in ("every", "samples", "inference_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} must be at least 1, got {value}")
        check_at_most(self, samples=MAX_COUNT, inference_steps=MAX_INFERENCE_STEPS, repeats=MAX_COUNT)
        if self.repeats < 0:
            raise InvalidInput(f"repeats must be at least 0, got {self.repeats}")
        if self.guidance_scale < 0:
            raise InvalidInput(f"guidance_scale must not be negative, got {self.guidance_scale}")
        if not self.scorer.strip():
            raise InvalidInput(f"scorer must name a CLIP model, got {self.scorer!r}")
