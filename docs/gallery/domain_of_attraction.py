"""
What is closed early stays worthless
====================================

When variational pruning may close a gate for good: the flow of theta, the chance that a gate is open, and of r, the
norm of the weights that it multiplies, where opening it lowers the loss by K r, the most that a slope of K allows. From
the shaded domain every path ends at theta = 0 with vanishing weights; from elsewhere the weights may grow and hold the
gate open. The saddle point lies on the boundary, so that no larger domain is safe.
"""

import torch

from topo.plots import style
from topo.plots.theme import HUES, INK, MUTED
from topo.plots.theme import figure as new_figure
from topo.pruning.variational.closing_criterion import in_domain_of_attraction

K, DECAY, ETA = 1.0, 0.5, 0.6  # slope of the loss, weight decay, what keeping the gate costs, per unit of time


def course(r: torch.Tensor, theta: torch.Tensor, duration: float = 40.0, steps: int = 4000) -> torch.Tensor:
    """(steps + 1, 2, starts): r' = -DECAY r + K theta, theta' = K r - ETA on [0, 1], for all starts at once."""
    states, dt = [torch.stack([r, theta])], duration / steps
    for _ in range(steps):
        r, theta = r + dt * (K * theta - DECAY * r), (theta + dt * (K * r - ETA)).clamp(0, 1)
        states.append(torch.stack([r, theta]))
    return torch.stack(states)


def inside(r: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    one = torch.ones_like(r)
    return in_domain_of_attraction(theta, r, K * one, ETA * one, DECAY)


# %%
# Starts at random in the plane: all inside of the domain close, and their weights vanish.
generator = torch.Generator().manual_seed(0)
r, theta = 2 * torch.rand(2000, generator=generator).double(), torch.rand(2000, generator=generator).double()
safe, end = inside(r, theta), course(r, theta)[-1]
closed = end[1] == 0
numbers = [int(part.sum()) for part in (safe, safe & closed, ~safe, ~safe & closed)]
print("of {} starts inside {} end closed, of {} outside {} do".format(*numbers))
least, most = end[0][~closed].min(), end[0][closed].max()
print(f"r ends at {least:.2f} or more where the gate stays open, at {most:.0e} or less where it closes")

# %%
# Paths from a grid of starts, in blue where the gate may be closed for good.
with style():
    figure = new_figure(5.0, 3.6)
    ax = figure.add_axes((0.12, 0.15, 0.84, 0.75))
    plane = torch.meshgrid(torch.linspace(0, 2, 1001).double(), torch.linspace(0, 1, 1001).double(), indexing="xy")
    domain = inside(*(axis.flatten() for axis in plane)).view(1001, 1001).double()
    ax.contourf(*(axis.numpy() for axis in plane), domain.numpy(), levels=[0.5, 1], colors=[HUES[0]], alpha=0.15)
    starts = torch.cartesian_prod(torch.linspace(0.1, 1.9, 7).double(), torch.linspace(0.1, 1.0, 5).double()).T
    paths, is_safe = course(*starts, duration=12.0, steps=1200), inside(*starts)
    for path, may in zip(paths.unbind(2), is_safe.tolist(), strict=True):
        ax.plot(*path.T.numpy(), color=HUES[0] if may else HUES[1], linewidth=0.9, zorder=2)
        ax.plot(*path[0].tolist(), "o", color=HUES[0] if may else HUES[1], markersize=3, zorder=3)
    ax.plot(ETA / K, DECAY * ETA / K**2, "X", color=INK, markersize=7, zorder=4)
    ax.text(0.52, 0.03, "closes for good", color=MUTED, fontsize=8)
    ax.set(xlim=(0, 2.05), ylim=(0, 1.03), xlabel="norm of the weights r", ylabel="theta")
    ax.set_title("The domain of attraction of zero, and the saddle point")
