//! Who may change something.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};

use super::ACTION_HEADER;
use crate::{
    config::Secret,
    error::{Code, Fault},
};

/// The rule of this server: with a token, whoever brings it; without one, requests from this machine alone.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) token: Option<Secret>,
}

impl Guard {
    /// Whether a request may change something.
    pub(super) fn may_act(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Fault> {
        let refuse = |why: String| Err(Fault::fatal(Code::AdminDenied, why));
        if !headers.contains_key(ACTION_HEADER) {
            return refuse(format!("a request that changes something needs the header `{ACTION_HEADER}: 1`"));
        }
        if self.knows(headers, peer) {
            return Ok(());
        }
        refuse(match self.token {
            Some(_) => "a request that changes something needs the header `authorization: Bearer TOKEN`, with the token of `admin.token`".to_owned(),
            None => format!(
                "no `admin.token` is configured: only requests from this machine may change something, not those from {}",
                peer.ip()
            ),
        })
    }

    /// Whether a request is from somebody who may see what stands in documents.
    pub(super) fn knows(&self, headers: &HeaderMap, peer: SocketAddr) -> bool {
        match &self.token {
            Some(token) => {
                let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
                given.is_some_and(|given| same(given.as_bytes(), token.reveal().as_bytes()))
            }
            None => peer.ip().to_canonical().is_loopback(),
        }
    }
}

/// Compares in a time that does not depend on where the first difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::Guard;

    fn may(token: Option<&str>, headers: &[(&str, &str)], peer: &str) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        Guard { token: token.map(|token| token.to_owned().into()) }.may_act(&headers, peer).is_ok()
    }

    #[test]
    fn without_a_token_only_this_machine_may_act_and_only_with_the_header() {
        let action = [("x-tidegate-action", "1")];
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.7", false),
            ("fe80::1", false),
        ] {
            assert_eq!(may(None, &action, peer), expected, "{peer}");
            assert!(!may(None, &[], peer), "{peer}");
        }
    }

    #[test]
    fn with_a_token_whoever_brings_it_may_act_and_nobody_else() {
        let token = Some("0123456789abcdef");
        let given = |value| [("x-tidegate-action", "1"), ("authorization", value)];
        for peer in ["127.0.0.1", "10.0.0.7"] {
            assert!(may(token, &given("Bearer 0123456789abcdef"), peer));
            for wrong in [
                "Bearer 0123456789abcdeF",
                "Bearer 0123456789abcde",
                "0123456789abcdef",
                "Basic 0123456789abcdef",
                "Bearer ",
            ] {
                assert!(!may(token, &given(wrong), peer), "{wrong}");
            }
            assert!(!may(token, &[("x-tidegate-action", "1")], peer));
            assert!(!may(token, &[("authorization", "Bearer 0123456789abcdef")], peer));
        }
    }
}
