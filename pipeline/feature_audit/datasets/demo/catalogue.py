"""Contents of the simulated log: families of columns, declared before any number is drawn.

A *family* is one hidden quantity and the columns that measure it: the first column is exact, the others are noisy
copies (estimates, buckets, older versions, other windows), as they accumulate in every feature store. A family with an
``effect`` influences the label, a family without one is noise. Both are named, sized and rendered by the same rules, so
that neither names nor marginal distributions distinguish them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Level = Literal["user", "item", "row"]
Kind = Literal["normal", "lognormal", "count", "share", "flag", "category", "windows"]
Effect = Literal["none", "linear", "bowl", "step", "hump", "wave", "levels"]

WINDOWS = ("90d", "30d", "7d", "1d")


@dataclass(frozen=True)
class Family:
    """One hidden quantity and the form of its columns.

    Attributes:
        name: name of the first column; a ``windows`` family appends the window.
        level: entity that has the quantity.
        kind: form of the first column.
        size: number of columns, including the first.
        effect: shape of the direct effect on the label's log-odds.
        strength: standard deviation of that effect over rows, in log-odds.
        cardinality: number of values of a category.
        nulls: share of nulls in the first column.
        drift: shift over the whole period of the log, in standard deviations of the quantity.
        source: index of the column that influences the label (``windows`` only; otherwise the first).
        unit: location, scale and decimals of the first column (for lognormal and count: median, and standard deviation
            of the logarithm); None = drawn at random.
    """

    name: str
    level: Level
    kind: Kind
    size: int
    effect: Effect = "none"
    strength: float = 0.0
    cardinality: int = 0
    nulls: float = 0.0
    drift: float = 0.0
    source: int = 0
    unit: tuple[float, float, int] | None = None

    @property
    def table(self) -> str:
        """Source table: the prefix of the name."""
        return self.name.split("_", 1)[0]


SIGNALS: tuple[Family, ...] = (
    Family("user_age", "user", "normal", 4, "bowl", 0.30, nulls=0.10, unit=(38, 11, 0)),
    Family("user_income", "user", "lognormal", 5, "hump", 0.32, nulls=0.15, unit=(2_600, 0.6, 0)),
    Family("user_tenure", "user", "lognormal", 4, "linear", 0.26, unit=(310, 1.1, 0)),
    Family("user_country", "user", "category", 4, "levels", 0.34, cardinality=60),
    Family("user_segment", "user", "category", 3, "levels", 0.24, cardinality=9),
    Family("user_channel", "user", "category", 3, "levels", 0.18, cardinality=24, nulls=0.05),
    Family("user_premium", "user", "flag", 4, "linear", 0.22),
    Family("user_price_sensitivity", "user", "share", 5),
    Family("user_novelty_seeking", "user", "normal", 4, unit=(0, 1, 3)),
    Family("user_session_depth", "user", "count", 4, "wave", 0.22, unit=(6, 0.8, 0)),
    Family("item_price", "item", "lognormal", 5, "linear", 0.28, unit=(32, 1.1, 2)),
    Family("item_age_days", "item", "lognormal", 4, "linear", 0.15, drift=0.3, unit=(120, 1.2, 1)),
    Family("item_rating", "item", "normal", 5, "step", 0.36, nulls=0.20, unit=(3.9, 0.5, 2)),
    Family("item_category", "item", "category", 4, "levels", 0.36, cardinality=45),
    Family("item_brand", "item", "category", 4, "levels", 0.30, cardinality=400),
    Family("item_seller", "item", "category", 3, "levels", 0.22, cardinality=1200),
    Family("item_stock", "item", "count", 4, "hump", 0.22, unit=(9, 1.0, 0)),
    Family("item_discount", "item", "share", 5, "linear", 0.34, nulls=0.30),
    Family("item_margin", "item", "normal", 4, "wave", 0.20, unit=(0.18, 0.07, 4)),
    Family("item_complexity", "item", "normal", 4, unit=(5, 1.6, 2)),
    Family("ctx_position", "row", "count", 3, "linear", 0.42, unit=(5, 0.9, 0)),
    Family("ctx_device", "row", "category", 4, "levels", 0.26, cardinality=6),
    Family("ctx_placement", "row", "category", 3, "levels", 0.28, cardinality=14),
    Family("ctx_query_length", "row", "count", 4, "bowl", 0.24, nulls=0.40, unit=(4, 0.7, 0)),
    Family("ctx_query_cluster", "row", "category", 4, "levels", 0.26, cardinality=150),
    Family("ctx_latency", "row", "lognormal", 5, "step", 0.26, drift=0.4, unit=(180, 0.8, 1)),
    Family("ctx_battery", "row", "share", 4),
    Family("ctx_session_minutes", "row", "lognormal", 4, "hump", 0.28, unit=(7, 1.0, 2)),
    Family("ctx_basket_value", "row", "lognormal", 4, "linear", 0.26, nulls=0.50, unit=(45, 1.2, 2)),
    Family("hist_item_views", "row", "windows", 4, "linear", 0.42, source=1),
    Family("hist_category_clicks", "row", "windows", 4, "linear", 0.34, source=0),
    Family("hist_brand_carts", "row", "windows", 4, "linear", 0.26, source=2),
    Family("hist_seller_orders", "row", "windows", 4, "hump", 0.24, source=0),
    Family("hist_item_skips", "row", "windows", 4, "linear", 0.28, source=1),
    Family("hist_days_since_order", "row", "lognormal", 4, "bowl", 0.28, nulls=0.25, unit=(12, 1.2, 2)),
    Family("hist_similarity", "row", "share", 5, "step", 0.36),
    Family("hist_dwell", "row", "lognormal", 4, unit=(24, 1.1, 1)),
    Family("hist_return_rate", "row", "share", 4, "linear", 0.20, nulls=0.35),
    Family("vec_text_match", "row", "normal", 5, "linear", 0.34, unit=(0.31, 0.14, 4)),
    Family("vec_image_match", "row", "normal", 4, "bowl", 0.24, drift=0.2, unit=(0.24, 0.1, 4)),
)

#: Effects of the product of two quantities; several of these families have no direct effect.
INTERACTIONS: tuple[tuple[str, str, float], ...] = (
    ("user_price_sensitivity", "item_price", 0.52),
    ("user_novelty_seeking", "item_age_days", 0.46),
    ("item_complexity", "hist_dwell", 0.46),
    ("ctx_battery", "ctx_session_minutes", 0.42),
    ("user_age", "item_rating", 0.32),
    ("item_discount", "hist_similarity", 0.30),
)

#: Share of a family's direct effect that remains at the end of the log.
FADING: dict[str, float] = {"item_discount": 0.5, "hist_category_clicks": 0.7, "ctx_placement": 0.6}

_NOISE_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "user": (
        ("orders", "refunds", "coupons", "reviews", "referrals", "newsletter", "payments", "visits", "support"),
        ("recency", "value", "trend", "type"),
    ),
    "item": (
        ("weight", "warranty", "supplier", "shipping", "listing", "photo", "title", "returns", "bundle"),
        ("score", "length", "class", "level"),
    ),
    "ctx": (
        ("network", "screen", "viewport", "referrer", "campaign", "weather", "locale", "experiment", "cache"),
        ("type", "size", "index", "load"),
    ),
    "hist": (
        ("wishlist", "search", "compare", "share", "gallery", "video", "question", "filter", "alert", "review"),
        ("opens", "count"),
    ),
    "vec": (("audio", "layout", "color", "topic", "style", "season"), ("pc1", "pc2", "pc3")),
}
_NOISE_FAMILIES = {"user": 19, "item": 19, "ctx": 28, "hist": 16, "vec": 16}
_KINDS: tuple[Kind, ...] = ("normal", "lognormal", "lognormal", "count", "share", "flag", "category", "category")
_CARDINALITIES = (2, 3, 7, 12, 20, 40, 80, 250, 900, 3000)


def noise_families(rng: np.random.Generator) -> list[Family]:
    """Families without any effect, with at least as many columns as the signals and their copies."""
    families = []
    for table, (nouns, aspects) in _NOISE_WORDS.items():
        names = [f"{table}_{noun}_{aspect}" for noun, aspect in product(nouns, aspects)]
        for name in rng.permutation(names)[: _NOISE_FAMILIES[table]]:
            families.append(_noise_family(str(name), table, rng))
    return families


def _noise_family(name: str, table: str, rng: np.random.Generator) -> Family:
    nulls = float(rng.choice([0.0, 0.0, 0.02, 0.1, 0.3, 0.6]))
    if table == "hist":
        return Family(name, "row", "windows", len(WINDOWS))
    levels: dict[str, Level] = {"user": "user", "item": "item"}
    return Family(
        name,
        levels.get(table, "row"),
        "normal" if table == "vec" else _KINDS[rng.integers(len(_KINDS))],
        int(rng.choice([1, 2, 2, 3])),
        cardinality=int(rng.choice(_CARDINALITIES)),
        nulls=nulls,
        drift=float(rng.choice([0.0, 0.0, 0.0, 0.4])),
    )
