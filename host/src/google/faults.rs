//! What a table says of the codes that services of Google Cloud answer with.

use google_cloud_gax::error::rpc::Code as Grpc;

use crate::fault_table::Meaning;

/// A code of gRPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The code.
    pub(crate) code: Grpc,
    /// What follows from it.
    pub(crate) meaning: Meaning,
    /// Why, in few words, for the documentation.
    #[cfg_attr(not(test), allow(dead_code, reason = "what the table says in words is for the documentation"))]
    pub(crate) why: &'static str,
}

/// The rows of a table, by what follows.
macro_rules! rows {
    ($($meaning:ident { $($code:ident $why:literal,)+ })+) => {
        &[$($($crate::google::faults::Row {
            code: google_cloud_gax::error::rpc::Code::$code,
            meaning: $crate::fault_table::Meaning::$meaning,
            why: $why,
        },)+)+]
    };
}

pub(crate) use rows;

/// What a code means by a table.
pub(crate) fn meaning(table: &[Row], code: Grpc) -> Meaning {
    table.iter().find(|row| row.code == code).map_or(Meaning::Transient, |row| row.meaning)
}
