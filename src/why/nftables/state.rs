//! The states in which a packet can be while it passes rules.

use std::collections::BTreeSet;

/// The packet on its way, in one of the ways that are possible. It was dropped as it is known to be; whoever changed it
/// before did so for the last time at some point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalkState {
    /// The mark, if it is known.
    pub mark: Option<u32>,
    /// Nothing sets the mark any more.
    pub is_mark_final: bool,
    /// Nothing changes the packet any more.
    pub is_packet_final: bool,
}

/// Some of the ways.
pub type States = BTreeSet<WalkState>;

impl WalkState {
    /// Returns whether it is the packet as it was dropped.
    pub fn is_final(&self) -> bool {
        self.is_mark_final && self.is_packet_final
    }
}

/// Returns the states after a change of the packet: the last one, or not yet the last one.
pub fn last_change(states: &States) -> States {
    let running = states.iter().filter(|state| !state.is_packet_final);
    let last = running.clone().map(|state| WalkState {
        is_packet_final: true,
        ..*state
    });
    running.copied().chain(last).collect()
}

/// Returns the states after the mark was set: for the last time, or not.
pub fn set_mark(state: WalkState, mark: Option<u32>, final_mark: u32) -> Vec<WalkState> {
    if state.is_mark_final {
        return Vec::new();
    }
    let mut states = vec![WalkState { mark, ..state }];
    if mark.is_none_or(|mark| mark == final_mark) {
        states.push(WalkState {
            mark: Some(final_mark),
            is_mark_final: true,
            ..state
        });
    }
    states
}
