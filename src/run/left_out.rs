//! What a run says at its end about messages that it left out.

use super::diagnostics::say;
use super::plural::Plural;
use crate::source::kernel::LeftOut;

/// Says what this version does not know; nothing where there is nothing.
pub fn tell_skipped(attributes: u64) {
    if attributes > 0 {
        say(format_args!(
            "{} skipped: unknown to this version",
            Plural(attributes, "attribute")
        ));
    }
}

/// Says how many of the kernel's messages made no sense; nothing where all did.
fn tell_damaged(messages: u64) {
    if messages > 0 {
        say(format_args!(
            "{} could not be read",
            Plural(messages, "damaged message")
        ));
    }
}

/// Says what a live run came across beside drops.
pub fn tell_left_out(left_out: LeftOut) {
    tell_not_packets(left_out.not_packets, left_out.alerts_of_alerts);
    tell_damaged(left_out.damaged_messages);
}

/// Says how many alerts were left out because they tell of no packet.
pub fn tell_not_packets(not_packets: u64, alerts_of_alerts: u64) {
    if not_packets > 0 {
        say(format_args!(
            "{} of no packet left out (netlink messages, data between local sockets): --all takes them",
            Plural(not_packets, "drop")
        ));
    }
    if alerts_of_alerts > 0 {
        say(format_args!(
            "{} about alerts left out: the kernel reports an alert that a listener's filter rejects, \
             or that a listener leaves unread, as one more drop",
            Plural(alerts_of_alerts, "alert")
        ));
    }
}
