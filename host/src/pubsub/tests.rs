//! Credentials and endpoints that cannot be used, without any server.

use std::time::Duration;

use super::{About, PubsubConnector};
use crate::{
    config::PubsubConnection,
    error::{Code, Fault},
};

fn connection(endpoint: Option<&str>) -> PubsubConnection {
    PubsubConnection { project: "shop".into(), endpoint: endpoint.map(str::to_owned), credentials_file: None }
}

async fn with_file(content: Option<&str>) -> Fault {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    if let Some(content) = content {
        std::fs::write(&file, content).unwrap();
    }
    let connection = PubsubConnection { credentials_file: Some(file), ..connection(Some("https://pubsub.example")) };
    let mut connector = PubsubConnector::new(&connection, Duration::from_secs(1));
    connector.publisher().await.expect_err("no credentials")
}

#[tokio::test]
async fn each_way_that_a_credentials_file_fails_is_told() {
    for (content, says) in [
        (None, "cannot be read"),
        (Some("type: service_account"), "is no JSON"),
        (Some(r#"{"client_email": "a@b"}"#), "has no `type`"),
        (Some(r#"{"type": "authorized_user", "refresh_token": "geheim"}"#), "type `authorized_user`"),
        (Some(r#"{"type": "service_account", "private_key": "geheim"}"#), "no whole key"),
    ] {
        let fault = with_file(content).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::PubsubCredentials, false), "{fault}");
        assert!(fault.message.contains(says) && fault.message.contains("key.json"), "{fault}");
        assert!(!fault.message.contains("geheim"), "{fault}");
    }
}

#[tokio::test]
async fn a_key_that_signs_nothing_is_told_with_the_first_request_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    let key = r#"{"type": "service_account", "client_email": "a@b", "private_key_id": "1", "project_id": "shop",
        "private_key": "-----BEGIN PRIVATE KEY-----\nZ2VoZWlt\n-----END PRIVATE KEY-----\n"}"#;
    std::fs::write(&file, key).unwrap();
    let connection = PubsubConnection { credentials_file: Some(file), ..connection(Some("https://127.0.0.1:1")) };
    let connector = PubsubConnector::new(&connection, Duration::from_secs(1));
    let topics = connector.topics().await.expect("a client");
    let error = topics.get_topic().set_topic("projects/shop/topics/stock").send().await.expect_err("no token");
    let fault = connector.fault(&error, &About::topic("projects/shop/topics/stock"));
    assert_eq!((fault.code, fault.is_transient()), (Code::PubsubCredentials, false), "{fault}");
    assert!(fault.message.contains("key.json") && !fault.message.contains("Z2VoZWlt"), "{fault}");
}

#[tokio::test]
async fn where_nobody_listens_is_named() {
    let connector = PubsubConnector::new(&connection(Some("http://127.0.0.1:1/")), Duration::from_secs(2));
    let topics = connector.topics().await.expect("a client");
    let error = topics.get_topic().set_topic("projects/shop/topics/stock").send().await.expect_err("nobody");
    let fault = connector.fault(&error, &About::topic("projects/shop/topics/stock"));
    assert_eq!((fault.code, fault.is_transient()), (Code::PubsubUnreachable, true), "{fault}");
    assert!(fault.message.contains("127.0.0.1:1"), "{fault}");
}
