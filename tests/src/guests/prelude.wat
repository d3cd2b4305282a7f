  ;; What every guest has: memory, an allocator whose memory is given back after each call, and a search for bytes.
  (memory (export "memory") {pages})
  (global $base i32 (i32.const {base}))
  (global $top (mut i32) (i32.const {base}))
  ;; Calls of roles of this instance so far.
  (global $calls (mut i32) (i32.const 0))
  ;; For deeds.
  (global $n (mut i32) (i32.const 0))
  (global $stream (mut i32) (i32.const 0))
  ;; Whether the call has a marked change.
  (global $marked (mut i32) (i32.const 0))
  ;; Element 0 is null, element 1 a function of another type than it is called as.
  (table $table 2 funcref)
  (elem (i32.const 1) func $free_all)
  (type $of_nothing (func (result i32)))

  (func $alloc (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $top) (i32.shl (memory.size) (i32.const 16))))
      (br_if $fits
        (i32.ne
          (i32.const -1)
          (memory.grow
            (i32.add
              (i32.shr_u (i32.sub (global.get $top) (i32.shl (memory.size) (i32.const 16))) (i32.const 16))
              (i32.const 1)))))
      unreachable)
    (local.get $at))

  (func $zeroed (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (local.get $size)))
    (memory.fill (local.get $at) (i32.const 0) (local.get $size))
    (local.get $at))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (if (i32.ge_u (local.get $size) (i32.const {realloc_from})) (then {realloc_deed}))
    (call $alloc (local.get $size)))

  (func $free_all (global.set $top (global.get $base)))

  ;; Whether the bytes at $at contain the needle.
  (func $contains (param $at i32) (param $length i32) (param $needle i32) (param $needle_length i32) (result i32)
    (local $last i32) (local $n i32)
    (if (i32.lt_u (local.get $length) (local.get $needle_length)) (then (return (i32.const 0))))
    (local.set $last (i32.add (local.get $at) (i32.sub (local.get $length) (local.get $needle_length))))
    (loop $next
      (local.set $n (i32.const 0))
      (block $differs
        (loop $same
          (br_if $differs
            (i32.ne
              (i32.load8_u (i32.add (local.get $at) (local.get $n)))
              (i32.load8_u (i32.add (local.get $needle) (local.get $n)))))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $same (i32.lt_u (local.get $n) (local.get $needle_length))))
        (return (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $at) (local.get $last))))
    (i32.const 0))

  ;; Whether the document of a change contains the needle. A change's document is the span at 24.
  (func $document_has (param $arena i32) (param $change i32) (param $needle i32) (param $needle_length i32) (result i32)
    (call $contains
      (i32.add (local.get $arena) (i32.load offset=24 (local.get $change)))
      (i32.load offset=28 (local.get $change))
      (local.get $needle)
      (local.get $needle_length)))

  (func $store_span (param $to i32) (param $offset i32) (param $length i32)
    (i32.store (local.get $to) (local.get $offset))
    (i32.store offset=4 (local.get $to) (local.get $length)))

  ;; `VERSION/000017`: the plugin's version and the number of the call, which so tells which changes came in one call.
  (func $stamp (result i32)
    (local $at i32) (local $digit i32) (local $left i32)
    (local.set $at (call $alloc (i32.const {stamp_length})))
    (memory.copy (local.get $at) (i32.const {version_at}) (i32.const {version_length}))
    (i32.store8 offset={version_length} (local.get $at) (i32.const 47))
    (local.set $left (global.get $calls))
    (local.set $digit (i32.add (local.get $at) (i32.const {stamp_length})))
    (loop $next
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (i32.store8 (local.get $digit) (i32.add (i32.const 48) (i32.rem_u (local.get $left) (i32.const 10))))
      (local.set $left (i32.div_u (local.get $left) (i32.const 10)))
      (br_if $next (i32.gt_u (local.get $digit) (i32.add (local.get $at) (i32.const {slash_end})))))
    (local.get $at))

  ;; Not a tail call, so that each one takes stack.
  (func $recurse (param $depth i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))

  (func $loop_forever (loop $forever (br $forever)))

  (func $grow_memory
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    unreachable)

  ;; 8 MB first, then 60 MB at a time: few steps, for moving and touching what a table holds takes longer than a call may on a
  ;; slow machine, and it is the size that is asked about, not the time. What is refused is the sum: 60 MB alone would be granted.
  (func $grow_table
    (drop (table.grow $table (ref.null func) (i32.const 1048576)))
    (loop $more (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 7864320)) (i32.const -1))))
    unreachable)

  (func $log_lines (param $lines i32)
    (loop $more
      (call $log (i32.const 2) (i32.const {line_at}) (i32.const {line_length}))
      (local.set $lines (i32.sub (local.get $lines) (i32.const 1)))
      (br_if $more (local.get $lines))))
