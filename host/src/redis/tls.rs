//! TLS to Redis: the files it needs, and what a refused certificate means.

use std::path::Path;

use redis::{Client, ClientTlsConfig, RedisError, TlsCertificates};

use crate::{
    config::{RedisTlsConfig, Secret},
    error::{Code, Fault},
};

/// A client for a URL. The files are read anew each time, so that a certificate may be renewed while the host runs.
pub(super) async fn client(url: &Secret, tls: &RedisTlsConfig) -> Result<Client, Fault> {
    // The crate's message may repeat the URL, which may hold a password.
    let client = Client::open(url.reveal()).map_err(|error| {
        let message = format!(
            "the Redis URL is not valid ({}); write redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS",
            error.category()
        );
        Fault::fatal(Code::RedisConfiguration, message)
    })?;
    if *tls == RedisTlsConfig::default() {
        return Ok(client);
    }
    let client_tls = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: read("cert_file", cert, "CERTIFICATE").await?,
            client_key: read("key_file", key, "PRIVATE KEY").await?,
        }),
        _ => None,
    };
    let root_cert = match &tls.ca_file {
        Some(ca) => Some(read("ca_file", ca, "CERTIFICATE").await?),
        None => None,
    };
    let info = client.get_connection_info().clone();
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert }).map_err(|error| {
        let message = format!("the files of `tls` for Redis cannot be used: {error}; give certificates and key as PEM, the key without a password");
        Fault::fatal(Code::RedisTls, message)
    })
}

/// A file, looked at so far that the wrong one is told by its name: the crate takes one without a certificate for a list of none.
async fn read(key: &str, path: &Path, holds: &str) -> Result<Vec<u8>, Fault> {
    let path_text = path.display();
    let bytes = tokio::fs::read(path).await.map_err(|cause| {
        let message =
            format!("`tls.{key}` of a Redis cannot be read: {path_text}: {cause}; name a file that this user may read");
        Fault::fatal(Code::RedisTls, message)
    })?;
    let end = format!("{holds}-----");
    if !bytes.windows(end.len()).any(|window| window == end.as_bytes()) {
        let message = format!(
            "`tls.{key}` of a Redis holds no PEM: {path_text} has no line `-----BEGIN {holds}-----`; convert it with `openssl`, or name \
             another file"
        );
        return Err(Fault::fatal(Code::RedisTls, message));
    }
    Ok(bytes)
}

/// The fault for an error of the connection that is one of certificates; none for any other.
pub(super) fn refused(place: &str, error: &RedisError) -> Option<Fault> {
    let told = error.to_string();
    let has = |words: &str| told.contains(words);
    let (message, heals) = if has("invalid peer certificate: ") {
        let why = told.rsplit("invalid peer certificate: ").next().unwrap_or_default();
        if has("expired") || has("not valid yet") {
            (
                format!(
                    "the certificate of Redis at {place} is not valid now ({why}); renew it, or set this machine's clock"
                ),
                true,
            )
        } else if has("not valid for name") || has("NotValidForName") {
            let message = format!(
                "the certificate of Redis at {place} is for another host ({why}); connect by a name that it holds, or have one made for this name"
            );
            (message, false)
        } else {
            let message = format!(
                "the certificate of Redis at {place} is not trusted ({why}); give the authority that signed it as `tls: {{ ca_file: ... }}`"
            );
            (message, false)
        }
    } else if has("TLS parameters") {
        let message = format!(
            "certificate and key for Redis at {place} cannot be used together ({told}); give the `tls.key_file` of `tls.cert_file`"
        );
        (message, false)
    } else if has("alert: ") {
        let why = told.rsplit("alert: ").next().unwrap_or_default();
        let message = format!(
            "Redis at {place} ended the TLS handshake ({why}): it wants a client certificate that its own authority signed and that is valid now; \
             give `tls: {{ cert_file: ..., key_file: ... }}`"
        );
        (message, has("CertificateExpired"))
    } else if has("InvalidMessage") || has("InvalidContentType") || has("corrupt message") {
        (
            format!("Redis at {place} does not speak TLS ({told}); take its TLS port, or write redis:// in the URL"),
            false,
        )
    } else {
        return None;
    };
    // What is a matter of time heals by itself, or by a file that is read again.
    Some(if heals { Fault::transient(Code::RedisTls, message) } else { Fault::fatal(Code::RedisTls, message) })
}

#[cfg(test)]
mod tests;
