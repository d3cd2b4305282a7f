//! A real server with TLS, and certificates of every kind.

use std::{fs, path::PathBuf, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::{
    checkpoint::{Claim, Store},
    config::{RedisTlsConfig, Secret},
    dead_letter::DeadLetterWriter,
    error::{Code, Fault},
    redis::Connector,
    sink::{AnySink, Sink as _},
    state::StateDir,
    testing::{Server, free_port, until},
};

const SECRET: &str = "s3cret";

/// An authority and what it signs, as files.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "tidegate test authority");
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Signs a certificate `NAME.pem` with its key `NAME.key` for these hosts, which ends in a year.
    fn sign(&self, name: &str, hosts: &[&str], year: i32) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A server that shows the certificate `name`, and asks for one of this authority or not.
    fn server(&self, name: &str, asks: bool) -> Server {
        let port = free_port();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let (certificate, key) = (text(self.path(&format!("{name}.pem"))), text(self.path(&format!("{name}.key"))));
        Server::redis_at(
            port,
            &[
                "--port",
                "0",
                "--tls-port",
                &port.to_string(),
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &text(self.path("ca.pem")),
                "--tls-auth-clients",
                if asks { "yes" } else { "no" },
                "--requirepass",
                SECRET,
            ],
        )
    }

    /// Trusts this authority alone, and shows the certificate `name` where there is one.
    fn tls(&self, name: Option<&str>) -> RedisTlsConfig {
        RedisTlsConfig {
            ca_file: Some(self.path("ca.pem")),
            cert_file: name.map(|name| self.path(&format!("{name}.pem"))),
            key_file: name.map(|name| self.path(&format!("{name}.key"))),
        }
    }
}

async fn ping(url: &str, tls: &RedisTlsConfig) -> Result<(), Fault> {
    let mut connector = Connector::new(Secret::from(url.to_owned()), Duration::from_secs(20)).tls(tls);
    let mut connection = connector.connection().await?;
    redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| connector.lost(&error))
}

fn url(host: &str, server: &Server) -> String {
    format!("rediss://:{SECRET}@{host}:{}", server.port)
}

/// The message of a fault that is TG0406 and tells no secret.
#[track_caller]
fn refused(answer: Result<(), Fault>, heals: bool) -> String {
    let fault = answer.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisTls, heals), "{fault}");
    assert!(!fault.message.contains(SECRET) && !fault.message.contains("PRIVATE"), "{fault}");
    fault.message
}

#[tokio::test]
async fn a_private_authority_is_trusted_and_no_other() {
    let (ours, other) = (Authority::new(), Authority::new());
    ours.sign("server", &["localhost", "127.0.0.1"], 2100);
    let server = ours.server("server", false);
    for host in ["localhost", "127.0.0.1"] {
        ping(&url(host, &server), &ours.tls(None)).await.unwrap();
    }
    let place = format!("127.0.0.1:{}", server.port);
    for tls in [other.tls(None), RedisTlsConfig::default()] {
        let message = refused(ping(&url("127.0.0.1", &server), &tls).await, false);
        assert!(
            message.contains(&place) && message.contains("not trusted") && message.contains("ca_file"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_or_another_time_is_refused() {
    let authority = Authority::new();
    authority.sign("elsewhere", &["redis.example.com"], 2100);
    authority.sign("old", &["127.0.0.1"], 2021);
    let message = {
        let server = authority.server("elsewhere", false);
        refused(ping(&url("127.0.0.1", &server), &authority.tls(None)).await, false)
    };
    assert!(message.contains("another host") && message.contains("127.0.0.1"), "{message}");
    // It may be renewed at any time: tried again.
    let server = authority.server("old", false);
    let message = refused(ping(&url("127.0.0.1", &server), &authority.tls(None)).await, true);
    assert!(message.contains("not valid now") && message.contains("expired"), "{message}");
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_asked_for() {
    let (ours, other) = (Authority::new(), Authority::new());
    ours.sign("server", &["127.0.0.1"], 2100);
    ours.sign("client", &[], 2100);
    ours.sign("old", &[], 2021);
    other.sign("stranger", &[], 2100);
    let server = ours.server("server", true);
    let url = url("127.0.0.1", &server);
    ping(&url, &ours.tls(Some("client"))).await.unwrap();

    let message = refused(ping(&url, &ours.tls(None)).await, false);
    assert!(message.contains("client certificate") && message.contains("cert_file"), "{message}");
    let stranger = RedisTlsConfig { ca_file: ours.tls(None).ca_file, ..other.tls(Some("stranger")) };
    let message = refused(ping(&url, &stranger).await, false);
    assert!(message.contains("client certificate"), "{message}");
    // Renewed under the same name, it is taken without another start.
    let mut connector = Connector::new(Secret::from(url), Duration::from_secs(20)).tls(&ours.tls(Some("old")));
    let fault = match connector.connection().await {
        Ok(mut connection) => connector.lost(&redis::cmd("PING").exec_async(&mut connection).await.unwrap_err()),
        Err(fault) => fault,
    };
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisTls, true), "{fault}");
    ours.sign("old", &[], 2100);
    let mut connection = connector.connection().await.unwrap();
    redis::cmd("PING").exec_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    authority.sign("client", &[], 2100);
    authority.sign("more", &[], 2100);
    let url = format!("rediss://:{SECRET}@127.0.0.1:1");
    let good = authority.tls(Some("client"));
    let missing = RedisTlsConfig { ca_file: Some(authority.path("gone.pem")), ..good.clone() };
    let message = refused(ping(&url, &missing).await, false);
    assert!(message.contains("`tls.ca_file`") && message.contains("gone.pem: No such file"), "{message}");
    let swapped = RedisTlsConfig { cert_file: good.key_file.clone(), key_file: good.cert_file.clone(), ..good.clone() };
    let message = refused(ping(&url, &swapped).await, false);
    assert!(message.contains("`tls.cert_file`") && message.contains("client.key"), "{message}");
    fs::write(authority.path("bad.pem"), "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let bad = RedisTlsConfig { ca_file: Some(authority.path("bad.pem")), ..good.clone() };
    let message = refused(ping(&url, &bad).await, false);
    assert!(message.contains("cannot be used") && message.contains("PEM"), "{message}");
    // A key of another certificate is found out when the two are first used together.
    authority.sign("server", &["127.0.0.1"], 2100);
    let server = authority.server("server", true);
    let mixed = RedisTlsConfig { key_file: authority.tls(Some("more")).key_file, ..good };
    let message = refused(ping(&self::url("127.0.0.1", &server), &mixed).await, false);
    assert!(message.contains("key"), "{message}");
}

#[tokio::test]
async fn a_port_without_tls_is_told() {
    let authority = Authority::new();
    let server = Server::redis(&[]);
    let url = Secret::from(url("127.0.0.1", &server));
    // The server waits for the end of what it takes for a command.
    let mut connector = Connector::new(url, Duration::from_secs(1)).tls(&authority.tls(None));
    let fault = connector.connection().await.map(drop).unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisUnreachable, true), "{fault}");
    assert!(fault.message.contains("TLS port") && !fault.message.contains(SECRET), "{fault}");
}

#[tokio::test]
async fn a_user_of_its_own_and_a_socket() {
    let authority = Authority::new();
    authority.sign("server", &["127.0.0.1"], 2100);
    let server = authority.server("server", false);
    let mut admin =
        Connector::new(Secret::from(url("127.0.0.1", &server)), Duration::from_secs(20)).tls(&authority.tls(None));
    let mut connection = admin.connection().await.unwrap();
    let user = ["SETUSER", "bob", "on", ">p@ss:w%rd", "~*", "+ping"];
    let () = redis::cmd("ACL").arg(&user).query_async(&mut connection).await.unwrap();
    let bob = |password: &str| format!("rediss://bob:{password}@127.0.0.1:{}", server.port);
    ping(&bob("p%40ss%3Aw%25rd"), &authority.tls(None)).await.unwrap();
    let fault = ping(&bob("wrong"), &authority.tls(None)).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisDenied, false), "{fault}");

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = Server::redis(&["--unixsocket", socket.to_str().unwrap(), "--requirepass", SECRET]);
    until("the socket is listened at", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let unix = format!("unix://{}", socket.display());
    ping(&format!("{unix}?pass={SECRET}"), &RedisTlsConfig::default()).await.unwrap();
    let fault = ping(&unix, &RedisTlsConfig::default()).await.unwrap_err();
    assert_eq!(fault.code, Code::RedisDenied, "{fault}");
    assert!(fault.message.contains(&*socket.to_string_lossy()), "{fault}");
}

#[tokio::test]
async fn sinks_dead_letters_and_checkpoints_connect_with_their_certificates() {
    let authority = Authority::new();
    authority.sign("server", &["127.0.0.1"], 2100);
    authority.sign("client", &[], 2100);
    let server = authority.server("server", true);
    let url = url("127.0.0.1", &server);
    // As a file says it, so that the keys are those of the documentation.
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|file| authority.path(file).display().to_string());
    let redis = format!("url: \"{url}\", tls: {{ ca_file: {ca}, cert_file: {cert}, key_file: {key} }}");
    let text = format!(
        "pipelines: {{ p: {{ source: stdin, sinks: {{ out: {{ redis: {{ {redis}, stream: out }} }} }}, \
         dead_letter: {{ redis: {{ {redis}, stream: dead }} }}, checkpoint: {{ redis: {{ {redis} }} }} }} }}"
    );
    let config = crate::config::parse(&text, "p.yaml", &|_| None).unwrap();
    let pipeline = &config.pipelines["p"];
    let mut sink = AnySink::new(&pipeline.sinks["out"], "p", "out");
    sink.open().await.unwrap();
    DeadLetterWriter::new(pipeline.dead_letter.as_ref().unwrap()).open().await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let state = StateDir::open(state.path()).unwrap();
    let mut store = Store::new(&pipeline.checkpoint, &state, "p", "stdin").unwrap();
    assert!(matches!(store.claim().await.unwrap(), Claim::Taken(_)));
}
