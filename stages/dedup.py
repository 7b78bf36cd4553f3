"""Drop exact and near-duplicate conversations and pairs, keeping one of each cluster.

    python -m stages.dedup

Exact: equal once case, white space and punctuation are gone. Near: Jaccard similarity of word n-grams at or over the
threshold, candidates found by MinHash-LSH (Broder 1997; Indyk and Motwani 1998) and each verified exactly. Semantic, if
asked for: what is left and means the same by sentence embeddings.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from stages.duplicates.dedup_params import DedupParams
from thumbwheel.command import run
from thumbwheel.lake import Pin, read_pinned, write_pin, write_table
from thumbwheel.params import load_params
from thumbwheel.records import CONVERSATION, PREFERENCE
from thumbwheel.settings import settings
from thumbwheel.tracking import stage_run

if TYPE_CHECKING:
    import numpy as np

    from stages.duplicates.dedup_history import History
    from stages.duplicates.folding import Documents

__all__ = ["DedupParams", "deduplicate", "main"]

log = logging.getLogger(__name__)

DROPPED = pa.schema(
    [
        ("id", pa.string()),
        ("table", pa.string()),
        ("keeper", pa.string()),
        ("cluster", pa.string()),
        ("reason", pa.string()),
        ("similarity", pa.float64()),
    ]
)
"""`cluster` is named by its keeper's id; `similarity` is the Jaccard similarity to the keeper, 1 where exact; of the
reason `semantic` it is the cosine."""

REASONS = ("exact", "near", "semantic")
EXACT, NEAR, SEMANTIC = range(3)


def deduplicate(
    table: pa.Table, documents_of: Callable[[pa.Table], Documents], params: DedupParams, history: History
) -> tuple[pa.Table, pa.Table]:
    """Return the rows that stay, by id, and what was dropped and for whom."""
    stays, dropped = verdicts(table, documents_of, params, history)
    return table.take(stays), dropped


def verdicts(
    table: pa.Table, documents_of: Callable[[pa.Table], Documents], params: DedupParams, history: History
) -> tuple[pa.Array, pa.Table]:
    """Return the numbers of the rows that stay, by id, and what was dropped and for whom.

    What stays depends neither on the order of the rows nor on what `history` has seen of them.
    """
    import numpy as np
    import pyarrow.compute as pc

    from stages.duplicates.documents import as_column

    documents = place(table, documents_of, history)
    clusters = history.clusters()[documents]
    keeper = keepers(table, clusters, params)
    cosines = None
    if params.semantic is not None:
        keeper, cosines = _keepers_by_meaning(table, documents_of, keeper, params, params.semantic)
    gone = np.flatnonzero(keeper != np.arange(table.num_rows))
    stays = as_column(np.delete(np.arange(table.num_rows), gone))
    stays = stays.take(pc.sort_indices(table["id"].take(stays)))
    reasons = np.where(documents[gone] == documents[keeper[gone]], EXACT, NEAR)
    reasons[clusters[gone] != clusters[keeper[gone]]] = SEMANTIC
    similarity = np.ones(len(gone))
    near = reasons == NEAR
    similarity[near] = history.similarities(documents[gone[near]], documents[keeper[gone[near]]])
    if cosines is not None:
        similarity[reasons == SEMANTIC] = cosines[gone[reasons == SEMANTIC]]
    return stays, _dropped(table, gone, keeper[gone], reasons, similarity)


def _keepers_by_meaning(
    table: pa.Table,
    documents_of: Callable[[pa.Table], Documents],
    keeper: np.ndarray,
    params: DedupParams,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row the row that stays once rows of one meaning are one cluster, and how near it is, by cosine.

    Only the rows that stay so far are embedded; a row that one of them stands for is as near as that one.
    """
    import numpy as np

    from stages.duplicates.clusters import forest, roots
    from stages.duplicates.dedup_semantic import meanings
    from stages.duplicates.documents import as_column

    stays, place = np.unique(keeper, return_inverse=True)
    said = meanings(documents_of(table.take(as_column(stays)).combine_chunks()))
    joined = roots(forest(len(stays), said.pairs(threshold)))
    after = keepers(table, joined[place], params)
    return after, said.cosines(place.tolist(), place[after].tolist())


def place(table: pa.Table, documents_of: Callable[[pa.Table], Documents], history: History) -> np.ndarray:
    """Return the document of each row, adding to `history` the rows it does not know.

    A history that holds what the table no longer has is begun anew: a row that is gone may have joined two clusters,
    and what was erased must not live on in a cache.
    """
    import numpy as np

    from stages.duplicates.dedup_history import id_keys
    from stages.duplicates.documents import as_column, fold_table

    ids = id_keys(table["id"], history.params.seed)
    documents = history.find(ids)
    if len(np.unique(documents[documents >= 0])) < history.size:
        history.forget()
        documents[:] = -1
    new = np.flatnonzero(documents < 0)
    fresh = table if len(new) == table.num_rows else table.take(as_column(new))
    documents[new] = history.add(ids[new], fold_table(fresh, documents_of))
    return documents


def keepers(table: pa.Table, clusters: np.ndarray, params: DedupParams) -> np.ndarray:
    """Return for each row the row of its cluster that stays: the best by the rules."""
    import numpy as np

    from stages.duplicates.keepers import order_rows

    _, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    contested = np.flatnonzero(sizes[cluster] > 1)
    ordered = contested[order_rows(table, contested, params.keep)]
    stays, best = np.unique(cluster[ordered], return_index=True)
    keeper = np.arange(table.num_rows)
    of_cluster = np.zeros(len(sizes), np.int64)
    of_cluster[stays] = ordered[best]
    keeper[contested] = of_cluster[cluster[contested]]
    return keeper


def _dropped(
    table: pa.Table, gone: np.ndarray, keeper: np.ndarray, reasons: np.ndarray, similarity: np.ndarray
) -> pa.Table:
    from stages.duplicates.documents import as_column, as_words

    kept = table["id"].take(as_column(keeper))
    why = as_words(REASONS).take(as_column(reasons))
    columns = [table["id"].take(as_column(gone)), kept, kept, why, as_column(similarity.round(6))]
    dropped = pa.Table.from_arrays(columns, ["id", "keeper", "cluster", "reason", "similarity"])
    return dropped.sort_by([(name, "ascending") for name in ("id", "keeper", "reason")])


@contextmanager
def history_of(name: str, params: DedupParams) -> Iterator[History]:
    """Open the history of a table, kept in the state folder from one turn to the next."""
    from stages.duplicates.dedup_history import kept_history

    folder = settings().state_dir / "dedup" / name
    with kept_history(folder, params.sketch, params.threshold, _linking(params)) as history:
        yield history


def _linking(params: DedupParams) -> Callable[..., History]:
    """Return how new documents are linked; where, and that changes no result."""
    from stages.duplicates.dedup_history import History
    from stages.duplicates.dedup_ray import RayHistory
    from stages.duplicates.dedup_redis import RedisHistory, open_shared

    if params.index == "redis":
        return partial(RedisHistory, open_shared(settings().redis_url, params.sketch, params.threshold))
    return RayHistory if os.environ.get("RAY_ADDRESS") else History


def main() -> None:
    """Deduplicate both tables of `ingest`; write what stays, what went, and the pin."""
    from stages.duplicates.documents import conversation_documents, preference_documents

    params = load_params("dedup", DedupParams)
    with stage_run("dedup", params) as tracked:
        tables, dropped = {}, []
        for name, documents_of, schema in (
            ("conversations", conversation_documents, CONVERSATION),
            ("preferences", preference_documents, PREFERENCE),
        ):
            rows = read_pinned("ingest", name)
            with history_of(name, params) as history:
                kept, gone = deduplicate(rows, documents_of, params, history)
            log.info("%s: %d of %d stay", name, kept.num_rows, rows.num_rows)
            tables[name] = write_table(f"dedup_{name}", kept.select(schema.names).cast(schema))
            dropped.append(gone.append_column("table", pa.repeat(name, gone.num_rows)).select(DROPPED.names))
        tables["dropped"] = write_table("dedup_dropped", pa.concat_tables(dropped).cast(DROPPED))
        rejections = Counter(f"{reason}_duplicate" for gone in dropped for reason in gone["reason"].to_pylist())
        tracked.metrics({**rejections, **{name: pin.rows for name, pin in tables.items()}})
        write_pin(Pin(stage="dedup", tables=tables, rejections=dict(sorted(rejections.items()))))


if __name__ == "__main__":
    run(main)
