//! What guests do that they should not, and what they import for it.

/// Bytes from which on a guest does its deed of [`super::Guest::in_realloc`].
pub const REALLOC_FROM: u32 = 60_000;

/// What a guest does that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It never comes back.
    LoopForever,
    /// It takes memory until it is refused some, then traps, as allocators do.
    GrowMemory,
    /// It takes so many pages of 64 KiB and keeps them.
    Leak(u32),
    /// It makes its table longer until it is refused, then traps.
    GrowTable,
    /// It traps.
    Trap,
    /// It divides by zero.
    DivideByZero,
    /// It divides the least number by -1.
    DivideOverflow,
    /// It makes a number of what is none.
    ConvertNan,
    /// It reads behind its memory.
    ReadOutside,
    /// It fills behind its memory.
    FillOutside,
    /// It copies from behind its memory.
    CopyOutside,
    /// It reads behind its table.
    TableOutside,
    /// It calls behind its table.
    CallOutside,
    /// It calls a function that is null.
    CallNull,
    /// It calls a function as one of another type.
    CallWrongType,
    /// It calls itself until the stack is used up.
    Recurse,
    /// It writes so many lines into the log, then goes on.
    LogLines(u32),
    /// It writes a line of so many bytes into the log, then goes on.
    LogLong(u32),
    /// It says that a line for the log lies outside of its memory.
    LogOutside,
    /// It counts under so many names, each of four letters.
    CountNames(u32),
    /// It sets a gauge whose name has so many bytes.
    GaugeLong(u32),
    /// It prints a byte and a line end, so many times.
    Print(u32),
    /// It asks for a stream to print to and keeps it, so many times.
    KeepStreams(u32),
    /// It asks to be woken and keeps what it gets, so many times.
    KeepPollables(u32),
    /// It sleeps for a day.
    Sleep,
    /// It asks for so many random bytes.
    Random(u32),
    /// It ends the process, as it thinks.
    Exit,
    /// It returns one result less than there are changes. Of a role alone.
    DropResult,
    /// It returns one result more than there are changes. Of a role alone.
    AddResult,
    /// It says that there are so many results. Of a role alone.
    Results(u32),
    /// It returns its result at this address. Of a role alone.
    ReturnAt(u32),
    /// It stores a number over what it returns: where, at which offset, and what. Of a role alone.
    Store(At, u32, u32),
    /// It returns an arena of so many bytes. Of a role alone.
    Arena(u32),
    /// Its change becomes so many outputs, all of them the document of the change. Of a stamper alone.
    Outputs(u32),
    /// An output has so many headers, without names. Of a stamper alone.
    Headers(u32),
    /// It rejects the change with a message of so many bytes. Of a validator alone.
    Reject(u32),
    /// The same, with a message that is no UTF-8. Of a validator alone.
    RejectInNoUtf8(u32),
    /// It rejects the change with so many violations, all of them empty. Of a validator alone.
    Violations(u32),
    /// It says that it cannot handle the change. Of a migrator alone.
    Fail,
    /// It returns these bytes as the document. Of a migrator or a stamper.
    Document(&'static [u8]),
    /// It returns a document that lies outside of the arena. Of a migrator alone.
    SpanOutside,
    /// It returns a schema version that is no UTF-8. Of a migrator alone.
    InvalidText,
    /// It returns a document that is no BSON at all. Of a migrator alone.
    InvalidDocument,
    /// It returns a document whose length and end are right and whose element is not. Of a migrator alone.
    CorruptDocument,
    /// It sends the change to a sink that the pipeline does not have. Of a router alone.
    UnknownSink,
}

/// Where a number is stored over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In the record with the lists that the function returns.
    Area,
    /// In the result of the marked change: the case at 0, then what it holds.
    Result,
    /// In the output or destination of the marked change.
    Output,
}

/// What a deed imports: an interface, and a function of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) interface: &'static str,
    pub(super) text: &'static str,
}

const COUNT: Import = Import {
    interface: "tidegate:plugin/metrics@0.1.0",
    text: r#"(import "tidegate:plugin/metrics@0.1.0" "count" (func $count (param i32 i32 i64)))"#,
};
const GAUGE: Import = Import {
    interface: "tidegate:plugin/metrics@0.1.0",
    text: r#"(import "tidegate:plugin/metrics@0.1.0" "gauge" (func $gauge (param i32 i32 f64)))"#,
};
const STDOUT: Import = Import {
    interface: "wasi:cli/stdout@0.2.0",
    text: r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))"#,
};
const WRITE: Import = Import {
    interface: "wasi:io/streams@0.2.0",
    text: r#"(import "wasi:io/streams@0.2.0" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))"#,
};
const EXIT: Import = Import {
    interface: "wasi:cli/exit@0.2.0",
    text: r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#,
};
const SUBSCRIBE: Import = Import {
    interface: "wasi:clocks/monotonic-clock@0.2.0",
    text: r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#,
};
const BLOCK: Import = Import {
    interface: "wasi:io/poll@0.2.0",
    text: r#"(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block_on (param i32)))"#,
};
const RANDOM: Import = Import {
    interface: "wasi:random/random@0.2.0",
    text: r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#,
};

/// A statement, so many times; `$n` counts down.
fn times(count: u32, statement: &str) -> String {
    format!(
        "(global.set $n (i32.const {count}))
         (loop $again {statement}
           (global.set $n (i32.sub (global.get $n) (i32.const 1)))
           (br_if $again (global.get $n)))"
    )
}

impl Deed {
    pub(super) fn imports(self) -> &'static [Import] {
        match self {
            Self::CountNames(_) => &[COUNT],
            Self::GaugeLong(_) => &[GAUGE],
            Self::Print(_) => &[STDOUT, WRITE],
            Self::KeepStreams(_) => &[STDOUT],
            Self::KeepPollables(_) => &[SUBSCRIBE],
            Self::Sleep => &[SUBSCRIBE, BLOCK],
            Self::Random(_) => &[RANDOM],
            Self::Exit => &[EXIT],
            _ => &[],
        }
    }

    /// As a statement that can stand in any function.
    pub(super) fn anywhere(self) -> String {
        match self {
            Self::LoopForever => "(call $loop_forever)".into(),
            Self::GrowMemory => "(call $grow_memory)".into(),
            Self::Leak(pages) => format!("(drop (memory.grow (i32.const {pages})))"),
            Self::GrowTable => "(call $grow_table)".into(),
            Self::Trap => "(unreachable)".into(),
            Self::DivideByZero => "(drop (i32.div_u (i32.const 1) (i32.const 0)))".into(),
            Self::DivideOverflow => "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))".into(),
            Self::ConvertNan => "(drop (i32.trunc_f64_s (f64.const nan)))".into(),
            Self::ReadOutside => "(drop (i32.load (i32.const -8)))".into(),
            Self::FillOutside => "(memory.fill (i32.const -8) (i32.const 0) (i32.const 1024))".into(),
            Self::CopyOutside => "(memory.copy (i32.const 0) (i32.const -8) (i32.const 1024))".into(),
            Self::TableOutside => "(drop (table.get $table (i32.const 99)))".into(),
            Self::CallOutside => "(drop (call_indirect $table (type $of_nothing) (i32.const 99)))".into(),
            Self::CallNull => "(drop (call_indirect $table (type $of_nothing) (i32.const 0)))".into(),
            Self::CallWrongType => "(drop (call_indirect $table (type $of_nothing) (i32.const 1)))".into(),
            Self::Recurse => "(drop (call $recurse (i32.const 0)))".into(),
            Self::LogLines(lines) => format!("(call $log_lines (i32.const {lines}))"),
            Self::LogLong(bytes) => format!(
                "(global.set $n (call $alloc (i32.const {bytes})))
                 (memory.fill (global.get $n) (i32.const 120) (i32.const {bytes}))
                 (call $log (i32.const 2) (global.get $n) (i32.const {bytes}))"
            ),
            Self::LogOutside => "(call $log (i32.const 2) (i32.const -100) (i32.const 50))".into(),
            Self::CountNames(names) => {
                // The number of the name, in letters from `a` to `p`, at address 0.
                let letter = |at: u32| {
                    format!(
                        "(i32.store8 (i32.const {at}) (i32.add (i32.const 97)
                           (i32.and (i32.const 15) (i32.shr_u (global.get $n) (i32.const {})))))",
                        at * 4
                    )
                };
                let name: String = (0..4).map(letter).collect();
                times(names, &format!("{name} (call $count (i32.const 0) (i32.const 4) (i64.const 1))"))
            }
            Self::GaugeLong(bytes) => format!(
                "(global.set $n (call $alloc (i32.const {bytes})))
                 (memory.fill (global.get $n) (i32.const 120) (i32.const {bytes}))
                 (call $gauge (global.get $n) (i32.const {bytes}) (f64.const nan))"
            ),
            Self::Print(lines) => format!(
                "(global.set $stream (call $stdout)) (i32.store8 (i32.const 0) (i32.const 120)) (i32.store8 (i32.const 1) (i32.const 10)) {}",
                times(lines, "(call $write (global.get $stream) (i32.const 0) (i32.const 2) (i32.const 16))")
            ),
            Self::KeepStreams(count) => times(count, "(drop (call $stdout))"),
            Self::KeepPollables(count) => times(count, "(drop (call $subscribe (i64.const 1)))"),
            Self::Sleep => "(call $block_on (call $subscribe (i64.const 86400000000000)))".into(),
            Self::Random(bytes) => format!("(call $random (i64.const {bytes}) (i32.const 16))"),
            Self::Exit => "(call $exit (i32.const 1))".into(),
            _ => panic!("{self:?} belongs to a role"),
        }
    }

    /// As a statement at the end of a role, when all of the result is made; none: it is done at the marked change.
    pub(super) fn at_last(self) -> Option<String> {
        let list = |offset: u32, at: &str, count: u32| {
            format!("(call $store_span (i32.add (local.get $area) (i32.const {offset})) {at} (i32.const {count}))")
        };
        Some(match self {
            Self::ReturnAt(address) => format!("(local.set $area (i32.const {}))", address.cast_signed()),
            Self::Store(At::Area, offset, value) => {
                format!("(i32.store offset={offset} (local.get $area) (i32.const {}))", value.cast_signed())
            }
            Self::Arena(bytes) => {
                format!("(drop (call $alloc (i32.const {bytes}))) {}", list(0, "(i32.const 0)", bytes))
            }
            Self::Outputs(count) => format!(
                "(local.set $entry (call $zeroed (i32.const {})))
                 (call $store_span (i32.add (local.get $slot) (i32.const 4)) (i32.const 0) (i32.const {count})) {}",
                count * 32,
                list(24, "(local.get $entry)", count)
            ),
            // With the stamper's own ten in front, which other outputs use.
            Self::Headers(count) => format!(
                "(local.set $parts (call $zeroed (i32.const {})))
                 (memory.copy (local.get $parts) (local.get $list) (i32.const 160)) {}",
                count * 16,
                list(16, "(local.get $parts)", count)
            ),
            _ => return None,
        })
    }
}
