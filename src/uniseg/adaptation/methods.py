"""What changes a copy of the network: consistency of views, or TENT; the network itself is never changed."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from uniseg.adaptation.settings import ALL, AdaptSettings
from uniseg.adaptation.views import AT_ONCE, Patch, View, consistency, draw_views, entropy
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.site_file import norms_of

Rounds = Sequence[Sequence[Patch]]
T = TypeVar("T")


@dataclass(frozen=True)
class Adapted:
    """A changed copy of the network.

    Attributes:
        losses: of every round, before its step.

    Examples:
        >>> adapted = adapt_to_views(model, rounds, AdaptSettings())  # doctest: +SKIP
        >>> adapted.losses[-1] < adapted.losses[0]  # doctest: +SKIP
        True
    """

    model: UniSegModel
    losses: tuple[float, ...]


class ViewRounds:
    """Consistency of two random views, round by round; what it is between rounds is plain, so that it can be resumed.

    Args:
        base: stays as it is.
        settings: rounds, learning rate, what trains, views.

    Examples:
        >>> views = ViewRounds(model, AdaptSettings())  # doctest: +SKIP
        >>> loss = views.step(patches)  # doctest: +SKIP
    """

    def __init__(self, base: UniSegModel, settings: AdaptSettings) -> None:
        self.settings, self.losses = settings, list[float]()
        self.model, parameters = _trainable_copy(base, all_weights=settings.trained == ALL)
        decay = 0.01 if settings.trained == ALL else 0.0
        self.optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=decay)

    def step(self, patches: Sequence[Patch]) -> float:
        """One round; the first takes no step (DG-TTA)."""
        rng = np.random.default_rng([self.settings.seed, 1, len(self.losses)])
        sd, gin = self.settings.view_sd, self.settings.gin
        views = [draw_views(rng, len(patch.image), sd=sd, gin=gin) for patch in patches]

        def disagreement(seen: Sequence[tuple[Patch, tuple[View, View]]]) -> Tensor:
            return 1 - consistency(self.model, *zip(*seen, strict=True))

        loss = _round(disagreement, [*zip(patches, views, strict=True)], learn=bool(self.losses))
        if self.losses:
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(loss)
        return loss

    def state_dict(self) -> dict:
        """Tensors and plain containers."""
        trained = {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}
        return {"losses": self.losses, "optimizer": self.optimizer.state_dict(), "weights": trained}

    def load_state_dict(self, state: dict) -> None:
        weights = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in state["weights"].items():
                weights[name].copy_(tensor)
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses = list(state["losses"])

    def finish(self) -> Adapted:
        return Adapted(self.model.requires_grad_(False).eval(), tuple(self.losses))


def adapt_to_views(
    base: UniSegModel, rounds: Rounds, settings: AdaptSettings, advance: Callable[[], None] = lambda: None
) -> Adapted:
    """
    Args:
        rounds: patches of each.
        advance: called after every round.
    """
    views = ViewRounds(base, settings)
    for patches in rounds:
        views.step(patches)
        advance()
    return views.finish()


def adapt_by_entropy(
    base: UniSegModel, rounds: Rounds, settings: AdaptSettings, advance: Callable[[], None] = lambda: None
) -> Adapted:
    """TENT: scale and shift of the norms alone, by Adam; as many steps as ``adapt_to_views``."""
    model, parameters = _trainable_copy(base, all_weights=False)
    optimizer, losses = torch.optim.Adam(parameters, settings.tent_lr), list[float]()
    for patches in rounds:
        losses.append(_round(partial(entropy, model), patches, learn=bool(losses)))
        if len(losses) > 1:
            optimizer.step()
        optimizer.zero_grad()
        advance()
    return Adapted(model.requires_grad_(False).eval(), tuple(losses))


def _trainable_copy(base: UniSegModel, *, all_weights: bool) -> tuple[UniSegModel, list[nn.Parameter]]:
    """In eval mode: nothing but weights may change what it says."""
    model = copy.deepcopy(base).eval().requires_grad_(all_weights)
    if not all_weights:
        for norm in norms_of(model).values():
            norm.requires_grad_(True)
    return model, [parameter for parameter in model.parameters() if parameter.requires_grad]


def _round(losses_of: Callable[[Sequence[T]], Tensor], seen: Sequence[T], *, learn: bool) -> float:
    """The mean loss of what is seen; its gradient, accumulated over ``AT_ONCE`` patches after the others, where a step
    follows.
    """
    total = 0.0
    for start in range(0, len(seen), AT_ONCE):
        with torch.set_grad_enabled(learn):
            loss = losses_of(seen[start : start + AT_ONCE]).sum() / len(seen)
        if learn:
            loss.backward()
        total += float(loss.detach())
    return total
