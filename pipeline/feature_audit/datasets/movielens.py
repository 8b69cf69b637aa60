"""A feature table for recommendation from MovieLens in RecBole's atomic files: an example of a ``prepare`` function.

Every feature of the past uses only *strictly earlier* interactions. Rows of the same second are excluded too, because
ratings arrive in bursts and their order within a second is unknown. All sums are sums of integers, so that the table
is bit-identical on every run. Source tables by prefix:

========  =====================================================================================================
user      the user: profile, number and mean of earlier ratings, per window and per genre
item      the item: year, genres, number and mean of earlier ratings
hist      the user with this kind of item: earlier ratings by the item's genres, decade and demographic group
ctx       the context: clock time, and earlier traffic and ratings of the whole site
========  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from feature_audit.data.reading.recbole import companions, read_table
from feature_audit.errors import AuditError

GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_HOUR, _DAY = 3_600, 86_400
#: Window name -> seconds before the row; None = all of the past.
WINDOWS: dict[str, int | None] = {"1h": _HOUR, "1d": _DAY, "7d": 7 * _DAY, "30d": 30 * _DAY, "all": None}
_LONG: dict[str, int | None] = {"30d": 30 * _DAY, "all": None}
_TIME = "_time"
_LIKED_FROM = 4
#: Shrinkage: a mean over n past ratings counts as n + 5 ratings, 5 of them at the site's past mean.
_WEIGHT = 5
_START_MEAN, _START_LIKED = 3.5, 0.5
_RECENT = 20


def build(path: str) -> pl.LazyFrame:
    """The feature table, one row per rating, in time order.

    Args:
        path: the ``.inter`` file (user_id, item_id, rating, timestamp in seconds), its ``.user`` (age, gender,
            occupation, zip_code) and ``.item`` (movie_title, release_year, class) in the same folder.

    Returns:
        user_id, item_id (String), rating (Int64), timestamp (Datetime), then the features, each named after its
        source table. Without earlier rows, a count is 0, a mean is the site's mean, a spread or an age is null.

    Raises:
        AuditError: a file or column is missing.
    """
    events = _read_events(Path(path))
    table = _add_site_past(events)
    for prefix, key in (("user", "user_id"), ("item", "item_id")):
        table = _add_past(table, events, prefix, [key], WINDOWS)
        table = _add_recency(table, events, prefix, key)
    for name in ("gender", "age_band", "occupation"):
        table = _add_past(table, events, f"hist_item_{name}", ["item_id", name], {"all": None})
    table = _add_past(table, events, "hist_user_decade", ["user_id", "decade"], _LONG)
    table = _add_genre_past(table, events)
    table = _add_recent_items(table, events)
    table = table.with_columns(_plain_features()).with_columns(_contrasts())
    features = [name for name in table.columns if name.startswith(("user_", "item_", "hist_", "ctx_"))]
    keys = ["user_id", "item_id", "rating"]
    return table.select(
        *keys,
        pl.from_epoch(_TIME, time_unit="s").alias("timestamp"),
        *(name for name in features if name not in keys),
    ).lazy()


def _read_events(inter: Path) -> pl.DataFrame:
    """Ratings in time order with the attributes of their user and item."""
    files = {"inter": inter, **companions(inter)}
    needed = {
        "inter": ("user_id", "item_id", "rating", "timestamp"),
        "user": ("user_id", "age", "gender", "occupation", "zip_code"),
        "item": ("item_id", "movie_title", "release_year", "class"),
    }
    tables = {}
    for name, columns in needed.items():
        if not files[name].is_file():
            raise AuditError(
                f"data={inter}: {files[name].name} is missing from its folder; MovieLens features need all three files"
            )
        tables[name] = read_table(files[name]).collect()
        lacking = [column for column in columns if column not in tables[name].columns]
        if lacking:
            raise AuditError(
                f"data={files[name]}: no column {lacking[0]}; MovieLens features need {', '.join(columns)}"
            )
    year = pl.col("release_year").cast(pl.Int64, strict=False)
    item = tables["item"].with_columns(
        year.alias("year"), (year // 10 * 10).alias("decade"), *(_has_genre(genre) for genre in GENRES)
    )
    user = (
        tables["user"]
        .with_columns(pl.col("age").cast(pl.Int64, strict=False))
        .with_columns((pl.col("age") // 10 * 10).alias("age_band"))
    )
    rating = pl.col("rating").cast(pl.Int64)
    events = tables["inter"].with_columns(rating, pl.col("timestamp").cast(pl.Int64).alias(_TIME))
    events = events.join(user, on="user_id", how="left").join(item, on="item_id", how="left")
    return events.sort(_TIME, "user_id", "item_id", maintain_order=True).with_columns(
        pl.lit(1).alias("count"),
        (rating >= _LIKED_FROM).cast(pl.Int64).alias("liked"),
        (rating**2).alias("square"),
        *(pl.col(_flag(genre)).alias(f"count_{_slug(genre)}") for genre in GENRES),
        *((pl.col(_flag(genre)) * rating).alias(f"sum_{_slug(genre)}") for genre in GENRES),
    )


def _slug(genre: str) -> str:
    return genre.lower().replace("'", "").replace("-", "_")


def _flag(genre: str) -> str:
    return f"item_is_{_slug(genre)}"


def _has_genre(genre: str) -> pl.Expr:
    return pl.col("class").list.contains(genre).fill_null(False).cast(pl.Int64).alias(_flag(genre))


def past_sums(
    events: pl.DataFrame, keys: Sequence[str], measures: Sequence[str], windows: Mapping[str, int | None]
) -> pl.DataFrame:
    """Sums over each key's strictly earlier rows.

    Args:
        events: rows with the keys, the measures (integers) and the time in seconds.
        keys: columns that identify a shared past; empty = all rows.
        measures: columns to add up.
        windows: window name -> its length in seconds, or None for all of the past.

    Returns:
        One row per key and second: keys, time, and ``<measure>__<window>`` (Int64).
    """
    keys = list(keys) or ["_all"]
    if keys == ["_all"]:
        events = events.with_columns(pl.lit(0).alias("_all"))
    seconds = events.group_by(*keys, _TIME).agg(pl.col(*measures).sum()).sort(*keys, _TIME)
    result = seconds.select(*keys, _TIME)
    for window, length in windows.items():
        names = [pl.col(measure).alias(f"{measure}__{window}") for measure in measures]
        if length is None:
            sums = seconds.select((column.cum_sum() - column).over(keys) for column in names)
        else:
            rolled = seconds.rolling(_TIME, period=f"{length}i", closed="left", group_by=keys)
            sums = rolled.agg(column.sum() for column in names).sort(*keys, _TIME).drop(*keys, _TIME)
        result = result.hstack(sums)
    return result


def _join(table: pl.DataFrame, past: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    on = [*keys, _TIME]
    return table.join(past, on=on, how="left", maintain_order="left", nulls_equal=True)


def _shrunk(total: str, count: str, prior: str) -> pl.Expr:
    return (pl.col(total) + _WEIGHT * pl.col(prior)) / (pl.col(count) + _WEIGHT)


def _add_site_past(events: pl.DataFrame) -> pl.DataFrame:
    """Earlier traffic and ratings of all users; these means are the priors of all other means."""
    windows = {name: WINDOWS[name] for name in ("1h", "1d", "7d", "all")}
    past = past_sums(events, [], ["count", "rating", "liked"], windows).drop("_all")
    genres = [f"{kind}_{_slug(genre)}" for kind in ("count", "sum") for genre in GENRES]
    past = past.hstack(past_sums(events, [], genres, {"7d": 7 * _DAY}).drop("_all", _TIME))
    table = _join(events, past, []).with_columns(
        _prior("rating__all", _START_MEAN).alias("_mean"), _prior("liked__all", _START_LIKED).alias("_liked")
    )
    made = [pl.col(f"count__{window}").alias(f"ctx_site_count_{window}") for window in windows]
    made += [
        _shrunk(f"rating__{window}", f"count__{window}", "_mean").alias(f"ctx_site_mean_{window}") for window in windows
    ]
    for genre in map(_slug, GENRES):
        share = pl.col(f"count_{genre}__7d") / pl.max_horizontal("count__7d", 1)
        mean = _shrunk(f"sum_{genre}__7d", f"count_{genre}__7d", "_mean")
        made += [share.alias(f"ctx_{genre}_share_7d"), mean.alias(f"ctx_{genre}_mean_7d")]
    return table.with_columns(made).select(pl.exclude("^.*__.*$"))


def _prior(total: str, start: float) -> pl.Expr:
    """The site's mean so far, shrunk towards ``start`` while there are few ratings."""
    return (pl.col(total) + 100 * start) / (pl.col("count__all") + 100)


def _add_past(
    table: pl.DataFrame, events: pl.DataFrame, prefix: str, keys: Sequence[str], windows: Mapping[str, int | None]
) -> pl.DataFrame:
    """Count, shrunk mean rating and shrunk share of liked per window; spread over all of the past."""
    past = past_sums(events, keys, ["count", "rating", "liked", "square"], windows)
    table = _join(table, past, keys)
    made = []
    for window in windows:
        count = f"count__{window}"
        made += [
            pl.col(count).alias(f"{prefix}_count_{window}"),
            _shrunk(f"rating__{window}", count, "_mean").alias(f"{prefix}_mean_{window}"),
            _shrunk(f"liked__{window}", count, "_liked").alias(f"{prefix}_liked_{window}"),
        ]
    mean = pl.col("rating__all") / pl.col("count__all")
    variance = pl.col("square__all") / pl.col("count__all") - mean**2
    spread = pl.when(pl.col("count__all") > 1).then(variance.clip(lower_bound=0).sqrt())
    return table.with_columns(*made, spread.alias(f"{prefix}_spread_all")).select(pl.exclude("^.*__.*$"))


def _add_recency(table: pl.DataFrame, events: pl.DataFrame, prefix: str, key: str) -> pl.DataFrame:
    """Seconds since the key's latest and first earlier rating, and the mean rating of that latest second."""
    seconds = events.group_by(key, _TIME).agg(pl.col("rating").mean()).sort(key, _TIME)
    first, last = pl.col(_TIME).first().over(key), pl.col(_TIME).shift().over(key)
    past = seconds.select(
        key,
        _TIME,
        (pl.col(_TIME) - last).alias(f"{prefix}_seconds_since_last"),
        pl.when(last.is_not_null()).then(pl.col(_TIME) - first).alias(f"{prefix}_seconds_since_first"),
        pl.col("rating").shift().over(key).alias(f"{prefix}_last_rating"),
    )
    return _join(table, past, [key])


def _add_genre_past(table: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The user's ratings per genre, and their match with the genres of this item."""
    slugs = [_slug(genre) for genre in GENRES]
    measures = [f"{kind}_{genre}" for kind in ("count", "sum") for genre in slugs]
    past = past_sums(events, ["user_id"], [*measures, "count"], _LONG)
    table = _join(table, past, ["user_id"])
    made = []
    for window in _LONG:
        seen = pl.max_horizontal(f"count__{window}", 1)
        counts = {genre: pl.col(f"count_{genre}__{window}") for genre in slugs}
        means = {genre: _shrunk(f"sum_{genre}__{window}", f"count_{genre}__{window}", "_mean") for genre in slugs}
        for genre in slugs:
            made.append((counts[genre] / seen).alias(f"user_{genre}_share_{window}"))
            made.append(means[genre].alias(f"user_{genre}_mean_{window}"))
        flags = {genre: pl.col(f"item_is_{genre}") for genre in slugs}
        matched = pl.sum_horizontal(flags[genre] * counts[genre] for genre in slugs)
        rated = pl.sum_horizontal(flags[genre] * pl.col(f"sum_{genre}__{window}") for genre in slugs)
        inside = [pl.when(flags[genre] == 1).then(means[genre]) for genre in slugs]
        made += [
            matched.alias(f"hist_genre_count_{window}"),
            (matched / seen).alias(f"hist_genre_share_{window}"),
            ((rated + _WEIGHT * pl.col("_mean")) / (matched + _WEIGHT)).alias(f"hist_genre_mean_{window}"),
            pl.max_horizontal(inside).alias(f"hist_genre_best_{window}"),
            pl.min_horizontal(inside).alias(f"hist_genre_worst_{window}"),
        ]
    return table.with_columns(made).select(pl.exclude("^.*__.*$"))


def _add_recent_items(table: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The user's last items of the past week, oldest first, as a list."""
    seconds = events.group_by("user_id", _TIME).agg("item_id").sort("user_id", _TIME)
    rolled = seconds.rolling(_TIME, period=f"{7 * _DAY}i", closed="left", group_by="user_id").agg(
        pl.col("item_id").explode(empty_as_null=False).tail(_RECENT).alias("hist_recent_items")
    )
    return _join(table, rolled, ["user_id"])


def _plain_features() -> list[pl.Expr]:
    """Features that need no past: profile, film, clock time."""
    moment = pl.from_epoch(_TIME, time_unit="s")
    words = pl.col("movie_title")
    title = words.list.join(" ")
    released = moment.dt.year() - pl.col("year")
    return [
        pl.col("age").alias("user_age"),
        pl.col("gender").alias("user_gender"),
        pl.col("occupation").alias("user_occupation"),
        pl.col("zip_code").alias("user_zip"),
        pl.col("zip_code").str.head(1).alias("user_zip_region"),
        pl.col("year").alias("item_year"),
        pl.col("decade").alias("item_decade"),
        released.alias("item_years_since_release"),
        pl.col("class").alias("item_genres"),
        pl.col("class").list.len().alias("item_n_genres"),
        title.str.len_chars().alias("item_title_length"),
        words.list.len().alias("item_title_words"),
        title.str.contains(r"\d|\bI{2,}\b").alias("item_title_has_number"),
        moment.dt.hour().alias("ctx_hour"),
        moment.dt.weekday().alias("ctx_weekday"),
        (moment.dt.weekday() >= 6).alias("ctx_weekend"),
        moment.dt.month().alias("ctx_month"),
        (pl.col("age") - released).alias("hist_age_at_release"),
        pl.concat_str("gender", "age_band", separator="_").alias("user_gender_age"),
        pl.concat_str("occupation", "gender", separator="_").alias("user_occupation_gender"),
    ]


def _contrasts() -> list[pl.Expr]:
    """Differences between two past means."""
    pairs = {
        "hist_item_minus_user_mean": ("item_mean_all", "user_mean_all"),
        "hist_genre_minus_user_mean": ("hist_genre_mean_all", "user_mean_all"),
        "hist_decade_minus_user_mean": ("hist_user_decade_mean_all", "user_mean_all"),
        "hist_gender_minus_item_mean": ("hist_item_gender_mean_all", "item_mean_all"),
        "item_mean_trend_30d": ("item_mean_30d", "item_mean_all"),
        "user_mean_trend_1d": ("user_mean_1d", "user_mean_all"),
    }
    made = [(pl.col(first) - pl.col(second)).alias(name) for name, (first, second) in pairs.items()]
    for prefix in ("user", "item"):
        recent, ever = pl.col(f"{prefix}_count_7d"), pl.col(f"{prefix}_count_all")
        made.append((recent / pl.max_horizontal(ever, 1)).alias(f"{prefix}_recent_share"))
    return made
