//! One of the two deployments: connected, and its errors told as whose they are.

use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::{Client, Collection, error::Error};

use crate::{
    config::Secret,
    error::{Code, Fault},
    mongodb::{MongoConnector, server_code},
    mongodb_faults::{Trouble, write_trouble},
};

/// How long one answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often something that may pass, such as an election, is tried.
const TRIES: u32 = 6;

pub(super) struct Side {
    what: &'static str,
    connector: MongoConnector,
    client: Client,
    /// The database that the connection string names.
    pub(super) database: Option<String>,
}

/// A collection as the server describes it.
pub(super) struct Described {
    pub(super) name: String,
    /// `collection`, `view` or `timeseries`.
    pub(super) kind: String,
    pub(super) options: Document,
}

impl Side {
    pub(super) async fn connect(what: &'static str, uri: &Secret) -> Result<Self, Fault> {
        let mut connector = MongoConnector::new(uri.clone());
        // The connector's own words are about writing, and do not say which of the two it is.
        let client = connector
            .client()
            .await
            .map_err(|fault| Fault::fatal(Code::VerifyRead, format!("the {what} cannot be read: {}", fault.message)))?;
        let database = client.default_database().map(|database| database.name().to_owned());
        let side = Self { what, connector, client, database };
        // Once only: a wrong name of a host shall be told soon.
        let admin = side.client.database("admin");
        in_time(admin.run_command(doc! { "ping": 1 }).into_future()).await.map_err(|error| side.fault(&error))?;
        Ok(side)
    }

    /// Asks, and asks again where the cause may pass.
    pub(super) async fn ask<T>(&self, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Fault> {
        let mut pause = Duration::from_millis(100);
        for left in (0..TRIES).rev() {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if left > 0 && write_trouble(&error) == Trouble::Transient => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(self.fault(&error)),
            }
        }
        Err(Fault::fatal(Code::Internal, "asked a server no times"))
    }

    fn fault(&self, error: &Error) -> Fault {
        let way_out = match server_code(error) {
            Some(13) => "; grant the user the role `read` on the databases that are compared",
            _ if matches!(error.kind.as_ref(), mongodb::error::ErrorKind::Authentication { .. }) => {
                "; check user, password and `authSource`"
            }
            _ => "",
        };
        let told = self.connector.told(error);
        Fault::fatal(
            Code::VerifyRead,
            format!("the {} (MongoDB at {}) cannot be read: {told}{way_out}", self.what, self.connector.hosts()),
        )
    }

    pub(super) fn collection(&self, database: &str, name: &str) -> Collection<RawDocumentBuf> {
        self.client.database(database).collection(name)
    }

    /// The databases that hold data of users.
    pub(super) async fn databases(&self) -> Result<Vec<String>, Fault> {
        let mut names = self.ask(async || in_time(self.client.list_database_names().into_future()).await).await?;
        names.retain(|name| !matches!(name.as_str(), "admin" | "config" | "local"));
        Ok(names)
    }

    /// The collections of a database, with what the server keeps for itself.
    pub(super) async fn collections(&self, database: &str) -> Result<Vec<Described>, Fault> {
        let ask = async || {
            let database = self.client.database(database);
            let cursor = in_time(database.run_cursor_command(doc! { "listCollections": 1 }).into_future()).await?;
            cursor.try_collect::<Vec<Document>>().await
        };
        let described = self.ask(ask).await?.into_iter().filter_map(|found| {
            Some(Described {
                name: found.get_str("name").ok()?.to_owned(),
                kind: found.get_str("type").unwrap_or("collection").to_owned(),
                options: found.get_document("options").cloned().unwrap_or_default(),
            })
        });
        Ok(described.collect())
    }

    /// The indexes of a collection; none where there is no such collection.
    pub(super) async fn indexes(&self, database: &str, collection: &str) -> Result<Vec<Document>, Fault> {
        let ask = async || {
            let database = self.client.database(database);
            let listed = in_time(database.run_cursor_command(doc! { "listIndexes": collection }).into_future()).await;
            match listed {
                Ok(cursor) => cursor.try_collect().await,
                // NamespaceNotFound
                Err(error) if server_code(&error) == Some(26) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        };
        self.ask(ask).await
    }
}

/// Gives a silent connection up: the driver itself never does.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => {
            let silent = format!("no answer within {PATIENCE:?}");
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, silent).into())
        }
    }
}
