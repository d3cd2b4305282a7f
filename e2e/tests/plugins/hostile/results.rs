//! Results that are no results: wrong counts, lists and texts that are not there, cases nobody knows, documents that are none.

use tidegate_tests::guests::{At, Deed, Guest, Role};

use super::beside::{Case, costs, hostile};

fn validator(deed: Deed) -> Guest {
    Guest::new(Role::Validator).when_marked(deed)
}
fn migrator(deed: Deed) -> Guest {
    Guest::new(Role::Migrator).when_marked(deed)
}
fn stamper(deed: Deed) -> Guest {
    Guest::new(Role::Stamper).when_marked(deed)
}
fn router(deed: Deed) -> Guest {
    Guest::new(Role::Router).when_marked(deed)
}

/// A case that no variant of the contract has.
const NO_CASE: Deed = Deed::Store(At::Result, 0, 77);

// Offsets are those of the canonical ABI: an output is operation 0, namespace 4, key 8, document 16, headers 24; a destination is
// sink 0, target 8, ordering key 16, attributes 24; a result is its case at 0, and what it holds from 4 on.
hostile! {
    one_too_few: validator(Deed::DropResult) => "result", "it returned 0 results for 1 changes";
    one_too_many: stamper(Deed::AddResult) => "result", "it returned 2 results for 1 changes";
    none_at_all: router(Deed::Results(0)) => "result", "it returned 0 results for 1 changes";
    a_list_of_four_gigabytes: migrator(Deed::Results(u32::MAX)) => "trap", "it failed: list pointer/length out of bounds of memory";
    an_arena_outside_of_memory: router(Deed::Store(At::Area, 0, 0xffff_fff0)) => "trap", "it failed: list pointer/length out of bounds of memory";
    a_result_outside_of_memory: validator(Deed::ReturnAt(0xffff_fff0)) => "trap", "it failed: ", "out of bounds of memory";
    a_result_at_an_odd_address: validator(Deed::ReturnAt(33)) => "trap", "it failed: ", "not aligned";
    a_verdict_nobody_knows: validator(NO_CASE) => "trap", "it failed: ", "discriminant";
    an_outcome_nobody_knows: migrator(NO_CASE) => "trap", "it failed: ", "discriminant";
    a_result_nobody_knows: stamper(NO_CASE) => "trap", "it failed: ", "discriminant";
    a_decision_nobody_knows: router(NO_CASE) => "trap", "it failed: ", "discriminant";
    an_operation_nobody_knows: stamper(Deed::Store(At::Output, 0, 9)) => "trap", "it failed: ", "discriminant";
    a_namespace_that_is_not_in_the_list: stamper(Deed::Store(At::Output, 4, 999)) => "result", "an output has namespace 999 of a list of ";
    a_document_outside_of_the_arena: stamper(Deed::Store(At::Output, 16, 0x7fff_0000)) => "result", "the document of an output is said to lie at 2147418112";
    a_document_that_goes_round: stamper(Deed::Store(At::Output, 16, u32::MAX)) => "result", "the document of an output is said to lie at 4294967295";
    headers_that_are_not_in_the_list: stamper(Deed::Store(At::Output, 24, 500)) => "result", "the headers of an output are said to be entries 500 to 501 of a list of 10";
    headers_that_go_round: stamper(Deed::Store(At::Output, 24, u32::MAX)) => "result", "the headers of an output are said to be entries 4294967295 to 4294967296 of a list of 10";
    outputs_that_are_not_in_the_list: stamper(Deed::Store(At::Result, 4, 5000)) => "result", "its outputs are said to be entries 5000 to 5001";
    destinations_that_are_not_in_the_list: router(Deed::Store(At::Result, 8, u32::MAX)) => "result", "its destinations are said to be entries 0 to 4294967295 of a list of 2";
    attributes_that_are_not_in_the_list: router(Deed::Store(At::Output, 28, 7)) => "result", "the attributes of a destination are said to be entries 0 to 7 of a list of 1";
    a_target_outside_of_the_arena: router(Deed::Store(At::Output, 12, u32::MAX)) => "result", "a target is said to lie at 0, 4294967295 bytes long";
    a_key_that_is_no_document: stamper(Deed::Store(At::Output, 12, 7)) => "result", "the key of an output is no valid BSON document";
    headers_without_end: stamper(Deed::Headers(300)) => "result", "300 headers are too many, 256 are the most";
    text_that_is_no_utf8: validator(Deed::RejectInNoUtf8(100)) => "trap", "it failed: invalid utf-8";
    text_in_the_arena_that_is_no_utf8: migrator(Deed::InvalidText) => "result", "the version migrated to is no UTF-8";
    bson_that_is_text: migrator(Deed::InvalidDocument) => "result", "the new document is no valid BSON document";
    bson_with_a_string_without_end: migrator(Deed::CorruptDocument) => "result", "the new document is no valid BSON document";
    bson_of_an_unknown_type: migrator(Deed::Document(b"\x0c\0\0\0\x55a\0abcd\0")) => "result", "the new document is no valid BSON document";
    bson_whose_name_is_no_utf8: migrator(Deed::Document(b"\x09\0\0\0\x0a\xff\xfe\0\0")) => "result", "the new document is no valid BSON document";
    bson_with_an_inner_document_that_is_longer: migrator(Deed::Document(b"\x0d\0\0\0\x03a\0\x09\0\0\0\0\0")) => "result", "the new document is no valid BSON document";
    bson_without_an_end: migrator(Deed::Document(b"\x08\0\0\0\x0aa\0\x07")) => "result", "the new document is no valid BSON document";
    json_that_is_none: migrator(Deed::Document(b"{\"a\":")).json() => "result", "the new document is no Extended JSON document: it is no JSON: ";
    json_that_is_no_extended_json: migrator(Deed::Document(b"{\"a\":{\"$oid\":\"no\"}}")).json() => "result", "the new document is no Extended JSON document: `a`: ";
    a_sink_that_is_not_there: router(Deed::UnknownSink) => "result", "it routes to sink `nowhere`, which the pipeline does not have; it has: out";
}

/// Brackets without end: a parser that calls itself for each would use up the host's stack.
static DEEP: [u8; 200_000] = [b'['; 200_000];

#[tokio::test]
async fn json_that_is_nested_without_end() {
    let expected = (
        "result",
        ["the new document is no Extended JSON document: it is no JSON: recursion limit exceeded"].as_slice(),
    );
    costs(migrator(Deed::Document(&DEEP)).json(), Case::default(), Some(expected)).await;
}
