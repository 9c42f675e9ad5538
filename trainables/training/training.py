"""Training: personalizes a base model to a concept, step by step, with L_det after each step; without Ray."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from statistics import median

import torch
from PIL import Image
from torch import Tensor

from trainables.data.concept import Concept
from trainables.data.inputs import SOURCES, Augmentation, Inputs, InputSource, join, split
from trainables.data.randomness import Streams, derived_seed
from trainables.errors import InvalidInput
from trainables.l_det import PASS
from trainables.methods import _prior as prior
from trainables.methods._captions import check_captions
from trainables.methods.base import Method
from trainables.models.base import BaseModel
from trainables.settings import (
    HELD_OUT,
    PAPER,
    STRATIFIED,
    FixedBatchSettings,
    HeldOutSettings,
    LDetSchedule,
    StratifiedBatchSettings,
)
from trainables.tensors import grouped, part
from trainables.training.fixed_batch import FixedBatch, LDetEvaluator
from trainables.training.sinks import StepRow

PAPER_BATCH = FixedBatchSettings()
EVERY_STEP = LDetSchedule()
#: Numbers of the paper's inputs whose evaluation is timed once before the training, and how often each.
COST_COUNTS, COST_MEASUREMENTS = (1, 2, 4), 3


class NonFiniteLossError(ArithmeticError):
    """A loss became NaN or infinite; the message names the concept, the step and a remedy."""


class Training:
    """Personalizes `base` to `concept` by `method`.

    On the CPU the same arguments give the same series bit for bit, also across `state_dict` and
    `load_state_dict`; the number of threads must stay the same.

    Args:
        base: model to personalize; it is changed in place and restored by `close`.
        method: what trains, and by which loss; the constructor attaches it.
        concept: whose images are learned.
        seed: of the streams from which training batches are drawn.
        fixed_batch: how the paper's batch of L_det's inputs is drawn; None draws none.
        stratified_batch: how the stratified batch is drawn; None draws none.
        held_out: how the batch of the concept's held-out images is drawn; None draws none.
        l_det_schedule: how often L_det is evaluated, on which batch, and on how many inputs at a time. Batches that it
            leaves out are evaluated besides, in full, for the recording. Without any batch there is no L_det.

    Attributes:
        steps_done: optimizer steps so far.
        batches: the batches by name, in the order of the losses: the paper's, the stratified, the held-out.
        fixed_batch: the paper's batch; None without it.
        initial_losses: of every input of every batch before the first step, NaN if the base model's loss is.

    Raises:
        InvalidInput: concept, method and base model do not fit each other, or a batch cannot be drawn.

    Example:
        >>> from trainables.methods.textual_inversion import TextualInversion
        >>> from trainables.miniature import concepts, miniature_folder
        >>> from trainables.models.stable_diffusion import load
        >>> from trainables.settings import BaseModelSettings
        >>> from trainables.training.training import Training
        >>> base = load(miniature_folder(), BaseModelSettings())
        >>> (robot,) = concepts.load(["robot_1"])
        >>> with Training(base, TextualInversion(), robot, seed=3) as training:
        ...     before = sum(training.initial_losses) / len(training.initial_losses)
        ...     rows = [training.step() for _ in range(5)]
        >>> [row.step for row in rows]
        [1, 2, 3, 4, 5]
        >>> rows[-1].l_det < before
        True
    """

    def __init__(
        self,
        base: BaseModel,
        method: Method,
        concept: Concept,
        *,
        seed: int = 0,
        fixed_batch: FixedBatchSettings | None = PAPER_BATCH,
        stratified_batch: StratifiedBatchSettings | None = None,
        held_out: HeldOutSettings | None = None,
        l_det_schedule: LDetSchedule = EVERY_STEP,
    ) -> None:
        """Attach the method, encode the images, and measure the base model's L_det; a failure detaches it again."""
        self.base, self.method, self.concept = base, method, concept
        self.steps_done = 0
        self._streams = Streams(seed, "training", SOURCES)
        self._prior_streams = Streams(seed, "training on the class", SOURCES)
        # Before the method changes anything: the base model draws its own class.
        of_class = prior.class_images(base, concept.class_noun, method.prior) if method.prior else []
        before = copy.copy(base)  # keeps its tokenizer, which the method may replace
        try:
            method.attach(base, concept, torch.Generator().manual_seed(derived_seed(seed, "initial values")))
            if method.vectors_in_captions:
                check_captions(method, concept, before, base)
            captions = [template.format(method.phrase_for(concept)) for template in method.templates]
            keeps_text = not method.trains_text
            self._source = InputSource(base, concept.decode(), captions, method.augmentation, keeps_text=keeps_text)
            self._prior_source = self._source_of_class(of_class, keeps_text) if method.prior else None
            self.batches = self._draw_batches(fixed_batch, stratified_batch, held_out, captions)
            self.fixed_batch = self.batches.get(PAPER)
            groups = method.parameter_groups()
            self._parameters = [parameter for group in groups for parameter in group["params"]]
            # One kernel for all: the default builds lists of temporaries as large as what trains.
            self._optimizer = torch.optim.AdamW(groups, fused=base.device.type == "cuda")
            further = {STRATIFIED: stratified_batch, HELD_OUT: held_out}
            recorded = {name: settings.every for name, settings in further.items() if settings}
            self.initial_losses, self._evaluator = self._begin_evaluation(l_det_schedule, recorded)
        except BaseException:
            method.detach()
            raise
        # Gradients that pass through float16 would vanish; the other precisions have float32's range.
        self._scaler = torch.amp.GradScaler(base.device.type, enabled=base.dtype == torch.float16)

    def _source_of_class(self, images: Sequence[Image.Image], keeps_text: bool) -> InputSource:
        augmentation = Augmentation(self.method.flip_probability)
        captions = [prior.caption(self.concept.class_noun)]
        return InputSource(self.base, images, captions, augmentation, keeps_text=keeps_text)

    def _draw_batches(
        self,
        papers: FixedBatchSettings | None,
        stratified: StratifiedBatchSettings | None,
        held_out: HeldOutSettings | None,
        captions: Sequence[str],
    ) -> dict[str, FixedBatch]:
        batches = {}
        if papers:
            batches[PAPER] = FixedBatch.papers(self._source, papers)
        if stratified:
            batches[STRATIFIED] = FixedBatch.stratified(self._source, stratified, STRATIFIED)
        if held_out:
            if not self.concept.held_out:
                raise InvalidInput(f"concept {self.concept.name!r} has no held-out images; see held_out.images")
            images, augmentation = self.concept.decode_held_out(), self.method.augmentation
            keeps_text = not self.method.trains_text
            source = InputSource(self.base, images, captions, augmentation, keeps_text=keeps_text)
            batches[HELD_OUT] = FixedBatch.stratified(source, held_out, HELD_OUT)
        return batches

    def _begin_evaluation(
        self, schedule: LDetSchedule, recorded: Mapping[str, int]
    ) -> tuple[tuple[float, ...], LDetEvaluator | None]:
        """Return the loss of every input before the first step, the base model's, and what evaluates L_det."""
        if not self.batches:
            return (), None
        losses = torch.cat([batch.losses(self.base, self.method) for batch in self.batches.values()])
        return tuple(losses.tolist()), LDetEvaluator(self.batches, schedule, losses, recorded)

    def l_det_costs(self) -> dict[str, dict[str, float]]:
        """Measure what an evaluation takes now, which changes nothing: seconds by batch and number of inputs.

        Each is the median of `COST_MEASUREMENTS` evaluations: of 1, 2 and 4 inputs of the paper's batch, and of one
        pass of other batches, which take as many passes as inputs need. All of the paper's are timed after every step.
        """
        return {name: self._costs_of(batch) for name, batch in self.batches.items()}

    def _costs_of(self, batch: FixedBatch) -> dict[str, float]:
        counts = [count for count in COST_COUNTS if count < len(batch)] if batch.name == PAPER else [PASS]
        return {str(count): self._seconds_of(batch, count) for count in counts}

    def _seconds_of(self, batch: FixedBatch, count: int) -> float:
        seconds = []
        for _ in range(COST_MEASUREMENTS):
            start = self._clock()
            batch.losses(self.base, self.method, [index % len(batch) for index in range(count)])
            seconds.append(self._clock() - start)
        return median(seconds)

    def step(self) -> StepRow:
        """Take an optimizer step, then measure L_det if it is due.

        Raises:
            NonFiniteLossError: a loss is NaN or infinite.
        """
        start = self._clock()
        train_loss, grad_norm = self._update()
        self.steps_done += 1
        trained = self._clock()
        l_det, losses, measured = self._measure()
        row = StepRow(
            step=self.steps_done,
            l_det=l_det,
            train_loss=train_loss,
            grad_norm=grad_norm,
            seconds=trained - start,
            l_det_seconds=measured - trained,
            input_losses=losses,
        )
        self._check_finite("L_det", row.l_det)
        self._check_finite("the training loss", row.train_loss)
        return row

    def _measure(self) -> tuple[float | None, tuple[float, ...], float]:
        """Evaluate what is due; return L_det, all losses, and when L_det was there, before what is only recorded."""
        if self._evaluator is None:
            return None, (), self._clock()
        l_det, losses = self._evaluator.measure(self.base, self.method, self.steps_done)
        measured = self._clock()
        self._evaluator.record(self.base, self.method, self.steps_done, losses)
        return l_det, tuple(losses.tolist()), measured

    def _update(self) -> tuple[float, float]:
        self._optimizer.zero_grad(set_to_none=True)  # first, so that gradients do not lie beside the activations
        parts = self._draw()
        loss = sum(self._backward(part, len(parts)) for part in parts)
        self._scaler.unscale_(self._optimizer)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        grad_norm = torch.nn.utils.get_total_norm(gradients)
        if self.method.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.method.max_grad_norm, grad_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss, grad_norm.item()

    def _backward(self, inputs: Inputs, parts: int) -> float:
        """Accumulate a part's share of the gradient, and return its share of the loss."""
        loss = self.method.loss(self.base, inputs) / parts
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _draw(self) -> list[Inputs]:
        """Draw a batch, in the parts that each go through the model at once."""
        size = self.method.batch_size
        inputs = self._source.draw_training(size, self._streams)
        if self._prior_source is not None:
            inputs = join(inputs, self._prior_source.draw_training(size, self._prior_streams))
        return split(inputs, self.method.micro_batch) if self.method.micro_batch else [inputs]

    def _check_finite(self, name: str, value: float | None) -> None:
        if value is not None and not math.isfinite(value):
            raise NonFiniteLossError(
                f"concept {self.concept.name!r}: {name} became {value} at step {self.steps_done}; "
                "lower the learning rate or train in a wider precision"
            )

    def _clock(self) -> float:
        if self.base.device.type == "cuda":  # kernels run asynchronously: their time would count for the next part
            torch.cuda.synchronize(self.base.device)
        return time.perf_counter()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the exact state, on the CPU: what trains, the optimizer, every random stream and the position."""
        moments = self._optimizer.state_dict()["state"]
        state = grouped(
            method=self.method.state_dict(),
            stream=self._streams.state_dict(),
            class_stream=self._prior_streams.state_dict(),
            scaler={name: torch.tensor(value) for name, value in self._scaler.state_dict().items()},
            optimizer=grouped(**{str(index): of_parameter for index, of_parameter in moments.items()}),
        )
        state["steps_done"] = torch.tensor(self.steps_done)
        if self._evaluator and self._evaluator.remembers:
            state["latest_losses"] = self._evaluator.latest
        # Beside the weights of a whole U-Net and their moments, a GPU has no room for copies of them.
        return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state that `state_dict` returned, of a training with the same arguments.

        Raises:
            KeyError: the state lacks a tensor.
        """
        self.steps_done = int(state["steps_done"])
        self.method.load_state_dict(part(state, "method"))
        self._streams.load_state_dict(part(state, "stream"))
        self._prior_streams.load_state_dict(part(state, "class_stream"))
        if self._evaluator and self._evaluator.remembers:
            self._evaluator.latest = state["latest_losses"].clone()
        self._scaler.load_state_dict({name: value.item() for name, value in part(state, "scaler").items()})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in part(state, "optimizer").items():
            index, moment = name.split(".", 1)
            moments.setdefault(int(index), {})[moment] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def __enter__(self) -> "Training":
        """Return the training itself, which is closed at the end of the block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the training, whether or not an error ended the block."""
        self.close()

    def close(self) -> None:
        """Detach the method: the base model is bit for bit what it was before this training."""
        self.method.detach()
