//! The drop monitor beside eBPF programs, which capture all software drops: its hardware drops alone. It
//! reports software drops to every listener where another program starts them.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use super::{Event, LeftOut, Receive, Source, Taken};
use crate::record::{Loss, Origin, Timestamp};

/// A source without its software drops.
pub struct HardwareOnly<S>(pub S);

impl<S: Source> Source for HardwareOnly<S> {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        self.0.watch(descriptors);
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        self.0.take(&mut |event| {
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
        })
    }

    fn settled(&self) -> Option<Timestamp> {
        self.0.settled()
    }

    fn end(&mut self) -> io::Result<()> {
        self.0.end()
    }

    fn loss(&self) -> io::Result<Loss> {
        self.0.loss()
    }

    fn left_out(&self) -> LeftOut {
        self.0.left_out()
    }

    fn symbols_are_newly_hidden(&mut self) -> bool {
        self.0.symbols_are_newly_hidden()
    }

    fn detach_filter(&self) -> io::Result<()> {
        self.0.detach_filter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cause, DropRecord, Link, LinkType, Location};

    /// A source with a drop of each origin.
    struct Both;

    impl Source for Both {
        fn watch<'s>(&'s self, _: &mut Vec<BorrowedFd<'s>>) {}

        fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
            let software = Cause::Software {
                location: Location::default(),
                reason: None,
            };
            let hardware = Cause::Hardware {
                group: None,
                trap: None,
                cookie: None,
            };
            for cause in [software, hardware] {
                let record = DropRecord {
                    cause,
                    ..DropRecord::new(Link::known(LinkType::ETHERNET), &[])
                };
                let flow = receive(Event::Drop(&record));
                assert_eq!(flow, ControlFlow::Continue(()));
            }
            Ok(Taken::Some)
        }

        fn end(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn loss(&self) -> io::Result<Loss> {
            Ok(Loss::default())
        }

        fn left_out(&self) -> LeftOut {
            LeftOut::default()
        }

        fn symbols_are_newly_hidden(&mut self) -> bool {
            false
        }

        fn detach_filter(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn software_drops_are_passed_over() {
        let mut origins = Vec::new();
        let taken = HardwareOnly(Both).take(&mut |event| {
            if let Event::Drop(record) = event {
                origins.push(record.cause.origin());
            }
            ControlFlow::Continue(())
        });
        assert_eq!(taken.unwrap(), Taken::Some);
        assert_eq!(origins, [Some(Origin::Hardware)]);
    }
}
