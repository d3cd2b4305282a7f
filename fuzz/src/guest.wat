(module
  ;; The image, what the guest returns, lies at address 0: an offset in the image is an address. What the host passes in is put
  ;; behind it, and what is fixed behind that.
  (memory (export "memory") 16)
  (global $top (mut i32) (i32.const 0x40000))
  (data (i32.const 0x80000) "guest1")

  ;; Wraps at the end of its room: batches here are far smaller.
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func $free_all (param i32) (global.set $top (i32.const 0x40000)))

  ;; The id of the first change is the image, in letters: `a` to `p` are four bits each.
  (func $unpack (param $at i32) (param $length i32) (result i32)
    (local $to i32) (local $end i32)
    (local.set $end (i32.add (local.get $at) (i32.and (local.get $length) (i32.const 0x7fffe))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $done (i32.ge_u (local.get $to) (i32.const 0x40000)))
        (i32.store8 (local.get $to)
          (i32.or
            (i32.shl (i32.sub (i32.load8_u (local.get $at)) (i32.const 97)) (i32.const 4))
            (i32.sub (i32.load8_u offset=1 (local.get $at)) (i32.const 97))))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (br $next)))
    (i32.const 0))

  (func (export "tidegate:plugin/plugin@0.1.0#manifest") (result i32)
    ;; name, version, description, no schema
    (i32.store (i32.const 0x80010) (i32.const 0x80000)) (i32.store (i32.const 0x80014) (i32.const 5))
    (i32.store (i32.const 0x80018) (i32.const 0x80005)) (i32.store (i32.const 0x8001c) (i32.const 1))
    (i32.store (i32.const 0x80020) (i32.const 0x80000)) (i32.store (i32.const 0x80024) (i32.const 5))
    (i32.const 0x80010))
  (func (export "tidegate:plugin/plugin@0.1.0#configure") (param i32 i32) (result i32)
    (call $free_all (i32.const 0))
    (i32.const 0x80040))
  (func (export "tidegate:plugin/documents@0.1.0#encoding") (result i32) (i32.const {encoding}))
  {roles}
)
