//! What all that write to MongoDB share: one client that is made when it is needed, and what its errors mean.

pub(crate) mod examine;

use std::time::Duration;

use mongodb::{
    Client,
    error::{Error, ErrorKind},
    options::ClientOptions,
};

use crate::{
    config::Secret,
    error::{Code, Fault},
    mongodb_faults::{Trouble, write_trouble},
};

/// How long a usable server is looked for; the pipeline tries again after it.
const SELECTION: Duration = Duration::from_secs(5);
/// How long one answer may take: a connection that is open and silent is given up after it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const DENIED: [i32; 3] = [13, 18, 8000];

/// Makes the client, and keeps it.
pub(crate) struct MongoConnector {
    uri: Secret,
    client: Option<Client>,
    hosts: String,
    password: Option<String>,
}

impl MongoConnector {
    /// Nothing is connected yet.
    pub(crate) fn new(uri: Secret) -> Self {
        let password = password_of(uri.reveal());
        Self { uri, client: None, hosts: "the configured host".to_owned(), password }
    }

    /// `host:port`, joined by commas, for messages.
    pub(crate) fn hosts(&self) -> &str {
        &self.hosts
    }

    /// The client.
    pub(crate) async fn client(&mut self) -> Result<Client, Fault> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut options = ClientOptions::parse(self.uri.reveal()).await.map_err(|error| self.fault(&error))?;
        self.hosts = options.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        options.app_name.get_or_insert_with(|| "tidegate".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.connect_timeout.get_or_insert(SELECTION);
        let client = Client::with_options(options).map_err(|error| self.fault(&error))?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Waits for an answer, but not for ever: the driver itself never gives a silent connection up.
    pub(crate) async fn answer<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(|error| self.fault(&error)),
            Err(_) => Err(Fault::transient(
                Code::MongoUnreachable,
                format!("MongoDB at {} did not answer within {PATIENCE:?}", self.hosts),
            )),
        }
    }

    /// The fault for an error that is not owed to one document.
    pub(crate) fn fault(&self, error: &Error) -> Fault {
        let hosts = &self.hosts;
        let told = self.told(error);
        let code = server_code(error);
        if is_passing(error) {
            let code = if matches!(error.kind.as_ref(), ErrorKind::Command(_) | ErrorKind::Write(_)) {
                Code::MongoError
            } else {
                Code::MongoUnreachable
            };
            return Fault::transient(code, format!("MongoDB at {hosts} cannot answer now: {told}"));
        }
        match (error.kind.as_ref(), code) {
            (ErrorKind::Authentication { .. }, _) => denied(hosts, &told),
            (ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. }, _) => {
                Fault::fatal(Code::MongoConfiguration, format!("the connection string of MongoDB is not valid: {told}"))
            }
            (_, code) => self.refused(code.unwrap_or(0), &told),
        }
    }

    /// The fault for a code of the server that every change would meet.
    pub(crate) fn refused(&self, code: i32, told: &str) -> Fault {
        let hosts = &self.hosts;
        match code {
            code if DENIED.contains(&code) => denied(hosts, told),
            20 | 263 => Fault::fatal(
                Code::MongoNoTransactions,
                format!(
                    "MongoDB at {hosts} cannot write data and position in one transaction: {told}; transactions need a replica set \
                     (`mongod --replSet rs0`, then `rs.initiate()` once) and no capped collection"
                ),
            ),
            _ => Fault::fatal(Code::MongoError, format!("MongoDB at {hosts} answered with an error: {told}")),
        }
    }

    /// The error in words, without the driver's frame and without the password.
    pub(crate) fn told(&self, error: &Error) -> String {
        let told = match error.kind.as_ref() {
            ErrorKind::Command(command) => {
                format!("{} ({} {})", command.message.trim_end_matches('.'), command.code, command.code_name)
            }
            ErrorKind::InvalidArgument { message, .. } | ErrorKind::Authentication { message, .. } => message.clone(),
            kind => kind.to_string(),
        };
        match self.password.as_deref().filter(|password| !password.is_empty()) {
            Some(password) => told.replace(password, "***"),
            None => told,
        }
    }
}

fn denied(hosts: &str, told: &str) -> Fault {
    Fault::fatal(
        Code::MongoDenied,
        format!(
            "MongoDB at {hosts} refuses: {told}; check user, password and `authSource`, and grant the user `readWrite` on the databases \
             it writes to"
        ),
    )
}

/// Whether trying again may help.
fn is_passing(error: &Error) -> bool {
    write_trouble(error) == Trouble::Transient
}

/// The server's number.
pub(crate) fn server_code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteConcernError(error)) => Some(error.code),
        _ => None,
    }
}

/// The password as it stands in a connection string.
pub(crate) fn password_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password.to_owned())
}
