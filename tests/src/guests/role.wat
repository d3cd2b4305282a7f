  ;; The batch comes as four lists, pointer and length each, and the stride: how many numbers of four bytes make a change. $slots are the results, one for each change and one to spare,
  ;; all zero at first; $results is how many of them are returned.
  (func (export "tidegate:plugin/{role}@0.1.0#{function}")
    (param $arena i32) (param $arena_length i32) (param $namespaces i32) (param $namespaces_length i32)
    (param $headers i32) (param $headers_length i32) (param $stride i32) (param $changes i32) (param $numbers i32)
    (result i32)
    (local $count i32) (local $i i32) (local $change i32) (local $slots i32) (local $slot i32) (local $results i32) (local $area i32)
    (local $list i32) (local $entries i32) (local $entry i32) (local $parts i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $count (i32.div_u (local.get $numbers) (local.get $stride)))
    (local.set $results (local.get $count))
    (global.set $marked (i32.const 0))
    (local.set $slots (call $zeroed (i32.mul (i32.add (local.get $count) (i32.const 1)) (i32.const {slot_size}))))
    {before}
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
        (local.set $change (i32.add (local.get $changes) (i32.mul (local.get $i) (i32.shl (local.get $stride) (i32.const 2)))))
        (local.set $slot (i32.add (local.get $slots) (i32.mul (local.get $i) (i32.const {slot_size}))))
        {each}
        (if (i32.and (call $document_has (local.get $arena) (local.get $change) {marker}) (i32.gt_u (global.get $calls) (i32.const {after_calls})))
          (then (global.set $marked (i32.const 1)) {deed}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.set $area (call $zeroed (i32.const 40)))
    {after}
    (if (global.get $marked) (then {last}))
    (local.get $area))
  (func (export "cabi_post_tidegate:plugin/{role}@0.1.0#{function}") (param i32)
    (if (global.get $marked) (then {post_return}))
    (call $free_all))
