;; What Go's runtime asks of an operating system (WASI preview 1), answered without one, so that a plugin's component imports
;; nothing but tidegate's own interfaces, and the same input always gives the same output:
;; the wall clock stands still, the monotonic clock counts how often it is read, random numbers have a fixed seed, what
;; is written to the standard output and error goes to the host's log, and there are no files, arguments or variables.
;;
;; The component encoder links this in as the adapter `wasi_snapshot_preview1`, and leaves out what a plugin does not use. It
;; has no memory of its own: all addresses are the plugin's.
(module
  (import "env" "memory" (memory 0))
  (import "tidegate:plugin/log@0.1.0" "log" (func $log (param $level i32) (param $text i32) (param $size i32)))

  ;; Errors as preview 1 numbers them.
  (global $no_such_file i32 (i32.const 8))
  (global $invalid i32 (i32.const 28))

  ;; Nanoseconds of the monotonic clock. The runtime measures itself with it, and never waits for it to go on by itself.
  (global $now (mut i64) (i64.const 0))
  (global $seed (mut i64) (i64.const 0))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (if (i32.eqz (local.get $clock))
      (then (i64.store (local.get $to) (i64.const 0)))
      (else
        (global.set $now (i64.add (global.get $now) (i64.const 1000)))
        (i64.store (local.get $to) (global.get $now))))
    (i32.const 0))
  (func (export "clock_res_get") (param $clock i32) (param $to i32) (result i32)
    (i64.store (local.get $to) (i64.const 1000))
    (i32.const 0))

  ;; SplitMix64, a byte of each number.
  (func (export "random_get") (param $to i32) (param $size i32) (result i32)
    (local $end i32) (local $bits i64)
    (local.set $end (i32.add (local.get $to) (local.get $size)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $to) (local.get $end)))
        (global.set $seed (i64.add (global.get $seed) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $bits (global.get $seed))
        (local.set $bits (i64.mul (i64.xor (local.get $bits) (i64.shr_u (local.get $bits) (i64.const 30))) (i64.const 0xbf58476d1ce4e5b9)))
        (local.set $bits (i64.mul (i64.xor (local.get $bits) (i64.shr_u (local.get $bits) (i64.const 27))) (i64.const 0x94d049bb133111eb)))
        (i64.store8 (local.get $to) (i64.xor (local.get $bits) (i64.shr_u (local.get $bits) (i64.const 31))))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; What is written comes in pieces, and goes to the log line by line: of level error from the standard error, else info. The
  ;; line is put together in a buffer that the SDK gives, with a question mark for what is no UTF-8, which the log refuses.
  (global $line (mut i32) (i32.const 0))
  (global $room (mut i32) (i32.const 0))
  (global $length (mut i32) (i32.const 0))
  (global $level (mut i32) (i32.const 2))
  ;; Of a character that takes several bytes: where it begins in the line, how many of its bytes are still to come, and
  ;; between which two the next one has to be.
  (global $begun (mut i32) (i32.const 0))
  (global $missing (mut i32) (i32.const 0))
  (global $lowest (mut i32) (i32.const 0))
  (global $highest (mut i32) (i32.const 0))

  (func (export "tidegate_line_buffer") (param $at i32) (param $size i32)
    (global.set $line (local.get $at))
    (global.set $room (local.get $size)))

  (func $put (param $byte i32)
    (i32.store8 (i32.add (global.get $line) (global.get $length)) (local.get $byte))
    (global.set $length (i32.add (global.get $length) (i32.const 1))))

  (func $flush
    (if (global.get $missing)
      (then
        (global.set $missing (i32.const 0))
        (global.set $length (global.get $begun))
        (call $put (i32.const 63))))
    (if (global.get $length)
      (then (call $log (global.get $level) (global.get $line) (global.get $length))))
    (global.set $length (i32.const 0)))

  (func $begin (param $byte i32) (param $missing i32) (param $lowest i32) (param $highest i32)
    (global.set $begun (global.get $length))
    (global.set $missing (local.get $missing))
    (global.set $lowest (local.get $lowest))
    (global.set $highest (local.get $highest))
    (call $put (local.get $byte)))

  (func $write (param $byte i32)
    ;; Room for this character and a question mark.
    (if (i32.and (i32.eqz (global.get $missing)) (i32.gt_u (i32.add (global.get $length) (i32.const 8)) (global.get $room)))
      (then (call $flush)))
    (if (global.get $missing)
      (then
        (if (i32.and (i32.ge_u (local.get $byte) (global.get $lowest)) (i32.le_u (local.get $byte) (global.get $highest)))
          (then
            (global.set $missing (i32.sub (global.get $missing) (i32.const 1)))
            (global.set $lowest (i32.const 0x80))
            (global.set $highest (i32.const 0xbf))
            (call $put (local.get $byte))
            (return)))
        (global.set $missing (i32.const 0))
        (global.set $length (global.get $begun))
        (call $put (i32.const 63))))
    (if (i32.eq (local.get $byte) (i32.const 10)) (then (call $flush) (return)))
    (if (i32.lt_u (local.get $byte) (i32.const 0x80)) (then (call $put (local.get $byte)) (return)))
    (if (i32.lt_u (local.get $byte) (i32.const 0xc2)) (then (call $put (i32.const 63)) (return)))
    (if (i32.lt_u (local.get $byte) (i32.const 0xe0))
      (then (call $begin (local.get $byte) (i32.const 1) (i32.const 0x80) (i32.const 0xbf)) (return)))
    (if (i32.lt_u (local.get $byte) (i32.const 0xf0))
      (then
        (call $begin (local.get $byte) (i32.const 2)
          (select (i32.const 0xa0) (i32.const 0x80) (i32.eq (local.get $byte) (i32.const 0xe0)))
          (select (i32.const 0x9f) (i32.const 0xbf) (i32.eq (local.get $byte) (i32.const 0xed))))
        (return)))
    (if (i32.lt_u (local.get $byte) (i32.const 0xf5))
      (then
        (call $begin (local.get $byte) (i32.const 3)
          (select (i32.const 0x90) (i32.const 0x80) (i32.eq (local.get $byte) (i32.const 0xf0)))
          (select (i32.const 0x8f) (i32.const 0xbf) (i32.eq (local.get $byte) (i32.const 0xf4))))
        (return)))
    (call $put (i32.const 63)))

  (func (export "fd_write") (param $file i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32) (local $at i32) (local $end i32)
    (if (i32.gt_u (i32.sub (local.get $file) (i32.const 1)) (i32.const 1))
      (then (return (global.get $no_such_file))))
    (if (i32.ne (global.get $level) (i32.mul (local.get $file) (i32.const 2)))
      (then
        (call $flush)
        (global.set $level (i32.mul (local.get $file) (i32.const 2)))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $at (i32.load (local.get $pieces)))
        (local.set $end (i32.add (local.get $at) (i32.load offset=4 (local.get $pieces))))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $pieces))))
        (block $over
          (loop $byte
            (br_if $over (i32.ge_u (local.get $at) (local.get $end)))
            ;; Before the SDK has given its buffer there is nowhere to put it.
            (if (global.get $room) (then (call $write (i32.load8_u (local.get $at)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $byte)))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; Waiting puts the clock forward. A subscription has 48 bytes: what to give back, a kind (0: a clock), and for a clock
  ;; the time at 24 and at 40 whether that is a point in time; an event has 32, with what to give back in front.
  (func (export "poll_oneoff") (param $wanted i32) (param $events i32) (param $count i32) (param $ready i32) (result i32)
    (local $until i64)
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $count)))
        (if (i32.eqz (i32.load8_u offset=8 (local.get $wanted)))
          (then
            (local.set $until (i64.load offset=24 (local.get $wanted)))
            (if (i32.eqz (i32.and (i32.load16_u offset=40 (local.get $wanted)) (i32.const 1)))
              (then (local.set $until (i64.add (global.get $now) (local.get $until)))))
            (if (i64.gt_u (local.get $until) (global.get $now))
              (then (global.set $now (local.get $until))))
            (i64.store (local.get $events) (i64.load (local.get $wanted)))
            (i64.store offset=8 (local.get $events) (i64.const 0))
            (i64.store offset=16 (local.get $events) (i64.const 0))
            (i64.store offset=24 (local.get $events) (i64.const 0))
            (i32.store (local.get $ready) (i32.const 1))
            (return (i32.const 0))))
        (local.set $wanted (i32.add (local.get $wanted) (i32.const 48)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (global.get $invalid))

  ;; The runtime has said why by now.
  (func (export "proc_exit") (param $code i32)
    (call $flush)
    (unreachable))
  (func (export "sched_yield") (result i32) (i32.const 0))

  (func $nothing (param $list i32) (param $text i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))
  (func $none (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))

  ;; No file, folder or socket is there.
  (func $refuse0 (param i32 i64 i64 i32) (result i32) (global.get $no_such_file))
  (export "fd_advise" (func $refuse0))
  (export "fd_filestat_set_times" (func $refuse0))
  (func $refuse1 (param i32 i64 i64) (result i32) (global.get $no_such_file))
  (export "fd_allocate" (func $refuse1))
  (export "fd_fdstat_set_rights" (func $refuse1))
  (func $refuse2 (param i32) (result i32) (global.get $no_such_file))
  (export "fd_close" (func $refuse2))
  (export "fd_datasync" (func $refuse2))
  (export "fd_sync" (func $refuse2))
  (export "proc_raise" (func $refuse2))
  (func $refuse3 (param i32 i32) (result i32) (global.get $no_such_file))
  (export "fd_fdstat_get" (func $refuse3))
  (export "fd_fdstat_set_flags" (func $refuse3))
  (export "fd_filestat_get" (func $refuse3))
  (export "fd_prestat_get" (func $refuse3))
  (export "fd_renumber" (func $refuse3))
  (export "fd_tell" (func $refuse3))
  (export "sock_shutdown" (func $refuse3))
  (func $refuse4 (param i32 i64) (result i32) (global.get $no_such_file))
  (export "fd_filestat_set_size" (func $refuse4))
  (func $refuse5 (param i32 i32 i32 i64 i32) (result i32) (global.get $no_such_file))
  (export "fd_pread" (func $refuse5))
  (export "fd_pwrite" (func $refuse5))
  (export "fd_readdir" (func $refuse5))
  (func $refuse6 (param i32 i32 i32) (result i32) (global.get $no_such_file))
  (export "fd_prestat_dir_name" (func $refuse6))
  (export "path_create_directory" (func $refuse6))
  (export "path_remove_directory" (func $refuse6))
  (export "path_unlink_file" (func $refuse6))
  (export "sock_accept" (func $refuse6))
  (func $refuse7 (param i32 i32 i32 i32) (result i32) (global.get $no_such_file))
  (export "fd_read" (func $refuse7))
  (func $refuse8 (param i32 i64 i32 i32) (result i32) (global.get $no_such_file))
  (export "fd_seek" (func $refuse8))
  (func $refuse9 (param i32 i32 i32 i32 i32) (result i32) (global.get $no_such_file))
  (export "path_filestat_get" (func $refuse9))
  (export "path_symlink" (func $refuse9))
  (export "sock_send" (func $refuse9))
  (func $refuse10 (param i32 i32 i32 i32 i64 i64 i32) (result i32) (global.get $no_such_file))
  (export "path_filestat_set_times" (func $refuse10))
  (func $refuse11 (param i32 i32 i32 i32 i32 i32 i32) (result i32) (global.get $no_such_file))
  (export "path_link" (func $refuse11))
  (func $refuse12 (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (global.get $no_such_file))
  (export "path_open" (func $refuse12))
  (func $refuse13 (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $no_such_file))
  (export "path_readlink" (func $refuse13))
  (export "path_rename" (func $refuse13))
  (export "sock_recv" (func $refuse13))
)
