//! Where a plugin may send requests, as the operator writes it.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A host, or a range of addresses: `api.example.com`, `*.example.com`, `api.example.com:8443`, `10.0.0.0/8`, `127.0.0.1:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPlace {
    host: Host,
    /// None: 80 and 443, whichever is the scheme's.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// As it stands in a URL: lower case, punycode.
    Name(String),
    /// Everything below a name.
    Below(String),
    Addresses(IpNet),
}

impl HttpPlace {
    /// Whether requests to this name and port are meant.
    pub(crate) fn covers_name(&self, name: &str, port: u16, usual: bool) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let host = match &self.host {
            Host::Name(own) => own == name,
            Host::Below(own) => name.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.')),
            Host::Addresses(_) => false,
        };
        host && self.covers_port(port, usual)
    }

    /// Whether requests to this address and port are meant.
    pub(crate) fn covers_address(&self, address: IpAddr, port: u16, usual: bool) -> bool {
        self.contains(address) && self.covers_port(port, usual)
    }

    /// Whether a name that is granted may lead to the address, on whatever port the name is granted. An address with a port of its own is
    /// for requests to it alone: who names one service of a machine has not named the others.
    pub(crate) fn opens(&self, address: IpAddr) -> bool {
        self.port.is_none() && self.contains(address)
    }

    fn contains(&self, address: IpAddr) -> bool {
        matches!(&self.host, Host::Addresses(range) if range.contains(&address))
    }

    fn covers_port(&self, port: u16, usual: bool) -> bool {
        self.port.map_or(usual, |own| own == port)
    }
}

impl FromStr for HttpPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            return Err("is no host: leave out the scheme, as in `api.example.com`");
        }
        if let Ok(range) = IpNet::from_str(text) {
            return Ok(Self { host: Host::Addresses(range.trunc()), port: None });
        }
        if text.contains('/') {
            return Err("is no host, and no range of addresses such as `10.0.0.0/8`");
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { host: Host::Addresses(address.into()), port: None });
        }
        let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let wrong = "is no host: write `api.example.com`, `*.example.com`, `api.example.com:8443`, `10.0.0.0/8` or `127.0.0.1:8080`";
        if rest.contains(['*', '@', '?', '#', '\\']) || rest.trim() != rest || rest.is_empty() {
            return Err(wrong);
        }
        let url = Url::parse(&format!("http://{rest}/")).map_err(|_| wrong)?;
        // A port of 80 is the scheme's own, which the URL leaves out.
        let written = rest.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let port = url.port().or_else(|| written?.1.parse().ok());
        let name = url.host_str().ok_or(wrong)?;
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match bare.parse::<IpAddr>() {
            Ok(_) if below => Err(wrong),
            Ok(address) => Ok(Self { host: Host::Addresses(address.into()), port }),
            Err(_) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                Ok(Self { host: if below { Host::Below(name) } else { Host::Name(name) }, port })
            }
        }
    }
}

impl fmt::Display for HttpPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Addresses(range) if range.prefix_len() == range.max_prefix_len() => match (range.addr(), self.port) {
                (IpAddr::V6(address), Some(_)) => write!(f, "[{address}]")?,
                (address, _) => write!(f, "{address}")?,
            },
            Host::Addresses(range) => write!(f, "{range}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl JsonSchema for HttpPlace {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HttpPlace".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl<'de> Deserialize<'de> for HttpPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::HttpPlace;

    fn place(text: &str) -> HttpPlace {
        text.parse().unwrap_or_else(|wrong| panic!("{text} {wrong}"))
    }

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in [
            "api.example.com",
            "*.example.com",
            "api.example.com:8443",
            "api.example.com:80",
            "10.0.0.0/8",
            "fd00::/8",
            "127.0.0.1",
            "127.0.0.1:8080",
            "::1",
            "[::1]:8080",
        ] {
            assert_eq!(place(text).to_string(), text);
        }
        assert_eq!(place("API.Example.com.").to_string(), "api.example.com");
        assert_eq!(place("bücher.example").to_string(), "xn--bcher-kva.example");
        assert_eq!(place("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(place("api.example.com:080").to_string(), "api.example.com:80");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            " ",
            "https://api.example.com",
            "api.example.com/v1",
            "10.0.0.0/33",
            "a b",
            "*",
            "*.",
            "a@b",
            "*.10.0.0.1",
            "a:99999",
            "a.*",
        ] {
            assert!(text.parse::<HttpPlace>().is_err(), "`{text}` was taken as {:?}", text.parse::<HttpPlace>());
        }
    }

    #[test]
    fn names_cover_themselves_and_stars_what_is_below() {
        assert!(place("example.com").covers_name("example.com", 443, true));
        assert!(place("example.com").covers_name("example.com.", 443, true), "the root's dot is the same name");
        assert!(!place("example.com").covers_name("api.example.com", 443, true));
        assert!(!place("example.com").covers_name("example.com", 8443, false));
        assert!(place("example.com:8443").covers_name("example.com", 8443, false));
        assert!(!place("example.com:8443").covers_name("example.com", 443, true));
        assert!(place("*.example.com").covers_name("a.b.example.com", 80, true));
        assert!(!place("*.example.com").covers_name("example.com", 80, true));
        assert!(!place("*.example.com").covers_name("badexample.com", 80, true));
        assert!(!place("10.0.0.0/8").covers_name("10.example.com", 80, true));
    }

    #[test]
    fn ranges_cover_addresses() {
        let inside = "10.9.8.7".parse().expect("an address");
        let outside = "11.9.8.7".parse().expect("an address");
        assert!(place("10.0.0.0/8").covers_address(inside, 80, true));
        assert!(!place("10.0.0.0/8").covers_address(inside, 8080, false));
        assert!(!place("10.0.0.0/8").covers_address(outside, 80, true));
        assert!(place("10.9.8.7:8080").covers_address(inside, 8080, false));
        assert!(!place("example.com").covers_address(inside, 80, true));
    }

    #[test]
    fn names_may_lead_to_addresses_without_a_port() {
        let address = "127.0.0.1".parse().expect("an address");
        assert!(place("127.0.0.1").opens(address) && place("127.0.0.0/8").opens(address));
        assert!(!place("127.0.0.1:9").opens(address) && !place("localhost").opens(address));
    }
}
