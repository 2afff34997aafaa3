//! Several sources taken from as one.

use super::*;
use crate::source::simulated::{Simulated, SimulatedSource};

/// Returns a drop of `ago` milliseconds ago.
fn drop(base: Timestamp, ago: u64, byte: u8) -> Simulated {
    Simulated::Drop(Some(Timestamp(base.0 - ago * 1_000_000)), byte)
}

fn sources(sources: impl IntoIterator<Item = SimulatedSource>) -> Sources {
    let mut all = Sources::default();
    for source in sources {
        all.add(Box::new(source));
    }
    all
}

/// Takes events until none waits. Returns the events that were received, and then those that still
/// waited.
fn take_all(sources: &mut Sources) -> (Vec<Simulated>, Vec<Simulated>) {
    let (mut now, mut later) = (Vec::new(), Vec::new());
    let keep = |event: Event<'_, '_>, into: &mut Vec<Simulated>| {
        into.push(Simulated::of(event));
        ControlFlow::<()>::Continue(())
    };
    while sources.take(|_| {}, |event| keep(event, &mut now)).unwrap() != Taken::Nothing {}
    let _ = sources.release_all(|event| keep(event, &mut later));
    (now, later)
}

#[test]
fn a_single_source_hands_on_at_once_in_its_own_order() {
    let base = Timestamp::now();
    let events = vec![drop(base, 1, 1), drop(base, 9, 2), drop(base, 5, 3)];
    let mut single = sources([SimulatedSource::new([events.clone()])]);
    assert_eq!(take_all(&mut single), (events, vec![]));
    assert_eq!(single.longest_wait(), None);
}

/// Takes events so many times. Returns the allocations and the events that were received.
fn measure(sources: &mut Sources, rounds: usize) -> (u64, usize) {
    let mut count = 0;
    let taken = allocation_counter::measure(|| {
        let mut receive = |_: Event<'_, '_>| {
            count += 1;
            ControlFlow::<()>::Continue(())
        };
        for _ in 0..rounds {
            sources.take(|_| {}, &mut receive).unwrap();
        }
    });
    (taken.count_total, count)
}

#[test]
fn a_single_source_allocates_nothing_for_an_event() {
    let base = Timestamp::now();
    let mut single = sources([SimulatedSource::new([vec![drop(base, 1, 1); 1000]])]);
    assert_eq!(measure(&mut single, 1), (0, 1000));
}

#[test]
fn several_sources_are_ordered_by_time() {
    let base = Timestamp::now();
    let one = vec![drop(base, 9, 1), drop(base, 3, 2)];
    let other = vec![drop(base, 5, 3), drop(base, 1, 4)];
    let mut several = sources([one, other].map(|events| SimulatedSource::new([events])));
    assert!(several.longest_wait().is_none());
    let (now, later) = take_all(&mut several);
    let expected = [
        drop(base, 9, 1),
        drop(base, 5, 3),
        drop(base, 3, 2),
        drop(base, 1, 4),
    ];
    assert_eq!([now, later].concat(), expected);
}

#[test]
fn a_silent_source_holds_nobody_back_for_longer_than_the_window() {
    let base = Timestamp::now();
    let mut several = sources([
        SimulatedSource::new([vec![drop(base, 500, 1), drop(base, 200, 2)]]),
        SimulatedSource::new([]),
    ]);
    let (now, later) = take_all(&mut several);
    assert_eq!(now, [drop(base, 500, 1), drop(base, 200, 2)]);
    assert_eq!(later, []);
}

#[test]
fn a_receiver_that_breaks_ends_the_taking() {
    let base = Timestamp::now();
    for count in [1, 2] {
        let source = || SimulatedSource::new([vec![drop(base, 500, 1), drop(base, 400, 2)]]);
        let mut several = sources((0..count).map(|_| source()));
        let mut received = 0;
        let receive = |_: Event<'_, '_>| {
            received += 1;
            ControlFlow::Break("enough")
        };
        let taken = several.take(|_| {}, receive).unwrap();
        assert_eq!((taken, received), (Taken::Break("enough"), 1));
    }
}

#[test]
fn arrivals_are_seen_before_their_turn() {
    let base = Timestamp::now();
    let events = || SimulatedSource::new([vec![drop(base, 0, 1)]]);
    let mut several = sources([events(), events()]);
    let mut arrived = 0;
    let receive = |_: Event<'_, '_>| ControlFlow::<()>::Continue(());
    assert_eq!(
        several.take(|_| arrived += 1, receive).unwrap(),
        Taken::Some
    );
    assert_eq!(arrived, 2);
}

#[test]
fn descriptors_and_counts_of_all_sources_come_together() {
    let source = |counts| {
        let mut source = SimulatedSource::new([]);
        source.counts = counts;
        source
    };
    let mut several = sources([source(3), source(4)]);
    assert_eq!(several.descriptors().len(), 2);
    assert_eq!(several.loss().unwrap().queue, 7);
    assert_eq!(several.left_out().not_packets, 7);
    several.end().unwrap();
    assert_eq!(take_all(&mut several), (vec![], vec![]));
}

/// A source that has passed on everything up to this time.
fn settled(mut source: SimulatedSource, time: Timestamp) -> SimulatedSource {
    source.settled = Some(time);
    source
}

#[test]
fn what_nothing_can_come_before_is_handed_on_at_once_without_an_allocation() {
    let base = Timestamp::now();
    let mut both = Sources::default();
    let time = Timestamp(base.0 - 1_000_000);
    both.add(Box::new(settled(SimulatedSource::new([]), time)));
    let early = vec![drop(base, 2, 1); 1000];
    both.add(Box::new(SimulatedSource::new([early])));
    assert_eq!(measure(&mut both, 1), (0, 1000));
}

#[test]
fn what_something_may_come_before_waits() {
    let base = Timestamp::now();
    let mut both = Sources::default();
    let time = Timestamp(base.0 - 1_000_000);
    let waiting = SimulatedSource::new([vec![drop(base, 5, 1)]]);
    both.add(Box::new(settled(waiting, time)));
    let events = vec![drop(base, 9, 2), drop(base, 3, 3), drop(base, 0, 4)];
    both.add(Box::new(SimulatedSource::new([events])));
    let (now, later) = take_all(&mut both);
    assert_eq!(now, [drop(base, 9, 2)]);
    assert_eq!(
        later,
        [drop(base, 5, 1), drop(base, 3, 3), drop(base, 0, 4)]
    );
}

#[test]
fn an_event_that_waits_is_allocated_at_most_three_times() {
    const COUNT: u64 = 1000;
    let base = Timestamp::now();
    let events = (1..=COUNT).map(|ago| drop(base, ago % 50, 1)).collect();
    let mut both = sources([SimulatedSource::new([events]), SimulatedSource::new([])]);
    let taken = allocation_counter::measure(|| {
        let _ = take_all(&mut both);
    });
    assert!(taken.count_total <= 3 * COUNT, "{}", taken.count_total);
}

#[test]
fn a_busy_source_beside_an_idle_one_allocates_nothing_for_an_event() {
    let base = Timestamp::now();
    let mut both = Sources::default();
    let batches = (0..10).map(|_| vec![drop(base, 2, 1); 100]);
    both.add(Box::new(SimulatedSource::new(
        [vec![]].into_iter().chain(batches),
    )));
    let time = Timestamp(base.0 - 1_000_000);
    both.add(Box::new(settled(SimulatedSource::new([]), time)));
    assert_eq!(measure(&mut both, 1).1, 0);
    assert_eq!(measure(&mut both, 10), (0, 1000));
}

#[test]
fn an_idle_source_is_asked_before_a_busy_one() {
    let base = Timestamp::now();
    let mut both = sources([
        SimulatedSource::new([vec![drop(base, 0, 1)], vec![], vec![]]),
        SimulatedSource::new([]),
    ]);
    assert_eq!(both.turns, [0, 1]);
    let ignore = |_: Event<'_, '_>| ControlFlow::<()>::Continue(());
    both.take(|_| {}, ignore).unwrap();
    assert_eq!(both.turns, [1, 0]);
}

#[test]
fn a_waiting_event_leaves_when_the_other_source_has_settled() {
    let base = Timestamp::now();
    let mut both = Sources::default();
    let time = Timestamp(base.0 - 1_000_000);
    both.add(Box::new(settled(SimulatedSource::new([]), time)));
    both.add(Box::new(SimulatedSource::new([vec![drop(base, 0, 1)]])));
    let mut left = Vec::new();
    let mut round = |sources: &mut Sources| {
        let keep = |event: Event<'_, '_>| {
            left.push(Simulated::of(event));
            ControlFlow::<()>::Continue(())
        };
        sources.take(|_| {}, keep).unwrap();
        left.len()
    };
    assert_eq!(round(&mut both), 0);
    both.list[0].source = Box::new(settled(SimulatedSource::new([]), base));
    assert_eq!(round(&mut both), 1);
    assert_eq!(left, [drop(base, 0, 1)]);
}

#[test]
fn a_source_that_had_an_event_lately_may_have_an_earlier_one() {
    let base = Timestamp(10 * QUIET_NANOS);
    let after = |nanos: u64| Timestamp(base.0 + nanos);
    let mut ordered = Ordered::new(Box::new(SimulatedSource::new([])));
    ordered.note(Taken::Nothing, base);
    assert_eq!(ordered.settled, Some(base));
    ordered.note(Taken::Some, base);
    assert_eq!(ordered.settled, None);
    ordered.note(Taken::Nothing, after(QUIET_NANOS - 1));
    assert_eq!(ordered.settled, None);
    ordered.note(Taken::Nothing, after(QUIET_NANOS));
    assert_eq!(ordered.settled, Some(after(QUIET_NANOS)));
}

#[test]
fn a_busy_source_beside_a_quiet_one_allocates_nothing_for_an_event() {
    let base = Timestamp::now();
    // The other cannot say up to when it has passed on all. Asked once, it had nothing.
    let mut both = sources([
        SimulatedSource::new([vec![], vec![drop(base, 2, 1); 1000]]),
        SimulatedSource::new([]),
    ]);
    assert_eq!(measure(&mut both, 1).1, 0);
    assert_eq!(measure(&mut both, 1), (0, 1000));
}
