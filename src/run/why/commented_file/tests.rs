use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use super::*;
use crate::record::{CaptureHost, Cause, Link, LinkType, Location, Name, Timestamp};
use crate::sink::file_in_memory::FileInMemory;
use crate::sink::{JsonSink, Linking, PcapngSink, Sink, TextSink, TextStyle, Written, Zone};
use crate::source::savefile::Savefile;
use crate::why::Grade;

/// The time and the comments of each packet that was written.
type Packets = Rc<RefCell<Vec<(u64, Vec<String>)>>>;

/// Keeps what is written.
struct KeepingSink(Packets);

impl Sink for KeepingSink {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let notes = record.notes.iter().map(|note| note.raw().to_owned());
        let time = record.time.map_or(0, |time| time.0);
        self.0.borrow_mut().push((time, notes.collect()));
        Ok(Written::Yes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        Ok(())
    }
}

fn file() -> (CommentedFile, Packets) {
    let packets = Packets::default();
    let sink = Box::new(KeepingSink(packets.clone()));
    let name = "a file".to_owned();
    (CommentedFile::new(NamedSink { name, sink }), packets)
}

/// Hands over a packet of this time and kind.
fn take(file: &mut CommentedFile, time: u64, kind: KindNumber, is_looked_at: bool) {
    let data = vec![0; 1000];
    let mut record = DropRecord::new(Link::known(LinkType::RAW), &data);
    record.time = Some(Timestamp(time));
    file.take(&record, Some(kind), is_looked_at).unwrap();
}

fn finding(claim: &str) -> CauseFinding {
    CauseFinding::new("x", Grade::Certain, claim)
}

/// The times of the packets, and behind those with comments the claim.
fn summary(packets: &Packets) -> Vec<String> {
    let packets = packets.borrow();
    let text = |(time, notes): &(u64, Vec<String>)| match notes.first() {
        Some(claim) => format!("{time} {claim}"),
        None => time.to_string(),
    };
    packets.iter().map(text).collect()
}

#[test]
fn the_packet_that_was_looked_at_has_the_finding() {
    let (mut file, packets) = file();
    take(&mut file, 1, 0, true);
    take(&mut file, 2, 0, false);
    take(&mut file, 3, 1, true);
    take(&mut file, 4, 0, false);
    assert!(packets.borrow().is_empty());
    // The order of the packets is that of the drops, whichever look ends first.
    file.found(1, &finding("b")).unwrap();
    assert!(packets.borrow().is_empty());
    file.found(0, &finding("a")).unwrap();
    let expected = ["1 why: a (certain)", "2", "3 why: b (certain)", "4"];
    assert_eq!(summary(&packets), expected);
    // Nothing waits any more, and what comes is written at once.
    take(&mut file, 5, 0, false);
    assert_eq!(packets.borrow().len(), 5);
    assert_eq!(file.written(), 5);
    assert_eq!(file.due(), None);
}

#[test]
fn packets_of_bounded_memory_wait_and_a_late_finding_is_not_lost() {
    let (mut file, packets) = file();
    take(&mut file, 0, 7, true);
    let mut time = 0;
    while packets.borrow().is_empty() {
        time += 1;
        take(&mut file, time, 8, false);
        assert!(time < 20_000);
    }
    // The first one was written without, and then all that waited behind it.
    assert_eq!(packets.borrow().len() as u64, time + 1);
    file.found(7, &finding("late")).unwrap();
    take(&mut file, 50_000, 8, false);
    take(&mut file, 50_001, 7, false);
    take(&mut file, 50_002, 7, false);
    let lines = summary(&packets);
    let with: Vec<_> = lines.iter().filter(|line| line.contains("why")).collect();
    assert_eq!(with, ["50001 why: late (certain)"]);
}

#[test]
fn the_end_writes_what_waits() {
    let (mut file, packets) = file();
    take(&mut file, 1, 0, true);
    take(&mut file, 2, 0, false);
    assert!(file.due().is_some_and(|due| due > Instant::now()));
    file.flush().unwrap();
    assert!(packets.borrow().is_empty());
    file.finish(&Ending::default()).unwrap();
    assert_eq!(summary(&packets), ["1", "2"]);
}

#[test]
fn what_waits_takes_no_new_memory_each_time() {
    let (mut file, _) = file();
    let sink = Box::new(Discard);
    file.file.sink = sink;
    let data = vec![0; 1000];
    let record = DropRecord::new(Link::known(LinkType::RAW), &data);
    let round = |file: &mut CommentedFile, kind| {
        file.take(&record, Some(kind), true).unwrap();
        for _ in 0..50 {
            file.take(&record, Some(kind), false).unwrap();
        }
        let packet = file.waiting.front_mut().unwrap();
        packet.finding = FindingOfPacket::Never;
        file.write_ready().unwrap();
    };
    round(&mut file, 0);
    let taken = allocation_counter::measure(|| round(&mut file, 1));
    assert_eq!(taken.count_total, 0);
}

/// Writes nowhere.
struct Discard;

impl Sink for Discard {
    fn write(&mut self, _: &DropRecord<'_>) -> io::Result<Written> {
        Ok(Written::Yes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_was_found_is_printed_again_from_the_file() {
    let bytes = FileInMemory::default();
    let host = CaptureHost::default();
    let sink = PcapngSink::new(bytes.clone(), Linking::Auto, "a test", &host).unwrap();
    let mut file = CommentedFile::new(NamedSink {
        name: "a file".to_owned(),
        sink: Box::new(sink),
    });
    let mut record = DropRecord::new(Link::known(LinkType::RAW), &[]);
    record.time = Some(Timestamp(0));
    record.cause = Cause::Software {
        location: Location::default(),
        reason: Name::new(b"NETFILTER_DROP"),
    };
    file.take(&record, Some(0), true).unwrap();
    let found = finding("a rule drops it")
        .object("rule inet t c handle 2")
        .seen("nft -a list chain inet t c", "drop")
        .cure("nft delete rule inet t c handle 2");
    file.found(0, &found).unwrap();
    file.finish(&Ending::default()).unwrap();

    let (mut text, mut json) = (Vec::new(), Vec::new());
    let style = TextStyle {
        zone: Zone::Utc,
        ..TextStyle::default()
    };
    let _ = Savefile::open(&bytes.bytes()[..])
        .unwrap()
        .for_each(|read| {
            TextSink::new(&mut text, style).write(read).unwrap();
            JsonSink::new(&mut json).write(read).unwrap();
            ControlFlow::<()>::Continue(())
        });
    let text = String::from_utf8(text).unwrap();
    let (line, block) = text.split_once('\n').unwrap();
    assert!(line.ends_with("NETFILTER_DROP"), "{line}");
    let expected = "
  why    a rule drops it                                                        certain
  seen   nft -a list chain inet t c: drop
  do     nft delete rule inet t c handle 2                                      now
";
    assert_eq!(block, &expected[1..]);
    let object: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(object["why"], serde_json::to_value(found).unwrap());
}
