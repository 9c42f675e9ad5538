"""Collections of recordings, wherever they are: in a storage, in a pack, or shipped with the program."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from orchestrator.config.experiment import Experiment
from orchestrator.config.split import choose_tuning, meant_for_tuning
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.format import quality_row, snapshot_name
from orchestrator.recordings.ownership import RecordingConflict
from orchestrator.recordings.pack import read_pack
from orchestrator.recordings.recording import Recording
from orchestrator.recordings.store import DamagedRecording
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.text import composed
from trainables.training.sinks import StepRow

Recordings = dict[str, list[Recording]]

BUILTIN = "builtin"
FOLDER = "recordings"


def open_store(place: str) -> RecordingStore:
    """Return the store of full-length recordings in a storage, given as a folder or URL."""
    return RecordingStore(Storage(place).at(FOLDER).url)


def read_place(place: str) -> list[Recording]:
    """Read every complete recording of a place, sorted by concept and key.

    Args:
        place: "builtin", a pack file, or the folder or URL of a storage.

    Raises:
        InvalidInput: there is no complete recording, or a recording is damaged.
    """
    if place == BUILTIN:
        return [recording for pack in _builtin_packs() for recording in read_pack(pack)]
    if (pack := _pack_file(place)) is not None:
        return read_pack(pack)
    recordings, damaged = scan_place(place)
    if damaged:
        raise InvalidInput(damaged[0].reason)
    if not recordings:
        raise no_recordings(place)
    return recordings


def scan_place(place: str) -> tuple[list[Recording], list[DamagedRecording]]:
    """Read every complete recording of a place that can be read, and say which cannot.

    Args:
        place: as in `read_place`; a damaged pack as a whole raises.

    Raises:
        InvalidInput: the place cannot be read.
    """
    if is_packed(place):
        return read_place(place), []
    store = open_store(place)
    scan = store.scan()
    recordings, damaged = [], scan.damaged
    for row in scan.summaries:
        if row.state == "complete":
            try:
                recordings.append(store.read(row.key))
            except InvalidInput as error:
                damaged.append(DamagedRecording(row.concept, str(error)))
    return sorted(recordings, key=lambda recording: (recording.concept, recording.key)), damaged


def no_recordings(place: str) -> InvalidInput:
    """Return the error for a storage without a complete recording."""
    return InvalidInput(f"there is no complete recording in {open_store(place).url}; make some with `dvar record`")


def is_packed(place: str) -> bool:
    """Whether a place is one or several packs rather than a storage."""
    return place == BUILTIN or _pack_file(place) is not None


def _pack_file(place: str) -> Path | None:
    path = Storage(place).path
    return path if path is not None and path.is_file() else None


def _builtin_packs() -> list[Path]:
    folder = Path(str(files("orchestrator") / "builtin"))
    packs = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    if not packs:
        raise InvalidInput("this version of the program comes without recordings; give a pack file or a storage")
    return packs


def pick(recordings: Sequence[Recording], keys: Sequence[str]) -> list[Recording]:
    """Return the recordings whose concept, or the beginning of whose key, is among `keys`.

    Raises:
        InvalidInput: a name matches no recording.
    """
    picked: dict[str, Recording] = {}
    for name in keys:
        concept = composed(name)
        fitting = [
            recording for recording in recordings if recording.concept == concept or recording.key.startswith(name)
        ]
        if not fitting:
            raise InvalidInput(f"no recording has the key or concept {name!r}; `dvar recordings list` shows them")
        picked |= {recording.key: recording for recording in fitting}
    return list(picked.values())


def for_tuning(experiment: Experiment, place: str) -> list[Recording]:
    """Return the recordings of the experiment's method and tuning concepts; see `split` for which concepts tune.

    Raises:
        InvalidInput: the method has no recording, has recordings on several base models but none on the experiment's,
            or a concept has no recording.
    """
    method, base = experiment.method.name, experiment.base_model.id
    groups = by_method(read_place(place), place, [method])
    group = groups.get(_label(method, base)) if len(groups) > 1 else next(iter(groups.values()))
    if group is None:
        raise InvalidInput(
            f"{place} has recordings of {', '.join(groups)}, but not of {method} on {base}; choose with --base-model"
        )
    return split(group, experiment.concepts.tuning, experiment.seed)[0]


def by_method(recordings: Sequence[Recording], place: str, names: Sequence[str] | None = None) -> Recordings:
    """Group recordings by method, and by base model if a method has recordings on several.

    Args:
        recordings: of any methods and models.
        place: where they are, for messages.
        names: of the methods to return, in order; None returns all.

    Returns:
        Recordings by method, or by "METHOD on MODEL".

    Raises:
        InvalidInput: a method has no recording.
    """
    by_base: dict[str, dict[str, list[Recording]]] = {}
    for recording in recordings:
        by_base.setdefault(recording.identity.method, {}).setdefault(recording.identity.base_model, []).append(
            recording
        )
    groups: Recordings = {}
    for name in sorted(by_base) if names is None else names:
        if name not in by_base:
            raise InvalidInput(f"{place} has no recording of the method {name!r}; it has: {', '.join(sorted(by_base))}")
        bases = by_base[name]
        groups |= {_label(name, base) if len(bases) > 1 else name: bases[base] for base in sorted(bases)}
    return groups


def _label(method: str, base: str) -> str:
    return f"{method} on {base}"


def split(
    recordings: Sequence[Recording], wanted: Sequence[str] | int | None, seed: int = 0
) -> tuple[list[Recording], list[Recording]]:
    """Divide the recordings of a method into those of the tuning concepts, and the others.

    Args:
        recordings: of a single method, at least one.
        wanted: names or number of the tuning concepts; None takes those that the miniature sets aside, else all.
        seed: of the choice if a number is given, as in `config.split`.

    Raises:
        InvalidInput: a name matches no recording, or there are fewer concepts than asked for.
    """
    names = sorted({recording.concept for recording in recordings})
    if isinstance(wanted, int):
        chosen: Sequence[str] = choose_tuning(names, wanted, seed)
    else:
        chosen = wanted or meant_for_tuning(names) or names
    tuning = [recording for recording in pick(recordings, chosen) if recording.concept in chosen]
    return tuning, [recording for recording in recordings if recording.concept not in chosen]


def take_in(recordings: Sequence[Recording], place: str) -> int:
    """Write recordings, without samples and adapters, into a storage; return the number of new recordings.

    Nothing is written unless all can be. What a killed import left unfinished, the next one writes anew.

    Raises:
        InvalidInput: the storage cannot be written, has a damaged recording or an unfinished recording of the same run,
            or another process imports the same.
    """
    store = open_store(place)
    store.check_writable()
    new = [recording for recording in recordings if _is_missing(store, recording)]
    for recording in new:
        try:
            _write(store, recording)
        except RecordingConflict as error:
            raise InvalidInput(f"{error}, or wait for it, then import again") from error
    return len(new)


def _is_missing(store: RecordingStore, recording: Recording) -> bool:
    state = store.state(recording.identity)
    if state in (None, "complete"):
        return state is None
    if not store.is_broken_import(recording.identity):
        raise InvalidInput(f"{store.folder(recording.identity)} is {state}; finish it with `dvar record`, or delete it")
    return True


def _write(store: RecordingStore, recording: Recording) -> None:
    quality = recording.quality
    recorder = store.recorder(recording.identity, is_import=True)
    recorder.started(recording.facts)
    parts, repeated = quality.samples_seconds or {"all": quality.seconds}, quality.repeated_scores
    snapshots = [
        quality_row(
            int(step),
            {name: float(values[index]) for name, values in quality.scores.items()},
            {name: float(values[index]) for name, values in parts.items()},
            snapshot_name(int(step)),
            {},
            {name: values.tolist() for name, values in repeated.items()} if step == quality.steps[-1] else {},
        )
        for index, step in enumerate(quality.steps)
    ]
    recorder.imported([_step_row(recording, step) for step in range(1, len(recording.steps) + 1)], snapshots)
    recorder.ended("complete", recording.reason)


def _step_row(recording: Recording, step: int) -> StepRow:
    table, row = recording.steps, step - 1
    return StepRow(
        step=step,
        l_det=float(table.l_det[row]),
        train_loss=float(table.train_loss[row]),
        grad_norm=float(table.grad_norm[row]),
        seconds=float(table.seconds[row]),
        l_det_seconds=float(table.l_det_seconds[row]),
        input_losses=tuple(table.input_losses[row].tolist()),
    )
