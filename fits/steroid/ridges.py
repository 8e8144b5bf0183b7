"""What the claims and the curves at hand cannot tell apart in the steroid model, in words."""

CANNOT_TELL = (
    "A common scale of the BCL-2 family: twice as much of BIM, PUMA, BCL-2, BCL-XL, MCL-1 and of the threshold, with "
    "affinities to match, gives the same viability. Only ratios mean something.",
    "BCL-2, BCL-XL and MCL-1 as what holds BIM back: steroid curves see their sum. Only BH3 mimetics tell them apart.",
    "ERK that removes BIM and ERK that spares MCL-1 through GSK3: both raise viability under steroid. A MEK inhibitor "
    "with and without a GSK3 inhibitor, with MCL-1 measured, would tell.",
    "The affinity of NR3C1 and the threshold of the GRE genes: a higher Kd and a lower Kgre give the same curve.",
    "A larger anti-apoptotic pool, more BCL-2 alone and a less inducible BIM as what makes a sample resistant: the "
    "dexamethasone curves of the samples fit each about equally well. A change of receptor affinity does not fit.",
    "A population of fixed thresholds and a saturating hazard: end-points at one time fit both; viability at two times "
    "under a saturating dose decides.",
)
