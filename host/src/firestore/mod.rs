//! Google Cloud Firestore, as far as a record of positions needs it: a document that is read, and written if it is still as it was.
//!
//! Spoken to by its REST API, since no client of it for Rust is both official and of data, and two requests are all that is needed
//! (docs/decisions/0024). Nothing is tried again here: when, and how often, is the pipeline's to say.

mod faults;
pub(crate) mod value;

use std::{path::PathBuf, time::Duration};

use google_cloud_auth::credentials::{CacheableResource, Credentials};
use google_cloud_gax::error::rpc::Code as Grpc;
use reqwest::{
    Client, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

#[cfg(test)]
pub(crate) use self::faults::CODES;
use self::value::Fields;
use crate::{
    config::FirestoreCheckpointConfig,
    error::{Code, Fault, chain},
    fault_table::Meaning,
    google::{self, Service, credentials},
};

/// What it is among the services.
const SERVICE: Service = Service {
    name: "Firestore",
    endpoint: "https://firestore.googleapis.com",
    emulator: "FIRESTORE_EMULATOR_HOST",
    credentials: Code::FirestoreCredentials,
};
/// How long credentials may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of an answer that is none of Firestore's is told.
const ANSWER: usize = 200;

/// A document, or that there is none, at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Its fields, and when it was written last.
    pub(crate) document: Option<(Fields, String)>,
    /// The moment, by the clock of the service. RFC 3339, as each time here.
    pub(crate) at: String,
}

impl Look {
    /// What an answer says; none when it is none.
    pub(crate) fn of(answer: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let answer = answer.get(0)?;
        let document = match answer.get("found") {
            None => None,
            Some(found) => {
                let fields = found.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
                Some((fields, text(found, "updateTime")?))
            }
        };
        Some(Self { document, at: text(answer, "readTime")? })
    }
}

/// What became of a write.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// It is durable; when it was, which is the version of the document.
    Done(String),
    /// The document was not as it had to be; what the service says.
    Otherwise(String),
}

/// What the document has to be for a write to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Only<'a> {
    /// Written last at that time.
    Of(&'a str),
    /// Not there.
    New,
}

/// Speaks to one database.
pub(crate) struct FirestoreConnector {
    project: String,
    database: String,
    credentials_file: Option<PathBuf>,
    timeout: Duration,
    endpoint: String,
    client: Option<(Client, Credentials)>,
}

impl FirestoreConnector {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &FirestoreCheckpointConfig) -> Self {
        Self {
            project: config.project.clone(),
            database: config.database.clone(),
            credentials_file: config.credentials_file.clone(),
            timeout: config.timeout.0,
            endpoint: SERVICE.endpoint(config.endpoint.as_deref()),
            client: None,
        }
    }

    /// Host and port, for messages.
    pub(crate) fn place(&self) -> &str {
        google::place(&self.endpoint)
    }

    fn path(&self) -> String {
        format!("projects/{}/databases/{}", self.project, self.database)
    }

    /// The whole name of a document. `path`: collection and document.
    pub(crate) fn name(&self, path: &str) -> String {
        format!("{}/documents/{path}", self.path())
    }

    /// Reads a document.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub(crate) async fn look(&mut self, name: &str) -> Result<Look, Fault> {
        let answer = self.ask("batchGet", &json!({ "documents": [name] })).await?;
        let answer = answer.map_err(|refusal| self.fault(&refusal))?;
        Look::of(&answer).ok_or_else(|| self.no_answer("it holds neither a document nor that there is none"))
    }

    /// Sets and removes fields of a document: those of `paths` that are in `fields` are set, the others removed. `at` is set to the time
    /// of the service.
    ///
    /// # Errors
    /// When there is no answer, or it is an error but for what `only` asks.
    pub(crate) async fn write(
        &mut self,
        name: &str,
        fields: &Fields,
        paths: &[String],
        at: &str,
        only: Only<'_>,
    ) -> Result<Written, Fault> {
        let only = match only {
            Only::Of(time) => json!({ "updateTime": time }),
            Only::New => json!({ "exists": false }),
        };
        self.commit(&json!({
            "update": { "name": name, "fields": fields },
            "updateMask": { "fieldPaths": paths },
            // A write that changes nothing leaves the time of the document as it was: this one always changes something.
            "updateTransforms": [{ "fieldPath": at, "setToServerValue": "REQUEST_TIME" }],
            "currentDocument": only,
        }))
        .await
    }

    /// Removes a document, whatever it is.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub(crate) async fn remove(&mut self, name: &str) -> Result<(), Fault> {
        self.commit(&json!({ "delete": name })).await.map(drop)
    }

    async fn commit(&mut self, write: &Value) -> Result<Written, Fault> {
        match self.ask("commit", &json!({ "writes": [write] })).await? {
            Ok(answer) => {
                let result = answer.pointer("/writeResults/0/updateTime").or_else(|| answer.get("commitTime"));
                let time = result.and_then(Value::as_str);
                time.map(|time| Written::Done(time.to_owned())).ok_or_else(|| self.no_answer("it has no time"))
            }
            // A database that is not there, or that is none of native mode, shows when the document is read.
            Err(refusal) if matches!(refusal.code, Grpc::FailedPrecondition | Grpc::AlreadyExists | Grpc::NotFound) => {
                Ok(Written::Otherwise(refusal.told()))
            }
            Err(refusal) => Err(self.fault(&refusal)),
        }
    }

    /// One request. What is refused is told apart from what gets no answer.
    async fn ask(&mut self, what: &str, body: &Value) -> Result<Result<Value, Refusal>, Fault> {
        let (client, headers) = self.client().await?;
        let url = format!("{}/v1/{}/documents:{what}", self.endpoint, self.path());
        let request = client.post(url).headers(headers).header(CONTENT_TYPE, "application/json").body(body.to_string());
        let answered = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        };
        let (status, body) = answered.await.map_err(|error| {
            let message = match error.is_timeout() {
                true => format!("Firestore at {} did not answer within {:?}", self.place(), self.timeout),
                false => format!("Firestore at {} cannot be reached: {}", self.place(), chain(&error.without_url())),
            };
            Fault::transient(Code::FirestoreUnreachable, message)
        })?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_success() {
            return answer.map(Ok).ok_or_else(|| self.no_answer("it is no JSON"));
        }
        let refusal = Refusal::new(status, answer.as_ref(), &body);
        if refusal.code == Grpc::Unauthenticated {
            self.client = None;
        }
        Ok(Err(refusal))
    }

    /// The client, and the headers that say who we are. The file with the credentials is read when the client is made.
    async fn client(&mut self) -> Result<(Client, HeaderMap), Fault> {
        let is_emulator = google::is_emulator(&self.endpoint);
        let file = self.credentials_file.clone();
        let (client, credentials) = match &self.client {
            Some(client) => client.clone(),
            None => {
                let credentials = credentials::find(&SERVICE, file.as_deref(), is_emulator).await?;
                let mut client =
                    Client::builder().timeout(self.timeout).user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
                if is_emulator {
                    client = client.no_proxy();
                }
                let client = client.build().map_err(|error| {
                    let why = chain(&error.without_url());
                    Fault::fatal(Code::FirestoreConfiguration, format!("no client of Firestore can be made: {why}"))
                })?;
                self.client.insert((client, credentials)).clone()
            }
        };
        if is_emulator {
            // With it rules for apps, which an emulator may have been given, do not bind us.
            return Ok((client, HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer owner"))])));
        }
        match tokio::time::timeout(PATIENCE, credentials.headers(http::Extensions::new())).await {
            Ok(Ok(CacheableResource::New { data, .. })) => Ok((client, data)),
            // Only who says what he has is told that it is still good.
            Ok(Ok(CacheableResource::NotModified)) => Ok((client, HeaderMap::new())),
            Ok(Err(error)) => {
                let fault = credentials::unusable(&SERVICE, file.as_deref(), &chain(&error));
                // A metadata server that does not answer yet may do so later; a key that is not taken never will be.
                let passing = error.is_transient();
                Err(if passing { Fault::transient(fault.code, fault.message) } else { fault })
            }
            Err(_) => Err(Fault::transient(
                Code::FirestoreCredentials,
                format!("no credentials for Firestore came within {PATIENCE:?}; {}", credentials::ways(&SERVICE)),
            )),
        }
    }

    fn no_answer(&self, why: &str) -> Fault {
        let message = format!("what answers at {} is no Firestore, or something on the way to it: {why}", self.place());
        Fault::transient(Code::FirestoreUnreachable, message)
    }

    fn fault(&self, refusal: &Refusal) -> Fault {
        let (place, database, project, told) = (self.place(), &self.database, &self.project, refusal.told());
        match refusal.code {
            Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled => {
                Fault::transient(Code::FirestoreUnreachable, format!("Firestore at {place} cannot answer: {told}"))
            }
            Grpc::NotFound => Fault::fatal(
                Code::FirestoreMissing,
                format!(
                    "Firestore at {place} has no database `{database}` in project {project}: {told}; make it with `gcloud firestore \
                     databases create --project={project} --database='{database}' --location=LOCATION --type=firestore-native`"
                ),
            ),
            Grpc::PermissionDenied => Fault::fatal(
                Code::FirestoreDenied,
                format!(
                    "Firestore at {place} refuses database `{database}` of project {project}: {told}; the account needs the role \
                     roles/datastore.user: `gcloud projects add-iam-policy-binding {project} --role=roles/datastore.user \
                     --member=serviceAccount:ACCOUNT`"
                ),
            ),
            Grpc::Unauthenticated => Fault::fatal(
                Code::FirestoreCredentials,
                format!(
                    "Firestore at {place} does not accept the credentials: {told}; {}",
                    credentials::ways(&SERVICE)
                ),
            ),
            code => match google::faults::meaning(faults::CODES, code) {
                Meaning::Transient => {
                    Fault::transient(Code::FirestoreBusy, format!("Firestore at {place} cannot take this now: {told}"))
                }
                Meaning::Change | Meaning::Pipeline => Fault::fatal(
                    Code::FirestoreError,
                    format!("Firestore at {place} answered with an error for database `{database}`: {told}"),
                ),
            },
        }
    }
}

/// An answer that is an error.
#[derive(Debug)]
struct Refusal {
    code: Grpc,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, answer: Option<&Value>, body: &[u8]) -> Self {
        // What is asked for document by document is answered with a list, errors as well.
        let answer = answer.and_then(|answer| answer.get("error").or_else(|| answer.pointer("/0/error")));
        let text = |key: &str| answer.and_then(|error| error.get(key)).and_then(Value::as_str);
        let code = text("status").and_then(|name| Grpc::try_from(name).ok()).unwrap_or_else(|| of_http(status));
        let message = text("message").map_or_else(
            || {
                let start = String::from_utf8_lossy(body.get(..ANSWER).unwrap_or(body));
                format!("HTTP {status} {}", start.replace(char::is_control, " ").trim())
            },
            str::to_owned,
        );
        Self { code, message }
    }

    fn told(&self) -> String {
        format!("{} {}", self.code.name(), self.message)
    }
}

/// The code for an answer that has none, such as a proxy's.
fn of_http(status: StatusCode) -> Grpc {
    match status.as_u16() {
        400 => Grpc::InvalidArgument,
        401 => Grpc::Unauthenticated,
        403 => Grpc::PermissionDenied,
        404 => Grpc::Unimplemented,
        429 => Grpc::ResourceExhausted,
        _ => Grpc::Unavailable,
    }
}

#[cfg(test)]
mod tests;
