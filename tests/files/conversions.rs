//! From one format into another and back.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

use dwdump::record::CaptureHost;
use dwdump::sink::{Ending, Linking, NetlinkSink, PcapngSink, Sink};
use dwdump::source::savefile::Savefile;

use crate::pcap;

/// Reads a capture and writes it through a sink.
fn convert<'v>(
    bytes: &[u8],
    converted: &'v mut Vec<u8>,
    make: impl FnOnce(&'v mut Vec<u8>, Option<u16>) -> Box<dyn Sink + 'v>,
) {
    let mut file = Savefile::open(Cursor::new(bytes)).unwrap();
    let mut sink = make(converted, file.family());
    let flow = file.for_each(|record| {
        sink.write(record).unwrap();
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(flow, Ok(ControlFlow::Continue(())));
    sink.finish(&Ending::default()).unwrap();
}

#[test]
fn netlink_to_pcapng_and_back_keeps_every_attribute() {
    for name in [
        "software-6.1.pcap",
        "software-6.12.pcap",
        "hardware-6.12.pcap",
        "made/no-reason.pcap",
        "made/little-endian.pcap",
        "made/big-endian.pcap",
        "made/links.pcap",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        let original = std::fs::read(path).unwrap();
        let (mut pcapng, mut back) = (Vec::new(), Vec::new());
        convert(&original, &mut pcapng, |file, _| {
            let host = CaptureHost::default();
            Box::new(PcapngSink::new(file, Linking::Auto, "test", &host).unwrap())
        });
        convert(&pcapng, &mut back, |file, _| {
            Box::new(NetlinkSink::new(file, 0x20).unwrap())
        });
        let [original, back] = [&original, &back].map(|file| alerts(file));
        assert!(!original.is_empty());
        assert_eq!(original.len(), back.len(), "{name}");
        for (original, back) in original.iter().zip(&back) {
            assert_eq!(original, back, "{name}");
        }
    }
}

/// The attributes of every packet alert, as a little-endian host sends them.
fn alerts(file: &[u8]) -> Vec<Vec<(u16, Vec<u8>)>> {
    let capture = pcap::pcap(file);
    assert_eq!((capture.link, capture.units), (253, 1_000_000));
    let records = capture.records.iter();
    let messages = records.flat_map(|record| {
        assert_eq!(record.original_len as usize, record.data.len());
        assert_ne!((record.seconds, record.fraction), (0, 0));
        pcap::messages(&record.data, capture.is_big_endian)
    });
    let alerts = messages.filter(|message| message.kind > 16 && message.command == 5);
    let attributes = alerts.map(|alert| {
        let alert = if capture.is_big_endian {
            alert.into_little_endian()
        } else {
            alert
        };
        alert.attributes
    });
    attributes.collect()
}
