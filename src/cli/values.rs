//! Parses and checks the values of options. No invalid value is silently replaced.

use std::time::Duration;

use crate::ebpf::program::MAX_STACK_FRAMES;
use crate::net_dm::control::Origins;

fn parse_number(text: &str, what: &str, min: u64, max: u64) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|number| {
            text.bytes().all(|byte| byte.is_ascii_digit()) && (min..=max).contains(number)
        })
        .ok_or_else(|| format!("expected {what} from {min} to {max}"))
}

pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    parse_number(text, "a number of drops", 1, u64::MAX)
}

pub(super) fn parse_frames(text: &str) -> Result<u8, String> {
    let number = parse_number(text, "a number of frames", 1, MAX_STACK_FRAMES.into())?;
    u8::try_from(number).map_err(|error| error.to_string())
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    // Longer than any machine runs, and short enough for the arithmetic of instants.
    const MAX_SECONDS: f64 = 1e9;
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<f64>()
        .ok()
        .filter(|seconds| is_plain && *seconds > 0.0 && *seconds <= MAX_SECONDS)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected seconds, such as 90 or 0.5, above 0 and up to 1000000000".into())
}

pub(super) fn parse_trunc_len(text: &str) -> Result<u32, String> {
    /// The kernel's limit: a netlink attribute holds no more.
    const MAX: u64 = 65527;
    let number = parse_number(text, "a number of bytes", 0, MAX)?;
    u32::try_from(number).map_err(|error| error.to_string())
}

pub(super) fn parse_queue_len(text: &str) -> Result<u32, String> {
    let number = parse_number(text, "a number of packets", 1, u64::from(u32::MAX))?;
    u32::try_from(number).map_err(|error| error.to_string())
}

/// The largest receive buffer: the kernel takes an `int` and doubles it.
const MAX_BUFFER: u64 = (i32::MAX / 2) as u64;

pub(super) fn parse_size(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1024),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1024 * 1024),
        _ => (text, 1),
    };
    parse_number(digits, "", 1, MAX_BUFFER)
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| *bytes <= MAX_BUFFER)
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or_else(|| {
            format!("expected a size in bytes from 1 to {MAX_BUFFER}, such as 500k or 32M")
        })
}

/// Parses a size whose unit is `plain` bytes where there is no suffix.
fn parse_bytes(text: &str, plain: u64) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, plain),
    };
    let number = parse_number(digits, "", 1, u64::MAX).ok()?;
    // tcpdump's limit.
    let bytes = number.checked_mul(unit)?;
    i64::try_from(bytes).is_ok().then_some(bytes)
}

/// The size of a file, as in tcpdump.
pub(super) fn parse_file_size(text: &str) -> Result<u64, String> {
    parse_bytes(text, 1_000_000).ok_or_else(|| {
        "expected millions of bytes, such as 100, or with a suffix k, M or G, such as 64M".into()
    })
}

pub(super) fn parse_total(text: &str) -> Result<u64, String> {
    parse_bytes(text, 1).ok_or_else(|| "expected a size in bytes, such as 500M or 10G".into())
}

pub(super) fn parse_rotate_seconds(text: &str) -> Result<Duration, String> {
    let seconds = parse_number(text, "whole seconds", 1, MAX_INT)?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn parse_file_count(text: &str) -> Result<u32, String> {
    let number = parse_number(text, "a number of files", 1, MAX_INT)?;
    u32::try_from(number).map_err(|error| error.to_string())
}

/// The largest number of seconds or files in tcpdump.
const MAX_INT: u64 = i32::MAX as u64;

pub(super) fn parse_origin(text: &str) -> Result<Origins, String> {
    match text {
        "sw" => Ok(Origins::Software),
        "hw" => Ok(Origins::Hardware),
        _ => Err("expected sw (dropped by the kernel) or hw (dropped by a device)".into()),
    }
}
