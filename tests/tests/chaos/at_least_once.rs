//! Into Redis with the position in a file: nothing is lost and no document goes back; what was sent again is counted, not
//! condemned.

use tidegate_tests::chaos::{Fault, Mode, Scenario, Target};

use crate::overcome;

#[tokio::test]
async fn fifteen_kills() {
    overcome(Target::Redis, Mode::AtLeastOnce, &[Fault::Kill; 15]).await;
}

#[tokio::test]
async fn disk_full() {
    let report = overcome(Target::Redis, Mode::AtLeastOnce, &[Fault::DiskFull]).await;
    // Without a position on disk it would send everything again after a crash: it stops instead, and is started again.
    assert_eq!(report.ends.keys().collect::<Vec<_>>(), ["TG0602"]);
}

/// That the checker sees what it is there to see: with the position in a file, nobody knows that Redis lost confirmed data.
#[tokio::test]
async fn data_that_redis_loses_is_missed() {
    let report = Scenario::of(Target::Redis, Mode::AtLeastOnce, &[Fault::RedisTailLost]).run(|_, _| {}).await;
    assert!(!report.verdict.gaps.is_empty() && !report.is_good(), "{report:#?}");
    assert!(report.verdict.steps_back.is_empty(), "{report:#?}");
}
