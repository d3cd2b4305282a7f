//! What follows when the server no longer has the position: as the operator chose, loudly, and not for ever.

use crate::{
    config::OnLostPosition,
    error::{Code, Fault},
};

/// How often in a row a position may be lost without a batch in between: the third time something is wrong that beginning anew
/// does not mend, such as an oplog that is shorter than the pipeline is slow.
const IN_A_ROW: u32 = 3;

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::mongodb) enum Point {
    /// With the first change from now on.
    Now,
    /// Behind a token the operator gave.
    Token(String),
    /// With the changes since then, in seconds since 1970.
    Time(u32),
    /// With the oldest change the server has.
    Oldest,
}

/// What follows the loss of a position.
#[derive(Debug)]
pub(in crate::source::mongodb) enum AfterLoss {
    /// Only the operator can help.
    Stop(Fault),
    /// The stream begins anew there, in the next epoch.
    Begin(Point),
    /// All is copied anew, in the next epoch.
    CopyAgain,
}

/// Counts the losses without progress in between.
#[derive(Debug, Default)]
pub(in crate::source::mongodb) struct Losses(u32);

impl Losses {
    /// A batch came: the stream goes on.
    pub(in crate::source::mongodb) fn progressed(&mut self) {
        self.0 = 0;
    }

    /// What follows this loss.
    pub(in crate::source::mongodb) fn decide(&mut self, choice: OnLostPosition, fault: Fault) -> AfterLoss {
        let after = match choice {
            OnLostPosition::Stop => return AfterLoss::Stop(fault),
            OnLostPosition::CopyAgain => AfterLoss::CopyAgain,
            OnLostPosition::Oldest => AfterLoss::Begin(Point::Oldest),
            OnLostPosition::Newest => AfterLoss::Begin(Point::Now),
        };
        self.0 += 1;
        if self.0 >= IN_A_ROW {
            let message = format!(
                "the position was lost {} times in a row without a change in between, so that beginning anew does not help; make the oplog \
                 bigger, or see what keeps the pipeline from reading: {}",
                self.0, fault.message
            );
            return AfterLoss::Stop(Fault::fatal(Code::MongoLostAgain, message));
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::{AfterLoss, Losses, Point};
    use crate::{
        config::OnLostPosition::{Newest, Oldest, Stop},
        error::{Code, Fault},
    };

    fn lost() -> Fault {
        Fault::fatal(Code::MongoPositionLost, "lost")
    }

    #[test]
    fn the_third_loss_in_a_row_stops() {
        let mut losses = Losses::default();
        for _ in 0..3 {
            for _ in 0..2 {
                assert!(matches!(losses.decide(Oldest, lost()), AfterLoss::Begin(Point::Oldest)));
            }
            losses.progressed();
        }
        assert!(matches!(losses.decide(Newest, lost()), AfterLoss::Begin(Point::Now)));
        assert!(matches!(losses.decide(Newest, lost()), AfterLoss::Begin(Point::Now)));
        assert!(matches!(losses.decide(Newest, lost()), AfterLoss::Stop(fault) if fault.code == Code::MongoLostAgain));
        assert!(matches!(losses.decide(Stop, lost()), AfterLoss::Stop(fault) if fault.code == Code::MongoPositionLost));
    }
}
