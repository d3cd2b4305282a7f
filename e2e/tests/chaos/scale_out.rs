//! Plugins on three hosts that share a subscription, and kills. The name begins with the row of parity it proves.

use tidegate_tests::chaos::ScaleOut;

#[tokio::test]
async fn d8_plugins_on_three_hosts_lose_nothing_when_hosts_are_killed() {
    let run = ScaleOut { changes: 600, documents: 40, workers: 3, kills: 2, seed: 7 };
    let report = run.run(|step| eprintln!("{step}")).await.unwrap();
    eprintln!("{:#}", report.json());
    assert!(report.is_good(), "{report:#?}");
    assert!(report.verdict.changes == 600 && report.worker_kills + report.publisher_kills == 2, "{report:#?}");
}
