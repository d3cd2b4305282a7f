//! Into Redis with the position in a file: nothing is lost and no document goes back; what was sent again is counted, not
//! condemned.

use tidegate_tests::chaos::{Fault, Mode, Report, Scenario, Target};

async fn overcome(faults: &[Fault]) -> Report {
    let report = Scenario::of(Target::Redis, Mode::AtLeastOnce, faults).run(|_, _| {}).await;
    eprintln!("{:#}", report.json());
    report.assert_good();
    report
}

#[tokio::test]
async fn fifteen_kills() {
    let report = overcome(&[Fault::Kill; 15]).await;
    assert!(report.verdict.changes > 1000, "{report:?}");
}

#[tokio::test]
async fn freeze() {
    overcome(&[Fault::Freeze]).await;
}

#[tokio::test]
async fn disk_full() {
    overcome(&[Fault::DiskFull]).await;
}

#[tokio::test]
async fn plugin_swap() {
    overcome(&[Fault::PluginSwap]).await;
}

#[tokio::test]
async fn plugin_crash() {
    overcome(&[Fault::PluginCrash]).await;
}

#[tokio::test]
async fn redis_kill() {
    overcome(&[Fault::RedisKill]).await;
}
