"""analysis `permutation`: the exact paired permutation test, which assumes no shape of the values."""

from ablate.api import PairedPermutation


class PermutationTest(PairedPermutation):
    """The paired permutation test of the mean difference: sign flips, all of them up to 16 pairs (Fisher 1935).

    Exact wherever a difference between equals is as likely to be positive as negative, whatever its distribution. n
    pairs give no p below 2/2ⁿ: with three comparisons it takes 7 seeds before Holm's correction leaves anything below
    0.05, with eleven 9. Its intervals are Student's t of the paired differences.
    """

    name = "permutation"
