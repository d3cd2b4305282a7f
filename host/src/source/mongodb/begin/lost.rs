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

/// How a source goes on after the loss of its position, in the next epoch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source::mongodb) enum Anew {
    /// The stream begins there.
    Stream(Point),
    /// All is copied.
    Copy,
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
    ///
    /// # Errors
    /// Only the operator can help.
    pub(in crate::source::mongodb) fn decide(&mut self, choice: OnLostPosition, fault: Fault) -> Result<Anew, Fault> {
        let anew = match choice {
            OnLostPosition::Stop => return Err(fault),
            OnLostPosition::CopyAgain => Anew::Copy,
            OnLostPosition::Oldest => Anew::Stream(Point::Oldest),
            OnLostPosition::Newest => Anew::Stream(Point::Now),
        };
        self.0 += 1;
        if self.0 >= IN_A_ROW {
            let message = format!(
                "the position was lost {} times in a row without a change in between, so that beginning anew does not help; make the oplog \
                 bigger, or see what keeps the pipeline from reading: {}",
                self.0, fault.message
            );
            return Err(Fault::fatal(Code::MongoLostAgain, message));
        }
        Ok(anew)
    }
}

#[cfg(test)]
mod tests {
    use super::{Anew, Losses, Point};
    use crate::{
        config::OnLostPosition::{CopyAgain, Newest, Oldest, Stop},
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
                assert_eq!(losses.decide(Oldest, lost()).ok(), Some(Anew::Stream(Point::Oldest)));
            }
            losses.progressed();
        }
        assert_eq!(losses.decide(Newest, lost()).ok(), Some(Anew::Stream(Point::Now)));
        assert_eq!(losses.decide(CopyAgain, lost()).ok(), Some(Anew::Copy));
        assert_eq!(losses.decide(Newest, lost()).err().map(|fault| fault.code), Some(Code::MongoLostAgain));
        assert_eq!(losses.decide(Stop, lost()).err().map(|fault| fault.code), Some(Code::MongoPositionLost));
    }
}
