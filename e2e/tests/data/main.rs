//! What happens to data between real servers: types, order, restarts, failures, dead letters.
//!
//! One program for all subjects, because each program costs a link; nextest runs each test in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![recursion_limit = "256"] // `doc!` with every type

mod alerts;
mod bad_source;
mod checkpoints;
mod checkpoints_firestore;
mod collections;
mod control;
mod copying;
mod ddl;
mod ddl_refused;
mod dead_letters;
mod deploy;
mod dlq;
mod entries;
mod history;
mod host_life;
mod mirror;
mod mongo_mirror;
mod mongodb_down;
mod once;

mod order;
mod parity;
mod pools;
mod pubsub;
mod pubsub_messages;
mod pubsub_pipeline;
mod pubsub_requests;
mod pubsub_source;
mod redis_down;
mod redis_json;
mod redis_keys;
mod redis_modes;
mod redis_safe;
mod redis_source;
mod renames;
mod restart;
mod retries;
mod scene;
mod series;
mod settings;
mod several;
mod types;
mod versions;
