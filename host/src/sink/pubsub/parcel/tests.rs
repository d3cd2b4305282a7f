//! How much is under way at once, without a server.

use bson::doc;

use super::PARCEL_BYTES;
use crate::{
    batch::Delivery,
    change::Change,
    config::PubsubSinkConfig,
    sink::pubsub::{
        PubsubSink,
        message::tests::{buf, change, config},
    },
};

/// How many changes each parcel holds.
fn cut(config: &PubsubSinkConfig, changes: &[Change]) -> Vec<usize> {
    let sink = PubsubSink::new(config, "p");
    let pending = changes.iter().map(|change| Delivery { change, destination: None });
    let mut pending = pending.enumerate().peekable();
    let mut sizes = Vec::new();
    while pending.peek().is_some() {
        sizes.push(sink.parcel(&mut pending).len());
    }
    sizes
}

#[test]
fn no_more_messages_are_under_way_than_may_be() {
    let changes: Vec<_> = (0..7).map(change).collect();
    let three = PubsubSinkConfig { max_outstanding: Some(3), ..config("stock") };
    assert_eq!(cut(&three, &changes), [3, 3, 1]);
    assert_eq!(cut(&config("stock"), &changes), [7]);
}

#[test]
fn no_more_bytes_are_under_way_than_fit_but_for_one_change_that_is_bigger() {
    let of = |bytes: usize| Change { document: Some(buf(doc! { "_id": 1, "text": "x".repeat(bytes) })), ..change(1) };
    let (third, more) = (of(PARCEL_BYTES / 3), of(PARCEL_BYTES + 1));
    let changes = [third.clone(), third.clone(), third.clone(), more.clone(), more, third];
    assert_eq!(cut(&config("stock"), &changes), [2, 1, 1, 1, 1], "with its key, a third is more than a third");
}
