//! Into MongoDB: a journal, in which a double would show, and a copy beside it.

use tidegate_tests::chaos::{Fault, Mode, Target};

use crate::{each_alone, overcome};

#[tokio::test]
async fn fifteen_kills() {
    overcome(Target::Mongodb, Mode::Once, &[Fault::Kill; 15]).await;
}

each_alone! { Mongodb, Mode::Once,
    freeze: Freeze,
    takeover: Takeover,
    plugin_crash: PluginCrash,
    mongodb_step_down: MongodbStepDown,
    mongodb_kill: MongodbKill,
    sink_cut: SinkCut,
    sink_delay: SinkDelay,
    sink_reset: SinkReset,
    sink_half_open: SinkHalfOpen,
}
