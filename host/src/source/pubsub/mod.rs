//! A pull subscription of Google Cloud Pub/Sub.
//!
//! The official crate keeps the stream open, and the deadlines of what is under way in the future. This source says what is under way: a
//! message is acknowledged when every sink has it ([`under_way`]), and given back at once when the pipeline gave it up. What the crate does
//! not tell is that the service is gone, since it goes on trying by itself: so the subscription is looked at while nothing comes
//! ([`look`]).

mod cut;
mod look;
mod pull;
mod rules;
#[cfg(test)]
mod tests;
mod under_way;

use std::{collections::VecDeque, time::Duration};

use futures::{FutureExt as _, future::join_all};
use google_cloud_pubsub::{
    Error,
    client::{Subscriber, SubscriptionAdmin},
    model::Subscription,
    subscriber::ShutdownToken,
};
use tokio::{task::JoinError, time::Instant};

pub(crate) use self::look::delivers_itself;
use self::{
    cut::Cutter,
    look::Look,
    pull::{Pull, Pulled},
    rules::Rules,
    under_way::UnderWay,
};
use crate::{
    config::{PipelineConfig, PubsubSourceConfig},
    error::{Code, Fault},
    position::Positions,
    pubsub::{About, PubsubConnector, names},
    sink::AnySink,
    source::{BatchLimits, Read, Source},
};

/// How long nothing may come before the subscription is looked at.
const SILENCE: Duration = Duration::from_secs(10);
/// How many batches are under way at most, where nobody says otherwise: those the pipeline holds, and two that are read ahead.
const BATCHES: u64 = 8;

/// The source.
pub struct PubsubSource {
    config: PubsubSourceConfig,
    limits: BatchLimits,
    connector: PubsubConnector,
    /// The full name.
    subscription: String,
    rules: Rules,
    /// Nothing is acknowledged.
    dry: bool,
    /// A sink writes states, which messages out of order would take back.
    needs_order: bool,
    /// What the subscription lacks was told.
    told: bool,
    admin: Option<SubscriptionAdmin>,
    subscriber: Option<Subscriber>,
    under_way: Option<UnderWay>,
    /// Of all streams that were opened and have messages under way.
    streams: Vec<ShutdownToken>,
    open: Option<Open>,
}

/// What is read.
struct Open {
    pull: Pull,
    /// What came last, for as long as it takes to put it behind the rest.
    came: Vec<Pulled>,
    /// Messages that are in no batch yet.
    taken: VecDeque<Pulled>,
    /// When it is time to look; none where this account may not.
    look_at: Option<Instant>,
    looking: Option<Look>,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, and never kept")]
enum Event {
    Came,
    Ended,
    Silence,
    Looked(Result<Result<Subscription, Error>, JoinError>),
}

impl Open {
    /// What happens next. Giving up the wait loses nothing.
    async fn wait(&mut self, most: usize) -> Event {
        let Self { pull, came, look_at, looking, .. } = self;
        let silence = async {
            match (looking.as_mut(), *look_at) {
                (Some(Look(answer)), _) => Event::Looked(answer.await),
                (None, Some(at)) => {
                    tokio::time::sleep_until(at).await;
                    Event::Silence
                }
                (None, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = pull.messages.recv_many(came, most) => if count == 0 { Event::Ended } else { Event::Came },
            event = silence => event,
        }
    }
}

impl PubsubSource {
    /// Nothing is connected before [`Source::open`].
    pub fn new(config: PubsubSourceConfig, limits: BatchLimits) -> Self {
        let subscription = full_name(&config);
        Self {
            rules: Rules::new(&config, &subscription),
            connector: PubsubConnector::new(&config.connection, config.timeout.0),
            subscription,
            limits,
            dry: false,
            needs_order: false,
            told: false,
            admin: None,
            subscriber: None,
            under_way: None,
            streams: Vec::new(),
            open: None,
            config,
        }
    }

    /// Acknowledges nothing, and gives all back at the end.
    pub fn dry(self) -> Self {
        Self { dry: true, ..self }
    }

    /// For the sinks of this pipeline.
    pub fn for_sinks(self, pipeline: &PipelineConfig) -> Self {
        Self { needs_order: pipeline.sinks.values().any(AnySink::writes_states), ..self }
    }

    /// What is read: `pubsub projects/shop/subscriptions/stock`.
    pub fn describe(config: &PubsubSourceConfig) -> String {
        format!("pubsub {}", full_name(config))
    }

    fn about(&self) -> About {
        About::subscription(&self.subscription)
    }

    async fn subscriber(&mut self) -> Result<Subscriber, Fault> {
        if let Some(subscriber) = &self.subscriber {
            return Ok(subscriber.clone());
        }
        let access = self.connector.access().await?;
        let building =
            Subscriber::builder().with_endpoint(access.endpoint).with_credentials(access.credentials).build();
        let subscriber = self.connector.built(building).await?;
        Ok(self.subscriber.insert(subscriber).clone())
    }

    fn max_bytes(&self) -> u64 {
        let all = || (self.limits.max_bytes as u64).saturating_mul(BATCHES);
        self.config.max_bytes.map_or_else(all, |bytes| bytes.0)
    }

    /// Takes an answer to a look, and says when to look again. What a subscription is may change while it is read.
    fn looked(&mut self, answer: Result<Subscription, Error>) -> Result<Option<Instant>, Fault> {
        match answer {
            Ok(found) => self.judge(&found).map(|()| Some(Instant::now() + SILENCE)),
            // The account may pull all the same; if it may not, that will say so.
            Err(error) if look::is_denied(&error) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

impl Source for PubsubSource {
    async fn open(&mut self, _: &Positions) -> Result<Positions, Fault> {
        self.open = None;
        // Those whose messages have all come to their end need not be waited for.
        self.streams.retain(|stream| stream.shutdown().now_or_never().is_none());
        let mut look = self.look().await?;
        let answer = (&mut look.0).await.map_err(|cause| broken(&cause))?;
        let look_at = self.looked(answer)?;
        let subscriber = self.subscriber().await?;
        let pull = Pull::start(&subscriber, &self.subscription, &self.config, &self.limits, self.max_bytes());
        self.streams.push(pull.token());
        self.under_way.get_or_insert_with(|| UnderWay::new(self.dry));
        self.open = Some(Open { pull, came: Vec::new(), taken: VecDeque::new(), look_at, looking: None });
        tracing::info!(
            event = "source_opened",
            place = self.connector.place(),
            subscription = %self.subscription,
            "{} is read",
            self.subscription
        );
        Ok(Positions::default())
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        loop {
            let (Some(open), Some(under_way)) = (&mut self.open, &mut self.under_way) else { return Err(not_open()) };
            let max_attempts = self.config.max_attempts;
            let mut cutter = Cutter { rules: &self.rules, limits: &self.limits, max_attempts, under_way };
            if let Some(batch) = cutter.cut(&mut open.taken) {
                return Ok(Read::Batch(batch));
            }
            match open.wait(self.limits.max_events).await {
                Event::Came => {
                    open.taken.extend(open.came.drain(..));
                    open.look_at = open.look_at.map(|_| Instant::now() + SILENCE);
                }
                Event::Ended => {
                    let ended = open.pull.ended().await;
                    self.open = None;
                    return Err(ended.map_or_else(not_open, |error| self.failed(&error)));
                }
                Event::Silence => {
                    let look = self.look().await?;
                    if let Some(open) = &mut self.open {
                        open.looking = Some(look);
                    }
                }
                Event::Looked(answer) => {
                    open.looking = None;
                    let look_at = self.looked(answer.map_err(|cause| broken(&cause))?)?;
                    if let Some(open) = &mut self.open {
                        open.look_at = look_at;
                    }
                }
            }
        }
    }

    async fn settle(&mut self) {
        // What is in no batch is given back.
        self.open = None;
        if let Some(under_way) = self.under_way.take() {
            under_way.settle().await;
        }
        let streams = std::mem::take(&mut self.streams);
        let ends = join_all(streams.iter().map(ShutdownToken::shutdown));
        if tokio::time::timeout(self.config.timeout.0, ends).await.is_err() {
            tracing::warn!(
                event = "source_unacknowledged",
                batches = streams.len(),
                "the pipeline ends without having acknowledged what is safe: it will be delivered a second time"
            );
        }
    }
}

fn full_name(config: &PubsubSourceConfig) -> String {
    names::full(&config.connection.project, "subscriptions", &config.subscription).into_owned()
}

fn not_open() -> Fault {
    Fault::transient(Code::PubsubUnreachable, "the subscription is not open")
}

fn broken(cause: &JoinError) -> Fault {
    Fault::transient(Code::Internal, format!("a task that looks at a subscription broke: {cause}"))
}
