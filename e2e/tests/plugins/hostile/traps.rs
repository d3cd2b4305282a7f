//! Every way to trap, and what looks like one to a guest.

use tidegate_tests::guests::{Deed, Guest, Role};

use super::beside::{Case, costs, hostile};

fn validator(deed: Deed) -> Guest {
    Guest::new(Role::Validator).when_marked(deed)
}

hostile! {
    unreachable: validator(Deed::Trap) => "trap", "`unreachable` instruction executed";
    division_by_zero: validator(Deed::DivideByZero) => "trap", "it trapped: integer divide by zero";
    division_that_overflows: validator(Deed::DivideOverflow) => "trap", "it trapped: integer overflow";
    conversion_of_no_number: validator(Deed::ConvertNan) => "trap", "it trapped: invalid conversion to integer";
    read_outside_of_memory: validator(Deed::ReadOutside) => "trap", "it trapped: out of bounds memory access";
    fill_outside_of_memory: validator(Deed::FillOutside) => "trap", "it trapped: out of bounds memory access";
    copy_from_outside_of_memory: validator(Deed::CopyOutside) => "trap", "it trapped: out of bounds memory access";
    read_outside_of_table: validator(Deed::TableOutside) => "trap", "it trapped: undefined element: out of bounds table access";
    call_outside_of_table: validator(Deed::CallOutside) => "trap", "it trapped: undefined element: out of bounds table access";
    call_of_null: validator(Deed::CallNull) => "trap", "it trapped: uninitialized element";
    call_of_another_type: validator(Deed::CallWrongType) => "trap", "it trapped: indirect call type mismatch";
    recursion: validator(Deed::Recurse) => "trap", "it trapped: call stack exhausted";
    recursion_of_a_router: Guest::new(Role::Router).when_marked(Deed::Recurse) => "trap", "it trapped: call stack exhausted";
    after_its_result: Guest::new(Role::Router).in_post_return(Deed::Trap) => "trap", "`unreachable` instruction executed";
    exit: validator(Deed::Exit) => "trap", "it ended itself, as a program does, with exit code 1";
    text_outside_of_memory: validator(Deed::LogOutside) => "trap", "it failed: ";
}

#[tokio::test]
async fn in_realloc() {
    let guest = Guest::new(Role::Validator).in_realloc(Deed::Trap);
    let case = Case { padding: 70_000, ..Case::default() };
    costs(guest, case, Some(("trap", &["`unreachable` instruction executed"]))).await;
}

#[tokio::test]
async fn call_of_the_host_out_of_realloc() {
    let guest = Guest::new(Role::Validator).in_realloc(Deed::LogLines(1));
    let case = Case { padding: 70_000, ..Case::default() };
    costs(guest, case, Some(("trap", &["cannot leave component instance"]))).await;
}
