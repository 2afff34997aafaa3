//! Nanoseconds a packet: decoded, filtered, written, from the kernel's message and from our own
//! file. `benches/offline` has the whole program beside tcpdump, and instructions.
//!
//! `cargo bench --bench packet`

#![allow(
    missing_docs,
    reason = "criterion_group! writes a function without documentation"
)]

use std::hint::black_box;
use std::io;
use std::ops::{ControlFlow, Range};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dwdump::filter::{Filter, SystemNames};
use dwdump::net_dm::alert::Alert;
use dwdump::net_dm::netlink::{ByteOrder, Messages};
use dwdump::record::{CaptureHost, Cause, Location, Timestamp};
use dwdump::sink::{Linking, PcapngSink, Sink};
use dwdump::source::savefile::Savefile;
use dwdump::summary::{Counted, GroupedCounts, Grouping, MAX_GROUPS};

/// What the kernel of Debian 12 sent, 107 drops, as the C tool captured it.
const CAPTURE: &[u8] = include_bytes!("../fixtures/software-6.1.pcap");
const DROPS: u64 = 107;
/// `NET_DM_CMD_PACKET_ALERT` (linux/net_dropmon.h).
const PACKET_ALERT: u8 = 5;
/// Selects none, and has to look at the addresses of each.
const FEW: &str = "host 192.0.2.77";

fn sink() -> PcapngSink<io::Sink> {
    let host = CaptureHost::default();
    PcapngSink::new(io::sink(), Linking::Auto, "bench", &host).expect("nothing can fail here")
}

/// The messages of the capture, without the pcap around them.
fn messages() -> Vec<&'static [u8]> {
    const HEADER: usize = 24;
    const COOKED: usize = 16;
    let mut rest = &CAPTURE[HEADER..];
    let mut found = Vec::new();
    while let Some((header, packets)) = rest.split_first_chunk::<16>() {
        let len = header[8..12].try_into().map_or(0, u32::from_le_bytes) as usize;
        let (packet, behind) = packets.split_at(len);
        found.push(&packet[COOKED..]);
        rest = behind;
    }
    found
}

/// Decodes each drop, and writes those that the filter keeps; how many those are.
fn take_alerts(messages: &[&[u8]], filter: &Filter, sink: &mut dyn Sink) -> u64 {
    let mut kept = 0;
    for bytes in messages {
        for message in Messages::new(black_box(bytes), ByteOrder::Little) {
            let Some(generic) = message.generic(ByteOrder::Little) else {
                continue;
            };
            if generic.command != PACKET_ALERT {
                continue;
            }
            let alert = Alert::decode(generic.attributes);
            let record = alert.record(Some(Timestamp(0)), None, None, None);
            if filter.matches(&record) {
                kept += u64::from(sink.write(&record).is_ok());
            }
        }
    }
    kept
}

/// The same of a file in memory: `file` is at its end afterwards.
fn take_file(file: &mut Savefile<&[u8]>, filter: &Filter, sink: &mut dyn Sink) -> u64 {
    let mut kept = 0;
    let flow = file.for_each(|record| {
        if filter.matches(record) {
            kept += u64::from(sink.write(record).is_ok());
        }
        ControlFlow::<()>::Continue(())
    });
    assert!(flow.is_ok(), "the capture is damaged");
    kept
}

/// The capture as a file of ours, so many times.
fn own_file(times: usize) -> Vec<u8> {
    let messages = messages();
    let all = Filter::parse("", &SystemNames).expect("an empty filter");
    let mut bytes = Vec::new();
    let host = CaptureHost::default();
    let mut sink = PcapngSink::new(&mut bytes, Linking::Auto, "bench", &host)
        .expect("writing to memory cannot fail");
    for _ in 0..times {
        assert_eq!(take_alerts(&messages, &all, &mut sink), DROPS);
    }
    drop(sink);
    bytes
}

fn packets(criterion: &mut Criterion) {
    /// Enough for what a file costs once not to count.
    const TIMES: usize = 1000;
    let messages = messages();
    let file = own_file(TIMES);
    for (name, expression, share) in [("all", "", 1), ("few", FEW, 0)] {
        let filter = Filter::parse(expression, &SystemNames).expect("a filter of ours");
        let kept = take_alerts(&messages, &filter, &mut sink());
        assert_eq!(kept, share * DROPS);

        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(DROPS));
        group.bench_function("netlink message to pcapng", |bencher| {
            let mut sink = sink();
            bencher.iter(|| take_alerts(&messages, &filter, &mut sink));
        });
        group.throughput(Throughput::Elements(DROPS * TIMES as u64));
        group.sample_size(20);
        group.bench_function("pcapng to pcapng", |bencher| {
            bencher.iter_batched_ref(
                || (Savefile::open(&file[..]).expect("a file of ours"), sink()),
                |(file, sink)| {
                    let kept = take_file(file, &filter, sink);
                    assert_eq!(kept, share * DROPS * TIMES as u64);
                },
                criterion::BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

/// Counts a drop at each of these places.
fn count_places(table: &mut GroupedCounts, places: Range<u64>) {
    for pc in places {
        let location = Location::new(Some(pc), None);
        let reason = None;
        let cause = Cause::Software { location, reason };
        table.count(&Counted::Kernel { cause, count: 1 });
    }
}

fn summary(criterion: &mut Criterion) {
    const ROWS: u64 = MAX_GROUPS as u64;
    let mut group = criterion.benchmark_group("summary");
    group.throughput(Throughput::Elements(ROWS));
    let full = || {
        let mut table = GroupedCounts::new(Grouping::Location);
        count_places(&mut table, 0..ROWS);
        table
    };
    group.bench_function("each drop of a row", |bencher| {
        let mut table = full();
        bencher.iter(|| count_places(&mut table, 0..ROWS));
    });
    group.bench_function("each drop of a new row, in place of another", |bencher| {
        let mut table = full();
        let mut next = ROWS;
        bencher.iter(|| {
            count_places(&mut table, next..next + ROWS);
            next += ROWS;
        });
    });
    group.finish();
}

criterion_group!(benches, packets, summary);
criterion_main!(benches);
