//! Errors with a stable code: what happened, to what, why, and the way out.

use std::fmt;

/// How a failure of a source, a sink or a store is to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Trying again may help: backoff and retry.
    Transient,
    /// Nothing is wrong with source and sinks, but going on would do harm: the pipeline pauses, delivers nothing of what is in
    /// flight, and goes on where it was when the cause is gone or the operator says so.
    Pause,
    /// Only the operator can help: the pipeline stops, and says so.
    Fatal,
    /// The pipeline goes back to the stored positions and reads from there.
    Rewind,
}

/// A failure of a source, a sink, a store or a plugin host, told apart by how it is to be handled.
#[derive(Debug)]
pub struct Fault {
    /// How to handle it.
    pub severity: Severity,
    /// Stable code, explained by `tidegate explain CODE`.
    pub code: Code,
    /// What, why and the way out, in lower case.
    pub message: String,
}

impl Fault {
    /// Trying again may help.
    pub fn transient(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Transient, code, message: message.into() }
    }

    /// Only the operator can help.
    pub fn fatal(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, code, message: message.into() }
    }

    /// What was written is not there any more: the pipeline goes back to what is stored.
    pub fn rewind(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Rewind, code, message: message.into() }
    }

    /// The pipeline pauses.
    pub fn pause(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Pause, code, message: message.into() }
    }

    /// Whether the pipeline pauses, rather than stops.
    pub fn is_pause(&self) -> bool {
        self.severity == Severity::Pause
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        self.severity == Severity::Transient
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        /// A stable error code. Each has a page under `docs/errors/`, which `tidegate explain` prints.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// All of them, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// `TG` and four digits.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The page of the code, in Markdown.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../docs/errors/", $code, ".md")),)+ }
            }
        }
    };
}

codes! {
    /// The configuration file cannot be read.
    ConfigUnreadable = "TG0101";
    /// The configuration is no valid YAML.
    ConfigSyntax = "TG0102";
    /// A key is not known.
    ConfigUnknownKey = "TG0103";
    /// A value has the wrong type or is out of range, or a required one is missing.
    ConfigValue = "TG0104";
    /// A `${VARIABLE}` is not set and has no default.
    ConfigVariable = "TG0105";
    /// The parts of a configuration contradict each other.
    ConfigConflict = "TG0106";
    /// A file that holds a value, `${file:PATH}`, cannot be read.
    ConfigValueFile = "TG0107";
    /// A line of a file of variables cannot be understood.
    ConfigEnvFile = "TG0108";
    /// A plugin that a stage names is not in the plugin directory.
    PluginMissing = "TG0201";
    /// A file is no WebAssembly component, or broken.
    PluginUnreadable = "TG0202";
    /// A component imports what it is not granted.
    PluginImport = "TG0203";
    /// A component does not fit the contract `tidegate:plugin`.
    PluginContract = "TG0204";
    /// A plugin refused its configuration.
    PluginConfiguration = "TG0205";
    /// A plugin could not be started.
    PluginStart = "TG0206";
    /// A plugin trapped.
    PluginTrap = "TG0211";
    /// A plugin took too long.
    PluginTimeout = "TG0212";
    /// A plugin asked for more memory than it may have.
    PluginMemory = "TG0213";
    /// A plugin's result cannot be used.
    PluginResult = "TG0214";
    /// A plugin returned more than it may.
    PluginOutput = "TG0215";
    /// A plugin failed on everything.
    PluginBreaker = "TG0216";
    /// A plugin gave other results than its golden samples expect.
    PluginSamples = "TG0221";
    /// A plugin's file is barred: it was taken back or refused before.
    PluginBarred = "TG0222";
    /// A candidate did not do in the shadow what it should.
    PluginShadow = "TG0223";
    /// A new generation did worse than the one before and was taken back.
    PluginTakenBack = "TG0224";
    /// There is nothing to promote or to go back to.
    PluginNoStep = "TG0225";
    /// MongoDB cannot be reached.
    MongoUnreachable = "TG0301";
    /// MongoDB refused the credentials or a right is missing.
    MongoDenied = "TG0302";
    /// The server has no change streams.
    MongoStandalone = "TG0303";
    /// The position is no longer in the oplog.
    MongoPositionLost = "TG0304";
    /// An event is bigger than MongoDB can send.
    MongoEventTooLarge = "TG0305";
    /// MongoDB answered with another error.
    MongoError = "TG0306";
    /// The connection string or the filter pipeline is not valid.
    MongoConfiguration = "TG0307";
    /// MongoDB cannot write data and position in one transaction.
    MongoNoTransactions = "TG0308";
    /// A pre- or post-image that is required is not there.
    MongoImageMissing = "TG0309";
    /// The configured start lies where the oplog does not reach.
    MongoStartLost = "TG0310";
    /// The position is lost again and again.
    MongoLostAgain = "TG0311";
    /// Redis cannot be reached.
    RedisUnreachable = "TG0401";
    /// Redis refused the credentials or a right is missing.
    RedisDenied = "TG0402";
    /// Redis cannot take writes now.
    RedisBusy = "TG0403";
    /// Redis answered with another error.
    RedisError = "TG0404";
    /// The Redis URL is not valid.
    RedisConfiguration = "TG0405";
    /// No TLS connection to Redis: a certificate is refused or cannot be read.
    RedisTls = "TG0406";
    /// Redis has what was written, but too few replicas do.
    RedisReplicas = "TG0407";
    /// Entries of a stream were trimmed before they were read.
    StreamTrimmed = "TG0410";
    /// The ids of a stream went back.
    StreamRemade = "TG0411";
    /// A key that is to be read as a stream is none.
    NoStream = "TG0412";
    /// It is not known what was delivered of the keys of a Redis: everything is delivered again.
    KeysUnsure = "TG0413";
    /// A key of Redis cannot be mirrored.
    KeyUnfit = "TG0414";
    /// What was delivered of the keys of a Redis cannot be read or written on this host.
    KeysLog = "TG0415";
    /// Redis has no keyspace notifications on.
    NoNotifications = "TG0416";
    /// A file cannot be read.
    FileRead = "TG0501";
    /// A file cannot be written.
    FileWrite = "TG0502";
    /// A checkpoint cannot be read, or belongs to something else.
    CheckpointUnreadable = "TG0601";
    /// A checkpoint cannot be written.
    CheckpointWrite = "TG0602";
    /// The state directory is in use by another host.
    StateLocked = "TG0603";
    /// A dead letter cannot be written.
    DeadLetterWrite = "TG0604";
    /// Dead letters cannot be read.
    DeadLetterRead = "TG0606";
    /// There is no such dead letter, or no such pipeline.
    DeadLetterUnknown = "TG0607";
    /// Dead letters are being replayed or dropped already, or a file sink belongs to a running host.
    DeadLetterBusy = "TG0608";
    /// A pipeline is run by another host.
    PipelineHeld = "TG0611";
    /// Another host took the pipeline over.
    Fenced = "TG0612";
    /// A pipeline that ran before finds no checkpoint.
    CheckpointMissing = "TG0613";
    /// The stored position is older than what was confirmed.
    PositionBehind = "TG0614";
    /// The admin address cannot be listened at.
    AdminListen = "TG0701";
    /// The drain ran out of time.
    ShutdownTimeout = "TG0702";
    /// A host or pipeline that was asked for does not run.
    NotRunning = "TG0703";
    /// A request to the admin server may not change anything.
    AdminDenied = "TG0704";
    /// The log file cannot be written to.
    LogFile = "TG0705";
    /// An alert could not be sent.
    AlertFailed = "TG0706";
    /// A folder is no plugin project.
    ProjectMissing = "TG0801";
    /// The `plugin.yaml` of a project is wrong.
    ProjectFile = "TG0802";
    /// A new plugin would overwrite something.
    ProjectExists = "TG0803";
    /// A tool that a build needs is not there.
    ToolMissing = "TG0804";
    /// A plugin was not built.
    BuildFailed = "TG0805";
    /// A file of cases cannot be read.
    CaseFile = "TG0806";
    /// One of two databases to compare cannot be read.
    VerifyRead = "TG0811";
    /// What is to be compared with what makes no sense.
    VerifyScope = "TG0812";
    /// A pipeline has no mirror that could be compared.
    VerifyPipeline = "TG0813";
    /// Something broke that never should: a defect of tidegate.
    Internal = "TG0901";
    /// Pub/Sub cannot be reached.
    PubsubUnreachable = "TG1001";
    /// A right is missing in Pub/Sub.
    PubsubDenied = "TG1002";
    /// A topic is not there.
    PubsubTopicMissing = "TG1003";
    /// Pub/Sub cannot take messages now.
    PubsubBusy = "TG1004";
    /// There are no credentials for Pub/Sub, or they are not accepted.
    PubsubCredentials = "TG1005";
    /// Pub/Sub answered with another error.
    PubsubError = "TG1006";
    /// The endpoint of Pub/Sub is not valid.
    PubsubConfiguration = "TG1007";
    /// A subscription has for life what it should not have.
    PubsubFixed = "TG1008";
    /// A subscription is not there.
    PubsubSubscriptionMissing = "TG1020";
    /// A subscription cannot be pulled from.
    PubsubSubscriptionUnfit = "TG1021";
    /// Firestore cannot be reached.
    FirestoreUnreachable = "TG1101";
    /// A right is missing in Firestore.
    FirestoreDenied = "TG1102";
    /// A database of Firestore is not there.
    FirestoreMissing = "TG1103";
    /// Firestore cannot take a write now.
    FirestoreBusy = "TG1104";
    /// There are no credentials for Firestore, or they are not accepted.
    FirestoreCredentials = "TG1105";
    /// Firestore answered with another error.
    FirestoreError = "TG1106";
    /// What the configuration says of Firestore is not valid.
    FirestoreConfiguration = "TG1107";
}

impl Code {
    /// The code of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error with what caused it, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        cause = error.source();
    }
    told
}
