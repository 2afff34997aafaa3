//! Runs the targets of `dwdump::fuzzing` under libFuzzer, and watches their memory.

use dwdump::fuzzing::FuzzTarget;

/// Runs a target with an input. Panics where a promise is not kept, and where more memory is taken than is allowed.
pub fn run(target: &FuzzTarget, input: &[u8]) {
    let taken = allocation_counter::measure(|| target.run(input));
    let bound = target.memory_bound(input.len());
    assert!(
        taken.bytes_max <= bound,
        "{} bytes were allocated at a time, of {bound} that are allowed",
        taken.bytes_max
    );
}
