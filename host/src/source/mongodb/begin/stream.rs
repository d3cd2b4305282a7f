//! The opening of a stream: behind a position, where the configuration says, or anew when the position is lost.

use std::sync::{Arc, atomic::AtomicU32};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Begin,
    lost::{AfterLoss, Point},
    next_epoch,
};
use crate::{
    config::{OnLostPosition, StartAt},
    error::{Code, Fault},
    position::Position,
    source::mongodb::{
        MongodbSource,
        documents::{CatchUp, Images},
        event::{Reply, epoch_of, position, seconds, token_of, token_time},
        faults::Phase,
        select,
        stream::{AHEAD, At, Current, Cursor, Opener, Stream, read_ahead, watch},
    },
};

impl MongodbSource {
    /// Opens the stream behind a position, or where the configuration says.
    pub(in crate::source::mongodb) async fn open_stream(
        &mut self,
        from: Option<&Position>,
    ) -> Result<Option<Position>, Fault> {
        let opener = self.opener().await?;
        let begun = match from {
            None => {
                opener.images.check(&opener.client, &self.selection, &opener.scope, &opener.place).await?;
                let point = point(&self.config.start);
                let (token, cursor, first) = opener.begin(&point).await?;
                opened(&opener, begins(&point));
                Begun { epoch: 0, token, cursor, first, lost: false }
            }
            Some(position) => {
                let token = token_of(position).map(str::to_owned).ok_or_else(foreign)?;
                let epoch = epoch_of(position).unwrap_or_default();
                match opener.open(&At::After(token.clone()), Phase::Resuming).await {
                    Ok((cursor, first)) => {
                        opened(&opener, "the change stream goes on where it stopped");
                        Begun { epoch, token: Some(token), cursor, first, lost: false }
                    }
                    Err(fault) if fault.code == Code::MongoPositionLost => {
                        self.after_loss(&opener, epoch, fault).await?
                    }
                    Err(fault) => return Err(fault),
                }
            }
        };
        let Begun { epoch, token, cursor, first, lost } = begun;
        let stands = match (first.is_read(0), &first.token) {
            (true, Some(token)) => Some(token),
            // With events in it, the post-batch token is behind them: the position is still where it was asked for. None is
            // known of a server that sends no token before the first event.
            _ => token.as_ref(),
        };
        let start = stands.map(|token| position(epoch, token));
        let second = stands.and_then(|token| token_time(token)).map_or(0, seconds);
        // Reading goes on behind the first reply, which may be the last one before the server closes the stream.
        let resume = first.last_token().or(token);
        let second = Arc::new(AtomicU32::new(second));
        let history = watch(
            opener.client.clone(),
            opener.place.clone(),
            second.clone(),
            self.config.history_warning.0,
            self.hooks.on_history.clone(),
        );
        self.epoch = epoch;
        self.catch_up = self.needs_to_catch_up().then(|| CatchUp::new(first.operation_time));
        let (sender, replies) = mpsc::channel(AHEAD);
        self.stream = Some(Stream {
            replies,
            history: tokio::spawn(history),
            reader: tokio::spawn(read_ahead(opener, cursor, resume, sender)),
            current: Some(Current { reply: Arc::new(first), offset: 0 }),
            last: (start.clone(), Instant::now()),
            announce: start.clone().filter(|_| lost),
            second,
        });
        Ok(start)
    }

    pub(in crate::source::mongodb) async fn opener(&mut self) -> Result<Opener, Fault> {
        let (client, place) = self.client().await?;
        Ok(Opener {
            client,
            scope: self.selection.scope(),
            stages: select::stages(&self.config, &place)?,
            images: Images::new(&self.config),
            splits: self.splits.clone(),
            place,
            expanded: Arc::clone(&self.expanded),
        })
    }

    /// Begins anew as the operator chose, when the server no longer has the position.
    async fn after_loss(&mut self, opener: &Opener, epoch: u32, fault: Fault) -> Result<Begun, Fault> {
        if self.config.on_lost_position == OnLostPosition::CopyAgain {
            // A copy comes first: see `open`.
            return Err(fault);
        }
        let told = fault.message.clone();
        let point = match self.losses.decide(self.config.on_lost_position, fault) {
            AfterLoss::Stop(fault) => return Err(fault),
            AfterLoss::Begin(point) => point,
            AfterLoss::CopyAgain => Point::Now,
        };
        let (token, cursor, first) = opener.begin(&point).await?;
        (self.hooks.on_lost)();
        tracing::warn!(
            event = "source_position_lost",
            hosts = opener.place.hosts,
            watched = opener.place.watched,
            code = Code::MongoPositionLost.as_str(),
            "the position is lost, and {}; changes in between are missing in the sinks: {told}",
            begins(&point),
        );
        // Behind all positions there are, whatever the new token is.
        Ok(Begun { epoch: next_epoch(epoch), token, cursor, first, lost: true })
    }

    /// Copies all that is watched anew, as the operator chose for this loss.
    pub(in crate::source::mongodb) async fn copy_again(&mut self, epoch: u32, fault: Fault) -> Result<Begin, Fault> {
        let told = fault.message.clone();
        if let AfterLoss::Stop(fault) = self.losses.decide(OnLostPosition::CopyAgain, fault) {
            return Err(fault);
        }
        (self.hooks.on_lost)();
        tracing::warn!(
            event = "source_position_lost",
            code = Code::MongoPositionLost.as_str(),
            "the position is lost, and all that is watched is copied again; what was deleted in between stays in the sinks: {told}",
        );
        self.begin_copy(next_epoch(epoch), true, true).await
    }
}

/// A stream that was just opened.
struct Begun {
    epoch: u32,
    /// What it was opened behind.
    token: Option<String>,
    cursor: Cursor,
    first: Reply,
    /// The position before it is lost.
    lost: bool,
}

/// Where a stream without a position begins.
fn point(start: &StartAt) -> Point {
    match start {
        StartAt::Now => Point::Now,
        StartAt::Token(token) => Point::Token(token.clone()),
        StartAt::Time(moment) => {
            let seconds = moment.0.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Point::Time(u32::try_from(seconds).unwrap_or(u32::MAX))
        }
    }
}

fn begins(point: &Point) -> &'static str {
    match point {
        Point::Now => {
            "the change stream begins now: documents that exist already are not sent, changes from now on are"
        }
        Point::Token(_) => "the change stream begins behind the token of `start`",
        Point::Time(_) => "the change stream begins with the changes since the time of `start`",
        Point::Oldest => "the change stream begins with the oldest change the server has",
    }
}

fn opened(opener: &Opener, how: &str) {
    let (hosts, watched) = (&opener.place.hosts, &opener.place.watched);
    tracing::info!(event = "source_opened", hosts, watched, "{how}");
}

fn foreign() -> Fault {
    Fault::fatal(
        Code::CheckpointUnreadable,
        "the stored position is none of a MongoDB change stream; `tidegate checkpoint reset` begins with the changes from now on",
    )
}
