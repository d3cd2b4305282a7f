//! A record in Firestore: one document. Each write names the time at which this host saw the document written last, and is refused
//! when somebody else wrote since; then it is looked whether the fence is still ours. The clock of a lease is the service's: when the
//! document was written by it, and when it was read.
//!
//! ```json
//! {"fence": 3, "holder": {...}, "lease": 15000, "renewed": TIME, "about": {...}, "positions": {"p:PARTITION": "HEX"}}
//! ```

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    record::{About, Claim, Found, Holder, fenced, unusable},
    redis::{POSITION, millis},
};
use crate::{
    config::FirestoreCheckpointConfig,
    error::{Code, Fault},
    firestore::{
        FirestoreConnector, Look, Only, Written,
        value::{self, Fields},
    },
    position::{Position, Positions},
};

/// How often a write is tried anew when the document was changed between a look and the write.
const TRIES: usize = 5;
/// The field with the time of the last write of a holder.
const RENEWED: &str = "renewed";

/// The record of one pipeline.
pub(crate) struct FirestoreRecord {
    /// The whole name of the document.
    name: String,
    /// Collection and document, for messages.
    path: String,
    pipeline: String,
    /// The version of the document that our next write is for; none when it is not known.
    seen: Option<String>,
}

/// The path to a field of a map: a name with any letters stands between backticks.
fn path(partition: &str) -> String {
    format!("positions.`{POSITION}{}`", partition.replace('\\', r"\\").replace('`', r"\`"))
}

impl FirestoreRecord {
    pub(crate) fn new(config: &FirestoreCheckpointConfig, connector: &FirestoreConnector, pipeline: &str) -> Self {
        let path = format!("{}/{}", config.collection, config.document.as_deref().unwrap_or(pipeline));
        Self { name: connector.name(&path), path, pipeline: pipeline.to_owned(), seen: None }
    }

    pub(crate) fn place(&self, connector: &FirestoreConnector) -> String {
        let Self { name, path, .. } = self;
        let database = name.strip_suffix(path).and_then(|name| name.strip_suffix("/documents/")).unwrap_or(name);
        format!("document `{path}` of {database} in Firestore at {}", connector.place())
    }

    /// Takes the record if nobody else holds it, with a fence above `floor` and above the one that is stored.
    pub(crate) async fn claim(
        &mut self,
        connector: &mut FirestoreConnector,
        me: &Holder,
        lease: Duration,
        floor: u64,
    ) -> Result<Claim, Fault> {
        let mut told = String::new();
        for _ in 0..TRIES {
            let look = connector.look(&self.name).await?;
            let (fence, held) = hold(&look).map_err(|why| self.broken(connector, &why))?;
            if let Some((holder, left)) = held
                && holder.id != me.id
                && !left.is_zero()
            {
                return Ok(Claim::Held(holder, left));
            }
            let fence = fence.max(floor) + 1;
            let fields = json!({ "fence": fence, "holder": me, "lease": millis(lease) });
            let only = look.document.as_ref().map_or(Only::New, |(_, version)| Only::Of(version));
            match self.write(connector, fields, &["fence", "holder", "lease"].map(str::to_owned), only).await? {
                Written::Done(version) => {
                    self.seen = Some(version);
                    let found = decode(&look).map_err(|why| self.broken(connector, &why))?.unwrap_or_default();
                    return Ok(Claim::Taken(Found { fence, held: Some((me.clone(), lease)), ..found }));
                }
                Written::Otherwise(why) => told = why,
            }
        }
        Err(self.restless(connector, &told))
    }

    /// What is stored.
    pub(crate) async fn read(&self, connector: &mut FirestoreConnector) -> Result<Option<Found>, Fault> {
        let look = connector.look(&self.name).await?;
        decode(&look).map_err(|why| self.broken(connector, &why))
    }

    fn broken(&self, connector: &FirestoreConnector, why: &str) -> Fault {
        unusable(&self.place(connector), &self.pipeline, why)
    }

    fn restless(&self, connector: &FirestoreConnector, told: &str) -> Fault {
        let place = self.place(connector);
        let message = format!("{place} was changed by others before each of {TRIES} writes: {told}");
        Fault::transient(Code::FirestoreBusy, message)
    }

    /// Says that we are still there.
    pub(crate) async fn renew(
        &mut self,
        connector: &mut FirestoreConnector,
        fence: u64,
        lease: Duration,
    ) -> Result<(), Fault> {
        self.update(connector, fence, json!({ "lease": millis(lease) }), vec!["lease".to_owned()]).await
    }

    /// Stores what the positions are about, and positions.
    pub(crate) async fn store(
        &mut self,
        connector: &mut FirestoreConnector,
        fence: u64,
        lease: Duration,
        about: &About,
        positions: &Positions,
    ) -> Result<(), Fault> {
        let mut paths = vec!["lease".to_owned(), "about".to_owned()];
        let mut stored = Fields::new();
        for (partition, position) in positions.iter() {
            paths.push(path(partition));
            stored.insert(format!("{POSITION}{partition}"), position.to_hex().into());
        }
        self.update(connector, fence, json!({ "lease": millis(lease), "about": about, "positions": stored }), paths)
            .await
    }

    /// Writes as long as the fence is ours.
    async fn update(
        &mut self,
        connector: &mut FirestoreConnector,
        fence: u64,
        fields: Value,
        paths: Vec<String>,
    ) -> Result<(), Fault> {
        let mut told = String::new();
        for _ in 0..TRIES {
            let seen = match self.seen.clone() {
                Some(seen) => seen,
                None => self.look(connector, fence).await?,
            };
            match self.write(connector, fields.clone(), &paths, Only::Of(&seen)).await? {
                Written::Done(version) => {
                    self.seen = Some(version);
                    return Ok(());
                }
                // Another host, a person, or a write of ours whose answer was lost.
                Written::Otherwise(why) => (told, self.seen) = (why, None),
            }
        }
        Err(self.restless(connector, &told))
    }

    /// The version of the document, as long as the fence is ours.
    async fn look(&self, connector: &mut FirestoreConnector, fence: u64) -> Result<String, Fault> {
        let look = connector.look(&self.name).await?;
        let (stored, held) = hold(&look).map_err(|why| self.broken(connector, &why))?;
        match look.document {
            Some((_, version)) if stored == fence => Ok(version),
            _ => Err(fenced(&self.pipeline, &self.place(connector), held.map(|(holder, _)| holder).as_ref())),
        }
    }

    async fn write(
        &self,
        connector: &mut FirestoreConnector,
        fields: Value,
        paths: &[String],
        only: Only<'_>,
    ) -> Result<Written, Fault> {
        let fields = fields.as_object().map(value::encode_fields).unwrap_or_default();
        connector.write(&self.name, &fields, paths, RENEWED, only).await
    }

    /// Lets another host take the record at once.
    pub(crate) async fn release(&mut self, connector: &mut FirestoreConnector, fence: u64) -> Result<(), Fault> {
        match self.update(connector, fence, json!({}), ["holder", "lease"].map(str::to_owned).to_vec()).await {
            Err(fault) if fault.code == Code::Fenced => Ok(()),
            released => released,
        }
    }

    /// Removes the record.
    pub(crate) async fn remove(&mut self, connector: &mut FirestoreConnector) -> Result<(), Fault> {
        self.seen = None;
        connector.remove(&self.name).await
    }

    /// Whether it could be written: by a write that is for no version there ever was.
    pub(crate) async fn may_write(&self, connector: &mut FirestoreConnector) -> Result<(), Fault> {
        let never = Only::Of("1970-01-01T00:00:01Z");
        self.write(connector, json!({}), &["never".to_owned()], never).await.map(drop)
    }
}

/// The fence, and who holds the pipeline for how long.
fn hold(look: &Look) -> Result<(u64, Option<(Holder, Duration)>), String> {
    let Some((fields, _)) = &look.document else { return Ok((0, None)) };
    let field = |name: &str| {
        let found = fields.get(name).filter(|value| value.get("nullValue").is_none());
        found.map(|value| value::decode(value).ok_or_else(|| wrong(name))).transpose()
    };
    let number = |name: &str| {
        let found = field(name)?;
        found.map(|value| value.as_u64().ok_or_else(|| format!("its `{name}` is no number"))).transpose()
    };
    let fence = number("fence")?.unwrap_or(0);
    let Some(holder) = field("holder")? else { return Ok((fence, None)) };
    let holder: Holder = serde_json::from_value(holder).map_err(|cause| format!("its `holder`: {cause}"))?;
    let lease = Duration::from_millis(number("lease")?.unwrap_or(0));
    let renewed = field(RENEWED)?.unwrap_or_default();
    let time = |text: &str| humantime::parse_rfc3339(text).map_err(|cause| format!("its `{RENEWED}`: {cause}"));
    let (renewed, now) = (time(renewed.as_str().unwrap_or_default())?, time(&look.at)?);
    let gone = now.duration_since(renewed).unwrap_or_default();
    Ok((fence, Some((holder, lease.saturating_sub(gone)))))
}

/// What a document says; none when there is none.
///
/// # Errors
/// In words: a field is not what this program writes there.
pub(crate) fn decode(look: &Look) -> Result<Option<Found>, String> {
    let Some((fields, _)) = &look.document else { return Ok(None) };
    let (fence, held) = hold(look)?;
    let mut found = Found { fence, held, ..Found::default() };
    if let Some(about) = fields.get("about") {
        let about = value::decode(about).ok_or_else(|| wrong("about"))?;
        found.about = Some(serde_json::from_value(about).map_err(|cause| format!("its `about`: {cause}"))?);
    }
    if let Some(positions) = fields.get("positions") {
        let positions = value::decode(positions).ok_or_else(|| wrong("positions"))?;
        for (name, position) in positions.as_object().ok_or_else(|| wrong("positions"))? {
            let partition = name.strip_prefix(POSITION);
            let position = position.as_str().and_then(Position::from_hex);
            let (Some(partition), Some(position)) = (partition, position) else {
                return Err(format!("its position `{name}` is none"));
            };
            found.positions.set(partition, position);
        }
    }
    Ok(Some(found))
}

fn wrong(field: &str) -> String {
    format!("its `{field}` has a type that tidegate does not write")
}
