//! A place that an operator gives, as a position.

use std::time::{Duration, SystemTime};

use super::{next_epoch, stream::point};
use crate::{
    config::{MongodbSourceConfig, StartAt},
    error::{Code, Fault},
    position::Positions,
    source::{
        BatchLimits, Hooks,
        mongodb::{
            MongodbSource,
            event::{epoch_of, position},
        },
    },
};

/// Nothing is read.
const LIMITS: BatchLimits = BatchLimits { max_events: 1, max_bytes: 1, linger: Duration::ZERO };

impl MongodbSource {
    /// The position behind a token or before the changes since a time, in an epoch behind that of `before`. The server is asked to open
    /// the stream there, so it has what follows.
    ///
    /// # Errors
    /// [`Code::MongoStartLost`] when it has not, [`Code::ConfigValue`] for a time to come, and those of a stream that is opened.
    pub async fn positions_at(
        config: MongodbSourceConfig,
        start: &StartAt,
        before: &Positions,
    ) -> Result<Positions, Fault> {
        if let StartAt::Time(moment) = start
            && moment.0 > SystemTime::now()
        {
            let message = format!(
                "{} is yet to come: times are in UTC, and it is {} now",
                humantime::format_rfc3339_seconds(moment.0),
                humantime::format_rfc3339_seconds(SystemTime::now())
            );
            return Err(Fault::fatal(Code::ConfigValue, message));
        }
        let opener = Self::new(config, None, LIMITS, Hooks::silent()).opener().await?;
        let (token, _cursor, first) = opener.begin(&point(start)).await?;
        // Behind the first events is too far: they are to be read.
        let token = token.or_else(|| first.token.clone().filter(|_| first.is_read(0)));
        let Some(token) = token else {
            let message = format!(
                "MongoDB at {} tells no resume token for a time; run `tidegate checkpoint reset`, and give `start` of the source the time",
                opener.place.hosts
            );
            return Err(Fault::fatal(Code::MongoError, message));
        };
        let epoch = before.whole().and_then(epoch_of).unwrap_or_default();
        Ok(position(next_epoch(epoch), &token).into())
    }
}
