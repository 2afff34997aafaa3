//! Reports at the end of a run the messages that it left out.

use std::fmt::Display;

use super::diagnostics::{Severity, hint, note, say, tell};
use super::plural::Plural;
use super::trigger::TriggerCounts;
use crate::source::LeftOut;

/// Reports a number of messages and a description of them. Prints nothing if the number is 0.
pub fn tell_count(count: u64, noun: &str, what: impl Display) {
    if count > 0 {
        note(format_args!("{} {what}", Plural(count, noun)));
    }
}

/// Reports attributes that this version does not know. Prints nothing if there are none.
pub fn tell_skipped(attributes: u64) {
    tell_count(attributes, "attribute", "skipped: unknown to this version");
}

/// Reports what the trigger left out.
pub fn tell_trigger(counts: Option<TriggerCounts>) {
    let Some(TriggerCounts {
        matches,
        passed_over,
        given_up,
    }) = counts
    else {
        return;
    };
    let matched = Plural(matches, "packet");
    tell(
        Severity::Note,
        &format!(
            "{matched} matched --trigger\n{} not near one",
            Plural(passed_over, "packet")
        ),
    );
    if given_up > 0 {
        say(format_args!(
            "{} before a match were not kept: the memory for them was full",
            Plural(given_up, "packet")
        ));
        hint("--before-size SIZE gives them more, --before SECONDS needs less");
    }
}

/// Reports messages of a live run that were not drops.
pub fn tell_left_out(left_out: LeftOut) {
    tell_not_packets(left_out);
    if left_out.damaged_messages > 0 {
        let damaged = Plural(left_out.damaged_messages, "damaged message");
        say(format_args!("{damaged} could not be read"));
    }
}

/// Reports alerts that were left out because they contain no packet.
pub fn tell_not_packets(left_out: LeftOut) {
    tell_count(
        left_out.not_packets,
        "drop",
        "left out: netlink messages and data between local sockets are not packets (--all keeps them)",
    );
    tell_count(
        left_out.alerts_of_alerts,
        "alert",
        "left out: about dropped alerts, not packets (the kernel drops an alert when a \
         listener's filter rejects it or a listener does not read it)",
    );
}
