//! What can go wrong, by name.

use clap::ValueEnum;

use super::scenario::{Mode, Servers, Target};

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// tidegate is killed (SIGKILL) and started again.
    Kill,
    /// tidegate stands still (SIGSTOP) for a while.
    Freeze,
    /// A second tidegate takes over from one that stands still, which then goes on.
    Takeover,
    /// The state directory takes no more bytes for a while.
    DiskFull,
    /// A plugin is replaced.
    PluginSwap,
    /// A plugin is replaced by one that traps on some changes, then by a good one.
    PluginCrash,
    /// Redis is killed and started again; its append-only file holds all it confirmed.
    RedisKill,
    /// Redis is killed, loses the end of its append-only file, and is started again.
    RedisTailLost,
    /// Redis answers nobody for a while (CLIENT PAUSE).
    RedisPause,
    /// Redis reaches `maxmemory` for a while.
    RedisFull,
    /// Redis is a replica for a while, and takes no writes.
    RedisReadOnly,
    /// Redis takes long to load its data after a restart.
    RedisLoading,
    /// The primary of MongoDB steps down, and another is elected.
    MongodbStepDown,
    /// The primary of MongoDB is killed and started again.
    MongodbKill,
    /// The network to the sink is cut for a while.
    SinkCut,
    /// The network to the sink is slow for a while.
    SinkDelay,
    /// All connections to the sink are reset.
    SinkReset,
    /// The network to the sink swallows what is sent.
    SinkHalfOpen,
    /// The network to the source is cut for a while.
    SourceCut,
    /// The network to the source is slow for a while.
    SourceDelay,
    /// All connections to the source are reset.
    SourceReset,
    /// The network to the source swallows what is sent.
    SourceHalfOpen,
}

impl Fault {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it can strike there. Where the position is not in the sink, nobody can know that the sink lost confirmed data, nor
    /// fence a host that was replaced.
    #[must_use]
    pub fn applies(self, target: Target, mode: Mode, servers: Servers) -> bool {
        match self {
            Self::Takeover => mode == Mode::Once,
            Self::RedisTailLost => target == Target::Redis && mode == Mode::Once,
            Self::RedisKill | Self::RedisPause | Self::RedisFull | Self::RedisReadOnly | Self::RedisLoading => {
                target == Target::Redis
            }
            Self::MongodbStepDown => servers == Servers::Three,
            // Drivers go to the members of a replica set by their own addresses, past any proxy.
            Self::SourceCut | Self::SourceDelay | Self::SourceReset | Self::SourceHalfOpen => servers == Servers::One,
            Self::SinkCut | Self::SinkDelay | Self::SinkReset | Self::SinkHalfOpen => {
                target == Target::Redis || servers == Servers::One
            }
            Self::DiskFull => cfg!(target_os = "linux"),
            Self::Kill | Self::Freeze | Self::PluginSwap | Self::PluginCrash | Self::MongodbKill => true,
        }
    }

    /// Whether it harms MongoDB itself, which then cannot be shared.
    #[must_use]
    pub fn harms_mongodb(self) -> bool {
        matches!(self, Self::MongodbStepDown | Self::MongodbKill)
    }

    /// Whether it needs a plugin in the pipeline.
    #[must_use]
    pub fn needs_plugin(self) -> bool {
        matches!(self, Self::PluginSwap | Self::PluginCrash)
    }

    /// Whether it lasts a minute: then a long run has few of it.
    #[must_use]
    pub fn is_slow(self) -> bool {
        // The source gives up a connection that does not answer after a minute.
        self == Self::SourceHalfOpen
    }

    /// All that can strike there but [`Fault::Kill`].
    #[must_use]
    pub fn all(target: Target, mode: Mode, servers: Servers) -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|fault| *fault != Self::Kill && fault.applies(target, mode, servers)).collect()
    }
}
