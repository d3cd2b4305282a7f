//! Guests that never come back, in each function that the host calls with changes. Those before the first change are in
//! [`super::lifecycle`].

use tidegate_tests::guests::{Deed, Guest, Role};

use super::beside::{Case, costs, hostile};

hostile! {
    in_validate: Guest::new(Role::Validator).when_marked(Deed::LoopForever) => "timeout", "took longer than 50ms of CPU time";
    in_migrate: Guest::new(Role::Migrator).when_marked(Deed::LoopForever) => "timeout", "took longer than 50ms of CPU time";
    in_transform: Guest::new(Role::Stamper).when_marked(Deed::LoopForever) => "timeout", "took longer than 50ms of CPU time";
    in_route: Guest::new(Role::Router).when_marked(Deed::LoopForever) => "timeout", "took longer than 50ms of CPU time";
    // Its result was read before, and is not used: who does not come back from this call will not from the next.
    in_post_return: Guest::new(Role::Router).in_post_return(Deed::LoopForever) => "timeout", "took longer than 50ms of CPU time";
}

#[tokio::test]
async fn in_realloc() {
    let guest = Guest::new(Role::Validator).in_realloc(Deed::LoopForever);
    let case = Case { padding: 70_000, ..Case::default() };
    costs(guest, case, Some(("timeout", &["took longer than 50ms of CPU time"]))).await;
}

#[tokio::test]
async fn asleep() {
    // Time stands still for it: a day is over at once.
    costs(Guest::new(Role::Validator).when_marked(Deed::Sleep), Case::default(), None).await;
}
