"""The training and the validation part of a history, and a network's loss on the latter.

Legend: P positions, K base bars, B rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from streamcast.errors import HistoryError
from streamcast.models.network import Network
from streamcast.offline.training.highway import thinned
from streamcast.offline.training.sequences import Ints, Sequences
from streamcast.offline.training.streams import Chunk, Span, Streams, chunks, cut

PIECE = 1_024
CHUNK = 256
BLOCK = 2_048
MOST_EVALUATED = 20_000


def parts(seen: Sequences, validation: float) -> tuple[Ints, Ints]:
    """Return the positions to train on and to validate on; no training outcome lies in the validation's time.

    Bars after the last target are in neither, since nothing follows them.  Raises HistoryError when there is nothing to
    train on.
    """
    last = seen.cutoff_K[~np.isnan(seen.observed_K)].max(initial=np.iinfo(np.int64).min)
    answered = seen.answered()
    answered = answered[seen.cutoff_K[answered] <= last]
    if len(answered) == 0:
        raise HistoryError(
            f"no series has more than {seen.spec.warm_up} bars, the model's warm-up, so there is nothing to train on;"
            " give more history"
        )
    cutoffs = np.sort(seen.cutoff_K[answered])
    start = int(cutoffs[int(len(cutoffs) * (1.0 - validation))])
    ahead = seen.spec.horizon * seen.spec.series.freq
    train_P = answered[seen.cutoff_K[answered] + ahead <= start]
    validation_P = answered[seen.cutoff_K[answered] >= start]
    if len(train_P) == 0:
        raise HistoryError(
            f"no forecast of {seen.spec.horizon} bars ends before the validation part; give more history, or train with"
            " a shorter horizon"
        )
    return train_P, validation_P


def spans(seen: Sequences, at_P: Ints) -> list[Span]:
    """Return the first bar, first position and last position of every run with positions; ``at_P`` rises."""
    begins = seen.run_starts(at_P)
    firsts = np.flatnonzero(np.diff(begins, prepend=-1))
    lasts = np.append(firsts[1:], len(at_P)) - 1
    return [Span(int(begins[f]), int(at_P[f]), int(at_P[e])) for f, e in zip(firsts, lasts, strict=True)]


def scored(chunk: Chunk, eligible_K: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return the rows and positions of a chunk that are eligible and after their piece's burn-in."""
    rows, places = [], []
    for row, (first, count, start) in enumerate(zip(chunk.first_B, chunk.count_B, chunk.scored_B, strict=True)):
        begin = max(first, start)
        found = begin + np.flatnonzero(eligible_K[begin : first + count])
        rows.append(np.full(len(found), row))
        places.append(found)
    return np.concatenate(rows), np.concatenate(places)


def evaluate(network: Network, seen: Sequences, at_P: Ints, rows: int, burn_in: int) -> float:
    """Return the network's mean loss at positions, in ``rows`` streams that each start with ``burn_in`` bars."""
    network.eval()
    at_P = thinned(at_P, MOST_EVALUATED)
    eligible_K = np.zeros(len(seen), np.bool_)
    eligible_K[at_P] = True
    length = max(len(seen) // rows, PIECE)
    pieces = cut(spans(seen, at_P), length, burn_in, np.random.default_rng(0))
    rows = min(rows, len(pieces))
    streams = Streams(network, seen, rows)
    total = count = 0.0
    with torch.inference_mode():
        for chunk in chunks(pieces, rows, CHUNK):
            streams.advance(chunk)
            rows_P, chosen_P = scored(chunk, eligible_K)
            for first in range(0, len(chosen_P), BLOCK):
                block = slice(first, first + BLOCK)
                outcome = torch.from_numpy(seen.outcomes(chosen_P[block])).to(streams.device)
                weight = torch.from_numpy(seen.weight_K[chosen_P[block]]).to(streams.device)
                weighed = float((outcome.isfinite() * weight[:, None]).sum())
                forecast = network.distribution(*streams.recall(rows_P[block], chosen_P[block]))
                total += weighed * network.loss(forecast, outcome, weight).item()
                count += weighed
    return total / max(count, 1e-6)
