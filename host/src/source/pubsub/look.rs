//! Looks at a subscription: whether it is there, whether it can be pulled from, and what it lacks.

use std::time::Duration;

use google_cloud_gax::{
    error::rpc::Code as Grpc,
    retry_policy::{NeverRetry, RetryPolicyExt as _},
};
use google_cloud_pubsub::{Error, client::SubscriptionAdmin, model::Subscription};
use tokio::task::JoinHandle;

use super::{PubsubSource, broken};
use crate::{
    config::PubsubSourceConfig,
    doctor::Finding,
    error::{Code, Fault},
    source::BatchLimits,
};

/// A question that is under way.
pub(super) struct Look(pub(super) JoinHandle<Result<Subscription, Error>>);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether this account may pull, maybe, but not look.
pub(super) fn is_denied(error: &Error) -> bool {
    error.status().is_some_and(|status| status.code == Grpc::PermissionDenied)
}

impl PubsubSource {
    /// What the subscription is, without taking a message from it.
    pub(crate) async fn examine(config: &PubsubSourceConfig) -> Vec<Finding> {
        let limits = BatchLimits { max_events: 1, max_bytes: 1, linger: Duration::ZERO };
        let mut source = Self::new(config.clone(), limits);
        source.examined().await.unwrap_or_else(|fault| vec![Finding::from(&fault)])
    }

    async fn examined(&mut self) -> Result<Vec<Finding>, Fault> {
        let mut look = self.look().await?;
        let (name, place) = (self.subscription.clone(), self.connector.place().to_owned());
        let found = match (&mut look.0).await.map_err(|cause| broken(&cause))? {
            Ok(found) => found,
            Err(error) if is_denied(&error) => {
                let what = format!("Pub/Sub at {place} answers, and does not let the account look at {name}");
                return Ok(vec![
                    Finding::unknown(what).help("give it pubsub.subscriptions.get, as roles/pubsub.viewer has it"),
                ]);
            }
            Err(error) => return Err(self.failed(&error)),
        };
        self.judge(&found)?;
        let mut findings = vec![Finding::good(format!("Pub/Sub at {place} answers for {name}"))];
        if !found.enable_message_ordering {
            let what = "it does not keep the order of messages: where a sink writes states, changes of one document may take it back";
            findings.push(Finding::warning(what).help(format!("make another subscription: {}", self.about().create)));
        }
        if self.config.max_attempts.is_some() && found.dead_letter_policy.is_none() {
            let what =
                "`max_attempts` has no effect: without a dead-letter policy the service does not count deliveries";
            findings.push(
                Finding::warning(what).help("give the subscription a dead-letter policy, or leave `max_attempts` out"),
            );
        }
        Ok(findings)
    }

    async fn admin(&mut self) -> Result<SubscriptionAdmin, Fault> {
        if let Some(admin) = &self.admin {
            return Ok(admin.clone());
        }
        let access = self.connector.access().await?;
        let building = SubscriptionAdmin::builder()
            .with_endpoint(access.endpoint)
            .with_credentials(access.credentials)
            .with_retry_policy(NeverRetry.with_time_limit(self.config.timeout.0))
            .build();
        let admin = self.connector.built(building).await?;
        Ok(self.admin.insert(admin).clone())
    }

    /// Begins to ask.
    pub(super) async fn look(&mut self) -> Result<Look, Fault> {
        let question = self.admin().await?.get_subscription().set_subscription(&self.subscription);
        Ok(Look(tokio::spawn(question.send())))
    }

    /// The fault for an error, after which everything is made anew.
    pub(super) fn failed(&mut self, error: &Error) -> Fault {
        self.admin = None;
        // Under the same name at the service, a client gets the rest of the ordering keys that it had.
        if error.is_authentication() {
            self.subscriber = None;
        }
        self.connector.fault(error, &self.about())
    }

    /// What is wrong with the subscription; what it lacks is told once.
    pub(super) fn judge(&mut self, found: &Subscription) -> Result<(), Fault> {
        let name = &self.subscription;
        if let Some(delivers) = delivers_itself(found) {
            let message = format!(
                "{name} {delivers}, and cannot be pulled from; make another one for tidegate with `{}`",
                self.about().create
            );
            return Err(Fault::fatal(Code::PubsubSubscriptionUnfit, message));
        }
        if std::mem::replace(&mut self.told, true) {
            return Ok(());
        }
        if self.needs_order && !found.enable_message_ordering {
            tracing::warn!(
                event = "subscription_unordered",
                subscription = name,
                "{name} does not keep the order of messages, and a sink writes states: changes of one document may take it back. Ordering cannot be \
                 switched on later: make another subscription with `{}`",
                self.about().create
            );
        }
        let policy = found.dead_letter_policy.as_ref().map(|policy| policy.max_delivery_attempts);
        match (self.config.max_attempts, policy) {
            (Some(_), None) => tracing::warn!(
                event = "subscription_counts_nothing",
                subscription = name,
                "`max_attempts` has no effect: {name} has no dead-letter policy, without which the server does not count deliveries"
            ),
            (Some(ours), Some(theirs)) if i64::from(ours) >= i64::from(theirs) => tracing::warn!(
                event = "subscription_counts_less",
                subscription = name,
                "`max_attempts` ({ours}) has no effect: {name} sends a message to its own dead-letter topic after {theirs} deliveries"
            ),
            _ => {}
        }
        Ok(())
    }
}

/// How the service itself delivers what comes to a subscription; none where it waits to be pulled.
pub(crate) fn delivers_itself(found: &Subscription) -> Option<&'static str> {
    if found.detached {
        return Some("is detached from its topic");
    }
    let pushes = found.push_config.as_ref().is_some_and(|push| !push.push_endpoint.is_empty());
    match found {
        _ if pushes => Some("pushes its messages to an endpoint"),
        Subscription { bigquery_config: Some(_), .. } => Some("writes its messages to BigQuery"),
        Subscription { cloud_storage_config: Some(_), .. } => Some("writes its messages to Cloud Storage"),
        Subscription { bigtable_config: Some(_), .. } => Some("writes its messages to Bigtable"),
        _ => None,
    }
}
