//! The target `debug_information` of `dwdump::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dwdump_fuzz::run(&dwdump::fuzzing::DEBUG_INFORMATION, input));
