//! What a run says at its end about messages that it left out.

use std::fmt::Display;

use super::diagnostics::{note, say};
use super::plural::Plural;
use crate::source::LeftOut;

/// Notes how many there are, and `what` of them; nothing where there are none.
pub fn tell_count(count: u64, noun: &str, what: impl Display) {
    if count > 0 {
        note(format_args!("{} {what}", Plural(count, noun)));
    }
}

/// Says what this version does not know; nothing where there is nothing.
pub fn tell_skipped(attributes: u64) {
    tell_count(attributes, "attribute", "skipped: unknown to this version");
}

/// Says what a live run came across beside drops.
pub fn tell_left_out(left_out: LeftOut) {
    tell_not_packets(left_out.not_packets, left_out.alerts_of_alerts);
    if left_out.damaged_messages > 0 {
        let damaged = Plural(left_out.damaged_messages, "damaged message");
        say(format_args!("{damaged} could not be read"));
    }
}

/// Says how many alerts were left out because they tell of no packet.
pub fn tell_not_packets(not_packets: u64, alerts_of_alerts: u64) {
    tell_count(
        not_packets,
        "drop",
        "left out: netlink messages and data between local sockets are not packets (--all keeps them)",
    );
    tell_count(
        alerts_of_alerts,
        "alert",
        "left out: about dropped alerts, not packets (the kernel drops an alert when a \
         listener's filter rejects it or a listener does not read it)",
    );
}
