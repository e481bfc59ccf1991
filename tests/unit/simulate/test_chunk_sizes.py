"""Chunks are whole tiles, and tiles whole runs, whatever the number of spins and the memory."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrisim.simulate._chunks import chunk_size, tile_size


@settings(max_examples=300, deadline=None)
@given(n=st.integers(1, 2_000_000), largest=st.sampled_from([64, 512, 2048, 4096, 32768]), run=st.integers(1, 64))
@example(n=180_000, largest=32768, run=9)
def test_a_chunk_is_whole_tiles_of_whole_runs(n, largest, run):
    size = chunk_size(n, largest, run)
    tile = tile_size(size, run)
    assert size % tile == 0
    assert tile % run == 0
    assert tile % 64 == 0
    assert size <= max(largest, 64 * run)  # a tile of one run at least
