"""How a network computes: what may be switched, with the same numbers up to rounding."""

from torch import nn

from uniseg.models.conditioning.base import Conditioning
from uniseg.models.decoder import Decoder
from uniseg.models.encoders.base import Encoder
from uniseg.models.graphs import GraphCache
from uniseg.models.norms import set_fused_norm


class Switches(nn.Module):
    """The switches of ``speed`` of a network with an encoder, a conditioning and a decoder.

    Attributes:
        fused_norm: what ``set_fused_norm`` was told.
        graphs: of training on CUDA; None: it is computed launch by launch.

    Examples:
        >>> switches = Switches()
        >>> switches.set_fused_norm(False)
        >>> switches.fused_norm
        False
    """

    encoder: Encoder
    conditioning: Conditioning
    decoder: Decoder
    fused_norm: bool = False
    graphs: GraphCache | None = None

    def set_recompute(self, recompute: bool) -> None:
        """Whether training computes activations again in the backward pass: less memory, more time."""
        self.encoder.recompute = self.decoder.recompute = recompute

    def set_fused_norm(self, fused: bool) -> None:
        """Whether GPUs compute every norm with its activation by one Triton kernel.

        Raises:
            InputError: they are to, and Triton is not installed.
        """
        set_fused_norm(self, fused)
        self.fused_norm = fused

    def set_joined_halves(self, joined: bool) -> None:
        """Whether training computes the two halves of a decoder stage's first convolution as one."""
        self.decoder.joined = joined

    def set_graphed(self, graphed: bool) -> None:
        """Whether training on CUDA records the launches of encoder, conditioning and decoder once and replays them."""
        parts = (self.encoder, self.conditioning, self.decoder)
        self.graphs = GraphCache(parts) if graphed else None
