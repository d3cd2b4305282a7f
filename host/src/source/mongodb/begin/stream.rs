//! The opening of a stream: behind a position, where the configuration says, or anew when the position is lost.

use std::sync::{Arc, atomic::AtomicU32};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Begin,
    lost::{Anew, Point},
    next_epoch,
};
use crate::{
    config::StartAt,
    error::{Code, Fault},
    position::{Position, Positions, WHOLE},
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
    /// Opens what is begun with. Returns where that stands.
    pub(in crate::source::mongodb) async fn open_begun(&mut self, begin: Begin) -> Result<Positions, Fault> {
        let mut positions = match begin {
            Begin::Stream(positions) => positions,
            Begin::Copy(positions) => return Ok(positions),
            // It stands where it stood.
            Begin::Ended => return Ok(Positions::default()),
        };
        let start = match positions.whole() {
            Some(position) => self.resume_stream(position).await?,
            None => {
                let opener = self.opener().await?;
                opener.images.check(&opener.client, &self.selection, &opener.scope, &opener.place).await?;
                self.begin_stream(opener, 0, &point(&self.config.start)).await?
            }
        };
        if let Some(start) = start {
            positions.set(WHOLE, start);
        }
        Ok(positions)
    }

    /// Begins anew as the operator chose, when the server no longer has the position. It is decided here alone: whoever finds out
    /// elsewhere has the source opened again.
    pub(in crate::source::mongodb) async fn after_loss(
        &mut self,
        mut positions: Positions,
        fault: Fault,
    ) -> Result<Positions, Fault> {
        // Behind all positions there are, whatever the new token is.
        let epoch = next_epoch(positions.whole().and_then(epoch_of).unwrap_or_default());
        let cause = fault.message.clone();
        match self.losses.decide(self.config.on_lost_position, fault)? {
            Anew::Copy => {
                let what = "all that is watched is copied again; what was deleted in between stays in the sinks";
                self.tell_loss(what, &cause);
                let begin = self.begin_copy(epoch, true, true).await?;
                positions = self.open_begun(begin).await?;
            }
            Anew::Stream(point) => {
                let opener = self.opener().await?;
                let start = self.begin_stream(opener, epoch, &point).await?;
                self.tell_loss(&format!("{}; changes in between are missing in the sinks", begins(&point)), &cause);
                if let Some(start) = start {
                    positions.set(WHOLE, start);
                }
            }
        }
        if let Some(stream) = &mut self.stream {
            stream.announce = positions.whole().cloned();
        }
        Ok(positions)
    }

    fn tell_loss(&self, what: &str, cause: &str) {
        (self.hooks.on_lost)();
        let place = self.client.as_ref().map(|(_, place)| place);
        tracing::warn!(
            event = "source_position_lost",
            hosts = place.map(|place| &*place.hosts),
            watched = place.map(|place| &*place.watched),
            code = Code::MongoPositionLost.as_str(),
            "the position is lost, and {what}: {cause}",
        );
    }

    /// Opens the stream behind a position.
    pub(in crate::source::mongodb) async fn resume_stream(
        &mut self,
        from: &Position,
    ) -> Result<Option<Position>, Fault> {
        let token = token_of(from).map(str::to_owned).ok_or_else(foreign)?;
        let epoch = epoch_of(from).unwrap_or_default();
        let opener = self.opener().await?;
        let (cursor, first) = opener.open(&At::After(token.clone()), Phase::Resuming).await?;
        opened(&opener, "the change stream goes on where it stopped");
        Ok(self.streams(opener, Begun { epoch, token: Some(token), cursor, first }))
    }

    /// Opens a stream that has no position in this epoch yet.
    async fn begin_stream(&mut self, opener: Opener, epoch: u32, point: &Point) -> Result<Option<Position>, Fault> {
        let (token, cursor, first) = opener.begin(point).await?;
        opened(&opener, begins(point));
        Ok(self.streams(opener, Begun { epoch, token, cursor, first }))
    }

    /// Reads ahead from now on. Returns where the stream stands.
    fn streams(&mut self, opener: Opener, begun: Begun) -> Option<Position> {
        let Begun { epoch, token, cursor, first } = begun;
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
            announce: None,
            second,
        });
        start
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
}

/// A stream that was just opened.
struct Begun {
    epoch: u32,
    /// What it was opened behind.
    token: Option<String>,
    cursor: Cursor,
    first: Reply,
}

/// Where a stream without a position begins.
pub(super) fn point(start: &StartAt) -> Point {
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
