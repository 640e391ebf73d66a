"""How wrong a similarity can be: proven bounds for the arithmetic of the searches that propose neighbours.

A dot product of D numbers that is summed in any order, with or without fused multiply-add, differs from the exact one
by at most gamma_D times the product of the two norms, gamma_D = D u / (1 - D u), u the unit roundoff of the sums
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1, with Cauchy-Schwarz for the norms).
No assumption about the kernel enters, so the bound holds for every BLAS, tile and device of the stated precision.
"""

import math
from dataclasses import dataclass

from ecul.clustering.search.exact import NORM_TOLERANCE, SCALE


@dataclass(frozen=True)
class Arithmetic:
    """Precision of a search.

    Attributes:
        name: for reports and errors.
        input_unit: relative error of rounding a feature before it is multiplied; 0 if it is not rounded.
        sum_unit: relative error of each addition.
        output_unit: relative error of rounding the finished similarity; 0 if it is not rounded.
        spare: places a list gets beyond its depth, so that the first pair left out is farther by more than the error.
    """

    name: str
    input_unit: float
    sum_unit: float
    output_unit: float
    spare: int
    fixed_point: bool = False
    """Whether the features were rounded to the fixed point of `exact` before."""

    def error(self, dim: int) -> float:
        """Largest |similarity found - exact similarity| of two rows of `dim` features, as `exact` defines the latter.

        Raises:
            ValueError: so many features that the bound says nothing.
        """
        if dim * self.sum_unit >= 0.5:
            raise ValueError(f"{self.name} sums of {dim} features have no useful error bound; use float32")
        gamma = dim * self.sum_unit / (1 - dim * self.sum_unit)
        inputs = 2 * self.input_unit + self.input_unit**2
        norms = (1 + NORM_TOLERANCE) ** 2
        product = norms * (inputs + gamma * (1 + inputs))
        # each feature is rounded by at most half a unit of the fixed point; |x| in the 1-norm is at most sqrt(dim) |x|
        rounding = 0.0 if self.fixed_point else (1 + NORM_TOLERANCE) * math.sqrt(dim) / SCALE + dim / (4 * SCALE**2)
        return product * (1 + self.output_unit) + norms * self.output_unit + rounding


FLOAT64 = Arithmetic("float64", 0.0, 2.0**-53, 0.0, 8, fixed_point=True)
FLOAT32 = Arithmetic("float32", 0.0, 2.0**-24, 0.0, 8)
TF32 = Arithmetic("tf32", 2.0**-10, 2.0**-23, 0.0, 24)
"""10 bits of mantissa, cut or rounded; tensor cores may cut in their float32 sums."""
BF16 = Arithmetic("bf16", 2.0**-8, 2.0**-23, 2.0**-8, 48)
"""7 bits of mantissa, cut or rounded; the result is bfloat16 too."""
