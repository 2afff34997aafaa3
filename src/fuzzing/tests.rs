//! The inputs of `fuzz/corpus`, each to what reads it.

use std::path::Path;

use super::{FuzzTarget, TARGETS};

/// Runs a target, and returns the most bytes that it had allocated at a time.
fn run(target: &FuzzTarget, input: &[u8]) -> u64 {
    allocation_counter::measure(|| target.run(input)).bytes_max
}

#[test]
fn no_input_of_the_corpus_breaks_a_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let inputs =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut count = 0;
        for input in inputs {
            let path = input.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let most = run(target, &input);
            let bound = target.memory_bound(input.len());
            assert!(most <= bound, "{path:?}: {most} of {bound} bytes");
            count += 1;
        }
        assert!(count >= 5, "{}: {count} inputs", target.name);
    }
}

#[test]
fn no_input_is_too_short() {
    for target in TARGETS {
        for input in [&b""[..], &[0], &[0xff; 3]] {
            run(target, input);
        }
    }
}
