"""Packs of recordings: what is written is read, compact ones stop at the same steps, damage is named."""

import dataclasses
import json

import numpy as np
import pytest

from orchestrator.criteria.dvar import first_stops
from orchestrator.recordings.pack import read_pack, write_pack
from trainables.errors import InvalidInput


@pytest.fixture
def recordings(make_recording):
    return [make_recording(name, 300, rate=20 + 10 * i, seed=i) for i, name in enumerate("cab")]


def same(a, b):
    """Bit for bit."""
    arrays = [(getattr(a.steps, f.name), getattr(b.steps, f.name)) for f in dataclasses.fields(a.steps)]
    arrays += [(a.quality.steps, b.quality.steps), (a.quality.seconds, b.quality.seconds)]
    times = (a.quality.samples_seconds, b.quality.samples_seconds)
    arrays += [(times[0][name], times[1][name]) for name in times[0] | times[1]]
    arrays += [(a.quality.scores[name], b.quality.scores[name]) for name in a.quality.scores | b.quality.scores]
    plain = (a.key, a.identity, a.facts, a.state, a.reason) == (b.key, b.identity, b.facts, b.state, b.reason)
    return plain and all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in arrays)


def test_a_whole_pack_is_exact_and_sorted(recordings, tmp_path):
    write_pack(recordings, tmp_path / "x.parquet", compact=False)
    unpacked = read_pack(tmp_path / "x.parquet")
    assert [recording.concept for recording in unpacked] == ["a", "b", "c"]
    originals = {recording.key: recording for recording in recordings}
    assert all(same(recording, originals[recording.key]) for recording in unpacked)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_compact_pack_is_small_and_stops_at_the_same_steps(recordings, tmp_path):
    for name, compact in (("small", True), ("whole", False)):
        write_pack(recordings, tmp_path / name, compact=compact)
    assert (tmp_path / "small").stat().st_size < 0.6 * (tmp_path / "whole").stat().st_size
    originals = {recording.key: recording for recording in recordings}
    for recording in read_pack(tmp_path / "small"):
        original = originals[recording.key]
        assert np.allclose(recording.steps.l_det, original.steps.l_det, rtol=1e-7)
        grid = [8, 20, 60, 200], [0.05, 0.15, 0.5, 0.9]
        assert np.array_equal(first_stops(recording.steps.l_det, *grid), first_stops(original.steps.l_det, *grid))


@pytest.fixture
def of_two_batches(recordings):
    """Of single precision, as measured; the second batch was evaluated at every other step."""
    losses = np.random.default_rng(0).random((300, 5)).astype(np.float32).astype(np.float64)
    losses[::2, 3:] = np.nan
    inputs = [{"timestep": 9 * i} | ({"batch": "stratified"} if i > 2 else {}) for i in range(5)]
    papers = np.ascontiguousarray(losses[:, :3]).mean(axis=1)
    return dataclasses.replace(
        recordings[0],
        facts={"fixed_inputs": inputs, "initial_losses": [1.0] * 5},
        steps=dataclasses.replace(recordings[0].steps, input_losses=losses, l_det=papers),
        quality=dataclasses.replace(recordings[0].quality, repeated_scores={"train_clip_image": np.array([0.5, 0.25])}),
    )


@pytest.mark.parametrize("compact", [True, False])
def test_every_batch_and_repeated_scores_are_packed(of_two_batches, tmp_path, compact):
    write_pack([of_two_batches], tmp_path / "x", compact=compact)
    (unpacked,) = read_pack(tmp_path / "x")
    np.testing.assert_array_equal(unpacked.steps.input_losses, of_two_batches.steps.input_losses)
    assert unpacked.steps.l_det.tolist() == of_two_batches.steps.l_det.tolist()
    assert unpacked.quality.repeated_scores["train_clip_image"].tolist() == [0.5, 0.25]
    assert unpacked.inputs == of_two_batches.inputs
    assert unpacked.inputs.of("stratified") == [3, 4]


def test_a_pack_whose_papers_losses_are_missing(of_two_batches, tmp_path):
    losses = of_two_batches.steps.input_losses[:, ::-1]
    steps = dataclasses.replace(of_two_batches.steps, input_losses=np.ascontiguousarray(losses))
    write_pack([dataclasses.replace(of_two_batches, steps=steps)], tmp_path / "x")
    with pytest.raises(InvalidInput, match="L_det is not finite at every step"):
        read_pack(tmp_path / "x")


def test_what_cannot_be_packed(recordings, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(InvalidInput, match="no recordings to pack"):
        write_pack([], path)
    with pytest.raises(InvalidInput, match="is failed, not complete"):
        write_pack([dataclasses.replace(recordings[0], state="failed")], path)
    with pytest.raises(InvalidInput, match="is given twice"):
        write_pack([recordings[0], recordings[1], recordings[0]], path)
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_pack(recordings, tmp_path / "nowhere" / "x")
    assert not list(tmp_path.iterdir())


def test_damage_is_named_wherever_it_changes_anything(recordings, tmp_path):
    path = tmp_path / "x.parquet"
    write_pack(recordings, path)
    content, originals = path.read_bytes(), read_pack(path)
    rng, messages = np.random.default_rng(0), []
    for position in rng.integers(len(content), size=60):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            unpacked = read_pack(path)
        except InvalidInput as error:
            messages.append(str(error))
        else:
            assert all(same(a, b) for a, b in zip(unpacked, originals, strict=True))
    assert len(messages) > 20
    assert all("x.parquet is" in message and "damaged" in message for message in messages)


def test_no_pack_and_another_format(tmp_path, recordings, monkeypatch):
    with pytest.raises(InvalidInput, match="there is no pack of recordings at"):
        read_pack(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidInput, match="is no pack of recordings"):
        read_pack(tmp_path / "text")
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.recordings.pack.FORMAT", 2)
        write_pack(recordings, tmp_path / "later")
    with pytest.raises(InvalidInput, match=r"has format 2, .* reads 1"):
        read_pack(tmp_path / "later")


def test_a_pack_of_an_earlier_version(recordings, tmp_path, monkeypatch):
    """Without the seconds of each kind of samples."""
    from orchestrator.recordings import pack

    write_pack(recordings, tmp_path / "new.parquet")
    row = pack._row

    def older(recording, compact):
        fields = row(recording, compact)
        quality = json.loads(fields["quality"])
        del quality["samples_seconds"]
        return fields | {"quality": json.dumps(quality)}

    monkeypatch.setattr(pack, "_row", older)
    write_pack(recordings, tmp_path / "old.parquet")
    assert all(
        same(a, b) for a, b in zip(*map(read_pack, [tmp_path / "new.parquet", tmp_path / "old.parquet"]), strict=True)
    )
