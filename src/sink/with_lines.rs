//! Adds source lines to the records that go into a file.

use std::io;

use super::{Ending, SharedFinder, Sink, Written, source_line};
use crate::record::{Cause, DropRecord, Likeness, Name};

/// A sink whose records say the source line of their drop.
pub struct WithLines<S> {
    sink: S,
    finder: SharedFinder,
}

impl<S> WithLines<S> {
    /// Asks `finder` for each record that goes into `sink`.
    pub fn new(sink: S, finder: SharedFinder) -> Self {
        Self { sink, finder }
    }
}

impl<S: Sink> Sink for WithLines<S> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let found = source_line(Some(&self.finder), record);
        let line = found.as_ref().map(|source| source.line.raw().as_bytes());
        let mut record = *record;
        if let Cause::Software { location, .. } = &mut record.cause {
            location.source_line = line.and_then(Name::new);
            // The lines of a place may be found after its first drops.
            record.likeness = Likeness::default();
        }
        self.sink.write(&record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self, ending: &Ending) -> io::Result<()> {
        self.sink.finish(ending)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ops::ControlFlow;
    use std::rc::Rc;

    use super::*;
    use crate::record::{CaptureHost, Link, LinkType, Location, Symbol};
    use crate::sink::{JsonSink, LineFinder, Linking, PcapngSink, SourceLine};
    use crate::source::savefile::Savefile;

    struct Fixed;

    impl LineFinder for Fixed {
        fn find(&mut self, _: Location<'_>) -> Option<SourceLine> {
            Some(SourceLine {
                line: "net/ipv4/gre_demux.c:170".to_owned().into(),
                chain: Vec::new(),
            })
        }
    }

    /// It finds the line only the second time.
    #[derive(Default)]
    struct Late {
        was_asked: bool,
    }

    impl LineFinder for Late {
        fn find(&mut self, location: Location<'_>) -> Option<SourceLine> {
            let was_asked = std::mem::replace(&mut self.was_asked, true);
            was_asked.then(|| Fixed.find(location))?
        }
    }

    #[test]
    fn a_line_that_is_found_late_is_written_of_a_drop_like_the_one_before() {
        let mut record = DropRecord::new(Link::known(LinkType::RAW), &[0x45, 0]);
        record.cause = Cause::Software {
            location: Location::default(),
            reason: Name::new(b"NOT_SPECIFIED"),
        };
        record.likeness = Likeness::new();
        let (mut file, host) = (Vec::new(), CaptureHost::default());
        let sink = PcapngSink::new(&mut file, Linking::Auto, "test", &host).unwrap();
        let mut sink = WithLines::new(sink, Rc::new(RefCell::new(Late::default())));
        for _ in 0..2 {
            sink.write(&record).unwrap();
        }
        drop(sink);
        let comment = b"source_line: net/ipv4/gre_demux.c:170";
        let found = file.windows(comment.len()).filter(|bytes| bytes == comment);
        assert_eq!(found.count(), 1);
    }

    #[test]
    fn a_source_line_in_a_file_is_read_back() {
        let mut record = DropRecord::new(Link::known(LinkType::RAW), &[0x45, 0]);
        record.cause = Cause::Software {
            location: Location {
                symbol: Name::new(b"gre_rcv+0x1a2/0x2d0").map(Symbol),
                ..Location::default()
            },
            reason: None,
        };
        let mut file = Vec::new();
        let host = CaptureHost::default();
        let sink = PcapngSink::new(&mut file, Linking::Auto, "test", &host).unwrap();
        let mut sink = WithLines::new(sink, Rc::new(RefCell::new(Fixed)));
        sink.write(&record).unwrap();
        sink.finish(&Ending::default()).unwrap();
        drop(sink);
        let comment = b"source_line: net/ipv4/gre_demux.c:170";
        assert!(file.windows(comment.len()).any(|bytes| bytes == comment));

        let mut json = Vec::new();
        let _ = Savefile::open(&file[..]).unwrap().for_each(|record| {
            JsonSink::new(&mut json).write(record).unwrap();
            ControlFlow::<()>::Continue(())
        });
        let json = String::from_utf8(json).unwrap();
        let field = r#""source":"net/ipv4/gre_demux.c:170""#;
        assert!(json.contains(field), "{json}");
    }
}
