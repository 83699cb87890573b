//! Ways to break the protocol, each of which the simulation must notice.

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A set of bars that was lost is made anew without a bar.
    NoBarAfterLoss,
    /// A reader makes the lost set with a bar, a writer doesn't.
    NoBarAfterLossByWriter,
    /// A write that was slower than its bar doesn't end the generation again.
    NoSecondEnd,
    /// A write is answered before its bar is acknowledged.
    NoWaitForBar,
    /// A bar is lifted when it is acknowledged, although the statement still runs.
    LiftedTooEarly,
    /// The first of the writes that share a bar lifts it.
    FirstSharerLifts,
    /// Lifting removes the bars of others.
    LiftsAll,
    /// Readers fill under a bar.
    FillsUnderBar,
    /// A bar sets no new generation.
    NoNewGeneration,
    /// Generations are counted instead of random, from one again after a loss.
    GenerationsRepeat,
    /// A reader looks for bars before it reads the generation.
    BarsReadFirst,
    /// A reader makes a generation after it has looked for bars, and doesn't look again.
    NoSecondLook,
}

impl Flaw {
    pub const ALL: [Flaw; 12] = [
        Flaw::NoBarAfterLoss,
        Flaw::NoBarAfterLossByWriter,
        Flaw::NoSecondEnd,
        Flaw::NoWaitForBar,
        Flaw::LiftedTooEarly,
        Flaw::FirstSharerLifts,
        Flaw::LiftsAll,
        Flaw::FillsUnderBar,
        Flaw::NoNewGeneration,
        Flaw::GenerationsRepeat,
        Flaw::BarsReadFirst,
        Flaw::NoSecondLook,
    ];
}
