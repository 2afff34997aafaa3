//! Nanoseconds a packet for typical filters, beside libpcap's interpreter on the same packets.
//!
//! `cargo bench --features libpcap` (needs libpcap's development files).

#![allow(
    missing_docs,
    reason = "criterion_group! writes a function without documentation"
)]

// The packets of the cross-check with tcpdump.
#[path = "../tests/filter_oracle/frames.rs"]
mod frames;
#[expect(dead_code, reason = "no file is written here")]
#[path = "../tests/filter_oracle/packets.rs"]
mod packets;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dwdump::filter::{Filter, SystemNames};
use dwdump::record::{DropRecord, Link, LinkType, Timestamp};

const FILTERS: [&str; 6] = [
    "udp",
    "host 10.0.0.1",
    "tcp port 80 or 443",
    "net 10.0.0.0/8 and not port 22",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "ip6 and not icmp6 or arp or (udp and src host 10.0.0.1 and dst portrange 1-1024)",
];

fn filters(criterion: &mut Criterion) {
    let mut packets = packets::Capture::ethernet().packets;
    packets.retain(|packet| packet.data.len() == packet.original_len as usize);
    let records: Vec<DropRecord<'_>> = packets
        .iter()
        .map(|packet| {
            let mut record = DropRecord::new(Link::known(LinkType::ETHERNET), &packet.data);
            record.time = Some(Timestamp(0));
            record.original_len = packet.original_len;
            record
        })
        .collect();
    let libpcap = pcap::Capture::dead(pcap::Linktype::ETHERNET).expect("a handle without a device");
    for expression in FILTERS {
        let ours = Filter::parse(expression, &SystemNames).expect("a filter of ours");
        let theirs = libpcap
            .compile(expression, true)
            .expect("a filter of libpcap's");
        let kept = records.iter().filter(|record| ours.matches(record)).count();
        let kept_there = packets.iter().filter(|packet| theirs.filter(&packet.data));
        assert_eq!(kept, kept_there.count(), "{expression}");

        let mut group = criterion.benchmark_group(expression);
        group.throughput(Throughput::Elements(records.len() as u64));
        group.bench_function("dwdump", |bencher| {
            bencher.iter(|| {
                let kept = records
                    .iter()
                    .filter(|record| ours.matches(black_box(record)));
                kept.count()
            });
        });
        group.bench_function("libpcap", |bencher| {
            bencher.iter(|| {
                let kept = packets
                    .iter()
                    .filter(|packet| theirs.filter(black_box(&packet.data)));
                kept.count()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, filters);
criterion_main!(benches);
