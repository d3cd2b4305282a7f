//! As whom a service of Google Cloud is spoken to.

use std::path::Path;

use google_cloud_auth::credentials::{Builder, Credentials, anonymous, service_account};

use super::Service;
use crate::error::{Fault, chain};

/// The ways to give credentials.
pub(crate) fn ways(service: &Service) -> String {
    format!(
        "name the key of a service account with `credentials_file`, or let GOOGLE_APPLICATION_CREDENTIALS name a file, or run `gcloud auth \
         application-default login`, or run where a service account is attached; an emulator, which needs none, is named with {} or \
         `endpoint`",
        service.emulator
    )
}

/// The credentials that a configuration names, or those of the environment.
///
/// # Errors
/// When they are not there, or are none.
pub(crate) async fn find(service: &Service, file: Option<&Path>, is_emulator: bool) -> Result<Credentials, Fault> {
    super::provider();
    match file {
        _ if is_emulator => Ok(anonymous::Builder::new().build()),
        Some(file) => of_file(service, file).await,
        None => Builder::default().build().map_err(|error| unusable(service, None, &chain(&error))),
    }
}

async fn of_file(service: &Service, file: &Path) -> Result<Credentials, Fault> {
    let place = file.display();
    let wrong = |why: String| Fault::fatal(service.credentials, format!("`credentials_file` {place} {why}"));
    let text = tokio::fs::read(file)
        .await
        .map_err(|cause| wrong(format!("cannot be read: {cause}; name a file that this user may read")))?;
    // What the parser says is a line and a column: no part of a key.
    let key: serde_json::Value = serde_json::from_slice(&text).map_err(|cause| {
        wrong(format!("is no JSON: {cause}; take the key as `gcloud iam service-accounts keys create` writes it"))
    })?;
    match key.get("type").and_then(serde_json::Value::as_str) {
        Some("service_account") => {}
        Some(other) => {
            return Err(wrong(format!(
                "holds credentials of type `{other}`, and not the key of a service account; let GOOGLE_APPLICATION_CREDENTIALS name it \
                 and leave `credentials_file` out"
            )));
        }
        None => {
            return Err(wrong(
                "has no `type`, so it is no key of a service account; make one with `gcloud iam service-accounts keys create`".to_owned(),
            ));
        }
    }
    service_account::Builder::new(key)
        .build()
        .map_err(|error| wrong(format!("is no whole key of a service account: {}", chain(&error))))
}

/// The fault for credentials that do not work.
pub(crate) fn unusable(service: &Service, file: Option<&Path>, why: &str) -> Fault {
    let message = match file {
        Some(file) => format!(
            "the credentials in `credentials_file` {} cannot be used: {why}; make a new key with `gcloud iam service-accounts keys create`",
            file.display()
        ),
        None => {
            format!("there are no default credentials for {} that can be used: {why}; {}", service.name, ways(service))
        }
    };
    Fault::fatal(service.credentials, message)
}
