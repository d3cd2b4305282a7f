//! Into a Redis stream.

use tidegate_tests::chaos::{Fault, Mode, Target};

use crate::{each_alone, overcome};

const MODE: Mode = Mode::Once;

#[tokio::test]
async fn fifteen_kills() {
    overcome(Target::Redis, MODE, &[Fault::Kill; 15]).await;
}

each_alone! { Redis, MODE,
    freeze: Freeze,
    takeover: Takeover,
    disk_full: DiskFull,
    plugin_swap: PluginSwap,
    plugin_crash: PluginCrash,
    redis_kill: RedisKill,
    redis_tail_lost: RedisTailLost,
    redis_pause: RedisPause,
    redis_full: RedisFull,
    redis_read_only: RedisReadOnly,
    redis_loading: RedisLoading,
    mongodb_step_down: MongodbStepDown,
    mongodb_kill: MongodbKill,
    sink_cut: SinkCut,
    sink_delay: SinkDelay,
    sink_reset: SinkReset,
    sink_half_open: SinkHalfOpen,
    source_cut: SourceCut,
    source_delay: SourceDelay,
    source_reset: SourceReset,
    source_half_open: SourceHalfOpen,
}
