//! The target `pcapng` of `dwdump::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dwdump_fuzz::run(&dwdump::fuzzing::PCAPNG, input));
