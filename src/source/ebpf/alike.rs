//! Checks that reports which come together give the records that each gives by itself.

use std::iter;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::completer::Completer;
use super::filtered::{ALL, COMPLETERS, PacketShape, any_packet, shape};
use crate::filter::tests::messages::{AlertPacket, packet};
use crate::record::{DropRecord, OwnedFacts, OwnedRecord};
use crate::source::Event;

/// Nanoseconds that the time of day has more than the reports' clock.
const OFFSET: u64 = 1 << 60;

/// Calls `act` with the record of each report.
fn for_each_record(
    completer: &mut Completer,
    reports: &[Vec<u8>],
    mut act: impl FnMut(&DropRecord<'_>),
) {
    let mut receive = |event: Event<'_, '_>| {
        let Event::Drop(record) = event else {
            panic!("a report is of a drop")
        };
        act(record);
        ControlFlow::Continue(())
    };
    let reports = reports.iter().map(Vec::as_slice);
    let _ = completer.hand_on(reports, 0, OFFSET, &mut receive);
}

/// The reports of these packets, some of which have the same shape.
fn reports(kernel: usize, packets: &[(PacketShape, Vec<AlertPacket>)]) -> Vec<Vec<u8>> {
    let with_shapes = packets
        .iter()
        .flat_map(|(shape, packets)| iter::repeat(shape).zip(packets));
    let reports = with_shapes.map(|(shape, packet)| {
        let (packet, settings) = shape.of(packet);
        let run = packet.run(&ALL[kernel].layout, shape.role, settings, None);
        run.record.unwrap()
    });
    reports.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reports_that_come_together_give_what_each_gives_alone(
        packets in prop::collection::vec((shape(), prop::collection::vec(any_packet(), 1..5)), 1..5),
        kernel in 0..ALL.len(),
    ) {
        let reports = reports(kernel, &packets);
        COMPLETERS.with_borrow_mut(|completers| -> Result<(), TestCaseError> {
            let completer = &mut completers[kernel];
            let mut records = |pieces: &mut dyn Iterator<Item = &[Vec<u8>]>| {
                let (mut records, mut alike) = (Vec::new(), Vec::new());
                for piece in pieces {
                    for_each_record(completer, piece, |record| {
                        records.push(OwnedRecord::new(record));
                        let mut facts = OwnedFacts::default();
                        facts.set(record);
                        alike.push((record.likeness, facts));
                    });
                }
                (records, alike)
            };
            let (together, alike) = records(&mut iter::once(&reports[..]));
            let (alone, _) = records(&mut reports.chunks(1));
            let (together, alone) = (together.iter(), alone.iter());
            prop_assert!(together.map(OwnedRecord::record).eq(alone.map(OwnedRecord::record)));
            for (likeness, facts) in &alike {
                for (other, others) in &alike {
                    prop_assert!(!likeness.is_same(*other) || facts == others);
                }
            }
            Ok(())
        })?;
    }
}

/// The shortcut is taken at all.
#[test]
fn reports_that_differ_in_their_packets_alone_are_alike() {
    let mut runner = TestRunner::deterministic();
    let (shape, packet) = (shape(), packet()).new_tree(&mut runner).unwrap().current();
    let mut other = packet.clone();
    let last = other.data.last_mut().unwrap();
    *last = !*last;
    let kernel = shape.kernel;
    let reports = reports(kernel, &[(shape, vec![packet, other])]);
    assert_ne!(reports[0], reports[1]);
    COMPLETERS.with_borrow_mut(|completers| {
        let mut found = Vec::new();
        for_each_record(&mut completers[kernel], &reports, |record| {
            found.push(record.likeness);
        });
        assert!(found[0].is_same(found[1]));
    });
}
