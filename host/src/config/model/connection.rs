//! Where a server is and as whom it is spoken to: a whole connection string, parts of it as keys of their own, or both, as long as nothing is said
//! twice. Out of it comes a connection string, so that nobody else knows of the parts.

use std::{net::Ipv6Addr, num::NonZeroU16};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::Secret;
use crate::escape;

/// `uri` of everything that connects to a MongoDB, and the keys beside it
#[derive(Deserialize, JsonSchema)]
#[schemars(inline, extend("anyOf" = [{"required": ["uri"]}, {"required": ["host"]}]))]
pub(super) struct MongodbKeys {
    /// Connection string.
    uri: Option<Secret>,
    /// The server, in place of a connection string.
    host: Option<Host>,
    /// Its port.
    port: Option<NonZeroU16>,
    /// As whom it is spoken to.
    user: Option<String>,
    /// The user's password; better from a variable.
    password: Option<Secret>,
}

/// `url` of everything that connects to a Redis, and the keys beside it
#[derive(Deserialize, JsonSchema)]
#[schemars(inline, extend("anyOf" = [{"required": ["url"]}, {"required": ["host"]}]))]
pub(super) struct RedisKeys {
    /// `redis://`, `rediss://` or `unix://`.
    url: Option<Secret>,
    /// The server, in place of a URL.
    host: Option<Host>,
    /// Its port.
    port: Option<NonZeroU16>,
    /// As whom it is spoken to.
    user: Option<String>,
    /// The user's password; better from a variable.
    password: Option<Secret>,
}

/// The connection string of a MongoDB.
pub(super) fn mongodb<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let MongodbKeys { uri, host, port, user, password } = Deserialize::deserialize(deserializer)?;
    let whole = whole(uri, "uri", "mongodb://", host, port)?;
    let who = Who::new(&whole, user, password)?;
    if who.password.is_some() && who.user.is_none() {
        return Err(de::Error::missing_field("user"));
    }
    Ok(who.speaks_to(&whole))
}

/// The URL of a Redis.
pub(super) fn redis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let RedisKeys { url, host, port, user, password } = Deserialize::deserialize(deserializer)?;
    let whole = whole(url, "url", "redis://", host, port)?;
    let who = Who::new(&whole, user, password)?;
    // Without a password Redis is not told of the user at all.
    if who.is_given && who.password.is_none() {
        return Err(de::Error::missing_field("password"));
    }
    Ok(who.speaks_to(&whole))
}

/// The connection string, without what the keys for user and password say.
fn whole<E: de::Error>(
    given: Option<Secret>,
    key: &'static str,
    scheme: &str,
    host: Option<Host>,
    port: Option<NonZeroU16>,
) -> Result<Secret, E> {
    match (given, host, port) {
        (Some(given), None, None) => Ok(given),
        (Some(_), Some(_), _) => Err(E::duplicate_field("host")),
        (Some(_), None, Some(_)) => Err(E::duplicate_field("port")),
        (None, Some(Host(host)), port) => {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            Ok(format!("{scheme}{host}{port}/").into())
        }
        (None, None, _) => Err(E::missing_field(key)),
    }
}

/// One server, as it stands in a connection string.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Host(String);

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        if bare.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self(format!("[{bare}]")));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if text.is_empty() || !text.chars().all(good) {
            return Err(de::Error::custom(
                "no name and no address of a server; write it alone, such as `db.example.com`: the port is a key of its own, and several \
                 servers or options go into a connection string",
            ));
        }
        Ok(Self(text))
    }
}

/// User and password as they stand in a connection string, from wherever they come.
#[derive(Default)]
struct Who {
    user: Option<String>,
    password: Option<String>,
    /// By keys, at least one of them.
    is_given: bool,
}

impl Who {
    fn new<E: de::Error>(whole: &Secret, user: Option<String>, password: Option<Secret>) -> Result<Self, E> {
        let encoded = |text: &str| (!text.is_empty()).then(|| escape::percent(text));
        let (user, password) =
            (user.as_deref().and_then(encoded), password.as_ref().map(Secret::reveal).and_then(encoded));
        let is_given = user.is_some() || password.is_some();
        let (own_user, own_password) = Place::of(whole.reveal()).map(|place| place.who()).unwrap_or_default();
        match (&user, &own_user, &password, &own_password) {
            (Some(_), Some(_), ..) => Err(E::duplicate_field("user")),
            (_, _, Some(_), Some(_)) => Err(E::duplicate_field("password")),
            _ => Ok(Self { user: user.or(own_user), password: password.or(own_password), is_given }),
        }
    }

    /// The connection string with them; as it was when no key was given, for what is wrong with it to be found later.
    fn speaks_to(&self, whole: &Secret) -> Secret {
        match Place::of(whole.reveal()) {
            Some(place) if self.is_given => place.with(self).into(),
            _ => whole.clone(),
        }
    }
}

/// A connection string, taken apart.
struct Place<'a> {
    scheme: &'a str,
    who: &'a str,
    /// Hosts, ports, path.
    rest: &'a str,
    /// Behind `?`.
    query: &'a str,
}

impl<'a> Place<'a> {
    /// None: it is no connection string.
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = rest.find('/').unwrap_or(rest.len());
        let at = rest.get(..hosts)?.rfind('@');
        let (who, rest) = at.and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?))).unwrap_or(("", rest));
        Some(Self { scheme, who, rest, query })
    }

    /// A socket has no place for them but among the options.
    fn is_socket(&self) -> bool {
        matches!(self.scheme, "unix" | "redis+unix")
    }

    fn who(&self) -> (Option<String>, Option<String>) {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        if self.is_socket() {
            let option = |name: &str| {
                let mut options = self.query.split('&').filter_map(|option| option.split_once('='));
                options.find(|(key, _)| *key == name).and_then(|(_, value)| given(value))
            };
            return (option("user"), option("pass"));
        }
        let (user, password) = self.who.split_once(':').unwrap_or((self.who, ""));
        (given(user), given(password))
    }

    fn with(&self, who: &Who) -> String {
        let Self { scheme, rest, query, .. } = self;
        let (user, password) = (who.user.as_deref().unwrap_or_default(), who.password.as_deref().unwrap_or_default());
        let options = |more: &str| match (query.is_empty(), more.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("?{more}"),
            (false, true) => format!("?{query}"),
            (false, false) => format!("?{query}&{more}"),
        };
        if self.is_socket() {
            let own = self.who();
            let add = |key: &str, value: &str, own: Option<String>| match own {
                None if !value.is_empty() => format!("{key}={value}&"),
                _ => String::new(),
            };
            let more = add("user", user, own.0) + &add("pass", password, own.1);
            return format!("{scheme}://{rest}{}", options(more.trim_end_matches('&')));
        }
        let colon = if password.is_empty() { "" } else { ":" };
        format!("{scheme}://{user}{colon}{password}@{rest}{}", options(""))
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Secret, Who};

    fn joined(whole: &str, user: Option<&str>, password: Option<&str>) -> Result<String, String> {
        let whole = Secret::from(whole.to_owned());
        let who = Who::new::<serde::de::value::Error>(
            &whole,
            user.map(str::to_owned),
            password.map(|password| password.to_owned().into()),
        );
        who.map(|who| who.speaks_to(&whole).reveal().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn user_and_password_are_put_where_they_belong() {
        for (whole, user, password, expected) in [
            ("mongodb://h", Some("u"), Some("p"), "mongodb://u:p@h"),
            ("mongodb://h:1,i:2/db?a=b@c&d", Some("u"), Some("p"), "mongodb://u:p@h:1,i:2/db?a=b@c&d"),
            ("mongodb://u@h/?authSource=x", None, Some("p"), "mongodb://u:p@h/?authSource=x"),
            ("mongodb://h/?x=y", Some("CN=me"), None, "mongodb://CN%3Dme@h/?x=y"),
            ("mongodb+srv://h", Some("ü@:/"), Some("?#[%"), "mongodb+srv://%C3%BC%40%3A%2F:%3F%23%5B%25@h"),
            ("redis://h/2", None, Some("p"), "redis://:p@h/2"),
            ("redis://:p@h/2", Some("u"), None, "redis://u:p@h/2"),
            ("unix:///run/r.sock", Some("u"), Some("p&"), "unix:///run/r.sock?user=u&pass=p%26"),
            ("unix:///run/r.sock?db=2", None, Some("p"), "unix:///run/r.sock?db=2&pass=p"),
            ("unix:///run/r.sock?user=u", None, Some("p"), "unix:///run/r.sock?user=u&pass=p"),
            // What says nothing changes nothing.
            ("mongodb://u:p@h", None, None, "mongodb://u:p@h"),
            ("mongodb://u:p@h", Some(""), Some(""), "mongodb://u:p@h"),
            ("nonsense", Some("u"), Some("p"), "nonsense"),
        ] {
            assert_eq!(joined(whole, user, password).as_deref(), Ok(expected), "{whole}");
        }
    }

    #[test]
    fn what_is_said_twice_is_refused() {
        for (whole, user, password, says) in [
            ("mongodb://u:p@h", Some("u"), None, "`user`"),
            ("mongodb://u@h", Some("u"), Some("p"), "`user`"),
            ("mongodb://u:p@h", None, Some("p"), "`password`"),
            ("redis://:p@h", Some("u"), Some("p"), "`password`"),
            ("unix:///r?pass=p", None, Some("p"), "`password`"),
        ] {
            let wrong = joined(whole, user, password).unwrap_err();
            assert!(wrong.contains(says), "{whole}: {wrong}");
        }
    }

    #[test]
    fn an_at_sign_behind_the_hosts_is_no_user() {
        let place = Place::of("mongodb://h/?appName=a@b").unwrap();
        assert_eq!((place.who, place.rest, place.query), ("", "h/", "appName=a@b"));
    }
}
