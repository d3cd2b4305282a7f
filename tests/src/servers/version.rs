use std::path::PathBuf;

use anyhow::Result;

use super::binary;

/// A version of MongoDB that tests run on.
///
/// ```no_run
/// # use tidegate_tests::servers::{Mongo, MongoOptions, Version};
/// # async fn example() {
/// let mongo = Mongo::start(MongoOptions::of(Version::V4_4)).await;
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 4.4, the oldest that the driver talks to. No pre-images, no `showExpandedEvents`; `hint` for `min` and `max`, as all others.
    V4_4,
    /// 5.0: time-series collections; field names with dots and dollars.
    V5_0,
    /// The one that all tests share: 6.0.5 where `./dev` installed it, otherwise what is on PATH.
    #[default]
    V6_0,
    /// A 6.0 from 6.0.9 on: `$changeStreamSplitLargeEvent`.
    V6_0Split,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V4_4, Self::V5_0, Self::V6_0, Self::V6_0Split];

    /// Its `mongod`.
    pub(super) fn program(self) -> Result<PathBuf> {
        let (variable, version) = match self {
            Self::V4_4 => ("TIDEGATE_MONGOD_4_4", "4.4.2"),
            Self::V5_0 => ("TIDEGATE_MONGOD_5_0", "5.0.4"),
            Self::V6_0 => return binary::find("mongod", "TIDEGATE_MONGOD", "mongod-6.0.5/mongod"),
            Self::V6_0Split => ("TIDEGATE_MONGOD_6_0_SPLIT", "6.0.27"),
        };
        binary::find_version(&format!("mongod {version}"), variable, &format!("mongod-{version}/mongod"))
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::*;
    use crate::servers::{Mongo, MongoOptions};

    #[tokio::test]
    async fn each_version_is_what_it_says_and_takes_a_change_stream() {
        for version in Version::ALL {
            let mongo = Mongo::start(MongoOptions::of(version)).await;
            let client = mongo.client().await;
            let built = client.database("admin").run_command(doc! { "buildInfo": 1 }).await.unwrap();
            let said = built.get_str("version").unwrap();
            let wanted = match version {
                Version::V4_4 => "4.4.",
                Version::V5_0 => "5.0.",
                // The shared one may be newer, on a machine that has its own.
                Version::V6_0 => "",
                Version::V6_0Split => "6.0.",
            };
            assert!(said.starts_with(wanted), "{version:?} is {said}");
            let splits = [doc! { "$changeStream": {} }, doc! { "$changeStreamSplitLargeEvent": {} }];
            let opened = client.database("d").collection::<Document>("c").aggregate(splits).await;
            if version != Version::V6_0 {
                assert_eq!(opened.is_ok(), version == Version::V6_0Split, "{version:?}: {opened:?}");
            }
            assert!(client.database("d").collection::<Document>("c").watch().await.is_ok(), "{version:?}");
        }
    }
}
