//! The proof by killing, as much of it as fits into every run of the tests: `./dev chaos` does it at length.
//!
//! One program, because each costs a link; nextest runs each test in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod at_least_once;
mod into_mongodb;
mod into_redis;
mod scale_out;

use tidegate_tests::chaos::{Fault, Mode, Report, Scenario, Target};

/// Runs these faults one after the other; the promise must be kept.
async fn overcome(target: Target, mode: Mode, faults: &[Fault]) -> Report {
    let report = Scenario::of(target, mode, faults).run(|_, _| {}).await;
    eprintln!("{:#}", report.json());
    report.assert_good();
    assert!(report.verdict.changes >= 100, "too little was written to prove anything: {report:#?}");
    report
}

/// A test for each fault, by name.
macro_rules! each_alone {
    ($target:ident, $mode:expr, $($name:ident: $fault:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::overcome(Target::$target, $mode, &[Fault::$fault]).await;
            }
        )*
    };
}
use each_alone;
