"""
Figures of a report
===================

Every research question answers with a figure of its own.
"""

import topo
from topo.questions import QUESTIONS, Evidence

evidence = Evidence.of(topo.results.digits_study())  # the table of `make study`
answer = QUESTIONS["metrics_and_accuracy"](evidence)
print(answer.summary)
figure = next(iter(answer.figures.values()))

# %%
# Is it topology, or density, edges and trained weights?

answer = QUESTIONS["beyond_density"](evidence)
print(answer.summary)
figure = next(iter(answer.figures.values()))

# %%
# Do encodings of the whole network predict better than those of layers?

answer = QUESTIONS["multipartite_or_bipartite"](evidence)
print(answer.summary)
figure = next(iter(answer.figures.values()))

# %%
# Can one tell the pruning algorithm from the mask?

answer = QUESTIONS["pruner_from_mask"](evidence)
print(answer.summary)
figure = next(iter(answer.figures.values()))

# %%
# Can the accuracy be predicted before training?

answer = QUESTIONS["before_training"](evidence)
print(answer.summary)
figure = next(iter(answer.figures.values()))
