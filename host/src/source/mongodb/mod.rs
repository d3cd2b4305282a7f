//! MongoDB change streams.
//!
//! One raw-batch cursor for all that is watched; replies of up to ten thousand events are read ahead by a task, two at
//! most, and cut into batches without copying or decoding documents. One collection is a stream of its own, opened again when
//! the collection goes. Several are one cursor on their database, or on the deployment, with a `$match`, which is cheaper for
//! the server than a cursor each.
//!
//! An update comes from the server with its description alone. With `full_document: lookup` the documents of all updates
//! in a batch are fetched in one `find` for each collection: the state at that time, which may be later than the update, and none
//! where the document is gone. They are matched by `_id`; on a sharded cluster where `_id` is not unique, the shard key
//! is not compared.
//!
//! | where | what |
//! |---|---|
//! | `select` | what is watched: patterns, and the stages of the server's filter |
//! | `begin` | what comes first: a copy, the stream, or the stream anew when its position is lost; and the copy of what is renamed |
//! | `copy` | the documents that are there, read in ranges |
//! | `stream` | the open stream: cursors, reading ahead, joining of split events, batches, history that is left |
//! | `event` | replies and events as bytes; tokens and positions |
//! | `documents` | whole documents of updates: looked up, or the server's images |
//! | `faults` | what an error of the driver means |

mod begin;
mod copy;
mod documents;
pub(crate) mod event;
mod examine;
mod faults;
mod loops;
pub(crate) mod order;
mod select;
mod stream;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use mongodb::{Client, options::ClientOptions};

use self::{
    begin::{Losses, Renamed, Renames},
    copy::Copy,
    documents::{CatchUp, Images},
    event::Names,
    faults::{Phase, Place, fault, password_of},
    loops::Loops,
    stream::{Current, Splits, Stream, not_open},
};
pub use self::{
    begin::{Target, sinks_follow_renames},
    copy::{CollectionProgress, CopyProgress, OnCopy},
    examine::examine,
    select::{Selection, problems as selection_problems},
};
use crate::{
    batch::Batch,
    config::{MongodbSourceConfig, OnLostPosition, SourceDdl},
    error::{Code, Fault},
    position::{Position, Positions},
    source::{BatchLimits, Hooks, Read, Source},
};

/// How long a usable server is looked for, so that a wrong host name is told soon; the pipeline tries again after it.
const SELECTION: Duration = Duration::from_secs(5);

/// Told of each event that is no change of a document: its kind (`drop`, `rename`, `invalidate`, ...) and namespace.
pub type OnDdl = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The source.
pub struct MongodbSource {
    config: MongodbSourceConfig,
    target: Option<Target>,
    limits: BatchLimits,
    hooks: Hooks,
    client: Option<(Client, Place)>,
    /// What is read first, where there is something to copy.
    copy: Option<Copy>,
    /// Where the stream is opened when the copy is done.
    after_copy: Option<Position>,
    stream: Option<Stream>,
    epoch: u32,
    catch_up: Option<CatchUp>,
    names: Names,
    selection: Selection,
    splits: Splits,
    losses: Losses,
    /// Whether the server is asked for all events of collections; false once it turned out not to know them.
    expanded: Arc<AtomicBool>,
    loops: Loops,
    renames: Renames,
    /// A rename whose collection is to be copied, with the batch that ends with it.
    renamed: Option<(Renamed, Batch)>,
    /// To be handed out before all else.
    ready: VecDeque<Batch>,
}

impl MongodbSource {
    /// Nothing is connected before [`Source::open`].
    pub fn new(config: MongodbSourceConfig, target: Option<Target>, limits: BatchLimits, hooks: Hooks) -> Self {
        let selection = Selection::new(&config);
        let splits = Splits::new(Images::new(&config).any());
        let expanded = Arc::new(AtomicBool::new(config.ddl == SourceDdl::Deliver));
        let loops = Loops::new(config.skip_mirrored);
        let renames = Renames::new(&config, false);
        Self {
            config,
            target,
            limits,
            hooks,
            client: None,
            copy: None,
            after_copy: None,
            stream: None,
            epoch: 0,
            catch_up: None,
            names: Names::default(),
            selection,
            splits,
            losses: Losses::default(),
            expanded,
            loops,
            renames,
            renamed: None,
            ready: VecDeque::new(),
        }
    }

    /// For sinks that need only be told of a rename ([`sinks_follow_renames`]), or that do not follow them.
    #[must_use]
    pub fn for_sinks(self, follow_renames: bool) -> Self {
        Self { renames: Renames::new(&self.config, follow_renames), ..self }
    }

    /// What is watched, without secrets: `mongodb shop.[inventory,transactions]`.
    pub fn describe(config: &MongodbSourceConfig) -> String {
        select::describe(config)
    }

    /// The client, made at the first opening: it keeps its connections over later ones.
    async fn client(&mut self) -> Result<(Client, Place), Fault> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let uri = self.config.uri.reveal();
        let password = password_of(uri);
        let mut place = Place {
            hosts: "the configured host".to_owned(),
            watched: select::watched(&self.config),
            patience: SELECTION,
            password,
            filtered: !self.config.pipeline.is_empty(),
            images: Images::new(&self.config).any(),
        };
        let bad = |error: &mongodb::error::Error, place: &Place| fault(error, Phase::Opening, place);
        let mut options = ClientOptions::parse(uri).await.map_err(|error| bad(&error, &place))?;
        place.hosts = options.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        options.app_name.get_or_insert_with(|| "tidegate".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.connect_timeout.get_or_insert(SELECTION);
        place.patience = options.server_selection_timeout.unwrap_or(SELECTION);
        let client = Client::with_options(options).map_err(|error| bad(&error, &place))?;
        self.client = Some((client.clone(), place.clone()));
        Ok((client, place))
    }

    /// What follows a lost position is decided where the source is opened again; until then it is no reason to stop, if it need not be.
    fn until_opened_again(&self, fault: Fault) -> Fault {
        match fault.code == Code::MongoPositionLost && self.config.on_lost_position != OnLostPosition::Stop {
            true => Fault::transient(fault.code, fault.message),
            false => fault,
        }
    }
}

impl Source for MongodbSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        (self.stream, self.copy, self.after_copy, self.renamed) = (None, None, None, None);
        self.ready.clear();
        self.renames.copies = from.clone();
        let begin = self.begin(from).await?;
        match self.open_begun(begin).await {
            Err(fault) if fault.code == Code::MongoPositionLost => self.after_loss(from.clone(), fault).await,
            opened => opened,
        }
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Read::Batch(batch));
            }
            if self.renamed.is_some() {
                self.copy_renamed().await?;
                continue;
            }
            if let Some(copy) = &mut self.copy {
                match copy.next(&self.limits).await? {
                    Some(batch) => {
                        // The end of a range, or what makes a collection.
                        if batch.changes.first().is_none_or(|change| change.operation.is_ddl())
                            && let Some(position) = &batch.position
                        {
                            self.renames.copies.set(&batch.partition, position.clone());
                        }
                        return Ok(Read::Batch(batch));
                    }
                    None => self.copy = None,
                }
            }
            if self.is_at_its_end() {
                return Ok(Read::End);
            }
            // Opened again when this future is dropped meanwhile.
            if let Some(position) = self.after_copy.clone() {
                let opened = self.resume_stream(&position).await;
                opened.map_err(|fault| self.until_opened_again(fault))?;
                self.after_copy = None;
            }
            if let Some(position) = self.stream.as_mut().and_then(|stream| stream.announce.take()) {
                return Ok(Read::Batch(Batch { position: Some(position), ..Batch::default() }));
            }
            if let Some(batch) = self.cut().await? {
                return Ok(Read::Batch(batch));
            }
            if self.renamed.is_some() {
                continue;
            }
            let Some(stream) = &mut self.stream else { return Err(not_open()) };
            if stream.current.is_none() {
                match stream.replies.recv().await {
                    Some(Ok(reply)) => {
                        // The server reads to the end of its oplog before it answers without events.
                        if reply.is_read(0) {
                            (self.hooks.on_caught_up)();
                        }
                        stream.current = Some(Current { reply: Arc::new(reply), offset: 0 });
                    }
                    Some(Err(fault)) => return Err(self.until_opened_again(fault)),
                    None => return Err(not_open()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
