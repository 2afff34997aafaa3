//! Memory: a packet costs no allocation on its way from the kernel's message into the file, and a
//! file cannot make its reader take more and more.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use allocation_counter::measure;
use dwdump::net_dm::alert::{Alert, encode};
use dwdump::net_dm::netlink::{ByteOrder, Messages};
use dwdump::record::{
    CaptureHost, Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name, Stack,
    Symbol, Timestamp,
};
use dwdump::sink::{Linking, NetlinkSink, PcapSink, PcapngSink, Sink};
use dwdump::source::savefile::{Damage, Savefile};
use dwdump::summary::{Counted, GroupedCounts, Grouping};

/// Messages as the kernel sends them: two interfaces, software and hardware.
fn alerts() -> Vec<Vec<u8>> {
    let name = |text: &'static [u8]| Name::new(text);
    let mut frame = vec![2; 12];
    frame.extend([8, 0]);
    frame.extend([0x45; 80]);
    let mut software = DropRecord::new(Link::known(LinkType::ETHERNET), &frame);
    software.time = Some(Timestamp(1_767_323_045_000_000_001));
    software.cause = Cause::Software {
        location: Location::new(
            Some(0xffff_ffff_b3d4_20b5),
            name(b"gre_rcv+0x1a2/0x2d0 [gre]").map(Symbol),
        ),
        reason: name(b"NO_SOCKET"),
    };
    software.input = Some(Interface::new(5, None));
    // Not what the bytes say: one more comment.
    software.protocol = Some(EtherType(4));
    software.original_len = 1500;
    let mut hardware = software;
    hardware.cause = Cause::Hardware {
        group: name(b"l3_drops"),
        trap: name(b"blackhole_route"),
        cookie: Some(&[0xde, 0xad]),
    };
    hardware.input = Some(Interface::new(7, name(b"eth\x1b1")));
    let messages = [software, hardware].map(|record| {
        let mut message = Vec::new();
        assert!(encode(&record, 0x24, &mut message));
        message
    });
    messages.to_vec()
}

fn check_steady(sink: &mut dyn Sink) {
    let alerts = alerts();
    let mut pass = |rounds: usize| {
        for bytes in std::iter::repeat_n(&alerts, rounds).flatten() {
            for message in Messages::new(bytes, ByteOrder::NATIVE) {
                let generic = message.generic(ByteOrder::NATIVE).unwrap();
                let alert = Alert::decode(generic.attributes);
                let record = alert.record(Some(Timestamp(0)), None, None, None);
                sink.write(&record).unwrap();
            }
        }
    };
    // The first of each kind may: its interface is described, buffers find their size.
    pass(1);
    let taken = measure(|| pass(1000));
    assert_eq!(taken.count_total, 0);
}

#[test]
fn a_call_stack_allocates_nothing_in_a_file_and_in_counts() {
    let stacks = [b'a', b'b'].map(|letter| {
        let frame = [&[letter; 30][..], b"+0x1a2/0x2d0"].concat();
        [&frame[..]; 60].join(&b';')
    });
    let records = [&stacks[0], &stacks[1]].map(|stack| {
        let mut location = Location::new(Some(7), None);
        location.stack = Stack::new(stack);
        assert!(location.stack.is_some());
        let mut record = DropRecord::new(Link::known(LinkType::RAW), &[0x45]);
        record.time = Some(Timestamp(1));
        record.cause = Cause::Software {
            location,
            reason: None,
        };
        record
    });
    let mut sink =
        PcapngSink::new(io::sink(), Linking::Auto, "test", &CaptureHost::default()).unwrap();
    let mut counts = GroupedCounts::new(Grouping::Stack);
    let mut pass = || {
        for record in &records {
            sink.write(record).unwrap();
            counts.count(&Counted::Packet(record));
        }
    };
    pass();
    assert_eq!(measure(|| (0..1000).for_each(|_| pass())).count_total, 0);
    assert_eq!(counts.len(), 2);
}

#[test]
fn a_packet_into_pcapng_allocates_nothing() {
    let host = CaptureHost::default();
    for linking in [Linking::Auto, Linking::One(LinkType::LINUX_SLL2)] {
        check_steady(&mut PcapngSink::new(io::sink(), linking, "test", &host).unwrap());
    }
}

#[test]
fn a_packet_into_pcap_allocates_nothing() {
    check_steady(&mut PcapSink::new(io::sink(), LinkType::LINUX_SLL2).unwrap());
    check_steady(&mut NetlinkSink::new(io::sink(), 0x24).unwrap());
}

/// Hands on so many records of a file.
fn deliver(file: &mut Savefile<&[u8]>, sink: &mut dyn Sink, mut count: usize) {
    let flow = file.for_each(|record| {
        if count == 0 {
            return ControlFlow::Break(());
        }
        count -= 1;
        sink.write(record).unwrap();
        ControlFlow::Continue(())
    });
    assert!(flow.unwrap().is_break(), "the file has too few records");
}

#[test]
fn a_packet_from_a_file_into_pcapng_allocates_nothing() {
    let host = CaptureHost::default();
    // Room enough: the files themselves are not what is measured.
    let [mut kernels, mut ours] = [0; 2].map(|_| Vec::with_capacity(1 << 20));
    check_steady(&mut NetlinkSink::new(&mut kernels, 0x24).unwrap());
    let mut sink = PcapngSink::new(&mut ours, Linking::Auto, "test", &host).unwrap();
    check_copied(&kernels, 1500, &mut sink);
    let mut sink = PcapngSink::new(io::sink(), Linking::Auto, "test", &host).unwrap();
    check_copied(&ours, 1000, &mut sink);
}

/// Hands on so many packets of a file that repeats those of [`alerts`], after the first of each.
fn check_copied(content: &[u8], count: usize, sink: &mut dyn Sink) {
    let mut file = Savefile::open(content).unwrap();
    deliver(&mut file, sink, alerts().len());
    let taken = measure(|| deliver(&mut file, sink, count));
    assert_eq!(taken.count_total, 0);
}

/// A file of one beginning and ever the same after it, up to a length that no memory is for.
struct Flood {
    beginning: io::Cursor<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
    left: u64,
}

impl Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.beginning.read(buffer)?;
        if count > 0 || self.left == 0 {
            return Ok(count);
        }
        let mut count = self.piece.read(buffer)?;
        if count == 0 {
            self.piece.set_position(0);
            count = self.piece.read(buffer)?;
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

const MIB: u64 = 1024 * 1024;

/// Most bytes held at once while a flood of `len` bytes is read.
fn greatest(len: u64, beginning: Vec<u8>, piece: Vec<u8>) -> (u64, Result<(), Damage>) {
    let mut result = Ok(());
    let taken = measure(|| {
        let flood = Flood {
            beginning: io::Cursor::new(beginning),
            piece: io::Cursor::new(piece),
            left: len,
        };
        let mut file = Savefile::open(flood).unwrap();
        result = file
            .for_each(|_| ControlFlow::<()>::Continue(()))
            .map(|_| ());
    });
    (taken.bytes_max, result)
}

/// A pcapng block, little-endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(12 + body.len()).unwrap().to_le_bytes();
    [&kind.to_le_bytes(), &len, body, &len].concat()
}

fn section() -> Vec<u8> {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend([0xff; 8]);
    block(0x0a0d_0d0a, &body)
}

/// An interface with so many options of this code, each with so many bytes.
fn interface(count: usize, code: u8, len: u16) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 4, 0];
    for _ in 0..count {
        body.extend([code, 0]);
        body.extend(len.to_le_bytes());
        body.resize(body.len() + usize::from(len), b'x');
    }
    block(1, &body)
}

#[test]
fn endless_interfaces_do_not_fill_the_memory() {
    // Names of 60 KB, of which 1 KB is kept; many small comments; an interface with nothing in it, of which there
    // are more than can be kept.
    for (piece, is_damage) in [
        (interface(1, 2, 60_000), false),
        (interface(20_000, 1, 0), false),
        (interface(0, 0, 0), true),
    ] {
        let (most, result) = greatest(300 * MIB, section(), piece);
        assert!(most < 100 * MIB, "{most} bytes");
        assert_eq!(result.is_err(), is_damage);
    }
}

#[test]
fn endless_comments_and_sections_do_not_fill_the_memory() {
    // A packet of no bytes with 100000 empty comments.
    let mut body = vec![0; 20];
    for _ in 0..100_000 {
        body.extend([1, 0, 0, 0]);
    }
    let beginning = [section(), interface(0, 0, 0)].concat();
    let (most, result) = greatest(40 * MIB, beginning.clone(), block(6, &body));
    assert!(most < 20 * MIB, "{most} bytes");
    assert!(result.is_ok());

    let (most, result) = greatest(40 * MIB, section(), beginning);
    assert!(most < 20 * MIB, "{most} bytes");
    assert!(result.is_ok());
}

#[test]
fn endless_causes_do_not_fill_the_memory() {
    // As many as there are, each of its own reason, which is as long as any that is remembered.
    let mut piece = Vec::new();
    for number in 0..20_000 {
        let comment = format!("reason: {number:0>480}");
        let mut body = vec![0; 20];
        body.extend([1, 0]);
        body.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
        body.extend(comment.bytes());
        piece.extend(block(6, &body));
    }
    let flood = Flood {
        beginning: io::Cursor::new([section(), interface(0, 0, 0)].concat()),
        left: 2 * piece.len() as u64,
        piece: io::Cursor::new(piece),
    };
    let mut count = 0;
    let taken = measure(|| {
        let host = CaptureHost::default();
        let mut sink = PcapngSink::new(io::sink(), Linking::Auto, "test", &host).unwrap();
        let mut file = Savefile::open(flood).unwrap();
        let flow = file.for_each(|record| {
            count += 1;
            sink.write(record).unwrap();
            ControlFlow::<()>::Continue(())
        });
        assert!(flow.unwrap().is_continue());
    });
    assert_eq!(count, 40_000);
    assert!(taken.bytes_max < 20 * MIB, "{} bytes", taken.bytes_max);
}

#[test]
fn a_length_that_no_file_has_does_not_fill_the_memory() {
    let mut packet = vec![0; 8];
    packet.extend(0xffff_fff0_u32.to_le_bytes());
    packet.extend(0xffff_fff0_u32.to_le_bytes());
    for link in [1, 253] {
        let mut beginning = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        beginning.extend([
            2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, link, 0, 0, 0,
        ]);
        let (most, result) = greatest(40 * MIB, beginning, packet.clone());
        assert!(most < 20 * MIB, "{most} bytes");
        assert!(result.is_err());
    }
    let mut long = block(6, &[0; 20]);
    long[4..8].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let (most, result) = greatest(40 * MIB, section(), long);
    assert!(most < 20 * MIB, "{most} bytes");
    assert!(result.is_err());
}

#[test]
fn a_compressed_file_that_grows_without_end_does_not_fill_the_memory() {
    // One packet after the other that compresses to nothing.
    let mut plain = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    plain.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    plain.resize(24 + 16 * 4 * 1024 * 1024, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 19).unwrap();
    for (compressed, window) in [(gzip, 1), (zstd, 8)] {
        assert!(compressed.len() < 100_000);
        let (most, result) = greatest(0, compressed, Vec::new());
        assert!(most < (window + 4) * MIB, "{most} bytes");
        assert!(result.is_ok());
    }
}
