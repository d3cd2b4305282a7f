//! What all that talk to Google Cloud Pub/Sub share: clients that are made when they are needed, the credentials they take, and what
//! the service's errors mean.
//!
//! Of the official crate only the transport is wanted: what is tried again, and when, is the pipeline's to say, which also counts it
//! and shows it. So no client made here retries anything (docs/decisions/0018).

pub(crate) mod attributes;
mod faults;
pub(crate) mod names;

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::{
    client_builder::Error as BuildError,
    error::{CredentialsError, Error, rpc::Code as Grpc},
    retry_policy::{NeverRetry, RetryPolicyExt as _},
};
use google_cloud_pubsub::client::{BasePublisher, SubscriptionAdmin, TopicAdmin};

#[cfg(test)]
pub(crate) use self::faults::WRITES;
pub(crate) use self::faults::meaning;
use crate::{
    config::PubsubConnection,
    error::{Code, Fault, chain},
    fault_table::Meaning,
    google::{self, Service, credentials},
};

/// What it is among the services.
const SERVICE: Service = Service {
    name: "Pub/Sub",
    endpoint: "https://pubsub.googleapis.com",
    emulator: "PUBSUB_EMULATOR_HOST",
    credentials: Code::PubsubCredentials,
};
/// How long credentials may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for, for messages.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// `topic projects/P/topics/T`
    pub(crate) what: String,
    /// The role that an account needs for it.
    pub(crate) role: &'static str,
    /// What it is called when it is not there.
    pub(crate) missing: Code,
    /// The command that makes it.
    pub(crate) create: String,
    /// The command that gives the role.
    pub(crate) grant: String,
}

impl About {
    /// A subscription that is pulled from, by its full name.
    pub(crate) fn subscription(name: &str) -> Self {
        let role = "roles/pubsub.subscriber";
        let (project, subscription) = names::split(name);
        Self {
            what: format!("subscription {name}"),
            role,
            missing: Code::PubsubSubscriptionMissing,
            create: format!(
                "gcloud pubsub subscriptions create {subscription} --project={project} --topic=TOPIC --enable-message-ordering"
            ),
            grant: format!(
                "gcloud pubsub subscriptions add-iam-policy-binding {subscription} --project={project} --role={role} \
                 --member=serviceAccount:ACCOUNT"
            ),
        }
    }

    /// A topic or subscription that is made, by its full name.
    pub(crate) fn setup(what: &str, name: &str, missing: Code) -> Self {
        let role = "roles/pubsub.editor";
        let (project, alone) = names::split(name);
        Self {
            what: format!("{what} {name}"),
            role,
            missing,
            create: format!("gcloud pubsub {what}s create {alone} --project={project}"),
            grant: format!(
                "gcloud projects add-iam-policy-binding {project} --role={role} --member=serviceAccount:ACCOUNT"
            ),
        }
    }

    /// A topic that is published to, by its full name.
    pub(crate) fn topic(name: &str) -> Self {
        let role = "roles/pubsub.publisher";
        let (project, topic) = names::split(name);
        Self {
            what: format!("topic {name}"),
            role,
            missing: Code::PubsubTopicMissing,
            create: format!("gcloud pubsub topics create {topic} --project={project}"),
            grant: format!(
                "gcloud pubsub topics add-iam-policy-binding {topic} --project={project} --role={role} \
                 --member=serviceAccount:ACCOUNT"
            ),
        }
    }
}

/// Where the service is, and as whom it is spoken to: what every client of the crate is built with.
pub(crate) struct Access {
    /// With its scheme.
    pub(crate) endpoint: String,
    /// Of nobody for an emulator.
    pub(crate) credentials: Credentials,
}

/// Makes clients, and keeps the one that publishes.
pub(crate) struct PubsubConnector {
    connection: PubsubConnection,
    timeout: Duration,
    publisher: Option<BasePublisher>,
    endpoint: String,
}

impl PubsubConnector {
    /// Nothing is connected yet. `timeout` is that of one request.
    pub(crate) fn new(connection: &PubsubConnection, timeout: Duration) -> Self {
        let endpoint = SERVICE.endpoint(connection.endpoint.as_deref());
        Self { connection: connection.clone(), timeout, publisher: None, endpoint }
    }

    /// Host and port, for messages.
    pub(crate) fn place(&self) -> &str {
        google::place(&self.endpoint)
    }

    /// What is served without TLS is an emulator, and asks nobody who they are.
    pub(crate) fn is_emulator(&self) -> bool {
        google::is_emulator(&self.endpoint)
    }

    /// What a client is built with. The file with the credentials is read anew each time.
    ///
    /// # Errors
    /// When there are no credentials, or they cannot be used.
    pub(crate) async fn access(&self) -> Result<Access, Fault> {
        let file = self.connection.credentials_file.as_deref();
        let credentials = credentials::find(&SERVICE, file, google::is_emulator(&self.endpoint)).await?;
        Ok(Access { endpoint: self.endpoint.clone(), credentials })
    }

    /// The client that publishes. It holds the connection, which is made with the first request and made again after it was lost.
    ///
    /// # Errors
    /// As [`PubsubConnector::access`].
    pub(crate) async fn publisher(&mut self) -> Result<BasePublisher, Fault> {
        if let Some(publisher) = &self.publisher {
            return Ok(publisher.clone());
        }
        let Access { endpoint, credentials } = self.access().await?;
        let built = BasePublisher::builder()
            .with_endpoint(endpoint)
            .with_credentials(credentials)
            .with_retry_policy(NeverRetry.with_time_limit(self.timeout))
            .build();
        let publisher = self.built(built).await?;
        self.publisher = Some(publisher.clone());
        Ok(publisher)
    }

    /// A client that looks at topics.
    ///
    /// # Errors
    /// As [`PubsubConnector::access`].
    pub(crate) async fn topics(&self) -> Result<TopicAdmin, Fault> {
        let Access { endpoint, credentials } = self.access().await?;
        let built = TopicAdmin::builder()
            .with_endpoint(endpoint)
            .with_credentials(credentials)
            .with_retry_policy(NeverRetry.with_time_limit(self.timeout))
            .build();
        self.built(built).await
    }

    /// A client that looks at subscriptions.
    ///
    /// # Errors
    /// As [`PubsubConnector::access`].
    pub(crate) async fn subscriptions(&self) -> Result<SubscriptionAdmin, Fault> {
        let Access { endpoint, credentials } = self.access().await?;
        let built = SubscriptionAdmin::builder()
            .with_endpoint(endpoint)
            .with_credentials(credentials)
            .with_retry_policy(NeverRetry.with_time_limit(self.timeout))
            .build();
        self.built(built).await
    }

    /// A client, unless its credentials take for ever.
    ///
    /// # Errors
    /// As [`PubsubConnector::access`], or when it takes too long.
    pub(crate) async fn built<T>(&self, building: impl Future<Output = Result<T, BuildError>>) -> Result<T, Fault> {
        let start = Instant::now();
        match tokio::time::timeout(PATIENCE, building).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) if error.is_default_credentials() => Err(self.unusable(&chain(&error))),
            Ok(Err(error)) => Err(Fault::fatal(
                Code::PubsubConfiguration,
                format!("the endpoint `{}` of Pub/Sub cannot be used: {}", self.endpoint, chain(&error)),
            )),
            Err(_) => Err(Fault::transient(
                Code::PubsubCredentials,
                format!(
                    "no credentials for Pub/Sub came within {:?}; {}",
                    start.elapsed(),
                    credentials::ways(&SERVICE)
                ),
            )),
        }
    }

    /// Forgets the client, and the credentials with it.
    pub(crate) fn forget(&mut self) {
        self.publisher = None;
    }

    /// The fault for an error that is not owed to one message.
    pub(crate) fn fault(&self, error: &Error, about: &About) -> Fault {
        let (place, what) = (self.place(), &about.what);
        if error.is_authentication() {
            return self.unauthenticated(error);
        }
        let Some(status) = error.status() else {
            let message = match error.is_timeout() {
                true => format!("Pub/Sub at {place} did not answer within {:?}", self.timeout),
                false => format!("Pub/Sub at {place} cannot be reached: {}", chain(error)),
            };
            return Fault::transient(Code::PubsubUnreachable, message);
        };
        let told = format!("{} {}", status.code.name(), status.message);
        match status.code {
            Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled => Fault::transient(
                Code::PubsubUnreachable,
                format!("Pub/Sub at {place} cannot answer for {what}: {told}"),
            ),
            Grpc::NotFound => Fault::fatal(
                about.missing,
                format!(
                    "Pub/Sub at {place} has no {what}: {told}; make it with `tidegate setup CONFIG` or `{}`",
                    about.create
                ),
            ),
            Grpc::PermissionDenied => Fault::fatal(
                Code::PubsubDenied,
                format!(
                    "Pub/Sub at {place} refuses {what}: {told}; the account needs the role {}: `{}`",
                    about.role, about.grant
                ),
            ),
            Grpc::Unauthenticated => Fault::fatal(
                Code::PubsubCredentials,
                format!("Pub/Sub at {place} does not accept the credentials: {told}; {}", credentials::ways(&SERVICE)),
            ),
            code => match meaning(code) {
                Meaning::Transient => Fault::transient(
                    Code::PubsubBusy,
                    format!("Pub/Sub at {place} cannot take what is meant for {what} now: {told}"),
                ),
                Meaning::Change | Meaning::Pipeline => Fault::fatal(
                    Code::PubsubError,
                    format!("Pub/Sub at {place} answered with an error for {what}: {told}"),
                ),
            },
        }
    }

    fn unusable(&self, why: &str) -> Fault {
        credentials::unusable(&SERVICE, self.connection.credentials_file.as_deref(), why)
    }

    /// No token was to be had. A metadata server that does not answer yet may do so later, as in a container that begins; a key that is
    /// not taken never will be.
    fn unauthenticated(&self, error: &Error) -> Fault {
        let passing =
            error.source().and_then(|source| source.downcast_ref()).is_some_and(CredentialsError::is_transient);
        let fault = self.unusable(&chain(error));
        if passing { Fault::transient(fault.code, fault.message) } else { fault }
    }
}

#[cfg(test)]
mod tests;
