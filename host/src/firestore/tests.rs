//! Credentials and endpoints that cannot be used, and answers that are errors, without any server of Google's.

use std::{path::Path, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{FirestoreConnector, Only, Written};
use crate::{
    config::FirestoreCheckpointConfig,
    error::{Code, Fault},
};

fn config(endpoint: &str, credentials_file: Option<&Path>) -> FirestoreCheckpointConfig {
    let config =
        json!({ "project": "shop", "endpoint": endpoint, "credentials_file": credentials_file, "timeout": "2s" });
    serde_json::from_value(config).expect("a configuration")
}

async fn look(config: &FirestoreCheckpointConfig) -> Fault {
    let mut connector = FirestoreConnector::new(config);
    let name = connector.name("checkpoints/main");
    connector.look(&name).await.expect_err("no document")
}

#[tokio::test]
async fn a_credentials_file_that_is_none_is_told_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    let key = |key: &str| {
        format!(
            r#"{{"type": "service_account", "client_email": "a@b", "private_key_id": "1", "project_id": "shop", "private_key": "{key}"}}"#
        )
    };
    let broken = key("-----BEGIN PRIVATE KEY-----\\nZ2VoZWlt\\n-----END PRIVATE KEY-----\\n");
    for content in [
        None,
        Some("type: service_account"),
        Some(r#"{"type": "service_account", "private_key": "Z2VoZWlt"}"#),
        Some(&*broken),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let fault = look(&config("https://127.0.0.1:1", Some(&file))).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::FirestoreCredentials, false), "{fault}");
        assert!(fault.message.contains("key.json") && !fault.message.contains("Z2VoZWlt"), "{fault}");
    }
}

#[tokio::test]
async fn where_nobody_listens_is_named() {
    let fault = look(&config("http://127.0.0.1:1/", None)).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::FirestoreUnreachable, true), "{fault}");
    assert!(fault.message.contains("127.0.0.1:1"), "{fault}");
}

/// Gives each request the same answer.
async fn answering(status: StatusCode, body: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The whole request comes before the answer: none of them is big.
            let mut request = vec![0; 64 << 10];
            let mut length = 0;
            while !is_whole(&request[..length]) {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
        }
    });
    format!("http://{address}")
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
    length.is_none_or(|length: usize| body.len() >= length)
}

fn error(code: u16, status: &str) -> Value {
    json!({ "error": { "code": code, "message": "because", "status": status } })
}

#[tokio::test]
async fn each_error_is_told_with_the_way_out() {
    let refused = |code, status| error(code, status).to_string();
    for (status, body, code, transient, says) in [
        (401, refused(401, "UNAUTHENTICATED"), Code::FirestoreCredentials, false, "credentials_file"),
        (403, refused(403, "PERMISSION_DENIED"), Code::FirestoreDenied, false, "roles/datastore.user"),
        (
            404,
            refused(404, "NOT_FOUND"),
            Code::FirestoreMissing,
            false,
            "gcloud firestore databases create --project=shop",
        ),
        // Documents are asked for in a stream, of which an error is the first part.
        (404, json!([error(404, "NOT_FOUND")]).to_string(), Code::FirestoreMissing, false, "`(default)`"),
        (409, refused(409, "ABORTED"), Code::FirestoreBusy, true, "because"),
        (429, refused(429, "RESOURCE_EXHAUSTED"), Code::FirestoreBusy, true, "because"),
        (400, refused(400, "FAILED_PRECONDITION"), Code::FirestoreError, false, "because"),
        (400, refused(400, "INVALID_ARGUMENT"), Code::FirestoreError, false, "because"),
        (503, refused(503, "UNAVAILABLE"), Code::FirestoreUnreachable, true, "because"),
        (504, refused(504, "DEADLINE_EXCEEDED"), Code::FirestoreUnreachable, true, "because"),
        // Of something on the way.
        (
            502,
            "<html>bad\ngateway</html>".to_owned(),
            Code::FirestoreUnreachable,
            true,
            "502 Bad Gateway <html>bad gateway</html>",
        ),
        (404, "nothing here".to_owned(), Code::FirestoreError, false, "nothing here"),
        (200, "<html>log in</html>".to_owned(), Code::FirestoreUnreachable, true, "is no Firestore"),
        (200, "[]".to_owned(), Code::FirestoreUnreachable, true, "is no Firestore"),
    ] {
        let endpoint = answering(StatusCode::from_u16(status).unwrap(), body).await;
        let fault = look(&config(&endpoint, None)).await;
        assert_eq!((fault.code, fault.is_transient()), (code, transient), "{fault}");
        assert!(fault.message.contains(says) && fault.message.contains("127.0.0.1"), "{fault}");
    }
}

#[tokio::test]
async fn a_write_that_was_for_another_version_is_no_error() {
    for (status, name) in [(400, "FAILED_PRECONDITION"), (409, "ALREADY_EXISTS"), (404, "NOT_FOUND")] {
        let endpoint = answering(StatusCode::from_u16(status).unwrap(), error(status, name).to_string()).await;
        let mut connector = FirestoreConnector::new(&config(&endpoint, None));
        let written =
            connector.write("name", &super::Fields::new(), &[], "renewed", Only::New).await.expect("an answer");
        assert!(matches!(&written, Written::Otherwise(why) if why.contains(name)), "{written:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!("http://{}", listener.local_addr().unwrap()), None);
    config.timeout.0 = Duration::from_millis(100);
    let fault = look(&config).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::FirestoreUnreachable, true), "{fault}");
    assert!(fault.message.contains("did not answer within 100ms"), "{fault}");
}
