//! The drop monitor beside eBPF programs, which capture all software drops: its hardware drops alone. It
//! reports software drops to every listener where another program starts them.

use std::ops::ControlFlow;

use super::{Event, Receive};
use crate::record::Origin;

/// Returns a receiver that passes on everything but software drops.
pub fn without_software<'r>(
    receive: &'r mut Receive<'_>,
) -> impl FnMut(Event<'_, '_>) -> ControlFlow<()> + 'r {
    |event| {
        let origin = match event {
            Event::Drop(record) => record.cause.origin(),
            Event::Count { cause, .. } => cause.origin(),
            // Of eBPF programs.
            Event::Drops { .. } | Event::Unnamed { .. } => Some(Origin::Software),
            Event::Rejected(_) | Event::EndOfCounts { .. } => None,
        };
        if origin == Some(Origin::Software) {
            ControlFlow::Continue(())
        } else {
            receive(event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cause, DropRecord, Link, LinkType, Location};

    #[test]
    fn software_drops_are_passed_over() {
        let software = Cause::Software {
            location: Location::default(),
            reason: None,
        };
        let hardware = Cause::Hardware {
            group: None,
            trap: None,
            cookie: None,
        };
        let mut origins = Vec::new();
        let mut receive = |event: Event<'_, '_>| {
            if let Event::Drop(record) = event {
                origins.push(record.cause.origin());
            }
            ControlFlow::Continue(())
        };
        for cause in [software, hardware] {
            let record = DropRecord {
                cause,
                ..DropRecord::new(Link::known(LinkType::ETHERNET), &[])
            };
            let flow = without_software(&mut receive)(Event::Drop(&record));
            assert_eq!(flow, ControlFlow::Continue(()));
        }
        assert_eq!(origins, [Some(Origin::Hardware)]);
    }
}
