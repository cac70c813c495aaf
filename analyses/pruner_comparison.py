"""Which pruning algorithm keeps most accuracy, and do published orderings hold here?

    python analyses/pruner_comparison.py [--config STUDY.yaml] [--study FOLDER] [--into FOLDER]

Runs the study (or goes on with it, or reads a finished one with --study), then writes a figure, the means with their
intervals, the ranking, and for each published ordering whether the study confirms it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import topo
from topo.plots.pruners import ranked_pruners
from topo.stats.pruners import check_orderings, pruner_means, pruner_ranking
from topo.tables import write_table

HERE = Path(__file__).resolve().parent
HIGH = (0.95, 0.98)

# (more accurate, less accurate, at which sparsities, who says so). Their settings differ from ours: larger networks
# and datasets, longer training. What is confirmed or not here is the ordering on this network and this budget.
CLAIMS = [
    ("magnitude", "snip", None, "Frankle et al. 2021: magnitude after training beats pruning at initialisation"),
    ("magnitude", "grasp", None, "Frankle et al. 2021"),
    ("magnitude", "synflow", None, "Frankle et al. 2021"),
    ("snip", "magnitude-init", None, "Lee et al. 2019: sensitivity beats magnitude at initialisation"),
    ("snip", "uniform", None, "Lee et al. 2019: sensitivity beats random"),
    ("synflow", "snip", HIGH, "Tanaka et al. 2020: at high sparsity, where SNIP empties layers"),
    ("synflow", "grasp", HIGH, "Tanaka et al. 2020"),
    ("force", "snip", HIGH, "de Jorge et al. 2021: iterating helps at high sparsity"),
    ("iterative-snip", "snip", HIGH, "de Jorge et al. 2021"),
    ("prospr", "snip", None, "Alizadeh et al. 2022: looking ahead beats the first gradient"),
    ("phew", "synflow", None, "Patil & Dovrolis 2021"),
    ("ntk-sap", "synflow", None, "Wang et al. 2023: the spectrum of the tangent kernel beats synaptic flow"),
    ("px", "ntk-sap", HIGH, "Iurada et al. 2024: a bound of it that sees the data beats the random estimate"),
    ("ramanujan", "er", None, "Hoang et al. 2023: Ramanujan supports beat random ones"),
    ("erk", "uniform", None, "Evci et al. 2020: ERK beats uniform densities"),
    ("set", "erk", None, "Mocanu et al. 2018, Evci et al. 2020: dynamic beats static"),
    ("rigl", "set", None, "Evci et al. 2020: growing by gradients beats growing at random"),
    ("itop", "rigl", None, "Liu et al. 2021: exploring more parameters in time"),
    ("chts", "rigl", HIGH, "Zhang et al. 2025: link prediction beats gradients when ultra-sparse"),
    ("granet", "rigl", None, "Liu et al. 2021 (GraNet): pruning from half the weights beats a constant count"),
    ("granet", "gmp", None, "Liu et al. 2021 (GraNet): growing again beats pruning alone"),
    ("top-kast", "set", None, "Jayakumar et al. 2020: ahead of other sparse-to-sparse training"),
    ("srigl", "erk", None, "Lasby et al. 2024: on a par with RigL, hence ahead of static masks"),
    ("rigl", "magnitude", None, "Evci et al. 2020: RigL reaches dense-to-sparse accuracy"),
    ("gmp", "rigl", None, "Evci et al. 2020: at equal epochs gradual pruning is ahead"),
    ("magnitude", "magnitude-layerwise", None, "Han et al. 2015, Lee et al. 2021: global beats layer-wise"),
    ("lamp", "magnitude", HIGH, "Lee et al. 2021"),
    ("imp", "magnitude", None, "Frankle & Carbin 2019: iterating with rewinding beats one shot"),
    ("ac-dc", "gmp", HIGH, "Peste et al. 2021"),
    ("str", "gmp", HIGH, "Kusupati et al. 2020: learned densities of layers, at high sparsity"),
    ("continuous-sparsification", "imp", None, "Savarese et al. 2020: sparser tickets, found sooner"),
    ("magnitude", "edge-popup", HIGH, "Ramanujan et al. 2020: untrained weights need wide layers"),
    ("obs", "obd", None, "Hassibi & Stork 1993: compensation beats the diagonal"),
    ("sparsegpt", "wanda", None, "Frantar & Alistarh 2023, Sun et al. 2024 (without fine-tuning)"),
    ("wanda", "magnitude-layerwise", None, "Sun et al. 2024 (without fine-tuning)"),
    ("ria", "wanda", None, "Zhang et al. 2024 (without fine-tuning)"),
    ("owl", "wanda", HIGH, "Yin et al. 2024 (without fine-tuning, large language models)"),
    ("woodfisher", "magnitude", None, "Singh & Alistarh 2020 (one shot, without fine-tuning)"),
    ("fpgm", "l1-filter", None, "He et al. 2019"),
    ("taylor", "l1-filter", None, "Molchanov et al. 2019"),
    ("hrank", "l1-filter", None, "Lin et al. 2020"),
    ("group-norm", "l1-filter", None, "Fang et al. 2023"),
    ("slimming", "l1-filter", None, "Liu et al. 2017"),
    ("magnitude", "l1-filter", None, "common knowledge: single weights beat whole units at equal sparsity"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=HERE.parent / "examples" / "pruners.yaml", help="study file")
    parser.add_argument("--study", type=Path, help="read this study and run nothing")
    parser.add_argument("--into", type=Path, default=Path("studies/pruners"), help="folder of the study to run")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where figure and tables go")
    arguments = parser.parse_args()
    if arguments.study is None:
        study = topo.Study.read(arguments.config, folder=arguments.into)
        study.run()
    else:
        study = topo.Study.load(arguments.study)
    table = study.results()
    for (dataset, model), part in table.groupby(["dataset", "model"]):
        write(part, arguments.results, f"pruner_comparison_{dataset}_{model}")


def write(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Figure (PNG, SVG), means (CSV) and findings (Markdown) of one dataset and model."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = ranked_pruners(table)
    for kind in ("png", "svg"):
        drawn.savefig(folder / f"{name}.{kind}")
    write_table(folder / f"{name}.csv", pruner_means(table), float_format="%.5f")
    text = findings(table)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"Written to {folder / name}.png, .svg, .csv and .md")


def findings(table: pd.DataFrame) -> str:
    """The ranking, the orderings and three sentences, as Markdown."""
    ranking, claims = pruner_ranking(table), check_orderings(table, CLAIMS)
    dense = table.loc[table["pruner"] == "dense", "accuracy"]
    counted = claims["verdict"].value_counts()
    dataset, model = table[["dataset", "model"]].iloc[0]
    sparsities = sorted(table.loc[table["pruner"] != "dense", "sparsity"].unique())
    best = ranking.iloc[0]
    families = ranking.groupby("family")["mean_rank"].median().sort_values()
    lines = [
        f"# Pruners compared: {dataset}, {model}",
        "",
        f"{len(ranking)} pruners at sparsities {', '.join(f'{s:g}' for s in sparsities)}, "
        f"{table['seed'].nunique()} seeds; the dense networks reach {dense.mean():.4f}. Made by "
        "`python analyses/pruner_comparison.py`. Pruners of a trained network are given its training and a second one "
        "as fine-tuning; those that train by themselves (imp, slimming, l0) even more. Accuracies are at equal shares "
        "of weights removed, not at equal training.",
        "",
        f"- Best by mean rank: **{best['pruner']}** ({best['family']}, mean rank {best['mean_rank']:.1f} of "
        f"{len(ranking)}).",
        "- Families by the median of their pruners' mean ranks: "
        + ", ".join(f"{name} {rank:.1f}" for name, rank in families.items())
        + ".",
        f"- Of {len(claims)} published orderings {counted.get('confirmed', 0)} are confirmed, "
        f"{counted.get('contradicted', 0)} contradicted, {counted.get('undecided', 0)} undecided"
        + (f", {counted['not measured']} not measured" if "not measured" in counted else "")
        + ".",
        "",
        "## Ranking",
        "",
        _markdown(
            ranking, {"mean_rank": "{:.1f}", "best_rank": "{:.1f}", "worst_rank": "{:.1f}", "mean_accuracy": "{:.4f}"}
        ),
        "",
        "## Published orderings",
        "",
        "Difference of mean accuracies, first less second, with its 95% interval over seeds.",
        "",
        _markdown(claims, {"difference": "{:+.4f}", "low": "{:+.4f}", "high": "{:+.4f}"}),
        "",
    ]
    return "\n".join(lines)


def _markdown(table: pd.DataFrame, formats: dict[str, str]) -> str:
    shown = table.assign(**{name: table[name].map(form.format, na_action="ignore") for name, form in formats.items()})
    shown = shown.astype(object).where(table.notna(), "–").astype(str)
    rows = [list(table.columns), ["---"] * len(table.columns), *shown.values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
