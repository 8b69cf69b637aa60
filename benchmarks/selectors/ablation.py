"""Contribution of each part of the method: the full method without one part, evaluated in the selector benchmark.

    python benchmarks/selectors/ablation.py --results ablation.jsonl
    python benchmarks/selectors/ablation.py --results ablation.jsonl --report --csv FILE

Protocol, splits, nets and budgets are those of `python benchmarks/selectors --help`; all settings are the library's
defaults. The variants:

* zero instead of mean replacement: a closed gate feeds zero, as in the papers, instead of the field's mean embedding.
* one noise mask per batch, instead of one per share of its rows.
* labels only: the surrogate is not trained on the net's predictions, and removals are judged only by labels.
* no warm start: the concrete training starts from an untrained net, and lasts as long as with a trained one.
* no elimination, order of scores: one training; its candidates by the expected number of slots that choose them.
* no elimination, one training per K: as many slots as K each time; their assignment is the result. Costs one training
  for every K.
* no concrete training: the fields with the largest mean |dLoss/dgate| of the trained net enter the elimination.
* none of them: untrained net, zeros, one mask per batch, one training per K, no elimination.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from arena.options import add_options, cases, open_results, print_report, show
from arena.report import ablation_report
from arena.runner import is_done, run_table
from variants import FULL, VARIANTS

TABLES = ["santander", "ml-100k", "demo", "planted-0", "isolet", "mnist-test", "digits"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, tables=TABLES)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    options = parser.parse_args()
    render = partial(ablation_report, reference=FULL)
    if options.report:
        print_report(options, render)
        return
    results = open_results(options, Path(__file__).with_name("variants.py"))
    methods = {name: VARIANTS[name] for name in dict.fromkeys([FULL, *options.variants])}
    for case in cases(options, lambda table: is_done(table, methods, results, seeds=options.seeds)):
        run_table(case, methods, results, seeds=options.seeds)
    print()
    show(options, render, results.find(), "This run and what its file of results held.")


if __name__ == "__main__":
    main()
