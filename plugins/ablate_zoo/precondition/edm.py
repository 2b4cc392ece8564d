"""precondition `edm`: EDM's preconditioning, unit variance at every noise level (Karras et al. 2022)."""

from __future__ import annotations

from ablate.api import Coefficients, Level, Precondition, Target


class EdmPrecondition(Precondition):
    """EDM's preconditioning, for any target and schedule (Karras et al. 2022, app. B.6, there for x0 and α = 1).

    Let data have variance s², and y = u·x0 + v·ε, x = α·x0 + σ·ε. The demands are EDM's: the
    network's input c_in·x has unit variance, so c_in = 1/√V with V = α²s² + σ²; its effective target
    (y − c_skip·x)/c_out has unit variance; and c_skip makes c_out, which amplifies the network's
    errors, as small as can be. The last is least squares: c_skip = Cov(y, x)/V = (u·α·s² + v·σ)/V,
    and what remains of y has the deviation c_out = s·|α·v − σ·u|/√V.

    For x0 and α = 1 these are the published σ-formulas; for ε: c_skip = σ/V, c_out = s·α/√V; for v
    with α² + σ² = 1: c_skip = α·σ·(1 − s²)/V, c_out = s/√V; for score: those of ε times −1/σ.
    c_noise = ln(σ/α)/4.
    """

    name = "edm"

    def provides(self) -> frozenset[str]:
        """Input and effective target of unit variance."""
        return frozenset({"unit_variance"})

    def coefficients(self, level: Level, target: Target, sigma_data: float) -> Coefficients:
        """From the target's (u, v), whatever it is."""
        _, alpha, sigma = level
        u, v = target.coefficients(level)
        variance = (alpha * sigma_data) ** 2 + sigma**2
        return Coefficients(
            skip=(u * alpha * sigma_data**2 + v * sigma) / variance,
            output=sigma_data * (alpha * v - sigma * u).abs() / variance.sqrt(),
            input=variance.rsqrt(),
            noise=-level.log_snr / 8,
        )
