"""The selector benchmark: selectors x tables x K x seeds on one machine, the same net retrained on every selection.

    python benchmarks/selectors --results results.jsonl                          # every available table
    python benchmarks/selectors --results results.jsonl --budget full --tables santander --selectors ip_cae gradient
    python benchmarks/selectors --results results.jsonl --report                 # Markdown of the results so far
    python benchmarks/selectors --results results.jsonl --report --csv FILE      # and every retraining as a row

Protocol, the same for every selector:

* Rows are split 60 / 15 / 25, in time order where rows have a time (ml-100k, criteo-10k, demo), else at random with a
  fixed seed. Codes are fitted on train. Budget `small` takes at most 20,000 rows of a table and retrains one net per
  kept set; `full` takes all rows and retrains two; tables of few rows get twice as many.
* One full net is trained per table (seed 0, early stopping on validation). Every selector uses this net, train and
  validation rows, the library's defaults, and slots for 1.2 x the largest K. Rankers of the table use validation rows
  for early stopping, if they support it.
* One selection serves all K; selections are repeated with seeds 0, 1, 2. Rankers without randomness run once, LassoNet
  with one seed.
* Tuning: three trials for every selector that is trained (`arena/tuning.py`: the length of its training), with the
  first seed; the trial with the lowest validation loss of retrained nets, mean over K, is used for all seeds.
  `--trials 1` uses the defaults. LightGBM always chooses among three tree sizes.
* A selection is evaluated by nets retrained from scratch on the K kept fields (seeds 1, 2): test ROC AUC, or accuracy
  for more than two classes. Cells are medians over selection seeds, with the worst seed in brackets.
* `area`: mean over log K of the metric, scaled from no field (0) to the best net of the table, including the full one
  (1). `stability`: Nogueira's index over seeds, mean over K. `mean rank`: of medians, over K and then over tables.
  `CPU s` and `MiB` (peak increase of the process) are of one selection after tuning, without the full net's
  training and without retraining; the times of other selectors are only for ranking, those of ip_cae and cae include
  the fine-tuning that makes their K curve.
"""

from __future__ import annotations

import argparse
from typing import Any

from arena.case import Case
from arena.options import add_options, cases, open_results, print_report, show
from arena.report import arena_report
from arena.runner import Chosen, Method, is_done, run_table
from arena.tables import registry
from arena.tuning import DETERMINISTIC, ONE_SEED, trials
from concrete_selectors import SELECTORS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, tables=list(registry()))
    parser.add_argument("--selectors", nargs="+", default=list(SELECTORS), choices=SELECTORS, metavar="SELECTOR")
    parser.add_argument("--trials", type=int, default=3, help="settings tried per selector")
    options = parser.parse_args()
    if options.report:
        print_report(options, arena_report)
        return
    results = open_results(options)
    methods = {name: _method(name) for name in options.selectors}
    common = {"seeds": options.seeds, "deterministic": DETERMINISTIC, "one_seed": ONE_SEED}
    for case in cases(options, lambda table: is_done(table, methods, results, **common)):
        run_table(case, methods, results, trials=lambda name: trials(name, options.trials), **common)
    print()
    show(options, arena_report, results.find(), "This run and what its file of results held.")


def _method(selector: str) -> Method:
    def run(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
        return case.select(selector, case.settings(seed=seed, **changes))

    return run


if __name__ == "__main__":
    main()
